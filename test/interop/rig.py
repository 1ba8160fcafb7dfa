# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The two peers, what goes on between them, and a network of their own.

Peers are told what to do by lines on their standard input and say what happens by lines on their
standard output (see Peer.java and peer.c). They end when their standard input does, so none is left
behind even when the test run is killed."""

import collections
import ctypes
import hashlib
import itertools
import os
import random
import re
import select
import socket
import subprocess
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
BUILT = os.environ.get("SC_INTEROP", os.path.join(TREE, "out", "interop"))
TRIBES = os.environ.get("SC_TRIBES", "/usr/share/java/tomcat10-tribes.jar:"
                                     "/usr/share/java/tomcat10-juli.jar")
PATIENCE = 60.0  # seconds for what must happen; only a failing test waits so long

ACK = bytes.fromhex("464c54323030320000000306020354") + b"LF2003"
FAIL_ACK = bytes.fromhex("464c5432303032000000030b000554") + b"LF2003"
USE_ACK, ASYNC = 2, 8

CLONE_NEWNET = 0x40000000


# ---- the network ---------------------------------------------------------------------------------

class NoNamespaces(Exception):
    """Network namespaces cannot be made here."""


def enter_namespace():
    """From here on this thread, and all that it starts, has a loopback of its own. It goes when the
    last process in it does."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise NoNamespaces(os.strerror(ctypes.get_errno()))
    for command in ("link set lo up", "link set lo multicast on", "route add 224.0.0.0/4 dev lo"):
        done = subprocess.run(["ip", *command.split()], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoNamespaces(f"ip {command}: {done.stderr.strip()}")


_ports = set()


def free_port():
    """Below the ephemeral range, so that no outgoing connection takes it meanwhile."""
    while True:
        port = random.randint(12000, 31000)
        with socket.socket() as s:
            if port not in _ports:
                try:
                    s.bind(("127.0.0.1", port))
                except OSError:
                    continue
                _ports.add(port)
                return port


def wait_until(condition, what, timeout=PATIENCE):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {timeout} s")
        time.sleep(0.02)


# ---- messages ------------------------------------------------------------------------------------

class Message:
    """Bytes in a file that a peer can be told to send, and what is said of them on arrival."""

    def __init__(self, folder, data):
        self.data = data
        self.said = f"{len(data)} {hashlib.sha1(data).hexdigest()}"
        self.path = os.path.join(folder, hashlib.sha1(data).hexdigest())
        with open(self.path, "wb") as f:
            f.write(data)


def both_ways(pair):
    return (pair, pair[::-1])


# ---- frames --------------------------------------------------------------------------------------

Frame = collections.namedtuple("Frame", "options id sender body raw")  # sender: host:port


def frames(data):
    """The whole frames that these bytes begin with (tribes-protocol 2.1, 2.2), and what is left."""
    found, data = [], bytes(data)
    while len(data) >= 11:
        assert data[:7] == b"FLT2002", data[:64].hex()
        end = 11 + int.from_bytes(data[7:11], "big")
        if len(data) < end + 7:
            break
        assert data[end:end + 7] == b"TLF2003", data[:64].hex()
        found.append(_frame(data[11:end], data[:end + 7]))
        data = data[end + 7:]
    return found, data


def _frame(data, raw):
    parts, at = [], 12
    for _ in range(3):  # id, member, body
        size = int.from_bytes(data[at:at + 4], "big")
        parts.append(data[at + 4:at + 4 + size])
        at += 4 + size
    ident, member, body = parts
    host = socket.inet_ntoa(member[35:39])
    return Frame(int.from_bytes(data[:4], "big"), ident,
                 f"{host}:{int.from_bytes(member[22:26], 'big')}", body, raw)


# ---- events --------------------------------------------------------------------------------------

class Events:
    """Lines that a peer has said so far. `wait` finds one of them, or one that is still to come."""

    def __init__(self, title):
        self.title = title
        self.lines = []
        self.ended = False
        self.changed = threading.Condition()

    def add(self, line):
        with self.changed:
            self.lines.append(line)
            self.changed.notify_all()

    def end(self):
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def count(self, pattern):
        with self.changed:
            return sum(bool(re.fullmatch(pattern, line)) for line in self.lines)

    def wait(self, pattern, timeout=PATIENCE, times=1):
        """The match of a line, the last one of `times`."""
        end = time.monotonic() + timeout
        with self.changed:
            while True:
                found = [m for m in (re.fullmatch(pattern, line) for line in self.lines) if m]
                if len(found) >= times:
                    return found[times - 1]
                left = end - time.monotonic()
                if left <= 0 or self.ended or any(x.startswith("broken") for x in self.lines):
                    raise AssertionError(
                        f"{self.title}: no \"{pattern}\"" + (f" x{times}" if times > 1 else "") +
                        (" before it ended" if self.ended else f" within {timeout} s") +
                        "; it said:\n  " + "\n  ".join(self.lines[-40:]))
                self.changed.wait(left)


class Process:
    """A program at the other end of two pipes."""

    def __init__(self, command, log, heard, over):
        self.log = log
        self.heard = heard  # called with each line
        self.over = over    # called at its end
        self.killed = False  # by the test
        with open(log, "ab") as err:
            self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                          stderr=err)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.child.stdout:
            self.heard(line.decode("utf-8", "replace").rstrip("\n"))
        self.over()

    def tell(self, line):
        self.child.stdin.write(line.encode() + b"\n")
        self.child.stdin.flush()

    def signal(self, number):
        self.child.send_signal(number)

    def kill(self):
        """What a test does to one that is to be missed by the others."""
        self.killed = True
        self.end()

    def end(self):
        """Ended, however it was."""
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is self.child.stdout:
                self.reader.join(5)
            try:
                pipe.close()
            except OSError:
                pass


