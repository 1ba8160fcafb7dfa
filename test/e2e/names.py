# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A name server of the test's own, and servers that ask it.

It listens on an address of loopback that nobody else uses; an httpd that is to ask it gets its own
/etc/resolv.conf, in a mount namespace of its own. Other names are looked up there in vain."""

import os
import random
import socket
import struct
import threading


class At:
    """Where one httpd lives: an address of loopback, and what names mean there."""

    def __init__(self, back, command):
        self.front = "127.0.0.1"
        self.back = back
        self.command = command


class Names:
    """Serves `addresses` for any name that ends in .test and is not in `named`, which has addresses
    of its own. silent: says nothing at all. patience: how long who asks waits for an answer."""

    def __init__(self, folder, patience="timeout:1 attempts:1"):
        self.addresses = []
        self.named = {}
        self.silent = False
        self.asked = 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.address = f"127.77.{random.randint(1, 250)}.{random.randint(1, 250)}"
        self.sock.bind((self.address, 53))
        self.files = {}
        for name, text in (("resolv.conf", f"nameserver {self.address}\noptions {patience}\n"),
                            ("nsswitch.conf", "hosts: dns\n")):
            self.files[name] = os.path.join(folder, name)
            with open(self.files[name], "w", encoding="utf-8") as f:
                f.write(text)
            os.chmod(self.files[name], 0o644)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def place(self, back):
        script = "".join(f'mount --bind {path} "$(readlink -f /etc/{name})" && '
                         for name, path in self.files.items()) + 'exec "$@"'
        return At(back, ["unshare", "--mount", "sh", "-c", script, "sh"])

    def _answer(self, question):
        end, labels = 12, []
        while question[end]:
            labels.append(question[end + 1:end + 1 + question[end]].decode("latin-1"))
            end += question[end] + 1
        addresses = self.named.get(".".join(labels), self.addresses)
        kind = struct.unpack_from(">H", question, end + 1)[0]
        asked = question[12:end + 5]
        found = []
        for one in addresses if b"\x04test\x00" in asked else []:
            family = socket.AF_INET6 if ":" in one else socket.AF_INET
            if kind == (28 if family == socket.AF_INET6 else 1):
                raw = socket.inet_pton(family, one)
                found.append(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(raw)) + raw)
        code = 0 if b"\x04test\x00" in asked and addresses else 3
        return (question[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, len(found), 0, 0) + asked +
                b"".join(found))

    def _serve(self):
        while True:
            try:
                question, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            if len(question) < 17:
                return
            self.asked += 1
            if not self.silent:
                self.sock.sendto(self._answer(question), peer)

    def close(self):
        self.sock.sendto(b"", (self.address, 53))
        self.thread.join(5)
        self.sock.close()
