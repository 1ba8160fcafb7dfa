/* Licensed under the Apache License, Version 2.0; see LICENSE. */

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Method;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

import org.apache.catalina.tribes.ByteMessage;
import org.apache.catalina.tribes.Channel;
import org.apache.catalina.tribes.ChannelException;
import org.apache.catalina.tribes.ChannelInterceptor;
import org.apache.catalina.tribes.ChannelListener;
import org.apache.catalina.tribes.ChannelMessage;
import org.apache.catalina.tribes.ErrorHandler;
import org.apache.catalina.tribes.Member;
import org.apache.catalina.tribes.MembershipListener;
import org.apache.catalina.tribes.RemoteProcessException;
import org.apache.catalina.tribes.UniqueId;
import org.apache.catalina.tribes.group.GroupChannel;
import org.apache.catalina.tribes.group.Response;
import org.apache.catalina.tribes.group.RpcChannel;
import org.apache.catalina.tribes.group.interceptors.NonBlockingCoordinator;
import org.apache.catalina.tribes.group.interceptors.SimpleCoordinator;
import org.apache.catalina.tribes.group.interceptors.StaticMembershipInterceptor;
import org.apache.catalina.tribes.membership.McastService;
import org.apache.catalina.tribes.membership.MemberImpl;
import org.apache.catalina.tribes.membership.StaticMember;
import org.apache.catalina.tribes.membership.StaticMembershipService;
import org.apache.catalina.tribes.transport.ReceiverBase;
import org.apache.catalina.tribes.transport.ReplicationTransmitter;

/**
 * Real Tribes channels at the other end of a pipe. One command a line on stdin, one event a line on
 * stdout, each with the name of its channel in front:
 *
 *   NAME open key=value...            a channel (see open); "ready", or "broken" and why
 *   NAME send TAG OPTIONS TO FILE     TO: host:port; "sent TAG ok", or "failed" and why; what the
 *                                     error handler hears of an asynchronous one: "done TAG ..."
 *   NAME object OPTIONS TO TEXT       the same with a Java object; "sent object ..."
 *   NAME call TO MILLISECONDS         a remote call; "called ANSWERS MILLISECONDS"
 *   NAME fail on|off                  whether the listener throws
 *   NAME members | coordinator        "members host:port...", "coordinator host:port"
 *   NAME close                        a graceful leave; "closed"
 *
 * Events: "added host:port uid", "gone host:port", "message host:port options length sha1",
 * "object host:port class".
 */
public final class Peer {
    private static final ExecutorService senders = Executors.newCachedThreadPool();
    private static final Map<String, Peer> peers = new ConcurrentHashMap<>();

    private final String name;
    private final Tapped channel = new Tapped();
    private final List<ChannelInterceptor> chain = new ArrayList<>();
    private int services = Channel.DEFAULT;
    private volatile boolean fails;

    /** A channel that remembers the options of the message it hands up. */
    private static final class Tapped extends GroupChannel {
        final ThreadLocal<Integer> options = new ThreadLocal<>();

        @Override
        public void messageReceived(ChannelMessage msg) {
            options.set(msg.getOptions());
            super.messageReceived(msg);
        }
    }

    private Peer(String name) {
        this.name = name;
    }

    private void say(String event) {
        synchronized (System.out) {
            System.out.println(name + " " + event.replace('\n', ' '));
            System.out.flush();
        }
    }

    private static String address(Member m) {
        try {
            String host = InetAddress.getByAddress(m.getHost()).getHostAddress();

            return (host.indexOf(':') < 0 ? host : "[" + host + "]") + ":" + m.getPort();
        } catch (Exception e) {
            return "?:" + m.getPort();
        }
    }

    private static String hex(byte[] bytes) {
        StringBuilder s = new StringBuilder();

        for (byte b : bytes) {
            s.append(String.format("%02x", b & 0xff));
        }
        return s.toString();
    }

