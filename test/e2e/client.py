# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A browser for the tests: one request at a time with a cookie jar, and a load of many of them."""

import asyncio
import http.client
import json
import random
import socket
import threading
import time
from dataclasses import dataclass, field


class Reply:
    """One response."""

    def __init__(self, status, headers, body, elapsed=0.0):
        self.status = status
        self.headers = headers  # list of (name, value), as they came
        self.body = body
        self.elapsed = elapsed

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]

    def header(self, name):
        """All values of a header, joined as HTTP allows; None without any."""
        values = self.all(name)
        return ", ".join(values) if values else None

    @property
    def set_cookies(self):
        """name -> (value, attributes as a list of lower-case strings)"""
        found = {}
        for line in self.all("Set-Cookie"):
            parts = [p.strip() for p in line.split(";")]
            name, _, value = parts[0].partition("=")
            found[name] = (value, [p.lower() for p in parts[1:] if p])
        return found

    def json(self):
        return json.loads(self.body)

    @property
    def values(self):
        """What the session held, as the test handler saw it."""
        return self.json()["values"]

    @property
    def text(self):
        return self.body.decode("latin-1")

    def __repr__(self):
        return f"<{self.status} {self.body[:200]!r}>"


def absorb(jar, set_cookies):
    """Do with Set-Cookie what a browser does (paths and domains do not matter here)."""
    for name, (value, attrs) in set_cookies.items():
        if value == "" or "max-age=0" in attrs:
            jar.pop(name, None)
        else:
            jar[name] = value


def cookie_header(jar):
    return "; ".join(f"{k}={v}" for k, v in jar.items())


class Client:
    """One browser. `cookies` is its jar; keep=True keeps its connection."""

    def __init__(self, port, cookies=None, timeout=15.0, keep=False, host="127.0.0.1"):
        self.host = host
        self.port = port
        self.cookies = dict(cookies or {})
        self.timeout = timeout
        self.keep = keep
        self.conn = None

    def request(self, path, method="GET", body=None, headers=None, port=None, cookies=None):
        """`cookies`: a header value to send instead of the jar's ("" for none)."""
        send = dict(headers or {})
        line = cookie_header(self.cookies) if cookies is None else cookies
        if line:
            send["Cookie"] = line
        if not self.keep:
            send.setdefault("Connection", "close")
        conn = self.conn if port is None else None
        if conn is None:
            conn = http.client.HTTPConnection(self.host, port or self.port, timeout=self.timeout)
        begin = time.monotonic()
        try:
            conn.request(method, path, body=body, headers=send)
            answer = conn.getresponse()
            reply = Reply(answer.status, answer.getheaders(), answer.read(),
                          time.monotonic() - begin)
        except BaseException:
            conn.close()
            self.conn = None
            raise
        if self.keep and port is None:
            self.conn = conn
        else:
            conn.close()
        absorb(self.cookies, reply.set_cookies)
        return reply

    def get(self, path, **kw):
        return self.request(path, **kw)

    def post(self, path, body, **kw):
        return self.request(path, method="POST", body=body, **kw)

    def op(self, steps="", path="/t", status=200, **kw):
        """Steps for the test handler; refuses any other status."""
        reply = self.request(path + ("?" + steps if steps else ""), **kw)
        assert reply.status == status, (path, steps, reply)
        return reply

    def values(self, steps="", **kw):
        return self.op(steps, **kw).values

    def close(self):
        if self.conn is not None:
            self.conn.close()
            self.conn = None

    # the parts of the session cookie
    @property
    def id(self):
        return self.cookies["SID"].split(".")[0]

    @property
    def route(self):
        return self.cookies["SID"].partition(".")[2]


# ---- many requests over few connections ------------------------------------------------------------

def _read_reply(stream):
    status = int(stream.readline().split()[1])
    headers = []
    while (line := stream.readline().rstrip(b"\r\n")):
        name, _, value = line.decode("latin-1").partition(": ")
        headers.append((name, value))
    known = {k.lower(): v for k, v in headers}
    if known.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while (size := int(stream.readline(), 16)):
            body += stream.read(size)
            stream.readline()
        stream.readline()
    else:
        body = stream.read(int(known["content-length"]))
    return Reply(status, headers, body)


def pipeline(port, requests, host="127.0.0.1", window=40, timeout=30.0):
    """Send requests, (query of /t, cookie or None) each, one behind the other over one connection
    without waiting for each answer; the replies in the same order. For thousands of sessions that
    are made or looked at."""
    replies = []
    with socket.create_connection((host, port), timeout) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = sock.makefile("rb")
        for at in range(0, len(requests), window):
            lines = []
            for query, cookie in requests[at:at + window]:
                line = f"Cookie: SID={cookie}\r\n" if cookie else ""
                lines.append(f"GET /t?{query} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n")
            sock.sendall("".join(lines).encode())
            replies += [_read_reply(stream) for _ in lines]
    return replies


