# Licensed under the Apache License, Version 2.0; see LICENSE.
"""SessionClusterSecret: nodes that share one, and strangers who do not."""

import os
import re
import resource
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from node import (HTTPD, MEMBERSHIP, free_port, proc_parent, read_file, send_signal,
                  wait_until)
from test_members import NamedCluster, names, resolver, some_addresses  # noqa: F401 (a fixture)
from test_multicast import Group, group, multicast

SHAKE = b"FLT2002\x00\x00\x00\x6eSCS1\x01\x01"  # how a hello begins


# ---- parts ---------------------------------------------------------------------------------------

class Secrets:
    """Files with secrets, as an administrator would keep them."""

    def __init__(self, farm):
        self.folder = os.path.join(farm.root, f"secrets-{secrets.token_hex(4)}")
        os.mkdir(self.folder, 0o700)
        self.values = []

    def new(self, name, text=None, mode=0o600):
        value = text if text is not None else secrets.token_hex(32)
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(value + "\n")
        os.chmod(path, mode)
        self.values.append(value)
        return path


def cluster_of(farm, n=2, membership=MEMBERSHIP, **kw):
    """Nodes with one secret, started."""
    kept = Secrets(farm)
    line = f"SessionClusterSecret file:{kept.new('one')}\n"
    made = farm.cluster(n, membership=membership, directives=line, **kw)
    for one in made.balancers:
        one.directives += line
    made.secrets = kept
    return made


class Forwarder:
    """In the place of one node, at the address of another one: records what passes, and changes
    what it is told to. What it accepts comes from there, its own connections start in the hub."""

    def __init__(self, lab, place, to):
        self.to = (to.cluster_host, to.rx_port)
        self.record = {"there": [], "back": []}  # bytes of each connection, in its order
        self.change = None                       # (way, data) -> data
        self.open = set()
        self.lock = threading.Lock()
        lab.borrow(place, to.place)
        self.listener = lab.inside_of(place, self.listen)
        self.threads(self.accept)

    @staticmethod
    def threads(target, *args):
        threading.Thread(target=target, args=args, daemon=True).start()

    def listen(self):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(self.to)
        sock.listen(200)
        return sock

    def accept(self):
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            self.threads(self.serve, here)

    def serve(self, here):
        there = socket.socket()
        bufs = {"there": bytearray(), "back": bytearray()}
        sides = {here: (there, "there"), there: (here, "back")}
        try:
            there.connect(self.to)
            with self.lock:
                self.open |= {here, there}
                for way, buf in bufs.items():
                    self.record[way].append(buf)
            while True:
                for one in select.select(list(sides), [], [], 60)[0]:
                    other, way = sides[one]
                    data = one.recv(65536)
                    if not data:
                        return
                    bufs[way] += data
                    other.sendall(self.change(way, data) if self.change else data)
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.open -= {here, there}
            here.close()
            there.close()

    def streams(self, way):
        with self.lock:
            return [bytes(b) for b in self.record[way]]

    def cut(self):
        """End all connections; members make new ones."""
        with self.lock:
            for one in self.open:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.listener.close()
        self.cut()


def in_the_middle(farm, lab, **kw):
    """Two nodes that talk through forwarders only."""
    kept = Secrets(farm)
    line = f"SessionClusterSecret file:{kept.new('one')}\n"
    cluster = farm.cluster(2, directives=line, lab=lab, **kw)
    cluster.secrets = kept
    a, b = cluster.nodes
    middle = [Forwarder(lab, a.place, b), Forwarder(lab, b.place, a)]
    return cluster, middle


class Writer:
    """Somebody who goes on using a session through all of it: every write must be there after."""

    def __init__(self, node, other):
        self.client = node.client()
        self.client.op("set=count:0")
        self.node = node
        self.other = other
        self.errors = []
        self.slowest = 0.0
        self.count = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    @staticmethod
    def members_stay(node):
        """That nobody has been given up, not for a moment either."""
        said = [line for line in node.log().splitlines() if "SC0404" in line]
        assert not said, said

    def run(self):
        while not self.stopping.is_set():
            begin = time.monotonic()
            try:
                reply = self.client.op(f"set=count:{self.count + 1}")
                if reply.status != 200:
                    raise ValueError(repr(reply))
                self.count += 1
                value = self.other.client(cookies=self.client.cookies).values().get("count")
                if value != str(self.count):
                    self.errors.append(f"{value} instead of {self.count}")
            except (OSError, ValueError, AssertionError) as e:
                self.errors.append(repr(e))
            self.slowest = max(self.slowest, time.monotonic() - begin)
            time.sleep(0.01)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            wait_until(lambda: self.count > 9 or self.errors, 20, "writes")
        self.stopping.set()
        self.thread.join(30)
        if kind is None:
            assert not self.errors, self.errors[:5]


