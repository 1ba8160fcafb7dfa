# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Somebody without the secret, in a process of its own: stranger.py KIND ADDRESS PORT RATE SECONDS

half-open: connections that say nothing or the begin of a proof, of which many are kept;
garbage: connections with a frame that is said to be 1 GiB long, and 60 KB of it; datagrams: into a
multicast group on loopback, some with the marker of membership, some as a member said it there, but
for a bit, so that the whole proof has to be checked. RATE of them a second, for so long.

With "sink tcp" or "sink udp" for KIND it is who is bothered instead of a member: takes what comes
and throws it away. What it has done it prints as JSON when it ends."""

import collections
import json
import os
import socket
import struct
import sys
import time

KEPT = 2000
SHAKE = b"FLT2002\x00\x00\x00\x69SCS1\x02\x01"
LONG = b"FLT2002" + struct.pack(">I", 1 << 30) + b"x" * 60000
BATCH = 0.005  # seconds


def group_socket(address, port=None):
    """@param port it is to hear what comes there, too"""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    lo = socket.inet_aton("127.0.0.1")
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, lo)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
    if port is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(address) + lo)
    return sock


class HalfOpen:
    def __init__(self, address, port):
        self.to = (address, port)
        self.open = collections.deque()

    def once(self, number):
        sock = socket.create_connection(self.to, timeout=5)
        if number % 3 == 0:
            sock.sendall(SHAKE)
        self.open.append(sock)
        if len(self.open) > KEPT:
            self.open.popleft().close()


class Garbage:
    def __init__(self, address, port):
        self.to = (address, port)

    def once(self, number):
        with socket.create_connection(self.to, timeout=5) as sock:
            sock.sendall(LONG)


class Datagrams:
    SIZES = (0, 1, 80, 300, 1400)

    def __init__(self, address, port):
        self.to = (address, port)
        self.heard = bytearray(os.urandom(400))
        with group_socket(address, port) as ear:
            ear.settimeout(1)
            try:
                self.heard = bytearray(ear.recv(65536))
            except TimeoutError:  # nobody speaks there
                pass
        self.heard[-1] ^= 1
        self.sock = group_socket(address)

    def once(self, number):
        if number % 3 == 0:
            self.sock.sendto(self.heard, self.to)
            return
        head = b"TRIBES-B\x01\x00" if number % 2 else b""
        self.sock.sendto(head + os.urandom(self.SIZES[number % len(self.SIZES)]), self.to)


KINDS = {"half-open": HalfOpen, "garbage": Garbage, "datagrams": Datagrams}


def bother(kind, address, port, rate, seconds):
    one = KINDS[kind](address, port)
    begin = time.monotonic()
    tried = done = 0
    while (passed := time.monotonic() - begin) < seconds:
        while tried < passed * rate and time.monotonic() - begin < seconds:
            try:
                one.once(tried)
                done += 1
            except OSError:  # refused, or closed before all was said: as it should be
                pass
            tried += 1
        time.sleep(BATCH)
    print(json.dumps({"tried": tried, "done": done}))


def sink(kind, address, port, seconds):
    end = time.monotonic() + seconds
    got = 0
    if kind == "tcp":
        sock = socket.create_server((address, port), backlog=511)
    else:
        sock = group_socket(address, port)
    print("ready", flush=True)
    while (left := end - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            if kind == "tcp":
                sock.accept()[0].close()
            else:
                sock.recv(65536)
            got += 1
        except TimeoutError:
            pass
    print(json.dumps({"got": got}))


if __name__ == "__main__":
    if sys.argv[1] == "sink":
        sink(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
    else:
        bother(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
