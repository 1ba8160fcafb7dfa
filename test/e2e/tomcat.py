# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Real Tomcats with their own cluster (test/tomcat/Node.java), and httpd balancers in front of them."""

import http.server
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from client import Client
from node import HERE, PROXY_MODULES, Httpd, free_port, proc_state, read_file, send_signal, \
    wait_until

BUILT = os.environ.get("SC_TOMCAT", os.path.join(os.path.dirname(os.path.dirname(HERE)), "out",
                                                 "tomcat"))
JARS = os.environ.get("SC_TOMCAT_CP", "")
MAP = "localhost#/app-map"


class Tomcat:
    """One Tomcat. It ends when the test does, since its standard input does."""

    def __init__(self, root, route, host, arguments):
        self.route = route
        self.host = host
        self.port = free_port()      # where it serves
        self.rx_port = free_port()   # where it receives replication
        self.arguments = arguments
        self.root = os.path.join(root, route)
        os.makedirs(self.root)
        self.log_path = os.path.join(self.root, "tomcat.log")
        self.proc = None

    def launch(self, more=()):
        if not os.path.exists(os.path.join(BUILT, "Node.class")) or not JARS:
            pytest.fail("no Tomcat is built; run this through make -f Makefile.apxs e2e",
                        pytrace=False)
        command = ["java", "-Djava.net.preferIPv4Stack=true", "-Xmx96m", "-XX:+UseSerialGC",
                   "-XX:TieredStopAtLevel=1",
                   "-Djava.util.logging.SimpleFormatter.format=%4$s %2$s: %5$s%6$s%n",
                   "-cp", f"{BUILT}:{JARS}", "Node", f"base={self.root}", f"host={self.host}",
                   f"http={self.port}", f"port={self.rx_port}", f"route={self.route}",
                   *self.arguments, *more]
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=log)
        return self

    def wait_ready(self):
        line = self.proc.stdout.readline()
        assert line == b"ready\n", f"{self.route}: {line!r}\n{self.log()}"
        return self

    def log(self):
        return read_file(self.log_path).decode("utf-8", "replace")

    def complaints(self, since=0):
        """What it warns of, from a position in its log on."""
        return [x for x in self.log()[since:].splitlines() if re.match(r"WARNING|SEVERE", x)]

    def where(self, session):
        """What it is for a session, and the count in its copy, without a change by the question."""
        return Client(self.port, host=self.host).get(f"/app/where?id={session}").json()

    def kill9(self):
        self.proc.kill()
        self.proc.wait(10)

    def freeze(self):
        send_signal(self.proc.pid, signal.SIGSTOP)
        wait_until(lambda: proc_state(self.proc.pid) == "T", 5, "frozen")

    def thaw(self):
        send_signal(self.proc.pid, signal.SIGCONT)

    def ask_to_stop(self):
        self.proc.stdin.write(b"stop\n")
        self.proc.stdin.flush()

    def close(self):
        if self.proc is None or self.proc.poll() is not None:
            return
        self.thaw()
        self.proc.kill()
        self.proc.wait(10)


class Front(Httpd):
    """A balancer that follows Tomcats, and is no member of anything."""

    def __init__(self, farm, name, tomcats, follow, *, proxy_args="", member_args="", extra="",
                 **kw):
        members = "".join(f'  BalancerMember "http://{t.host}:{t.port}" route={t.route} retry=60 '
                          f"connectiontimeout=2 {member_args}\n" for t in tomcats)
        config = ('<Proxy "balancer://tomcats">\n' + members +
                  f"  ProxySet lbmethod=bysession stickysession=JSESSIONID {proxy_args}\n</Proxy>\n"
                  "ProxyTimeout 60\nProxyPass /sc-status !\n"
                  'ProxyPass /app "balancer://tomcats/app"\n' + extra)
        super().__init__(farm, name, modules=PROXY_MODULES, session_module=False,
                         head=f"SessionClusterRole balancer\nSessionClusterTomcat {follow}\n",
                         config=config, **kw)

    def known(self, name=MAP):
        """How many sessions of that map it knows the place of."""
        for context in self.status()["contexts"]:
            if context["name"] == f"tomcat:{name}":
                return context["proxies"]
        return 0