def connect(node, source=None):
    sock = socket.socket()
    if source:
        sock.bind((source, 0))
    sock.settimeout(10)
    sock.connect((node.cluster_host, node.rx_port))
    return sock


def closed(sock, timeout=10):
    """Whether the other side closes it, and what it said before."""
    sock.settimeout(timeout)
    said = b""
    try:
        while True:
            data = sock.recv(65536)
            if not data:
                return True, said
            said += data
    except ConnectionError:
        return True, said
    except socket.timeout:
        return False, said


# ---- members -------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["static", "multicast"])
def test_members_with_a_secret(farm, kind, manager):
    membership = MEMBERSHIP if kind == "static" else multicast(*group())
    cluster = cluster_of(farm, 3, membership, options=manager, balancers=1)
    cluster.start()
    cluster.wait_settled()
    browser = cluster.balancer.client()
    browser.op("set=a:1")
    for node in cluster.nodes:
        assert node.client(cookies=browser.cookies).values() == {"a": "1"}
        status = node.status()
        assert status["node"]["encrypted"] is True
        assert status["counters"]["proven"] > 0
        for name in ("strangers", "frames_forged", "frames_refused"):
            assert status["counters"][name] == 0, name
    # a good-bye, a crash of an engine, a restart
    assert cluster[2].stop()
    wait_until(lambda: cluster[0].lost("n3"), 5, "n3 left")
    cluster[1].wait_new_engine(cluster[1].kill_engine())
    cluster[2].start()
    cluster.wait_settled()
    assert cluster[2].client(cookies=browser.cookies).values() == {"a": "1"}


def test_exec_and_two_lines(farm):
    kept = Secrets(farm)
    old, new = secrets.token_hex(32), secrets.token_hex(32)
    program = kept.new("program", f"#!/bin/sh\nprintf '%s\\n%s\\n' \"$1\" {old}", 0o700)
    both = kept.new("both", f"\n{old}\n\n  {new}  \r\n")
    cluster = farm.cluster(2)
    cluster[0].directives = f"SessionClusterSecret exec:{program} {new}\n"
    cluster[1].directives = f"SessionClusterSecret file:{both}\n"
    cluster.start()
    one = cluster[0].client()
    one.op("set=a:1")
    assert cluster[1].client(cookies=one.cookies).values() == {"a": "1"}


def test_rotation(farm):
    """New as the second one everywhere, then first everywhere, then the old one goes: no write is
    lost or refused, no session goes, nobody is taken for a stranger."""
    cluster = cluster_of(farm, 3)
    old = f"file:{cluster.secrets.folder}/one"
    new = f"file:{cluster.secrets.new('two')}"
    cluster.start()
    cluster.wait_settled()
    engines = {n.name: n.engine_pid() for n in cluster.nodes}
    sessions = [(i, cluster[0].client()) for i in range(20)]
    for i, one in sessions:
        one.op(f"set=a:{i}")
    with Writer(cluster[0], cluster[0]):
        for line in (f"{old} {new}", f"{new} {old}", new):
            for node in cluster.nodes:
                node.directives = f"SessionClusterSecret {line}\n"
                node.restart()
                pid = engines[node.name]
                wait_until(lambda n=node, p=pid: n.engine_pid() != p, 10, "engine replaced")
                engines[node.name] = node.engine_pid()
                cluster.wait_settled()
    for i, one in sessions:
        for node in cluster.nodes:
            assert node.client(cookies=one.cookies).values() == {"a": str(i)}
    for node in cluster.nodes:
        assert node.count("strangers") == 0 and node.count("frames_forged") == 0
        assert "SC0473" not in node.log()


# ---- who has none, or another one ----------------------------------------------------------------