class Peer:
    """What both kinds have."""

    def __init__(self, port):
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self.tags = itertools.count()
        self.group = None
        self.events = Events(f"{type(self).__name__} {self.address}")
        self.wait = self.events.wait

    def tell(self, line):
        raise NotImplementedError

    def send(self, message, to, options):
        """@return a pattern whose line says how it ended"""
        tag = f"t{next(self.tags)}"
        to = to if isinstance(to, str) else to.address
        self.tell(f"send {tag} {options} {to} {message.path}")
        return f"sent {tag} (.*)"

    def send_ok(self, message, to, options):
        ended = self.wait(self.send(message, to, options)).group(1)
        assert ended == "ok", f"{self.events.title}: options {options}: {ended}"

    def got(self, message, sender, options=r"\d+", times=1, timeout=PATIENCE):
        """It has arrived. @return the options that were on the wire"""
        m = self.wait(f"message {re.escape(sender.address)} ({options}) {message.said}", timeout,
                      times)
        return int(m.group(1))

    def said(self, pattern):
        """How often it has said so, up to its answer to a question that is put to it now."""
        self.members()
        return self.events.count(pattern)

    def sees(self, other, times=1):
        return self.wait(f"added {re.escape(other.address)} (.*)", times=times)

    def lost(self, other, times=1):
        self.wait(f"gone {re.escape(other.address)}", times=times)

    def members(self):
        """Addresses of all that it takes for members."""
        before = self.events.count("members.*")
        self.tell("members")
        return set(self.wait("members ?(.*)", times=before + 1).group(1).split())

    def coordinator(self):
        """Who it takes for the group's coordinator: a route, an address or "none"."""
        before = self.events.count("coordinator .*")
        self.tell("coordinator")
        return self.wait("coordinator (.*)", times=before + 1).group(1)

    def close(self):
        """A graceful leave."""
        self.tell("close")
        self.left()

    def left(self):
        """It has done what it was told, and all of it."""
        self.wait("closed")


def arguments(port, options):
    """key=value words; an underscore stands for a dot, lists repeat the key."""
    words = [f"port={port}"]
    for key, value in options.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            words.append(f"{key.replace('_', '.')}={one}")
    return words


# ---- our side ------------------------------------------------------------------------------------

