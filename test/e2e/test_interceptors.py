# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Clusters whose messages are encrypted, compressed, cut in pieces, numbered and confirmed."""

import gzip
import os
import random
import re
import socket
import struct
import threading
import time
import uuid

import pytest

from client import Client
from node import SECRET, proc_rss, wait_until

IN_PLAIN = pytest.mark.skipif(SECRET, reason="no stranger gets as far as to the interceptors")

KEY = "000102030405060708090A0B0C0D0E0F1011121314151617"
OTHER_KEY = "F0E0D0C0B0A090807060504030201000FFEEDDCCBBAA9988"
LAST = ["MessageDispatch", "TcpFailureDetector"]

CHAINS = {
    "Encrypt": [f"Encrypt encryptionKey={KEY}"],
    "Encrypt CBC": [f"Encrypt encryptionKey={KEY} encryptionAlgorithm=AES/CBC/PKCS5Padding"],
    "Gzip": ["Gzip"],
    "Fragmentation": ["Fragmentation maxSize=500"],
    "Order": ["Order"],
    "TwoPhaseCommit": ["TwoPhaseCommit"],
    "all": ["Gzip", "Order", "TwoPhaseCommit", "Fragmentation maxSize=500",
            f"Encrypt encryptionKey={KEY}"],
    "all, the other way round": [f"Encrypt encryptionKey={KEY}", "Fragmentation maxSize=500",
                                 "TwoPhaseCommit", "Order", "Gzip"],
}

REFUSED = ["decrypt_refused", "replays_refused", "inflate_refused", "fragments_refused",
           "held_refused", "held_expired"]


def lines(chain):
    return "".join(f"SessionClusterInterceptor {one}\n" for one in chain + LAST)


def on(node, browser):
    return node.client(cookies=browser.cookies)


def noise(n):
    """Text that does not get smaller."""
    return "".join(random.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
                   for _ in range(n))


@pytest.mark.parametrize("name", CHAINS)
def test_sessions_replicate_and_survive(farm, name):
    cluster = farm.cluster(3, directives=lines(CHAINS[name])).start()
    a, b, c = cluster.nodes
    cluster.wait_settled()

    # before the answer leaves a change is everywhere, small or much larger than a piece
    one = a.client(keep=True)
    for i in range(20):
        one.op(f"set=i:{i}")
        assert on(b, one).values()["i"] == str(i)
        assert on(c, one).values()["i"] == str(i)
    text = [noise(1000) for _ in range(6)]
    one.op("big=x:40000&" + "&".join(f"set=noise{i}:{t}" for i, t in enumerate(text)))
    for node in (b, c):
        held = on(node, one).values()
        assert held["x"] == "#40000" and [held[f"noise{i}"] for i in range(6)] == text
    many = [random.choice(cluster.nodes).client() for _ in range(50)]
    for i, browser in enumerate(many):
        browser.op(f"set=n:{i}&set=noise:{noise(1000)}")
    for node in cluster.nodes:
        assert node.count("degraded") == 0 and node.count("failed") == 0
        assert {r: node.count(r) for r in REFUSED} == dict.fromkeys(REFUSED, 0), node.tail()

    # a node dies, and what it had goes on
    a.kill9()
    for i, browser in enumerate(many):
        browser.port = b.port
        assert browser.values()["n"] == str(i)
    wait_until(lambda: b.lost("n1") and c.lost("n1"), 15, "n1 gone")
    for i, browser in enumerate(many):
        browser.op(f"set=n:{i + 1}")
        assert on(c, browser).values()["n"] == str(i + 1)

    # it comes back, and takes all of it over
    a.start()
    cluster.wait_settled()
    assert a.sessions() == 51
    for i, browser in enumerate(many):
        assert on(a, browser).values()["n"] == str(i + 1)
    browser = many[0]
    browser.port = a.port
    browser.op("set=back:1")
    assert on(b, browser).values()["back"] == "1"
    if name.startswith("Encrypt CBC"):
        a.wait_log("SC0491.*does not authenticate")
    for node in cluster.nodes:
        assert KEY.lower() not in (node.log() + str(node.status())).lower()