@dataclass
class Record:
    """One request of a load."""
    client: int
    start: float
    end: float = 0.0
    status: int = 0        # 0: no answer
    value: int = -1        # the counter as answered
    error: str = ""
    cookie: str = ""       # what the browser had afterwards
    extra: dict = field(default_factory=dict)

    @property
    def ok(self):
        return self.status == 200


class Load:
    """Many browsers that count in their sessions, each request after the other, at a bounded rate.

    One thread with an event loop: 200 browsers cost little more than their requests."""

    def __init__(self, port, clients=200, rate=300.0, steps="inc=n", timeout=20.0, seed=1,
                 host="127.0.0.1"):
        self.host = host
        self.port = port
        self.nclients = clients
        self.rate = rate
        self.steps = steps
        self.timeout = timeout
        self.records = []
        self.jars = [{} for _ in range(clients)]
        self.random = random.Random(seed)
        self.stopping = False
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    # -- use: with Load(...) as load: ...; then look at load.records

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        self.stopping = True
        self.thread.join(self.timeout + 10)
        assert not self.thread.is_alive(), "load did not end"

    def run_for(self, seconds):
        time.sleep(seconds)  # the load is the test; this is how long it lasts

    # -- what happened

    def failures(self, after=0.0, before=float("inf")):
        return [r for r in self.records if not r.ok and after <= r.start < before]

    def slowest(self, after=0.0):
        return max((r.end - r.start for r in self.records if r.start >= after), default=0.0)

    def check_counters(self):
        """No counter may ever go back, jump, or begin anew. A request that failed may have counted,
        or count later: a node that stood still does then what it had been asked before."""
        last, failed, seen = {}, {}, 0
        for r in self.records:  # in order of their end; one browser's do not overlap
            if not r.ok:
                failed[r.client] = failed.get(r.client, 0) + 1
                continue
            seen += 1
            before = last.get(r.client, 0)
            most = before + 1 + failed.get(r.client, 0)
            assert before < r.value <= most, (
                f"browser {r.client}: counter {before} -> {r.value}, cookie {r.cookie}, "
                f"{failed.get(r.client, 0)} failures before, {r.extra}")
            last[r.client] = r.value
            failed[r.client] = most - r.value
        assert seen, "nothing was counted"
        return seen

    def check_ids(self):
        """Every browser kept its session id through everything."""
        ids = {}
        for r in self.records:
            if r.ok and r.cookie:
                ids.setdefault(r.client, set()).add(r.cookie.partition(".")[0])
        many = {c: i for c, i in ids.items() if len(i) > 1}
        assert not many, f"sessions were replaced: {many}"
        return len(ids)

    # -- inside

    async def _run(self):
        await asyncio.gather(*(self._browser(i) for i in range(self.nclients)))

    async def _browser(self, number):
        pause = self.nclients / self.rate
        at = time.monotonic() + self.random.random() * pause
        while True:
            delay = at - time.monotonic()
            while delay > 0:
                if self.stopping:
                    return
                await asyncio.sleep(min(delay, 0.2))
                delay = at - time.monotonic()
            if self.stopping:
                return
            await self._one(number)
            at = max(at + pause * self.random.uniform(0.7, 1.3), time.monotonic())

    async def _one(self, number):
        record = Record(number, time.monotonic())
        jar = self.jars[number]
        try:
            raw = await asyncio.wait_for(self._fetch(jar), self.timeout)
            head, _, body = raw.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            record.status = int(lines[0].split()[1])
            headers = [tuple(x.split(": ", 1)) for x in lines[1:] if ": " in x]
            reply = Reply(record.status, headers, body)
            absorb(jar, reply.set_cookies)
            if record.ok:
                told = reply.json()
                record.value = int((told["values"] or {}).get("n", -1))
                record.extra = {"route": told["route"], "failover": told["failover"]}
        except asyncio.TimeoutError:
            record.error = "timeout"
        except (OSError, ValueError, IndexError, KeyError) as e:
            record.status = 0 if record.status == 200 else record.status
            record.error = f"{type(e).__name__}: {e}"
        record.end = time.monotonic()
        record.cookie = jar.get("SID", "")
        self.records.append(record)

    async def _fetch(self, jar):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            cookie = f"Cookie: {cookie_header(jar)}\r\n" if jar else ""
            writer.write(f"GET /t?{self.steps} HTTP/1.0\r\nHost: localhost\r\n{cookie}\r\n".encode())
            return await reader.read(-1)
        finally:
            writer.close()


# ---- browsers that nobody keeps to one node ----------------------------------------------------------

@dataclass
class Seen:
    """One answer that a walker got."""
    walker: int
    node: str
    start: float
    end: float
    retry_after: str = ""