@pytest.mark.parametrize("kind", ["static", "multicast"])
@pytest.mark.parametrize("other", ["none", "another"])
def test_another_secret(farm, kind, other):
    """It never joins; the members go on, and both sides' logs say what is wrong."""
    membership = MEMBERSHIP if kind == "static" else multicast(*group())
    cluster = cluster_of(farm, 3, membership)
    stranger = cluster[2]
    stranger.directives = "" if other == "none" else \
        f"SessionClusterSecret file:{cluster.secrets.new('two')}\n"
    for node in cluster.nodes:
        node.launch()
    for node in cluster.nodes:
        node.wait_ready()
    a, b = cluster.nodes[:2]
    wait_until(lambda: a.sees("n2") and b.sees("n1"), 15, "members")
    with Writer(a, b):
        for node in (a, b):
            name = "datagrams_forged" if kind == "multicast" else "strangers"
            wait_until(lambda n=node, c=name: n.count(c) > 3, 15, "strangers counted")
        assert a.sees("n2") and b.sees("n1") and stranger.sees()
    a.wait_log("SC0476" if kind == "multicast" else "SC0473")
    one = a.client()
    one.op("set=a:secret")
    assert stranger.client(cookies=one.cookies).values() == {}
    assert "BLOCKED" not in a.log() and "SC0432" not in a.log()


def recorded(farm, n=2):
    """A cluster that was recorded: everything a stranger could have heard before."""
    address, port = group()
    cluster = cluster_of(farm, n, multicast(address, port))
    ear = Group(address, port)
    return cluster, ear


def test_datagrams(farm):
    """Recorded, changed, forged: heartbeats, good-byes, and a dead member's."""
    cluster, ear = recorded(farm)
    a, b = cluster.start().nodes
    heard = ear.heard(1)
    assert b.stop()
    heard += ear.heard(1)
    byes = [d for d in heard if b"BABY-ALEX" in d]
    assert byes, "no good-bye was recorded"
    b.start()
    cluster.wait_together()
    try:
        with Writer(a, b):
            replayed, forged = a.count("datagrams_replayed"), a.count("datagrams_forged")
            for _ in range(3):
                for d in heard:
                    ear.send(d)
            # a's own words, the living b's words, and those of its former life, with its good-bye
            wait_until(lambda: a.count("datagrams_replayed") > replayed + 10, 10, "replays counted")
            living = ear.heard(1)
            newest = max((d for d in living if b"BABY" not in d), key=len)
            changed = bytearray(newest)
            for i in range(0, len(changed), 3):
                changed[i] ^= 1
                ear.send(bytes(changed))
                changed[i] ^= 1
            # a member of its own unique id, elsewhere: its words with another port, and a tail
            own = [d for d in living if b"n1" in d and b"BABY" not in d][-1]
            port = struct.pack(">I", a.rx_port)
            ear.send(own.replace(port, struct.pack(">I", a.rx_port + 1)))
            ear.send(own.replace(port, struct.pack(">I", a.rx_port + 1))[:-68] + newest[-68:])
            # its member data as a good-bye, without the tail, with another one's
            plain = newest[:newest.rindex(b"TRIBES-E") + 10]
            ear.send(plain)
            ear.send(plain + byes[0][-68:])
            ear.send(byes[0][:-68])
            wait_until(lambda: a.count("datagrams_forged") > forged + 20, 10, "forgeries counted")
            assert a.sees("n2") and b.sees("n1")
        assert "left" not in b.log() and a.log().count("member n2") == a.log().count("n2 (")
    finally:
        ear.close()
    a.wait_log("SC0476")


def test_dead_members_words(farm):
    """A node that starts later has never heard those who are dead: it may be told that they speak,
    and asks them; nobody answers with their unique id, not even at their old address."""
    cluster, ear = recorded(farm, 3)
    a, b, late = cluster.nodes
    for node in (a, b):
        node.launch()
    for node in (a, b):
        node.wait_ready()
    heard = [d for d in ear.heard(1) if d.count(b"TRIBES-B")]
    b.kill9()
    wait_until(lambda: a.lost("n2"), 15, "n2 is gone")
    late.start()
    try:
        end = time.monotonic() + 4
        while time.monotonic() < end:
            for d in heard:
                ear.send(d)
            assert not late.sees("n1", "n2"), "a dead member joined"
            assert late.view().get("n2", "gone") != "alive"
            time.sleep(0.05)
        # its next life is one that must not be driven out by its former one's words
        b.start()
        wait_until(lambda: late.sees("n1", "n2"), 15, "n2 is back")
        with Writer(b, late):
            for _ in range(20):
                for d in heard:
                    ear.send(d)
                assert late.sees("n1", "n2")
                time.sleep(0.05)
    finally:
        ear.close()


