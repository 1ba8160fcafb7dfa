# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A member that is no node of ours: speaks Tribes' bytes as a Tomcat would."""

import os
import socket
import struct
import threading
import time

BEGIN, END = b"TRIBES-B\x01\x00", b"TRIBES-E\x01\x00"
ACK = b"FLT2002\x00\x00\x00\x03\x06\x02\x03TLF2003"
SHUTDOWN = b"BABY-ALEX"


def member_data(host, port, uid, alive=1000, command=b"", udp_port=-1, payload=b""):
    body = struct.pack(">qiii", alive, port, -1, udp_port)
    address = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    body += bytes([len(address)]) + address
    body += struct.pack(">i", len(command)) + command + struct.pack(">i", 0) + uid
    body += struct.pack(">i", len(payload)) + payload
    return BEGIN + struct.pack(">i", len(body)) + body + END


def read_member(data):
    """host, port, udp port, unique id, whether it carries our mark."""
    assert data.startswith(BEGIN)
    _, port, _, udp_port, hlen = struct.unpack_from(">qiiiB", data, 14)
    at = 35
    host = socket.inet_ntop(socket.AF_INET6 if hlen == 16 else socket.AF_INET, data[at:at + hlen])
    at += hlen
    for _ in range(2):
        at += 4 + struct.unpack_from(">i", data, at)[0]
    uid = data[at:at + 16]
    return host, port, udp_port, uid, data[at + 20:at + 24] == b"SCM1"


def frame(member, body, options):
    data = struct.pack(">iq", options, int(time.time() * 1000))
    data += struct.pack(">i", 16) + os.urandom(16)
    data += struct.pack(">i", len(member)) + member + struct.pack(">i", len(body)) + body
    return b"FLT2002" + struct.pack(">i", len(data)) + data + b"TLF2003"


def read_frame(data):
    """options, body, and what is behind the frame; None when it is not whole yet."""
    if len(data) < 11:
        return None
    assert data.startswith(b"FLT2002"), data[:40]
    size = struct.unpack_from(">i", data, 7)[0]
    if len(data) < size + 18:
        return None
    content = data[11:11 + size]
    if size == 3:
        return -1, content, data[size + 18:]
    options = struct.unpack_from(">i", content)[0]
    at = 12 + 4 + 16
    at += 4 + struct.unpack_from(">i", content, at)[0]
    length = struct.unpack_from(">i", content, at)[0]
    return options, content[at + 4:at + 4 + length], data[size + 18:]


class Tomcat:
    """Beats on a group, receives over TCP, acknowledges what asks for it. `got`: (options, body)."""

    def __init__(self, group=None, host="127.0.0.1", payload=b""):
        self.group = group  # an object with send(bytes), or None
        self.host = host
        self.payload = payload  # of its member data
        self.uid = os.urandom(16)
        self.begin = time.monotonic()
        self.got = []
        self.listener = socket.socket()
        self.listener.bind((host, 0))
        self.listener.listen(16)
        self.port = self.listener.getsockname()[1]
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        if group:
            self.threads.append(threading.Thread(target=self._beat, daemon=True))
        for t in self.threads:
            t.start()

    def member(self, command=b""):
        return member_data(self.host, self.port, self.uid,
                           int((time.monotonic() - self.begin) * 1000) + 5, command,
                           payload=self.payload)

    def frame(self, body, options):
        return frame(self.member(), body, options)

    def _beat(self):
        while not self.stop.wait(0.1):
            self.group.send(self.member())

    def _accept(self):
        while not self.stop.is_set():
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        data = b""
        with conn:
            while True:
                try:
                    more = conn.recv(65536)
                except OSError:
                    return
                if not more:
                    return
                data += more
                while True:
                    one = read_frame(data)
                    if one is None:
                        break
                    options, body, data = one
                    self.got.append((options, body))
                    if options & 2:
                        try:
                            conn.sendall(ACK)
                        except OSError:
                            return

    def send(self, host, port, body, options):
        """One message over TCP; the answer, b"" when none was asked for."""
        with socket.create_connection((host, port), timeout=10) as s:
            s.sendall(self.frame(body, options))
            answer = b""
            while options & 2 and len(answer) < len(ACK):
                more = s.recv(64)
                if not more:
                    break
                answer += more
            return answer

    def leave(self):
        if self.group:
            self.group.send(self.member(SHUTDOWN))
        self.close()

    def close(self):
        self.stop.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for t in self.threads:
            t.join(5)
