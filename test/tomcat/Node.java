/* Licensed under the Apache License, Version 2.0; see LICENSE. */

import java.io.File;
import java.io.IOException;
import java.lang.reflect.Field;
import java.net.InetAddress;
import java.util.HashMap;
import java.util.Map;

import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;

import org.apache.catalina.Context;
import org.apache.catalina.Manager;
import org.apache.catalina.Session;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.ha.ClusterManager;
import org.apache.catalina.ha.session.BackupManager;
import org.apache.catalina.ha.session.DeltaManager;
import org.apache.catalina.ha.tcp.SimpleTcpCluster;
import org.apache.catalina.session.ManagerBase;
import org.apache.catalina.startup.Tomcat;
import org.apache.catalina.tribes.group.GroupChannel;
import org.apache.catalina.tribes.membership.McastService;
import org.apache.catalina.tribes.membership.StaticMember;
import org.apache.catalina.tribes.membership.StaticMembershipService;
import org.apache.catalina.tribes.tipis.AbstractReplicatedMap;
import org.apache.catalina.tribes.transport.ReceiverBase;

/**
 * A Tomcat of a cluster, with one application that counts in its session. Arguments are key=value:
 *
 *   base=FOLDER http=PORT route=NAME host=ADDRESS port=PORT (of the receiver)
 *   manager=backup|delta
 *   group=ADDRESS:PORT bind=ADDRESS   membership by multicast
 *   members=PORT,PORT,...         static membership: the other receivers, on the same host
 *
 * Says "ready" when it serves, and ends when its standard input does: a line "stop" is a graceful
 * leave, the end of the input is one, too.
 *
 *   /app/count       {"route": ..., "id": ..., "n": ..., "new": ...}
 *   /app/end         ends the session
 *   /app/where?id=X  {"role": ..., "n": ...}: what this Tomcat is for the session with that id (its
 *                    hexadecimal part): primary, backup, proxy, copy or none, and to what its copy
 *                    has counted, or null; asked so that nothing is changed by it
 */
public final class Node {
    private Node() {
    }

    private static final class App extends HttpServlet {
        private static final long serialVersionUID = 1;
        private final String route;
        private final transient Context context;

        App(String route, Context context) {
            this.route = route;
            this.context = context;
        }

        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response)
                throws IOException {
            response.setContentType("application/json");
            switch (request.getPathInfo()) {
            case "/count":
                response.getWriter().print(count(request.getSession()));
                break;
            case "/end":
                request.getSession().invalidate();
                response.getWriter().print("{}");
                break;
            case "/where":
                response.getWriter().print(where(request.getParameter("id")));
                break;
            default:
                response.sendError(404);
            }
        }

        private String count(HttpSession session) {
            Integer n = (Integer) session.getAttribute("n");

            n = n == null ? 1 : n + 1;
            session.setAttribute("n", n);
            return "{\"route\": \"" + route + "\", \"id\": \"" + session.getId() + "\", \"n\": " + n +
                ", \"new\": " + session.isNew() + "}";
        }

        private String where(String id) {
            try {
                Manager manager = context.getManager();
                Field field = ManagerBase.class.getDeclaredField("sessions");

                field.setAccessible(true);
                return field.get(manager) instanceof AbstractReplicatedMap<?, ?> map
                    ? inMap(map, id) : inMemory(manager, id);
            } catch (ReflectiveOperationException e) {
                return "{\"role\": \"" + e + "\", \"n\": null}";
            }
        }

        /** BackupManager's map, without its methods that fetch what they do not have. */
        private static String inMap(AbstractReplicatedMap<?, ?> map, String id) {
            for (Object key : map.keySetFull()) {
                AbstractReplicatedMap.MapEntry<?, ?> entry = map.getInternal(key);

                if (key.toString().startsWith(id) && entry != null) {
                    return found(entry.isPrimary() ? "primary" : entry.isBackup() ? "backup" : "proxy",
                                 entry.getValue());
                }
            }
            return found("none", null);
        }

        private static String inMemory(Manager manager, String id) {
            for (Session session : manager.findSessions()) {
                if (session.getIdInternal().startsWith(id)) {
                    return found("copy", session);
                }
            }
            return found("none", null);
        }

        private static String found(String role, Object copy) {
            Object n = null;

            if (copy instanceof Session session) {
                try {
                    n = session.getSession().getAttribute("n");
                } catch (IllegalStateException e) {
                    n = null; // it has ended
                }
            }
            return "{\"role\": \"" + role + "\", \"n\": " + n + "}";
        }
    }

    private static GroupChannel channel(Map<String, String> args) throws Exception {
        GroupChannel channel = new GroupChannel();
        ReceiverBase receiver = (ReceiverBase) channel.getChannelReceiver();

        receiver.setAddress(args.get("host"));
        receiver.setPort(Integer.parseInt(args.get("port")));
        receiver.setAutoBind(1);
        if (args.containsKey("group")) {
            String[] group = args.get("group").split(":");
            McastService service = new McastService();

            service.setAddress(group[0]);
            service.setPort(Integer.parseInt(group[1]));
            service.setMcastBindAddress(args.get("bind"));
            service.setFrequency(200);
            service.setDropTime(1500);
            channel.setMembershipService(service);
        } else {
            StaticMembershipService service = new StaticMembershipService();

            service.setUseThread(true);
            service.setPingInterval(500);
            service.setExpirationTime(2000);
            for (String port : (args.get("members") + "," + args.get("port")).split(",")) {
                StaticMember member = new StaticMember();

                member.setHost(InetAddress.getByName(args.get("host")).getHostAddress());
                member.setPort(Integer.parseInt(port));
                member.setUniqueId("{0,0,0,0,0,0,0,0,0,0,0,0,0,0," +
                    (Integer.parseInt(port) >> 8 & 0x7f) + "," + (Integer.parseInt(port) & 0x7f) + "}");
                service.addStaticMember(member);
            }
            channel.setMembershipService(service);
        }
        return channel;
    }

    public static void main(String[] argv) throws Exception {
        Map<String, String> args = new HashMap<>();

        for (String arg : argv) {
            args.put(arg.substring(0, arg.indexOf('=')), arg.substring(arg.indexOf('=') + 1));
        }
        Tomcat tomcat = new Tomcat();
        SimpleTcpCluster cluster = new SimpleTcpCluster();
        ClusterManager manager =
            args.get("manager").equals("backup") ? new BackupManager() : new DeltaManager();
        Connector connector = new Connector();

        tomcat.setBaseDir(args.get("base"));
        tomcat.setHostname("localhost");
        connector.setPort(Integer.parseInt(args.get("http")));
        connector.setProperty("address", args.get("host"));
        connector.setProperty("maxThreads", "20");
        connector.setProperty("minSpareThreads", "2");
        tomcat.setConnector(connector);
        tomcat.getEngine().setJvmRoute(args.get("route"));
        cluster.setChannel(channel(args));
        cluster.setManagerTemplate(manager);
        tomcat.getEngine().setCluster(cluster);
        new File(args.get("base"), "app").mkdirs();

        Context context = tomcat.addContext("/app", new File(args.get("base"), "app").getAbsolutePath());

        context.setDistributable(true);
        Tomcat.addServlet(context, "app", new App(args.get("route"), context)).addMapping("/*");
        tomcat.start();
        System.out.println("ready");
        while (true) {
            int c = System.in.read();

            if (c < 0 || c == '\n') {
                break;
            }
        }
        tomcat.stop();
        tomcat.destroy();
        System.exit(0);
    }
}