@pytest.mark.parametrize("first", ["living", "dead"])
def test_dead_life_elsewhere(farm, first):
    """A node that has come back at another address, and one that started since: who is dead has its
    route, and is older. It takes nobody's place, nor keeps anybody out."""
    cluster, ear = recorded(farm, 3)
    a, b, late = cluster.nodes
    for node in (a, b):
        node.launch()
    for node in (a, b):
        node.wait_ready()
    wait_until(lambda: a.sees("n2"), 15, "n2 is there")
    heard = [d for d in ear.heard(5) if b"n2" in d and b"BABY" not in d]
    assert len(heard) > 15
    b.kill9()
    b.rx_port = free_port()
    wait_until(lambda: a.lost("n2"), 15, "n2 is gone")

    try:
        if first == "living":
            b.start()
            late.start()
        else:  # it speaks before the living one says its first word, and goes on
            late.start()
            b.launch()
            for i, d in enumerate(heard):
                ear.send(d)
                time.sleep(0.2)
                if i > 10 and late.sees("n1", "n2"):
                    break
        wait_until(lambda: late.sees("n1", "n2") and a.sees("n2", "n3"), 20, "together")
        late.wait_log("SC0402: member n2")
        joined = late.log().count("SC0402: member n2")
        with Writer(b, late):
            # each has a number that rises, so each is news to who started since
            for d in heard[-12:]:
                ear.send(d)
                for _ in range(4):
                    assert late.sees("n1", "n2")
                    time.sleep(0.05)
            if first == "living":
                wait_until(lambda: late.count("newcomers_refused") > 0, 10, "counted")
        log = late.log()
        assert "SC0424" not in log and "SC0404" not in log
        assert log.count("SC0402: member n2") == joined
    finally:
        ear.close()


def test_flood_of_the_group(farm):
    cluster, ear = recorded(farm)
    a, b = cluster.start().nodes
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            for size in (0, 1, 80, 300, 1400, 5000, 60000):
                try:
                    ear.send(b"TRIBES-B\x01\x00" + b"x" * size)
                except OSError:
                    pass
    thread = threading.Thread(target=flood, daemon=True)
    try:
        with Writer(a, b):
            thread.start()
            begin = time.monotonic()
            wait_until(lambda: a.count("datagrams_forged") > 3000 and time.monotonic() > begin + 4,
                       60, "flood counted")
            assert a.sees("n2") and b.sees("n1")
    finally:
        stop.set()
        ear.close()
    assert len(re.findall("SC0476", a.log())) < 20


# ---- the receiver --------------------------------------------------------------------------------

def test_wire(farm, lab):
    """What a listener on the wire has: neither values nor ids, nor anything to use again."""
    cluster, middle = in_the_middle(farm, lab)
    a, b = cluster.start().nodes
    try:
        with Writer(a, b):
            one = a.client()
            one.op("set=password:correct-horse-battery")
            assert b.client(cookies=one.cookies).values() == {"password": "correct-horse-battery"}
            middle[1].cut()
            wait_until(lambda: len(middle[1].streams("there")) > 4, 15, "new connections")
            one.op("set=password:correct-horse-staple")
        sid = one.cookies["SID"].split(".")[0]
        wire = b"".join(m for f in middle for w in ("there", "back") for m in f.streams(w))
        assert len(wire) > 10000 and wire.count(b"FLT2002") > 50
        for text in (b"correct-horse", b"password", sid.encode(), bytes.fromhex(sid), b"count",
                     b"TRIBES-B", b"Local StaticMember", b"localhost", b"SCM1"):
            assert text not in wire, text
        # said again to a, whole and in parts, mixed, and its own words back to it
        streams = [x for x in middle[1].streams("there") if x.startswith(SHAKE)]
        assert len(streams) >= 4
        said = streams[:20]
        said += [x[:128] + y[128:] for x, y in zip(streams, streams[1:])][:10]
        said += [x[128:] for x in streams][:5] + [x for x in middle[0].streams("there")][:5]
        said += [x[:200] for x in streams][:5]
        def turned_away(node):  # some of it is for a former life, or another member
            return node.count("strangers") + node.count("misdirected")

        with Writer(a, b) as writer:
            for node in (a, b):
                before, proven = turned_away(node), node.count("proven")
                for data in said:
                    with connect(node) as sock:
                        sock.sendall(data)
                        ended, _ = closed(sock)
                        assert ended
                assert turned_away(node) >= before + len(said)
                assert node.count("proven") <= proven + 3  # probes, if any
                writer.members_stay(node)
        # nor has a node that was started anew since, and forgotten who was there, a use for it
        engine = a.engine_pid()
        a.kill_engine()
        a.wait_new_engine(engine)
        cluster.wait_together(20)
        before = turned_away(a)
        for data in said[:10]:
            with connect(a) as sock:
                sock.sendall(data)
                assert closed(sock)[0]
        assert turned_away(a) >= before + 10
    finally:
        for one in middle:
            one.close()