class Node(Peer):
    """This module's channel, a process of its own."""

    def __init__(self, log, port=None, **options):
        super().__init__(port or free_port())
        self.process = Process([os.path.join(BUILT, "peer"), *arguments(self.port, options)], log,
                               self.events.add, self.events.end)
        self.tell = self.process.tell
        self.kill = self.process.kill

    def counter(self, name):
        before = self.events.count(f"counter {name} .*")
        self.tell(f"counter {name}")
        return int(self.wait(rf"counter {name} (\d+)", times=before + 1).group(1))

    def left(self):
        super().left()
        ended = self.process.child.wait(PATIENCE)
        assert ended == 0, f"{self.events.title} ended with {ended}"  # a sanitizer complains so

    def logged(self, pattern):
        """A line of its log."""
        def look():
            with open(self.process.log, encoding="utf-8", errors="replace") as f:
                return re.search(pattern, f.read())
        wait_until(look, f"{self.events.title}: a line \"{pattern}\" in its log")


# ---- Tomcat's side -------------------------------------------------------------------------------

class Jvm(Process):
    """One Java machine with any number of channels."""

    def __init__(self, log):
        self.channels = {}
        self.numbers = itertools.count()
        super().__init__(["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m",
                          "-Xshare:auto", "-Djava.net.preferIPv4Stack=true",
                          "-Duser.language=en",
                          "-Djava.util.logging.SimpleFormatter.format=%1$tF %1$tT %4$s %2$s: "
                          "%5$s%6$s%n", "-cp",
                          f"{BUILT}:{TRIBES}", "Peer"], log, self._heard, self._over)

    def _heard(self, line):
        name, _, event = line.partition(" ")
        if name in self.channels:
            self.channels[name].events.add(event)

    def _over(self):
        for channel in list(self.channels.values()):
            channel.events.end()


class Tomcat(Peer):
    """A channel of Tribes."""

    def __init__(self, jvm, port=None, **options):
        super().__init__(port or free_port())
        self.process = jvm
        self.dispatches = "MessageDispatch" in str(options.get("interceptor", "MessageDispatch"))
        self.name = f"c{next(jvm.numbers)}"
        jvm.channels[self.name] = self
        self.tell(" ".join(["open", "host=127.0.0.1", *arguments(self.port, options)]))

    def tell(self, line):
        self.process.tell(f"{self.name} {line}")

    def done(self, sent):
        """What its error handler hears of an asynchronous message. @param sent of `send`"""
        return self.wait(sent.replace("sent", "done", 1)).group(1)

    def send_ok(self, message, to, options):
        """Also to its end, when somebody else waits for that."""
        sent = self.send(message, to, options)
        ended = self.wait(sent).group(1)
        if ended == "ok" and options & ASYNC and self.dispatches:
            ended = self.done(sent)
        assert ended == "ok", f"{self.events.title}: options {options}: {ended}"


# ---- between them --------------------------------------------------------------------------------

# without a failure detector whose probes would be among what passes
PLAIN = {"interceptor": "MessageDispatch"}


class Group:
    """A multicast group on loopback, and what each side is told of it."""

    def __init__(self):
        self.address = f"239.{random.randint(1, 250)}.{random.randint(1, 250)}.7"
        self.port = free_port()
        self.node = {"membership": "multicast", "foreign": "accept"}
        self.tomcat = {"membership": "multicast",
                       "interceptor": ["MessageDispatch", "TcpFailureDetector"]}
        self.node["timeout"] = self.tomcat["sender_timeout"] = int(PATIENCE * 1000)
        for one in (self.node, self.tomcat):
            one.update(m_address=self.address, m_port=self.port, m_bind="127.0.0.1",
                       m_frequency=100, m_dropTime=int(PATIENCE * 1000))


def heartbeat(port, uid, alive, udp=-1):
    """Member data of a Tomcat at that port (tribes-protocol 1.1)."""
    body = (alive.to_bytes(8, "big") + port.to_bytes(4, "big") + b"\xff" * 4 +
            udp.to_bytes(4, "big", signed=True) + b"\4" + socket.inet_aton("127.0.0.1") +
            bytes(8) + uid + bytes(4))
    return b"TRIBES-B\1\0" + len(body).to_bytes(4, "big") + body + b"TRIBES-E\1\0"