class Sessions:
    """Sessions that were made through a balancer, and where they are."""

    def __init__(self, front, n):
        self.front = front
        self.cookies = []
        self.counts = {}
        for _ in range(n):
            self.make()

    def make(self):
        client = self.front.client()
        said = client.get("/app/count").json()
        assert said["n"] == 1
        self.cookies.append(client.cookies["JSESSIONID"])
        self.counts[self.hex(said["id"])] = 1

    @staticmethod
    def hex(cookie):
        return cookie.split(".")[0]

    def of(self, route):
        return [c for c in self.cookies if c.endswith("." + route)]

    def holders(self, route, tomcats):
        """id -> route of the Tomcat that holds the backup, asked of the Tomcats themselves."""
        found = {}
        for cookie in self.of(route):
            roles = {t.route: t.where(self.hex(cookie))["role"] for t in tomcats}
            backups = [r for r, role in roles.items() if role == "backup"]
            assert len(backups) == 1 and roles[route] == "primary", roles
            found[self.hex(cookie)] = backups[0]
        return found

    def settle(self, tomcats):
        """Until these have all sessions as of their last requests. DeltaManager sends a change after
        the answer, and changes overtake each other: one that comes before its session is lost. A
        session whose last change does not come is used again."""
        for cookie in list(self.cookies):
            ident = self.hex(cookie)
            used = time.monotonic()

            def settled():
                nonlocal used
                if all(t.where(ident)["n"] == self.counts[ident] for t in tomcats):
                    return True
                if time.monotonic() > used + 2:
                    self.visit(cookie)
                    used = time.monotonic()
                return False
            wait_until(settled, 60, f"session {ident} is everywhere")

    def visit(self, cookie):
        """Use a session once more; what the Tomcat that answered says."""
        client = self.front.client(cookies={"JSESSIONID": cookie}, timeout=60)
        reply = client.get("/app/count")
        assert reply.status == 200, reply
        said = reply.json()
        ident = self.hex(cookie)
        assert self.hex(said["id"]) == ident and not said["new"], (cookie, said)
        self.counts[ident] += 1
        assert said["n"] == self.counts[ident], (cookie, said)
        self.cookies[self.cookies.index(cookie)] = client.cookies["JSESSIONID"]
        return said


def timed(condition, timeout, what):
    """Seconds until it is so."""
    begin = time.monotonic()
    wait_until(condition, timeout, what, pause=0.02)
    return time.monotonic() - begin


# ---- Tomcats that are played ---------------------------------------------------------------------

ACK = bytes.fromhex("464c54323030320000000306020354") + b"LF2003"
CAPTURED_CALL = bytes.fromhex("446c2caaf212402b8239cb194d96ef66")


class Played:
    """What a balancer sees of a Tomcat: a receiver that acknowledges and answers with captured places
    of nine sessions, and a server that says its route. `damage` does something to each answer."""

    def __init__(self, route, everybody):
        self.route = route
        self.host = "127.0.0.1"
        self.everybody = everybody  # all of them, in the order of the captured ports
        self.damage = lambda frame: frame
        self.questions = 0
        self.receiver = socket.create_server((self.host, 0))
        self.rx_port = self.receiver.getsockname()[1]
        self.back = {}  # port of a balancer -> connection
        route_text = route.encode()

        class Says(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                self.send_response(200)
                self.send_header("Content-Length", str(len(route_text)))
                self.end_headers()
                self.wfile.write(route_text)

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass
        self.server = http.server.ThreadingHTTPServer((self.host, 0), Says)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self):
        while True:
            try:
                conn, _ = self.receiver.accept()
            except OSError:
                return
            with conn:
                try:
                    self._hear(conn)
                except OSError:
                    pass

    def _hear(self, conn):
        head = conn.recv(11, socket.MSG_WAITALL)
        if len(head) < 11:
            return
        data = conn.recv(int.from_bytes(head[7:11], "big") + 7, socket.MSG_WAITALL)
        conn.sendall(ACK)
        if data[3] & 1 == 0:
            self.questions += 1
            at = data.index(b"TRIBES-B")
            self._answer(int.from_bytes(data[at + 22:at + 26], "big"), data)

    def _answer(self, port, question):
        at = question.index(b"\x77\x2b\x00\x00\x00\x00\x10") + 7
        frame = read_file(os.path.join(os.path.dirname(HERE), "vectors",
                                       "map-rpc-state-reply-many.bin"))
        frame = frame.replace(CAPTURED_CALL, question[at:at + 16])
        for i, one in enumerate(self.everybody):
            frame = frame.replace((4120 + i).to_bytes(4, "big") + b"\xff\xff\xff\xff",
                                  one.rx_port.to_bytes(4, "big") + b"\xff\xff\xff\xff")
        if port not in self.back:
            self.back[port] = socket.create_connection((self.host, port))
        try:
            self.back[port].sendall(self.damage(frame))
        except OSError:
            del self.back[port]

    def dies(self):
        self.receiver.shutdown(socket.SHUT_RDWR)
        self.receiver.close()
        self.server.shutdown()
        self.server.server_close()

    @staticmethod
    def play(*routes):
        everybody = []
        for route in routes:
            everybody.append(Played(route, everybody))
        return everybody

    @staticmethod
    def places(everybody):
        """id -> route of the primary, as the captured answer has them."""
        text = read_file(os.path.join(os.path.dirname(HERE), "vectors",
                                      "map-rpc-state-reply-many.bin"))
        routes = {4120 + i: one.route for i, one in enumerate(everybody)}
        return {m.group(1).decode(): routes[4119 + int(m.group(2))]
                for m in re.finditer(rb"\xac\xed\x00\x05\x74\x00\x23([0-9A-F]{32})\.r(\d)", text)}