def test_changed_on_the_way(farm, lab):
    """Now and then a byte is another one, in whatever is said: connections end and begin again, and
    nobody sees a value that was not written, nor an acknowledgement that was not given."""
    cluster, middle = in_the_middle(farm, lab, options="SessionClusterSendOptions 6 timeout=5000\n")
    a, b = cluster.start().nodes
    cluster.wait_settled()
    rng = secrets.SystemRandom()
    hurt = {"there": 0, "back": 0}

    def change(way, data):
        if rng.random() > 0.04:
            return data
        hurt[way] += 1
        out = bytearray(data)
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
        return bytes(out)
    try:
        with Writer(a, b) as writer:
            for one in middle:
                one.change = change
            wait_until(lambda: hurt["there"] > 15 and hurt["back"] > 15, 60, "bytes changed")
            for one in middle:
                one.change = None
            cluster.wait_settled()
        for node in (a, b):
            assert node.client(cookies=writer.client.cookies).values() == \
                {"count": str(writer.count)}
        found = sum(n.count(c) for n in (a, b) for c in ("frames_forged", "strangers",
                                                        "frames_refused"))
        assert found > 10
        assert a.count("frames_forged") + b.count("frames_forged") > 0
    finally:
        for one in middle:
            one.close()


# ---- strangers at the receiver -------------------------------------------------------------------

GARBAGE = [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", b"FLT2002\x40\x00\x00\x00",
           b"FLT2002\x00\x00\x00\x03\x06\x02\x03TLF2003", SHAKE + b"x" * 200,
           b"FLT2002\x00\x00\x00\x6eSCS1\x02\x01", b"FLT2002" + struct.pack(">I", 1 << 30) +
           b"x" * 60000]


def in_plain(sender, body, options=0):
    """A frame as a member without a secret sends it."""
    data = struct.pack(">IQI", options | 1, int(time.time() * 1000), 16) + secrets.token_bytes(16)
    data += struct.pack(">I", len(sender)) + sender + struct.pack(">I", len(body)) + body
    return b"FLT2002" + struct.pack(">I", len(data)) + data + b"TLF2003"


def impostors(farm, a, b):
    """What would be believed if it was not asked for a proof: b's name, and a's own; who has heard
    the group has their data."""
    address, port = [(c.split("=")[1]) for c in a.membership.split() if c.startswith(("address", "port"))]
    ear = Group(address, int(port))
    try:
        heard = ear.heard(1)
    finally:
        ear.close()
    found = {}
    for d in heard:
        end = d.rindex(b"TRIBES-E") + 10
        found[b"n1" if b"n1" in d[:end] else b"n2"] = (d[:end], d[end + 4:end + 12], d[end + 12:end + 28])
    (mine, key_id, own_uid), (theirs, _, _) = found[b"n1"], found[b"n2"]
    hellos = [(SHAKE + key_id + uid + secrets.token_bytes(110))[:11 + 110] + b"TLF2003"
              for uid in (own_uid, b"")]
    return hellos + [in_plain(theirs, b"Local StaticMember Shutdown Data"), in_plain(mine, b"x", 6),
                     in_plain(theirs, b"SCM1" + secrets.token_bytes(200), 6)]