    private static byte[] unhex(String text) {
        byte[] bytes = new byte[text.length() / 2];

        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) Integer.parseInt(text.substring(2 * i, 2 * i + 2), 16);
        }
        return bytes;
    }

    // ---- opening ---------------------------------------------------------------------------

    private static boolean set(Object target, String attribute, String value) throws Exception {
        String wanted = "set" + Character.toUpperCase(attribute.charAt(0)) + attribute.substring(1);

        for (Method m : target.getClass().getMethods()) {
            if (!m.getName().equals(wanted) || m.getParameterCount() != 1) {
                continue;
            }
            Class<?> type = m.getParameterTypes()[0];
            if (type == String.class) {
                m.invoke(target, value);
            } else if (type == int.class) {
                m.invoke(target, Integer.parseInt(value));
            } else if (type == long.class) {
                m.invoke(target, Long.parseLong(value));
            } else if (type == boolean.class) {
                m.invoke(target, Boolean.parseBoolean(value));
            } else {
                continue;
            }
            return true;
        }
        return false;
    }

    private static void setOrFail(Object target, String attribute, String value) throws Exception {
        if (!set(target, attribute, value)) {
            throw new IllegalArgumentException(target.getClass() + " has no " + attribute);
        }
    }

    /** host:port:uid in hex[:domain] */
    private static StaticMember staticMember(String text) throws Exception {
        String[] part = text.split(":");
        StaticMember m = new StaticMember(part[0], Integer.parseInt(part[1]), 1);

        m.setUniqueId(unhex(part[2]));
        if (part.length > 3) {
            m.setDomain(part[3].getBytes(StandardCharsets.ISO_8859_1));
        }
        return m;
    }

    /** Name{attribute=value;...} */
    private ChannelInterceptor interceptor(String text) throws Exception {
        int brace = text.indexOf('{');
        String simple = brace < 0 ? text : text.substring(0, brace);
        String prefix = "org.apache.catalina.tribes.group.interceptors.";
        Class<?> cls;

        try {
            cls = Class.forName(prefix + simple + "Interceptor");
        } catch (ClassNotFoundException e) {
            cls = Class.forName(prefix + simple);
        }
        ChannelInterceptor made = (ChannelInterceptor) cls.getConstructor().newInstance();
        if (brace >= 0) {
            for (String pair : text.substring(brace + 1, text.length() - 1).split(";")) {
                String[] both = pair.split("=", 2);

                setOrFail(made, both[0], both[1]);
            }
        }
        return made;
    }

    private void membership(String kind, List<StaticMember> others, StaticMember self,
            List<String[]> attributes) throws Exception {
        if (kind.equals("multicast")) {
            McastService service = new McastService();

            for (String[] a : attributes) {
                setOrFail(service, a[0], a[1]);
            }
            channel.setMembershipService(service);
        } else if (kind.equals("static")) {
            StaticMembershipService service = new StaticMembershipService();

            for (String[] a : attributes) {
                setOrFail(service, a[0], a[1]);
            }
            service.setLocalMember(self);
            for (StaticMember m : others) {
                service.addStaticMember(m);
            }
            channel.setMembershipService(service);
        } else { /* interceptor: no service at all, as with channelStartOptions=3 */
            services = Channel.SND_RX_SEQ | Channel.SND_TX_SEQ;
            for (ChannelInterceptor i : chain) {
                if (i instanceof StaticMembershipInterceptor) {
                    StaticMembershipInterceptor s = (StaticMembershipInterceptor) i;

                    for (StaticMember m : others) {
                        s.addStaticMember(m);
                    }
                    if (self != null) {
                        s.setLocalMember(self);
                    }
                }
            }
        }
    }

    /**
     * Keys: host, port, name, heartbeat, membership=multicast|static|interceptor, m.ATTRIBUTE (of
     * the service), sender.ATTRIBUTE, local and member=host:port:uid[:domain],
     * interceptor=Name{attribute=value;...} (repeated, the one nearest to the application first).
     */
    private void open(String[] words) throws Exception {
        ReceiverBase receiver = (ReceiverBase) channel.getChannelReceiver();
        ReplicationTransmitter sender = (ReplicationTransmitter) channel.getChannelSender();
        List<StaticMember> others = new ArrayList<>();
        List<String[]> attributes = new ArrayList<>();
        StaticMember self = null;
        String kind = "interceptor";

        receiver.setAutoBind(1);
        for (int i = 2; i < words.length; i++) {
            String[] pair = words[i].split("=", 2);

            if (pair[0].equals("host")) {
                receiver.setAddress(pair[1]);
            } else if (pair[0].equals("port")) {
                receiver.setPort(Integer.parseInt(pair[1]));
            } else if (pair[0].equals("udpPort")) {
                receiver.setUdpPort(Integer.parseInt(pair[1]));
            } else if (pair[0].equals("name")) {
                channel.setName(pair[1]);
            } else if (pair[0].equals("heartbeat")) {
                channel.setHeartbeatSleeptime(Long.parseLong(pair[1]));
            } else if (pair[0].equals("membership")) {
                kind = pair[1];
            } else if (pair[0].startsWith("m.")) {
                attributes.add(new String[] {pair[0].substring(2), pair[1]});
            } else if (pair[0].startsWith("sender.")) {
                setOrFail(sender.getTransport(), pair[0].substring(7), pair[1]);
            } else if (pair[0].equals("local")) {
                self = staticMember(pair[1]);
            } else if (pair[0].equals("member")) {
                others.add(staticMember(pair[1]));
            } else if (pair[0].equals("interceptor")) {
                chain.add(interceptor(pair[1]));
            } else {
                throw new IllegalArgumentException(words[i]);
            }
        }
        membership(kind, others, self, attributes);
        for (ChannelInterceptor i : chain) {
            channel.addInterceptor(i);
        }
        channel.addMembershipListener(new Members());
        channel.addChannelListener(new Messages());
        channel.start(services);
    }

    // ---- events ----------------------------------------------------------------------------

    private final class Members implements MembershipListener {
        @Override
        public void memberAdded(Member m) {
            say("added " + address(m) + " " + hex(m.getUniqueId()));
        }

        @Override
        public void memberDisappeared(Member m) {
            say("gone " + address(m));
        }
    }

    private final class Messages implements ChannelListener {
        @Override
        public boolean accept(java.io.Serializable msg, Member from) {
            return true;
        }

        @Override
        public void messageReceived(java.io.Serializable msg, Member from) {
            if (!(msg instanceof ByteMessage)) {
                say("object " + address(from) + " " + msg.getClass().getName());
                return;
            }
            byte[] bytes = ((ByteMessage) msg).getMessage();
            try {
                say("message " + address(from) + " " + channel.options.get() + " " + bytes.length
                        + " " + hex(MessageDigest.getInstance("SHA-1").digest(bytes)));
            } catch (Exception e) {
                say("broken " + e);
            }
            if (fails) {
                throw new IllegalStateException("told to fail");
            }
        }
    }

    // ---- sending ---------------------------------------------------------------------------

    private Member member(String to) throws Exception {
        for (Member m : channel.getMembers()) {
            if (address(m).equals(to)) {
                return m;
            }
        }
        int colon = to.lastIndexOf(':');
        return new MemberImpl(to.substring(0, colon), Integer.parseInt(to.substring(colon + 1)), 1);
    }

    /** What is said of a member that could not be sent to: FAIL_ACK is told by its exception. */
    private static String why(ChannelException e) {
        StringBuilder s = new StringBuilder();

        for (ChannelException.FaultyMember f : e.getFaultyMembers()) {
            s.append(f.getCause() instanceof RemoteProcessException ? "fail-ack " : "fault ");
            s.append(address(f.getMember())).append(' ').append(f.getCause()).append(' ');
        }
        return s.length() > 0 ? s.toString() : "error " + e;
    }

    private final class Ends implements ErrorHandler {
        private final String tag;

        Ends(String tag) {
            this.tag = tag;
        }

        @Override
        public void handleError(ChannelException e, UniqueId id) {
            say("done " + tag + " failed " + why(e));
        }

        @Override
        public void handleCompletion(UniqueId id) {
            say("done " + tag + " ok");
        }
    }

    private void send(String tag, int options, String to, String file) {
        try {
            sendObject(tag, options, to, new ByteMessage(Files.readAllBytes(Paths.get(file))));
        } catch (Exception e) {
            say("sent " + tag + " failed error " + e);
        }
    }

    private void sendObject(String tag, int options, String to, java.io.Serializable what) {
        try {
            channel.send(new Member[] {member(to)}, what, options, new Ends(tag));
            say("sent " + tag + " ok");
        } catch (ChannelException e) {
            say("sent " + tag + " failed " + why(e));
        } catch (Exception e) {
            say("sent " + tag + " failed error " + e);
        }
    }

    private void call(String to, long timeout) {
        byte[] id = "interop".getBytes(StandardCharsets.ISO_8859_1);
        RpcChannel rpc = new RpcChannel(id, channel, null);

        try {
            long begin = System.nanoTime();
            Response[] answers = rpc.send(new Member[] {member(to)}, "hello", RpcChannel.ALL_REPLY,
                    Channel.SEND_OPTIONS_DEFAULT, timeout);

            say("called " + answers.length + " " + (System.nanoTime() - begin) / 1000000);
        } catch (Exception e) {
            say("called failed " + e);
        } finally {
            rpc.breakdown();
        }
    }

    // ---- commands --------------------------------------------------------------------------

    private void coordinator() {
        Member found = null;

        for (ChannelInterceptor i : chain) {
            if (i instanceof NonBlockingCoordinator) {
                found = ((NonBlockingCoordinator) i).getCoordinator();
            } else if (i instanceof SimpleCoordinator) {
                found = ((SimpleCoordinator) i).getCoordinator();
            }
        }
        say("coordinator " + (found == null ? "none" : address(found)));
    }

    private void obey(String[] words) throws Exception {
        switch (words[1]) {
        case "open":
            open(words);
            say("ready");
            break;
        case "send":
            senders.execute(
                    () -> send(words[2], Integer.parseInt(words[3]), words[4], words[5]));
            break;
        case "object":
            senders.execute(
                    () -> sendObject("object", Integer.parseInt(words[2]), words[3], words[4]));
            break;
        case "call":
            senders.execute(() -> call(words[2], Long.parseLong(words[3])));
            break;
        case "fail":
            fails = words[2].equals("on");
            break;
        case "members":
            StringBuilder s = new StringBuilder("members");

            for (Member m : channel.getMembers()) {
                s.append(' ').append(address(m));
            }
            say(s.toString());
            break;
        case "coordinator":
            coordinator();
            break;
        case "close":
            peers.remove(name);
            channel.stop(services);
            say("closed");
            break;
        default:
            throw new IllegalArgumentException(words[1]);
        }
    }

    public static void main(String[] args) throws Exception {
        BufferedReader in =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        String line;

        while ((line = in.readLine()) != null) {
            String[] words = line.trim().split(" ");
            Peer peer = peers.computeIfAbsent(words[0], Peer::new);
            Runnable run = () -> {
                try {
                    peer.obey(words);
                } catch (Exception e) {
                    peer.say("broken " + e + " " + e.getCause());
                }
            };

            if (words[1].equals("open") || words[1].equals("close")) {
                senders.execute(run); /* takes seconds; the others go on */
            } else {
                run.run();
            }
        }
        Runtime.getRuntime().halt(0); /* the test is gone */
    }
}