class Relay:
    """Stands before a peer's ports, writes down what passes, and can keep the answers back, or the
    frames. Members of a group take it for a Tomcat of its own."""

    def __init__(self, to, group, udp=None, hold=False):
        self.to = to.port
        self.group = group
        self.sock = socket.create_server(("127.0.0.1", free_port()))
        self.port = self.sock.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.asked = []              # bytes, one piece for each connection
        self.answered = bytearray()  # also what was kept back
        self.hold = hold             # answers
        self.keep = False            # frames; they are acknowledged here, and wait in `kept`
        self.kept = []
        self.open = []
        self.over = threading.Event()
        self.datagrams = []          # that passed on UDP; a relay without `udp` announces no port
        self.datagram_answers = []
        self.udp_to = udp
        self.udp = None
        work = [self._accept, self._announce]
        if udp is not None:
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.bind(("127.0.0.1", 0))
            work.append(self._pass_datagrams)
        self.threads = [threading.Thread(target=one, daemon=True) for one in work]
        for thread in self.threads:
            thread.start()

    def _announce(self):
        uid, alive = random.randbytes(16), 1
        udp = self.udp.getsockname()[1] if self.udp else -1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                            socket.inet_aton("127.0.0.1"))
            while not self.over.wait(0.1):
                alive += 100
                sock.sendto(heartbeat(self.port, uid, alive, udp),
                            (self.group.address, self.group.port))

    def _accept(self):
        while True:
            try:
                one, _ = self.sock.accept()
                other = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            self.open += [one, other]
            self.asked.append(bytearray())
            threading.Thread(target=self._pass, args=(one, other, self.asked[-1], False),
                             daemon=True).start()
            threading.Thread(target=self._pass, args=(other, one, self.answered, True),
                             daemon=True).start()

    def _pass(self, source, target, notes, answers):
        rest = b""
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                notes += data
                if not answers and self.keep:
                    rest = self._keep(source, rest + data)
                elif not (answers and self.hold):
                    target.sendall(data)
        except OSError:
            pass
        for sock in (source, target):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _keep(self, source, data):
        found, rest = frames(data)
        for frame in found:
            self.kept.append(frame)
            if frame.options & USE_ACK:
                source.sendall(ACK)
        return rest

    def _pass_datagrams(self):
        """A socket for each sender of them, so that answers find back."""
        back = {}
        while not self.over.is_set():
            for sock in select.select([self.udp, *back], [], [], 0.1)[0]:
                try:
                    data, source = sock.recvfrom(65535)
                    if sock is not self.udp:
                        self.datagram_answers.append(data)
                        if not self.hold:
                            self.udp.sendto(data, back[sock])
                        continue
                    self.datagrams.append(data)
                    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    back[other] = source
                    other.connect(("127.0.0.1", self.udp_to))
                    other.send(data)
                except OSError:
                    pass  # nobody listens any more
        for sock in (self.udp, *back):
            sock.close()

    def frames(self, sender):
        """What that peer has sent here by now, on all connections."""
        return [frame for data in list(self.asked) for frame in frames(data)[0]
                if frame.sender == sender.address]

    def deliver(self, frame):
        """One that asks for it, on a connection of its own. @return how it is acknowledged"""
        with socket.create_connection(("127.0.0.1", self.to)) as sock:
            sock.settimeout(PATIENCE)
            sock.sendall(frame.raw)
            return sock.recv(21, socket.MSG_WAITALL)

    def deafen(self):
        """Nobody listens here any more; it still announces itself."""
        for sock in [self.sock] + self.open:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def close(self):
        self.over.set()
        self.deafen()


# ---- all that a test has opened ------------------------------------------------------------------

# what begins a record of Tomcat's log
RECORD = re.compile(r"^(?=\d{4}-\d\d-\d\d \d\d:|Exception in thread )", re.MULTILINE)