def test_garbage(farm):
    """Closed at once, without an answer, at no cost: what is no frame, and what would be a member's
    if there was no secret."""
    cluster = cluster_of(farm, membership=multicast(*group()))
    a, b = cluster.start().nodes
    garbage = GARBAGE + impostors(farm, a, b)
    before = a.count("strangers")
    with Writer(a, b) as writer:
        for data in garbage * 3:
            with connect(a) as sock:
                try:
                    sock.sendall(data)
                except ConnectionError:
                    pass
                ended, said = closed(sock)
                assert ended and said == b"", data[:30]
        assert a.sees("n2") and b.sees("n1")
        writer.members_stay(a)
        writer.members_stay(b)
    assert writer.slowest < 5
    assert a.count("strangers") == before + 3 * len(garbage)
    assert a.count("frames_refused") == 0 and "left" not in a.log()
    assert len(re.findall("SC0473", a.log())) < 5
    # one that says nothing is closed, too
    with connect(a) as sock:
        ended, said = closed(sock, 15)
        assert ended and said == b""


def test_half_open_connections(farm):
    """Ten thousand (or as many as this process may have) that prove nothing, from where the members
    are and from elsewhere; members come and go meanwhile."""
    cluster = cluster_of(farm, 3)
    a, b, late = cluster.nodes
    for node in (a, b):
        node.launch()
    for node in (a, b):
        node.wait_ready()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 12000), hard))
    many = min(10000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500)
    socks = []
    begun = threading.Event()

    def flood():
        for i in range(many):
            try:
                socks.append(connect(a, "127.0.0.1" if i % 4 == 0 else f"127.0.1.{i % 200 + 1}"))
                if i % 3 == 0:
                    socks[-1].sendall(SHAKE)
            except OSError:
                pass
            if i > many // 10:
                begun.set()
        begun.set()
    thread = threading.Thread(target=flood, daemon=True)
    try:
        with Writer(a, b) as writer:
            thread.start()
            begun.wait(60)
            late.launch()
            late.wait_ready(40)
            cluster.wait_together(30)
            thread.join(120)
            assert not thread.is_alive()
            assert len(socks) > many * 0.9
            wait_until(lambda: a.count("strangers") >= len(socks) - 200, 30, "strangers counted")
            assert len(a.fds(a.engine_pid())) < 500
            assert a.sees("n2", "n3") and b.sees("n1", "n3")
        assert writer.slowest < 10
    finally:
        for sock in socks:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(re.findall("SC0473", a.log())) < 30


# ---- where the secret must not be ----------------------------------------------------------------

def hkdf(secret):
    """The keys that follow from it (RFC 5869), as src/channel/secret.c derives them."""
    import hashlib  # pylint: disable=import-outside-toplevel
    import hmac  # pylint: disable=import-outside-toplevel

    def mac(key, data):
        return hmac.new(key, data, hashlib.sha256).digest()
    root = mac(b"mod_session_cluster secret 1", secret)
    return [root, mac(root, b"sc1 join\x01"), mac(root, b"sc1 datagram\x01")]


def memory_has(pid, needles):
    """Which of them are in the memory that a process could write to once."""
    found = set()
    with open(f"/proc/{pid}/maps", encoding="latin-1") as maps, \
            open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            where, perms = line.split()[:2]
            name = line.split()[5] if len(line.split()) > 5 else ""
            if "r" not in perms or name in ("[vvar]", "[vsyscall]") or name.endswith(".so"):
                continue
            start, end = (int(x, 16) for x in where.split("-"))
            while start < end:
                size = min(end - start, 1 << 24)
                try:
                    mem.seek(start)
                    data = mem.read(size + 64)
                except (OSError, ValueError, OverflowError):
                    break
                found |= {n for n in needles if n in data}
                start += size
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into others' memory")
@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_where_the_secret_is_not(farm, mpm):
    cluster = cluster_of(farm, 2, mpm=mpm)
    a, b = cluster.start().nodes
    one = a.client()
    one.op("set=a:1")
    a.restart()
    wait_until(lambda: b.sees("n1"), 10, "together")
    a.restart(signal.SIGHUP)
    one.op("set=a:2")
    secret = cluster.secrets.values[0].encode()
    keys = hkdf(secret)
    needles = [secret, bytes.fromhex(secret.decode())] + keys
    engine = a.engine_pid()
    others = [p for p in a.processes() if p not in (a.pid, engine)]
    workers = a.workers()
    assert len(workers) >= 2 and set(workers) <= set(others)
    # what is looked for can be found: where it has to be
    assert keys[0] in memory_has(a.pid, needles)
    assert keys[1] in memory_has(engine, needles)
    for pid in others:  # workers, and the daemon of mod_cgid
        assert not memory_has(pid, needles), read_file(f"/proc/{pid}/cmdline")
    for pid in (a.pid, engine):
        assert not {secret} & memory_has(pid, needles), "the secret itself was kept"
    for pid in a.processes():
        for name in ("cmdline", "environ", "comm"):
            assert secret not in read_file(f"/proc/{pid}/{name}")
    # no core file of the engine, and no look into it as its own user
    assert os.stat(f"/proc/{engine}/environ").st_uid == 0
    assert os.stat(f"/proc/{engine}").st_uid == 0 or proc_parent(engine) == a.pid
    # what an administrator sees
    for query in ("json", "prometheus", ""):
        reply = a.client().get(f"/sc-status?{query}")
        assert secret not in reply.body and keys[0].hex().encode() not in reply.body
    for node in (a, b):
        said = node.log() + node.tail()
        assert secret.decode() not in said and keys[0].hex() not in said


