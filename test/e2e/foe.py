# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A member with the cluster's secret that says to deployers what the test wants it to say.

It is this module's own channel in a process of its own (test/interop/peer.c), so that it proves itself
and seals as members do; what it sends is made here. Its role is that of a balancer: it takes no part
in sessions, which have to go on beside it."""

import hashlib
import os
import re
import struct
import subprocess
import threading
import time

from node import HERE, free_port, read_file

PEER = os.environ.get("SC_PEER", os.path.join(os.path.dirname(os.path.dirname(HERE)), "out", "interop",
                                              "peer"))
SUM, ASK, LIST, ASK_BLOCK, BLOCK, NO_BLOCK, HELLO = range(1, 8)
FILE, REMOVED = 1, 2
ACKNOWLEDGED = 6  # when the receiver has taken it


# ---- messages, see src/deployer/message.c --------------------------------------------------------

def varint(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return varint(len(value)) + value


def message(event, body=b"", version=1):
    return b"SCD1" + bytes([version, event]) + body


def stamp(ahead=0.0):
    """Of now, or of so many seconds later."""
    return struct.pack(">QI", int((time.time() + ahead) * 1000) << 16, 7)


def entry(name, content=b"", *, size=None, kind=FILE, sha=None, ahead=0.0, executable=0):
    out = text(name) + bytes([kind])
    if kind != REMOVED:
        out += bytes([executable]) + varint(len(content) if size is None else size)
        out += sha or hashlib.sha256(content).digest()
    return out + stamp(ahead)


def block(content, offset, data):
    return message(BLOCK, hashlib.sha256(content).digest() + varint(offset) + text(data))


def ask_block(name, sha, offset, length):
    return message(ASK_BLOCK, text(name) + sha + varint(offset) + varint(length))


# ---- the member ----------------------------------------------------------------------------------

class Foe:
    """Made before the cluster starts, which has to list it as a member; joins when it is told to."""

    def __init__(self, farm):
        self.farm = farm
        self.port = free_port()
        self.process = None
        self.lines = []
        self.ended = False
        self.changed = threading.Condition()
        self.tags = 0

    def listed(self, nodes):
        for node in nodes:
            node.membership += f"SessionClusterMember 127.0.0.1:{self.port}\n"
        return self

    def join(self, nodes):
        assert os.path.exists(PEER), f"{PEER} is missing: make -f Makefile.apxs out/interop/peer"
        words = [f"port={self.port}", "membership=static", "role=balancer", "route=foe", "show=1",
                 "m.frequency=200", "m.dropTime=1500",
                 "secret=" + read_file(self.farm.secret()).decode().strip()]
        words += [f"member=127.0.0.1:{n.rx_port}" for n in nodes]
        self.lines, self.ended = [], False
        with open(os.path.join(self.farm.root, "foe.log"), "ab") as err:
            # pylint: disable=consider-using-with
            self.process = subprocess.Popen([PEER] + words, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=err)
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        for node in nodes:
            self.wait(f"added 127.0.0.1:{node.rx_port} .*")
            self.wait(rf"message 127.0.0.1:{node.rx_port} .* {message(HELLO).hex()}.*")
        return self

    def _read(self, process):
        for line in process.stdout:
            with self.changed:
                self.lines.append(line.decode().rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait(self, pattern, timeout=60.0, since=0):
        """The first line that it has said from that one on, or will say."""
        end = time.monotonic() + timeout
        with self.changed:
            while True:
                for line in self.lines[since:]:
                    found = re.fullmatch(pattern, line)
                    if found:
                        return found
                left = end - time.monotonic()
                assert left > 0 and not self.ended, \
                    f"the foe heard no {pattern[:200]}: {[x[:200] for x in self.lines[-10:]]}"
                self.changed.wait(left)

    def heard(self):
        with self.changed:
            return len(self.lines)

    def begin(self, node, data):
        """Send a message. @return a pattern of what it says when that has ended"""
        self.tags += 1
        path = os.path.join(self.farm.root, f"foe-{self.tags}")
        with open(path, "wb") as f:
            f.write(data)
        self.process.stdin.write(f"send t{self.tags} {ACKNOWLEDGED} 127.0.0.1:{node.rx_port} "
                                 f"{path}\n".encode())
        self.process.stdin.flush()
        return f"sent t{self.tags} (.*)"

    def say(self, node, data):
        """Send a message, which arrives."""
        assert self.wait(self.begin(node, data)).group(1) == "ok"

    def answer(self, node, event, body=b"", since=0):
        """What is behind the beginning of a message that the node has sent."""
        start = message(event, body).hex()
        found = self.wait(rf"message 127\.0\.0\.1:{node.rx_port} .* {start}(\w*)", since=since)
        return bytes.fromhex(found.group(1))

    def list(self, node, *entries):
        """Make the node read this catalogue."""
        since = self.heard()
        self.say(node, message(SUM, os.urandom(32)))
        self.answer(node, ASK, text(""), since)
        self.say(node, message(LIST, text("") + b"\0" + b"".join(entries)))

    def leave(self):
        if self.process is not None:
            self.process.stdin.close()  # by which it ends, with a word of farewell
            self.process.wait(30)
            self.process.stdout.close()
            self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *args):
        if self.process is not None and args[0] is not None:
            self.process.kill()
        self.leave()
