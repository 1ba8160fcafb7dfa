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
import socket
import subprocess
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
BUILT = os.environ.get("SC_INTEROP", os.path.join(TREE, "out", "interop"))
TRIBES = os.environ.get("SC_TRIBES", "/usr/share/java/tomcat10-tribes.jar:"
                                     "/usr/share/java/tomcat10-juli.jar")
PATIENCE = 30.0  # seconds for what must happen; only a failing test waits so long

ACK = bytes.fromhex("464c54323030320000000306020354") + b"LF2003"
FAIL_ACK = bytes.fromhex("464c5432303032000000030b000554") + b"LF2003"

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

    def sees(self, other, times=1):
        return self.wait(f"added {re.escape(other.address)} (.*)", times=times)

    def lost(self, other, times=1):
        self.wait(f"gone {re.escape(other.address)}", times=times)

    def coordinator(self):
        """Who it takes for the group's coordinator: a route, an address or "none"."""
        before = self.events.count("coordinator .*")
        self.tell("coordinator")
        return self.wait("coordinator (.*)", times=before + 1).group(1)

    def close(self):
        """A graceful leave."""
        self.tell("close")
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

    def counter(self, name):
        before = self.events.count(f"counter {name} .*")
        self.tell(f"counter {name}")
        return int(self.wait(rf"counter {name} (\d+)", times=before + 1).group(1))

    def closed(self):
        return self.process.child.poll() is not None

    def close(self):
        super().close()
        assert self.process.child.wait(PATIENCE) == 0  # a sanitizer has nothing to complain about

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
                          "-Xshare:auto", "-Djava.net.preferIPv4Stack=true", "-cp",
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
        self.jvm = jvm
        self.name = f"c{next(jvm.numbers)}"
        jvm.channels[self.name] = self
        self.tell(" ".join(["open", "host=127.0.0.1", *arguments(self.port, options)]))

    def tell(self, line):
        self.jvm.tell(f"{self.name} {line}")

    def closed(self):
        return self.events.ended or self.events.count("closed")


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
        for one in (self.node, self.tomcat):
            one.update(m_address=self.address, m_port=self.port, m_bind="127.0.0.1",
                       m_frequency=100, m_dropTime=3000)


def heartbeat(port, uid=None, alive=1):
    """Member data of a Tomcat at that port (tribes-protocol 1.1)."""
    body = (alive.to_bytes(8, "big") + port.to_bytes(4, "big") + b"\xff" * 8 + b"\4" +
            socket.inet_aton("127.0.0.1") + bytes(8) + (uid or random.randbytes(16)) + bytes(4))
    return b"TRIBES-B\1\0" + len(body).to_bytes(4, "big") + body + b"TRIBES-E\1\0"


class Relay:
    """Stands before a peer's port, writes down what passes, and can keep the answers back. Members
    of a group take it for a Tomcat of its own."""

    def __init__(self, to, group):
        self.to = to.port
        self.group = group
        self.sock = socket.create_server(("127.0.0.1", free_port()))
        self.port = self.sock.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.asked = bytearray()     # all connections' bytes, one behind the other
        self.answered = bytearray()  # also what was kept back
        self.hold = False
        self.open = []
        self.over = threading.Event()
        for work in (self._accept, self._announce):
            threading.Thread(target=work, daemon=True).start()

    def _announce(self):
        uid, alive = random.randbytes(16), 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                            socket.inet_aton("127.0.0.1"))
            while not self.over.wait(0.1):
                alive += 100
                sock.sendto(heartbeat(self.port, uid, alive),
                            (self.group.address, self.group.port))

    def _accept(self):
        while True:
            try:
                one, _ = self.sock.accept()
                other = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            self.open += [one, other]
            threading.Thread(target=self._pass, args=(one, other, self.asked, False),
                             daemon=True).start()
            threading.Thread(target=self._pass, args=(other, one, self.answered, True),
                             daemon=True).start()

    def _pass(self, source, target, notes, answers):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                notes += data
                if not (answers and self.hold):
                    target.sendall(data)
        except OSError:
            pass
        for sock in (source, target):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def replay(self, frame):
        """The same bytes again on a connection of its own. @return how they are acknowledged"""
        with socket.create_connection(("127.0.0.1", self.to)) as sock:
            sock.settimeout(PATIENCE)
            sock.sendall(frame)
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

class Ring:
    """Opens peers for a test and ends them."""

    def __init__(self, folder, jvm):
        self.folder = folder
        self.shared_jvm = jvm
        self.jvms = []
        self.nodes = []
        self.tomcats = []
        self.relays = []
        self.seed = random.Random(1)
        self.logs = collections.OrderedDict()

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
        """One of this test's own, which it may kill."""
        made = Jvm(os.path.join(self.folder, f"jvm{len(self.jvms)}.log"))
        self.jvms.append(made)
        return made

    def tomcat(self, jvm=None, ready=True, **options):
        made = Tomcat(jvm or self.shared_jvm(), **options)
        self.tomcats.append(made)
        if ready:
            made.wait("ready")
        return made

    def pair(self, node=(), tomcat=()):
        """One of each in a group of their own, members of each other."""
        group = Group()
        pair = (self.node(**{**group.node, **dict(node)}),
                self.tomcat(**{**group.tomcat, **dict(tomcat)}))
        for one, other in (pair, pair[::-1]):
            one.group = group
            one.sees(other)
        return pair

    def relay(self, to, known_to):
        """@param known_to waits until this one sees it"""
        made = Relay(to, to.group)
        self.relays.append(made)
        known_to.sees(made)
        return made

    def close(self):
        for relay in self.relays:
            relay.close()
        for node in self.nodes:
            node.process.kill()
        for tomcat in self.tomcats:
            if not tomcat.closed() and tomcat.jvm.child.poll() is None:
                tomcat.tell("close")
        for tomcat in self.tomcats:
            if tomcat.jvm.child.poll() is None and tomcat.jvm not in self.jvms:
                try:
                    tomcat.wait("closed", 15)
                except AssertionError:
                    tomcat.jvm.kill()  # the next test gets a new one
            tomcat.jvm.channels.pop(tomcat.name, None)
        for jvm in self.jvms:
            jvm.kill()

    def report(self):
        """What everybody said, for a failed test."""
        lines = []
        for peer in self.nodes + self.tomcats:
            lines += [f"== {peer.events.title}"] + peer.events.lines[-60:]
        for node in self.nodes:
            with open(node.process.log, encoding="utf-8", errors="replace") as f:
                lines += [f"== log of {node.address}"] + f.read().splitlines()[-40:]
        return "\n".join(lines)