def test_the_resolver_has_no_keys(farm, names):  # noqa: F811
    """The process that looks up names for the engine speaks with strangers: it has none of them,
    neither the first one nor one that was made later."""
    kept = Secrets(farm)
    line = f"SessionClusterSecret file:{kept.new('one')}\n"
    a, b = NamedCluster(farm, names, some_addresses(2), directives=line).cluster.start().nodes
    one = a.client()
    one.op("set=a:1")
    assert b.client(cookies=one.cookies).values() == {"a": "1"}
    secret = kept.values[0].encode()
    keys = hkdf(secret)
    needles = [secret, bytes.fromhex(secret.decode())] + keys
    assert keys[1] in memory_has(a.engine_pid(), needles)
    (first,) = wait_until(lambda: resolver(a), 5, "a resolver")
    assert not memory_has(first, needles)
    send_signal(first, signal.SIGKILL)
    (later,) = wait_until(lambda: [p for p in resolver(a) if p != first], 10, "another resolver")
    assert not memory_has(later, needles)
    assert a.sees("n2") and b.sees("n1")


# ---- at configtest -------------------------------------------------------------------------------

def configtest(farm, line, extra=""):
    node = farm.node(f"c{secrets.token_hex(3)}")
    node.membership = "SessionClusterMembership static\nSessionClusterMember 127.0.0.1:4001\n"
    node.directives = line + "\n" + extra
    return node.configtest()


def test_wrong_files(farm):
    kept = Secrets(farm)
    good = kept.new("good")
    cases = [
        (f"file:{kept.new('group', mode=0o640)}", r"mode 640.*chmod 600"),
        (f"file:{kept.new('world', mode=0o604)}", r"mode 604"),
        (f"file:{kept.new('short', 'fifteen bytes..')}", r"15 bytes.*openssl rand -hex 32"),
        (f"file:{kept.new('long', 'x' * 1025)}", r"1025 bytes"),
        (f"file:{kept.new('huge', 'x' * 5000)}", r"longer than 4096"),
        (f"file:{kept.new('empty', '')}", r"holds no secret"),
        (f"file:{kept.new('three', chr(10).join(secrets.token_hex(16) for _ in range(3)))}",
         r"more than 2"),
        (f"file:{kept.new('twice', ('sixteen bytes or more' + chr(10)) * 2)}",
         r"there twice"),
        (f"file:{kept.new('same', 'y' * 20)}", r"fewer than 8 different.*openssl rand -hex 32"),
        (f"file:{kept.new('few', 'abcdefg' * 9)}", r"fewer than 8 different"),
        (f"file:{kept.new('nul', 'x' * 20 + chr(0))}", r"no text"),
        (f"file:{kept.folder}/nothing", r"cannot be read: .*No such file"),
        (f"file:{kept.folder}", r"is no file"),
        ("file:", r"cannot be read"),
        (f"file:{good} file:{good}", r"there twice"),
        (f"file:{good} {good}", r"is not file:path"),
        (f"file:{good} none", r"is not file:path"),
        ("none none", r"wants file:path"),
        ("swordfish", r"wants file:path.*exec:.*none"),
        ("", r"wants file:path"),
        ("exec:program", r"whole path"),
        (f"exec:{kept.folder}/nothing", r"is no program"),
        (f"exec:{kept.new('no-x')}", r"is no program"),
        (f"exec:{kept.new('by-all', '#!/bin/sh', 0o777)}", r"changed by others"),
        ("exec:/bin/false", r"failed \(exit code 1\)"),
        ("exec:/bin/echo too short", r"9 bytes"),
        ("exec:/usr/bin/yes 0123456789abcdef", r"more than 4096"),
        ("exec:/bin/echo $(id)-is-not-run-by-a-shell-$HOME; exec:/bin/ls", None),
    ]
    for args, message in cases:
        code, said = configtest(farm, f"SessionClusterSecret {args}")
        assert (code == 0) == (message is None), (args, said)
        if message:
            assert re.search(message, said, re.S), (args, said)
        for value in kept.values:
            assert len(value) < 16 or value.strip() not in said
    if os.geteuid() == 0:
        os.chown(good, 33, 33)
        code, said = configtest(farm, f"SessionClusterSecret file:{good}")
        assert code != 0 and "belongs to user 33" in said
        os.chown(good, 0, 0)
    code, said = configtest(farm, f"SessionClusterSecret file:{good}\nSessionClusterSecret none")
    assert code != 0 and "given twice" in said