class Ring:
    """Opens peers for a test and ends them."""

    def __init__(self, folder, jvm, shared_log):
        self.folder = folder
        self.shared_jvm = jvm
        self.jvms = []
        self.nodes = []
        self.tomcats = []
        self.relays = []
        self.seed = random.Random(1)
        # what any Tomcat that closes may find, of its own connections
        self.expected = ["Probable cause: Keep alive socket closed"]
        # where this test's part of each log begins
        self.logs = {shared_log: os.path.getsize(shared_log) if os.path.exists(shared_log) else 0}

    def expect(self, *patterns):
        """Tomcat may complain about this. A test of whose end it may still do so has a Java machine
        of its own, with a log of its own."""
        self.expected += patterns

    def message(self, size_or_data):
        data = size_or_data
        if isinstance(data, int):
            data = self.seed.randbytes(data)
        return Message(self.folder, data)

    def node(self, port=None, ready=True, **options):
        log = os.path.join(self.folder, f"node{len(self.nodes)}.log")
        made = Node(log, port, **options)
        self.nodes.append(made)
        if ready:
            made.wait("ready")
        return made

    def jvm(self):
        """One of this test's own, which it may kill and whose log is its own."""
        log = os.path.join(self.folder, f"jvm{len(self.jvms)}.log")
        made = Jvm(log)
        self.jvms.append(made)
        self.logs[log] = 0
        return made

    def tomcat(self, jvm=None, ready=True, **options):
        made = Tomcat(jvm or self.shared_jvm(), **options)
        self.tomcats.append(made)
        if ready:
            made.wait("ready")
        return made

    def pair(self, node=(), tomcat=(), jvm=None):
        """One of each in a group of their own, members of each other."""
        group = Group()
        pair = (self.node(**{**group.node, **dict(node)}),
                self.tomcat(jvm, **{**group.tomcat, **dict(tomcat)}))
        for one, other in both_ways(pair):
            one.group = group
            one.sees(other)
        return pair

    def relay(self, to, *known_to, **options):
        """@param known_to waits until these see it"""
        made = Relay(to, to.group, **options)
        self.relays.append(made)
        for one in known_to:
            one.sees(made)
        return made

    def close(self):
        """All that the test has not killed leave, each of them in time and without complaint."""
        wrong = []
        for kind in (self.tomcats, self.nodes):  # no Tomcat is to say good-bye to who has left
            wrong += self._leave([one for one in kind
                                  if not one.process.killed and not one.events.count("closed")])
        for one in self.nodes + self.jvms:
            getattr(one, "process", one).end()
        for tomcat in self.tomcats:
            tomcat.process.channels.pop(tomcat.name, None)
        for relay in self.relays:
            relay.close()
        for log in self.logs:
            wrong += self.complaints(log)
        assert not wrong, "\n".join(wrong)

    @staticmethod
    def _leave(peers):
        wrong = []
        for one in peers:
            try:
                one.tell("close")
            except OSError:
                pass  # it is dead, as will be seen
        for one in peers:
            try:
                one.left()
            except (AssertionError, subprocess.TimeoutExpired) as e:
                wrong.append(f"at the end of the test: {e}")
                one.process.end()  # the next test gets a new one
        return wrong

    def log(self, path):
        """What this test has made somebody write."""
        if not os.path.exists(path):
            return ""
        with open(path, "rb") as f:
            f.seek(self.logs.get(path, 0))
            return f.read().decode("utf-8", "replace")

    def complaints(self, log):
        """Records of Tomcat's log that nobody has expected."""
        return [f"Tomcat's log: {record}" for record in RECORD.split(self.log(log))
                if re.search("SEVERE|Exception|Error", record) and
                not any(re.search(one, record) for one in self.expected)]

    def report(self):
        """What everybody said, for a failed test."""
        lines = []
        for peer in self.nodes + self.tomcats:
            lines += [f"== {peer.events.title}"] + peer.events.lines[-60:]
        for path in [node.process.log for node in self.nodes] + list(self.logs):
            lines += [f"== {path}"] + self.log(path).splitlines()[-40:]
        return "\n".join(lines)