class Walker:
    """A browser whose session gets one more attribute with every other request, each request on
    another node. What it has seen once must be in every answer from then on. It forgives being
    refused (503) and being cut off: an attribute of which it does not know may come or not, also
    later, since the request that it gave up may still run somewhere. (That is why it does not
    count: such a request would rightly overwrite what came after it.)"""

    def __init__(self, number, nodes, timeout=15.0):
        self.number = number
        self.nodes = nodes
        self.sent = 0
        self.timeout = timeout
        self.random = random.Random(number)
        self.jar = {}
        self.history = []
        self.seen = set()
        self.id = ""
        self.acks, self.refusals, self.errors = [], [], []
        self.wrong, self.blank = [], []

    def begin(self):
        one = self.nodes[self.number % len(self.nodes)].client()
        self.seen = set(one.values("set=k0:1"))
        self.jar = one.cookies
        self.id = one.id

    def note(self, start, node, what, got):
        end = time.monotonic()
        stamp = time.strftime("%H:%M:%S") + f".{int(time.time() * 1000) % 1000:03}"
        self.history.append(f"{stamp} {node.route} {what or 'read'} {(end - start) * 1000:.0f} ms "
                            f"{got}")

    def step(self):
        node = self.random.choice(self.nodes)
        what = ""
        if self.random.random() < 0.5:
            self.sent += 1
            what = f"set=k{self.sent}:1"
        one = node.client(cookies=self.jar, timeout=self.timeout)
        start = time.monotonic()
        try:
            reply = one.get(f"/t?{what}")
        except (OSError, http.client.HTTPException) as e:
            self.errors.append((node.route, start, repr(e)))
            self.note(start, node, what, type(e).__name__)
            return
        seen = Seen(self.number, node.route, start, time.monotonic(),
                    retry_after=reply.header("Retry-After") or "")
        values = reply.values if reply.status == 200 else None
        keys = set(values or ())
        missing = sorted(self.seen - keys, key=lambda k: int(k[1:]))
        self.note(start, node, what, reply.status if values is None else
                  f"{len(keys)} attributes" + (f" without {missing[-5:]}" if missing else ""))
        if reply.status == 503:
            self.refusals.append(seen)
            return
        if reply.status == 200 and values is None:
            # it was not known what is in the session, and the request was served nevertheless
            self.blank.append(f"walker {self.number} ({self.id[:4]}): {self.history[-12:]}")
            return
        if missing or values is None:
            self.wrong.append(f"walker {self.number} ({self.id[:4]}) on {node.route}: status "
                              f"{reply.status}, missing {missing[-5:]}; {self.history[-12:]}")
        if "SID" in one.cookies and one.id != self.id:
            self.wrong.append(f"walker {self.number} on {node.route}: another session")
        else:
            self.jar = one.cookies or self.jar
        self.seen |= keys
        self.acks.append(seen)

    @staticmethod
    def crowd(nodes, count, **kw):
        return Crowd([Walker(i, nodes, **kw) for i in range(count)])


class Crowd:
    """Walkers, a thread for each, at a bounded rate."""

    def __init__(self, walkers, pause=0.02):
        self.walkers = walkers
        self.pause = pause
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(w,), daemon=True)
                        for w in walkers]

    def _run(self, walker):
        while not self.stopping.wait(self.pause):
            try:
                walker.step()
            except Exception as e:  # pylint: disable=broad-except
                walker.wrong.append(f"walker {walker.number}: {e!r}")
                return

    def __enter__(self):
        for w in self.walkers:
            w.begin()
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.stopping.set()
        for t in self.threads:
            t.join(40)

    def _all(self, name):
        return sorted((s for w in self.walkers for s in getattr(w, name)), key=lambda s: s.end)

    @property
    def acks(self):
        return self._all("acks")

    @property
    def refusals(self):
        return self._all("refusals")

    def wait_acks(self, more, timeout=30.0):
        """So many more answers, and at least one for each walker."""
        want = {w: len(w.acks) + max(1, more // len(self.walkers) // 2) for w in self.walkers}
        total = sum(len(w.acks) for w in self.walkers) + more
        end = time.monotonic() + timeout
        while sum(len(w.acks) for w in self.walkers) < total or \
                any(len(w.acks) < n for w, n in want.items()):
            self.check()
            assert time.monotonic() < end, (
                f"no {more} answers within {timeout} s: "
                f"{[(len(w.acks), len(w.refusals), len(w.errors)) for w in self.walkers]}")
            time.sleep(0.05)

    def check(self):
        wrong = [x for w in self.walkers for x in w.wrong]
        assert not wrong, wrong[:5]

    def check_end(self, nodes):
        """Now that it is quiet: all nodes say the same, and not less than what was seen; and nobody
        was told that he has no session."""
        self.check()
        for w in self.walkers:
            values = [set(n.client(cookies=w.jar).values()) for n in nodes]
            assert all(v == values[0] for v in values) and values[0] >= w.seen, (
                w.number, [sorted(w.seen - v) for v in values])
        blank = [x for w in self.walkers for x in w.blank]
        assert not blank, blank[:5]