def test_eight_different_bytes_will_do(farm):
    code, said = configtest(farm, f"SessionClusterSecret file:{Secrets(farm).new('hex', '01234567' * 4)}")
    assert code == 0, said


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root, setpriv")
def test_memory_that_cannot_be_locked(farm):
    """It is said that the keys could be swapped."""
    node = farm.node("unlocked", directives="SessionClusterSecret "
                     f"file:{Secrets(farm).new('one')}\n")
    node.membership = f"SessionClusterMembership {MEMBERSHIP}\nSessionClusterMember 127.0.0.1:1\n"
    node.write()
    for wrap in ([], ["prlimit", "--memlock=0", "setpriv", "--bounding-set=-ipc_lock"]):
        done = subprocess.run(wrap + [HTTPD, "-t", "-d", node.root, "-f", node.conf], check=False,
                              capture_output=True, text=True, timeout=30, env=node.environment())
        assert done.returncode == 0, done.stderr
        assert ("SC0645: the keys of SessionClusterSecret could be swapped" in done.stderr) == bool(
            wrap), done.stderr


def kept_keys(pid):
    """Where the parent keeps what is derived from the secret: its one page that no child gets."""
    with open(f"/proc/{pid}/smaps", encoding="ascii") as f:
        found = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw-p (?:.*\n)+?VmFlags: (.*)$", f.read(), re.M)
    return [(int(begin, 16), int(end, 16)) for begin, end, flags in found if "wf" in flags.split()]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write into another process")
def test_no_engine_without_its_keys(farm):
    """Better none than one that sends everything as it is."""
    cluster = cluster_of(farm).start()
    a, b = cluster.nodes
    pages = kept_keys(a.pid)
    assert pages
    for begin, end in pages:
        with open(f"/proc/{a.pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(begin)
            memory.write(bytes(end - begin))
    send_signal(a.engine_pid(), signal.SIGKILL)
    a.wait_log(r"SC0643: the keys of SessionClusterSecret are not there \(0 of 1\)")
    wait_until(lambda: b.lost("n1"), 10, "no member")
    a.restart()  # which reads the secret again
    a.wait_ready(30)
    cluster.wait_together(30)


def test_where_it_is_needed(farm):
    kept = Secrets(farm)
    line = f"SessionClusterSecret file:{kept.new('one')}\n"
    outside = "SessionClusterReceiver address=192.0.2.1\n"
    code, said = configtest(farm, "", outside)
    assert code != 0 and re.search(r"SC0109: .*SessionClusterSecret file:", said)
    code, said = configtest(farm, "SessionClusterSecret none", outside)
    assert code == 0 and "SC0125" in said
    code, said = configtest(farm, line, outside)
    assert code == 0 and "SC0125" not in said and "SC0109" not in said
    node = farm.node("alone", directives=line)
    code, said = node.configtest()
    assert code != 0 and "SC0126" in said
    node = farm.node("mcast", directives=line + "SessionClusterInterceptor MessageDispatch\n")
    node.membership = "SessionClusterMembership multicast bind=127.0.0.1\n"
    code, said = node.configtest()
    assert code != 0 and "SC0127" in said
    # a group that is joined elsewhere than on loopback, with a receiver on it
    node = farm.node("group", directives="")
    node.membership = "SessionClusterMembership multicast bind=192.0.2.1\n"
    code, said = node.configtest()
    assert code != 0 and "SC0109" in said