def test_graceful_stop_hands_everything_over(farm, manager):
    cluster = farm.cluster(2, directives=manager + lines(CHAINS["all"])).start()
    a, b = cluster.nodes
    cluster.wait_settled()
    browsers = [a.client() for _ in range(30)]
    for i, browser in enumerate(browsers):
        browser.op(f"set=n:{i}&set=noise:{noise(2000)}")
    assert a.stop()
    for i, browser in enumerate(browsers):
        browser.port = b.port
        assert browser.values()["n"] == str(i)


def test_another_key(farm):
    """They hear each other, and neither believes that the other has got anything."""
    cluster = farm.cluster(2, directives="SessionClusterManager delta stateTransferTimeout=2\n" +
                           lines([f"Encrypt encryptionKey={KEY}"]))
    a, b = cluster.nodes
    b.directives = b.directives.replace(KEY, OTHER_KEY)
    a.start()
    b.launch().wait_listening()
    wait_until(lambda: a.sees("n2") and b.sees("n1"), 20, "they hear each other")
    for node in (a, b):
        node.wait_log("SC0492.*encryptionKey", 20)
    one = a.client()
    one.op("set=secret:swordfish")
    assert a.count("degraded") + a.count("failed") > 0
    assert b.sessions() == 0
    for node in (a, b):
        assert node.count("decrypt_refused") > 0
        for page in ("/sc-status", "/sc-status?json"):
            text = (node.log() + Client(node.port).get(page).text).upper()
            assert KEY not in text and OTHER_KEY not in text


# ---- strangers -----------------------------------------------------------------------------------

def member(port):
    """Tribes' member data of somebody at 127.0.0.1."""
    body = struct.pack(">Qiii", 1000, port, -1, -1) + b"\x04\x7f\0\0\1" + bytes(8)
    body += uuid.uuid4().bytes + bytes(4)
    return b"TRIBES-B\x01\0" + struct.pack(">I", len(body)) + body + b"TRIBES-E\x01\0"


def frame(sender, body, options=1, ident=None):
    data = struct.pack(">IQI", options, int(time.time() * 1000), 16)
    data += (ident or uuid.uuid4().bytes) + struct.pack(">I", len(sender)) + sender
    data += struct.pack(">I", len(body)) + body
    return b"FLT2002" + struct.pack(">I", len(data)) + data + b"TLF2003"


def throw(node, frames):
    with socket.create_connection(("127.0.0.1", node.rx_port), timeout=10) as s:
        for one in frames:
            s.sendall(one)
        s.shutdown(socket.SHUT_WR)
        while s.recv(65536):
            pass


def endless_pieces():
    for _ in range(20):
        sender = member(random.randrange(1, 65535))
        ident = uuid.uuid4().bytes
        for i in range(150):
            yield frame(sender, os.urandom(100000) + struct.pack(">II", i, 1000000) + b"\1",
                        ident=ident)
    for _ in range(5000):
        yield frame(member(random.randrange(1, 65535)), b"x" + struct.pack(">II", 1, 2) + b"\1")


def bombs():
    bomb = gzip.compress(bytes(1 << 28), 9)
    for _ in range(3):
        yield frame(member(4000), bomb, options=1 | 0x100)
    yield frame(member(4000), bomb[:-9], options=1 | 0x100)
    yield frame(member(4000), b"no gzip at all", options=1 | 0x100)


def never_confirmed():
    for i in range(1500):
        yield frame(member(i % 20 + 1), os.urandom(200000))
    start, end = "7101C602DEC44BB29BF420E3206FD804", "36F35A6E2FE14BE8AFE32434C64D9238"
    for _ in range(10):  # and confirmations of nothing
        yield frame(member(4000), bytes.fromhex(start) + os.urandom(16) + bytes.fromhex(end))


def far_numbers():
    sender = member(4000)
    for i in range(1500):
        yield frame(sender, bytes(200000) + struct.pack(">I", 7 + 3 * i))
    for i in range(3):
        yield frame(sender, bytes(i))


def undecryptable():
    for i in range(1000):
        yield frame(member(i + 1), os.urandom(i))


