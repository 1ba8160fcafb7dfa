# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Members that find each other by multicast, and strangers on their group."""

import os
import random
import socket
import threading
import time

import pytest

from node import HERE, SECRET, free_port, wait_until

pytestmark = pytest.mark.skipif(SECRET, reason="what plain datagrams do; others are in test_secret.py")

VECTORS = os.path.join(os.path.dirname(HERE), "vectors")


def group():
    return f"239.{random.randint(1, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}", \
        free_port()


def multicast(address, port):
    return (f"multicast address={address} port={port} bind=127.0.0.1 frequency=200 "
            "dropTime=1500")


class Group:
    """A socket in a multicast group, on loopback or on the interface that has an address."""

    def __init__(self, address, port, interface="127.0.0.1"):
        self.to = (address, port)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("", port))
        lo = socket.inet_aton(interface)
        self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                             socket.inet_aton(address) + lo)
        self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, lo)
        self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        self.sock.settimeout(0.1)

    def send(self, data):
        self.sock.sendto(data, self.to)

    def heard(self, seconds):
        end, found = time.monotonic() + seconds, []
        while time.monotonic() < end:
            try:
                found.append(self.sock.recv(65536))
            except socket.timeout:
                pass
        return found

    def close(self):
        self.sock.close()


def test_multicast_membership(farm):
    address, port = group()
    cluster = farm.cluster(2, membership=multicast(address, port)).start()
    a, b = cluster.nodes
    one = a.client()
    one.op("set=a:1")
    assert b.client(cookies=one.cookies).values() == {"a": "1"}

    # a good-bye is quicker than silence
    begin = time.monotonic()
    assert b.stop()
    wait_until(lambda: a.lost("n2"), 5, "B left")
    assert time.monotonic() - begin < 6
    b.start()
    cluster.wait_together()
    assert b.client(cookies=one.cookies).values() == {"a": "1"}

    # noise on the group disturbs nobody
    noise = Group(address, port)
    rng = random.Random(1)
    refused = a.count("datagrams_refused")
    try:
        for size in (0, 1, 13, 14, 80, 1400, 60000):
            noise.send(rng.randbytes(size))
            noise.send((b"TRIBES-B\x01\x00" + rng.randbytes(size))[:60000])
        wait_until(lambda: a.count("datagrams_refused") >= refused + 10, 5, "noise counted")
    finally:
        noise.close()
    assert a.sees("n2") and b.sees("n1")

    b.kill9()
    wait_until(lambda: a.lost("n2"), 10, "B died")
    b.start()
    cluster.wait_together()
    one.op("set=a:2")
    assert b.client(cookies=one.cookies).values() == {"a": "2"}


def test_foreign_group_is_not_joined(farm):
    """A Tomcat cluster on the group: we stay silent and say why."""
    with open(os.path.join(VECTORS, "mcast-member-heartbeat.bin"), "rb") as f:
        heartbeat = f.read()
    address, port = group()
    tomcat = Group(address, port)
    stop = threading.Event()

    def beat():
        while not stop.wait(0.1):
            tomcat.send(heartbeat)
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        cluster = farm.cluster(1, membership=multicast(address, port))
        node = cluster[0]
        node.launch().wait_listening()
        heard = tomcat.heard(3)
        assert heard and set(heard) == {heartbeat}, "nothing of ours on that group"
        line = node.wait_log(r".*error.*(?i:foreign|tomcat|tribes).*").group(0)
        assert str(port) in line or address in line or "127.0.0.1" in line, line
        # alone, but it serves
        wait_until(lambda: node.state() == "ready", 10, "ready, alone")
        one = node.client()
        one.op("set=a:1")
        assert one.values() == {"a": "1"}
        assert node.sees()
    finally:
        stop.set()
        thread.join()
        tomcat.close()


def test_foreign_member_that_comes_later(farm):
    with open(os.path.join(VECTORS, "mcast-member-heartbeat.bin"), "rb") as f:
        heartbeat = f.read()
    address, port = group()
    cluster = farm.cluster(2, membership=multicast(address, port)).start()
    tomcat = Group(address, port)
    try:
        tomcat.send(heartbeat)
        for node in cluster.nodes:
            node.wait_log(r".*error.*(?i:foreign|tomcat|tribes).*")
    finally:
        tomcat.close()
    one = cluster[0].client()
    one.op("set=a:1")
    wait_until(lambda: cluster[1].client(cookies=one.cookies).values() == {"a": "1"}, 5, "still replicating")
