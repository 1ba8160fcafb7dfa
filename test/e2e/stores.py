# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Central stores for the tests: a real redis-server, a real memcached, each on a loopback port."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from urllib.parse import unquote_to_bytes

from node import MARK, free_port, proc_state, send_signal, wait_until


class Store:
    """One server process. It belongs to a farm only by its folder; close() ends it."""

    name = ""

    def __init__(self):
        self.port = free_port()
        self.proc = None
        self.folder = tempfile.mkdtemp(prefix="sc-store-")

    def command(self):
        raise NotImplementedError

    @property
    def provider(self):
        return f"{self.name}:127.0.0.1:{self.port}"

    def listens(self):
        with socket.socket() as s:
            s.settimeout(1)
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(MARK)}
        with open(os.path.join(self.folder, "console"), "w+b") as console:
            self.proc = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, cwd=self.folder,
                                         stdout=console, stderr=console, env=env)
            wait_until(lambda: self.proc.poll() is not None or self.answers(), 15,
                       f"{self.name} answers", 0.02)
            if self.proc.poll() is not None:
                console.seek(0)
                raise AssertionError(f"{self.name} has ended: {console.read()[-2000:]!r}")
        return self

    def freeze(self):
        send_signal(self.proc.pid, signal.SIGSTOP)
        wait_until(lambda: proc_state(self.proc.pid) == "T", 5, "stopped", 0.01)

    def thaw(self):
        send_signal(self.proc.pid, signal.SIGCONT)

    def kill(self):
        """At once; what it has in memory is gone unless it has been saved."""
        send_signal(self.proc.pid, signal.SIGKILL)
        self.proc.wait(10)

    def close(self):
        if self.proc is not None and self.proc.poll() is None:
            self.thaw()
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- the server's own protocol

    def talk(self, data, enough, timeout=3.0):
        with socket.create_connection(("127.0.0.1", self.port), timeout) as s:
            s.sendall(data)
            got = b""
            while not enough(got):
                more = s.recv(65536)
                if not more:
                    break
                got += more
            return got

    def answers(self):
        raise NotImplementedError

    def keys(self):
        """Names of all values."""
        raise NotImplementedError

    def set(self, key, value, seconds=600):
        raise NotImplementedError

    def get(self, key):
        raise NotImplementedError

    def empty(self):
        raise NotImplementedError


class Redis(Store):
    name = "redis"

    def command(self):
        # a log of all changes, so that it comes back with what it had, however it was ended
        return ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                "--appendonly", "yes", "--appendfsync", "always", "--dir", self.folder,
                "--daemonize", "no"]

    def call(self, *words):
        out = b"*%d\r\n" % len(words)
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            out += b"$%d\r\n%s\r\n" % (len(word), word)
        with socket.create_connection(("127.0.0.1", self.port), 3.0) as s:
            s.sendall(out)
            with s.makefile("rb") as f:
                return self.reply(f)

    def reply(self, f):
        line = f.readline().rstrip(b"\r\n")
        if not line:
            raise OSError("no answer")
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            if int(rest) < 0:
                return None
            value = f.read(int(rest) + 2)[:-2]
            return value
        if kind == b"*":
            return [self.reply(f) for _ in range(int(rest))]
        if kind == b":":
            return int(rest)
        return rest

    def answers(self):
        return self.call("PING") == b"PONG"

    def keys(self):
        return self.call("KEYS", "*")

    def set(self, key, value, seconds=600):
        assert self.call("SETEX", key, seconds, value) == b"OK"

    def get(self, key):
        return self.call("GET", key)

    def ttl(self, key):
        return self.call("TTL", key)

    def writes(self):
        """How many values have been written since it was started."""
        for line in self.call("INFO", "commandstats").decode().splitlines():
            if line.startswith("cmdstat_setex:"):
                return int(line.split("calls=")[1].split(",")[0])
        return 0

    def empty(self):
        assert self.call("FLUSHALL") == b"OK"


class Memcached(Store):
    name = "memcache"

    def command(self):
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        return ["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "64", *user]

    def answers(self):
        return self.talk(b"version\r\n", lambda b: b.endswith(b"\r\n")).startswith(b"VERSION")

    def listing(self):
        # it may be busy with its own look at what has expired
        got = self.talk(b"lru_crawler metadump all\r\n",
                        lambda b: b.endswith(b"END\r\n") or b.startswith(b"BUSY"))
        return [unquote_to_bytes(line.split(b" ")[0][4:]) for line in got.split(b"\n")
                if line.startswith(b"key=")]

    def keys(self):
        """There are some, whenever a test asks."""
        return wait_until(self.listing, 10, "memcached lists its keys")

    def set(self, key, value, seconds=600):
        head = b"set %s 0 %d %d\r\n" % (key, seconds, len(value))
        assert self.talk(head + value + b"\r\n", lambda b: b.endswith(b"\r\n")) == b"STORED\r\n"

    def get(self, key):
        got = self.talk(b"get %s\r\n" % key, lambda b: b.endswith(b"END\r\n"))
        if got == b"END\r\n":
            return None
        head, _, rest = got.partition(b"\r\n")
        return rest[:int(head.split(b" ")[3])]

    def empty(self):
        assert self.talk(b"flush_all\r\n", lambda b: b.endswith(b"\r\n")) == b"OK\r\n"