@pytest.mark.parametrize("name, frames, counter, at_least", [
    ("Fragmentation", endless_pieces, "fragments_refused", 10),
    ("Gzip", bombs, "inflate_refused", 5),
    ("TwoPhaseCommit", never_confirmed, "held_refused", 100),
    ("Order", far_numbers, "held_refused", 3),
    ("Encrypt", undecryptable, "decrypt_refused", 1000),
])
@pytest.mark.parametrize("secret", [False, True], ids=["plain", "secret"])
def test_strangers(farm, name, frames, counter, at_least, secret):
    """What strangers send costs them time, and the members nothing but a bounded piece of memory.
    With a secret it does not even get as far as to the interceptors."""
    if SECRET and not secret:
        pytest.skip("no stranger gets as far as to the interceptors")
    head = lines(CHAINS[name])
    if secret:
        path = os.path.join(farm.root, f"secret-{uuid.uuid4().hex}")
        with open(path, "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write(uuid.uuid4().hex + "\n")
        head += f"SessionClusterSecret file:{path}\n"
    cluster = farm.cluster(2, directives=head).start()
    a, b = cluster.nodes
    cluster.wait_settled()
    one = a.client()
    one.op("set=a:1")
    engine = b.engine_pid()
    before = proc_rss(engine)
    done, stop, wrong = [0], threading.Event(), []

    def write():
        while not stop.is_set():
            one.op(f"set=n:{done[0] + 1}")
            done[0] += 1
            value = on(b, one).values().get("n")
            if value != str(done[0]):
                wrong.append((value, done[0]))
    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        try:
            throw(b, frames())
        except ConnectionError:
            assert secret
        wait_until(lambda: done[0] > 3, 20, "writes beside it")
    finally:
        stop.set()
        thread.join(30)
    assert done[0] > 3 and not wrong, wrong
    one.op("set=a:2")
    assert on(b, one).values()["a"] == "2"
    wait_until(lambda: b.count("strangers" if secret else counter) >= (1 if secret else at_least), 10,
               counter)
    assert b.engine_pid() == engine, "the engine lives on"
    if "SC_PRELOAD" not in os.environ:  # a sanitizer keeps what is freed
        assert proc_rss(engine) - before < (16 << 20 if secret else 64 << 20)
    assert a.sees("n2") and b.sees("n1")
    assert b.sessions() == 1
    if secret:
        assert b.count(counter) == 0
        return
    complaints = re.findall(r"SC049\d", b.log())
    assert 1 <= len(complaints) <= 10, complaints


def record(port, during):
    """Whole frames that go to a port of this machine while something happens."""
    try:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    except PermissionError:
        pytest.skip("listening to the loopback interface needs CAP_NET_RAW")
    frames = []
    with tap:
        tap.bind(("lo", 0))
        tap.setblocking(False)
        during()
        while True:
            try:
                packet, (_, _, kind, _, _) = tap.recvfrom(65535)
            except BlockingIOError:
                return frames
            ip = packet[14:]
            if kind == socket.PACKET_OUTGOING or ip[0] >> 4 != 4 or ip[9] != socket.IPPROTO_TCP:
                continue
            tcp = ip[(ip[0] & 15) * 4:struct.unpack(">H", ip[2:4])[0]]
            if struct.unpack(">H", tcp[2:4])[0] == port:
                frames += re.findall(b"FLT2002.*?TLF2003", tcp[(tcp[12] >> 4) * 4:], re.S)


@IN_PLAIN
def test_recorded_traffic(farm):
    """What went to a node is played to it again, as it was and in another member's name."""
    cluster = farm.cluster(2, directives=lines(CHAINS["Encrypt"]),
                           options="SessionClusterSendOptions 6 timeout=10000\n").start()
    a, b = cluster.nodes
    cluster.wait_settled()
    one = a.client()
    one.op("set=a:0&set=word:swordfish")
    frames = record(b.rx_port, lambda: [one.op(f"set=a:{i}") for i in range(1, 6)])
    changes = [f for f in frames if f[11:15] == bytes([0, 0, 0, 7])]  # by their send options
    assert len(changes) >= 5 and all(b"swordfish" not in f and b"SCE1" not in f for f in frames)
    applied = b.count("applied")
    refused = b.count("replays_refused")
    throw(b, changes)
    throw(b, [f.replace(a.route.encode(), b"n9", 1) for f in changes])  # in the head
    wait_until(lambda: b.count("replays_refused") >= refused + 2 * len(changes), 10, "refused")
    assert on(b, one).values()["a"] == "5"
    assert b.count("applied") < applied + len(changes)  # accesses may have come meanwhile
    one.op("set=a:6")
    assert on(b, one).values()["a"] == "6"
    assert a.count("degraded") == 0
