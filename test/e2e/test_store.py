# Licensed under the Apache License, Version 2.0; see LICENSE.
"""SessionClusterManager store: sessions in a central store, real redis-server and memcached."""

import http.client
import os
import signal
import socket
import threading
import time

import pytest

from node import proc_rss, wait_until
from stores import Memcached, Redis

MODULES = ["socache_redis", "socache_memcache", "socache_shmcb", "socache_dbm"]
UNKNOWN = "0123456789ABCDEF0123456789ABCDEF"


def manager(provider, more=""):
    # requests of tests wait long on busy machines; how long a frozen store is waited for is a test
    # of its own
    more = more if "timeout=" in more else more + " timeout=10000"
    return f'SessionClusterManager store "provider={provider}" {more}\n'


@pytest.fixture(params=[Redis, Memcached], ids=["redis", "memcache"])
def store(request):
    one = request.param()
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture
def redis():
    one = Redis()
    try:
        yield one.start()
    finally:
        one.close()


def pair(farm, store, more="", extra=""):
    """Two nodes that have nothing in common but the store."""
    nodes = [farm.node(name, modules=MODULES, extra=extra,
                       directives=f"SessionClusterRoute {name}\n" + manager(store.provider, more))
             for name in ("n1", "n2")]
    for node in nodes:
        node.launch()
    for node in nodes:
        node.wait_ready()
    return nodes


def single(farm, provider, more="", **kw):
    return farm.node("n1", modules=MODULES, directives=manager(provider, more), **kw).start()


def count(node, name):
    return node.status()["counters"]["central_" + name]


# ---- sessions ------------------------------------------------------------------------------------

def test_two_nodes_share_sessions(farm, store):
    one, two = pair(farm, store)
    browser = one.client()
    assert browser.values("set=a:1") == {"a": "1"}
    first = browser.id
    assert browser.route == "n1"
    other = two.client(cookies=browser.cookies)
    assert other.values("set=b:2") == {"a": "1", "b": "2"}
    assert browser.values("del=a") == {"b": "2"}
    assert other.values() == {"b": "2"}
    assert other.id == first
    assert one.sessions() == 0, "nothing is in the memory of the node"
    key = [k for k in store.keys() if first.encode() in k or first.lower().encode() in k]
    assert not key, "the store's keys tell session ids"


def test_unknown_ids_are_not_adopted(farm, store):
    node = single(farm, store.provider)
    browser = node.client(cookies={"SID": UNKNOWN})
    reply = browser.op("")
    assert reply.values == {}
    assert "SID" not in browser.cookies
    browser.cookies = {"SID": UNKNOWN}
    browser.op("set=a:1")
    assert browser.id != UNKNOWN
    assert count(node, "absent") >= 2


def test_logout_is_final(farm, store):
    one, two = pair(farm, store)
    browser = one.client()
    browser.op("set=a:1")
    old = dict(browser.cookies)
    late = threading.Thread(target=lambda: two.client(cookies=old).get("/t?sleep=600&set=late:1"))
    late.start()
    time.sleep(0.2)  # it has read the session by now, and writes after it has ended
    browser.op("clear")
    assert "SID" not in browser.cookies
    late.join()
    for node in (one, two):
        assert node.client(cookies=old).values() == {}
        assert node.client(cookies=old).values("set=x:1") == {"x": "1"}


def test_rotation(farm, store):
    one, two = pair(farm, store)
    browser = one.client()
    browser.op("set=a:1")
    old = dict(browser.cookies)
    before = browser.id
    browser.op("set=x-user:carol")
    assert browser.id != before
    assert two.client(cookies=browser.cookies).values() == {"a": "1", "x-user": "carol"}
    stranger = two.client(cookies=old)
    reply = stranger.op("")
    assert reply.values == {}
    assert not reply.set_cookies, "a request beside the login must not throw the new cookie away"


def test_a_refreshed_id_is_reached_by_its_client(farm, store):
    """A request that still has the old id, sent to another node; not one of another client."""
    one, two = pair(farm, store)
    browser = one.client()
    browser.op("set=a:1")
    old = dict(browser.cookies)
    browser.op("set=b:2&header=Session-Cluster-Rotate:refresh")
    assert browser.cookies != old
    late = two.client(cookies=old)
    assert late.values() == {"a": "1", "b": "2"}
    assert late.id == browser.id
    stranger = two.client(cookies=old)
    assert stranger.values(headers={"User-Agent": "another"}) == {}
    assert not [v for v in map(store.get, store.keys()) if browser.id.encode() in v], \
        "the store tells the new id"


def test_idle_sessions_expire(farm, store):
    node = single(farm, store.provider, extra="SessionClusterMaxInactive 2\n")
    browser = node.client()
    browser.op("set=a:1")
    used = node.client()
    used.op("set=a:1")
    end = time.monotonic() + 7
    cookies = dict(browser.cookies)
    while time.monotonic() < end:  # one is used all the time, the other is not
        assert used.values() == {"a": "1"}
        time.sleep(0.25)
    assert node.client(cookies=cookies).values() == {}


def test_accesses_are_coalesced(farm, redis):
    node = single(farm, redis.provider, "touchInterval=30")
    browser = node.client(keep=True)
    browser.op("set=a:1")
    before = redis.writes()
    for _ in range(100):
        browser.op("")
    assert redis.writes() - before <= 2
    browser.op("set=a:2")
    browser.op("set=a:2")
    assert redis.writes() - before <= 3, "one write for a change, none for what is as it was"


def test_cookies_are_sent_again(farm, redis):
    """SessionMaxAge with SessionExpiryUpdateInterval: once in an interval, not with each answer."""
    node = single(farm, redis.provider, "touchInterval=30",
                  extra="SessionMaxAge 300\nSessionExpiryUpdateInterval 3\n")
    browser = node.client()
    browser.op("set=a:1")
    sent, asked = 0, 0
    end = time.monotonic() + 7
    while time.monotonic() < end:
        asked += 1
        sent += "SID" in browser.op("").set_cookies
        time.sleep(0.1)
    assert 2 <= sent <= asked / 3, (sent, asked)
    assert browser.values() == {"a": "1"}


def test_too_large(farm, store):
    node = single(farm, store.provider, extra="", session="")
    node.stop()
    node.directives += "SessionClusterMaxSessionSize 4096\n"
    node.session = ('<Location /t>\n SetHandler sc-test\n</Location>\nSession On\n'
                    'SessionClusterCookieName SID\n')
    node.start()
    browser = node.client()
    browser.op("set=a:1")
    browser.op("big=b:5000")
    assert browser.values() == {"a": "1"}
    node.wait_log("SC0213")


def test_parallel_changes_all_win(farm, store):
    one, two = pair(farm, store)
    browser = one.client()
    browser.op("set=start:1")
    done, errors = [], []

    def write(who, node):
        client = node.client(cookies=browser.cookies, keep=True)
        for i in range(15):
            try:
                client.op(f"set={who}x{i}:1&sleep=5")
                done.append(f"{who}x{i}")
            except (AssertionError, OSError, http.client.HTTPException) as e:
                errors.append(e)
        client.close()
    threads = [threading.Thread(target=write, args=(f"w{i}", (one, two)[i % 2])) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    assert len(done) == 90
    # the second look brings in what another node has overwritten
    wait_until(lambda: set(done) <= set(one.client(cookies=browser.cookies).values()), 10,
               "all attributes of all writers")
    assert set(done) <= set(two.client(cookies=browser.cookies).values())


@pytest.mark.parametrize("mpm,single_process", [("prefork", False), ("event", True)],
                         ids=["prefork", "X"])
def test_other_process_models(farm, store, mpm, single_process):
    node = farm.node("n1", modules=MODULES, mpm=mpm, single=single_process,
                     directives=manager(store.provider)).start()
    browser = node.client()
    browser.op("set=a:1")
    for i in range(10):
        browser.op(f"set=n:{i}")
    assert browser.values() == {"a": "1", "n": "9"}
    browser.op("clear")
    assert node.client(cookies=browser.cookies).values() == {}
    node.stop()


def test_needs_no_engine(farm, redis):
    """It has no part in sessions."""
    node = single(farm, redis.provider)
    browser = node.client()
    browser.op("set=a:1")
    engine = node.engine_pid()
    os.kill(engine, signal.SIGSTOP)
    try:
        assert browser.values("set=b:2") == {"a": "1", "b": "2"}
        assert browser.values() == {"a": "1", "b": "2"}
        browser.op("clear")
        assert "SID" not in browser.cookies
    finally:
        os.kill(engine, signal.SIGCONT)


def test_filtered_requests_are_no_accesses(farm, store):
    node = single(farm, store.provider, extra="SessionClusterMaxInactive 2\n"
                  "<Location /f>\n SetHandler sc-test\n SessionClusterFilter ^/f\n</Location>\n")
    browser = node.client()
    browser.op("set=a:1")
    assert browser.values(path="/f") == {"a": "1"}
    wait_until(lambda: browser.values(path="/f") == {}, 20, "expires while it is looked at", 0.2)


def test_a_killed_child_holds_nothing(farm, redis):
    node = single(farm, redis.provider, "timeout=3000")
    browser = node.client()
    browser.op("set=a:1")
    for i in range(5):
        with pytest.raises((OSError, http.client.HTTPException)):
            node.client(cookies=browser.cookies).get("/t?set=x:1&crash")
        assert browser.values(f"set=n:{i}")["n"] == str(i)


def test_memory_does_not_grow(farm, redis):
    if os.environ.get("SC_PRELOAD"):
        pytest.skip("sanitizers keep what was freed")
    node = single(farm, redis.provider, children=1, max_children=1)
    jars = [node.client(keep=True) for _ in range(4)]

    def round_of(n):
        for i in range(n):
            jars[i % 4].op(f"set=n:{i}")
            if i % 50 == 0:
                node.client(cookies={"SID": UNKNOWN}).get("/t")
        return sum(proc_rss(p) for p in node.workers())
    round_of(400)
    before = round_of(400)
    after = round_of(2000)
    assert after - before < 3 * 1024 * 1024, (before, after)


# ---- the store goes and comes --------------------------------------------------------------------

class Users(threading.Thread):
    """Browsers that use their sessions all the time. Nobody may be logged out: an answer has the
    session's value, or it is a 503, and never takes the cookie away."""

    def __init__(self, nodes, number):
        super().__init__(daemon=True)
        self.node = nodes[number % len(nodes)]
        self.number = number
        self.client = self.node.client(timeout=20)
        self.client.op(f"set=user:u{number}")
        self.before = self.client.id
        self.ending = threading.Event()
        self.answers = []   # (when, status)
        self.wrong = []

    def run(self):
        while not self.ending.wait(0.02):
            steps = "set=t:%d" % len(self.answers) if len(self.answers) % 5 == 0 else ""
            begin = time.monotonic()
            try:
                reply = self.client.get("/t?" + steps)
            except (OSError, http.client.HTTPException) as e:
                self.wrong.append(repr(e))
                continue
            self.answers.append((begin, time.monotonic(), reply.status))
            if reply.status == 200 and (reply.values or {}).get("user") != f"u{self.number}":
                self.wrong.append(f"logged out: {reply}")
            elif reply.status not in (200, 503):
                self.wrong.append(f"{reply}")
            elif reply.status == 503 and reply.header("Retry-After") is None:
                self.wrong.append("503 without Retry-After")
            if "SID" not in self.client.cookies or self.client.id != self.before:
                self.wrong.append(f"cookie gone: {reply.headers}")
                return


class Crowd:
    def __init__(self, nodes, number=8):
        self.users = [Users(nodes, i) for i in range(number)]

    def __enter__(self):
        for u in self.users:
            u.start()
        return self

    def __exit__(self, *exc):
        for u in self.users:
            u.ending.set()
        for u in self.users:
            u.join(30)

    def check(self):
        assert not [w for u in self.users for w in u.wrong], \
            [w for u in self.users for w in u.wrong][:5]

    def since(self, when, status):
        return [a for u in self.users for a in u.answers if a[0] >= when and a[2] == status]

    def all_see(self, status, timeout=20):
        """Wait until every user has got such an answer to a request that began from now on; when
        the last of their first ones came."""
        now = time.monotonic()

        def first():
            firsts = [min((a[1] for a in u.answers if a[0] >= now and a[2] == status),
                          default=None) for u in self.users]
            self.check()
            return None if None in firsts else max(firsts)
        return wait_until(first, timeout, f"all users see {status}", 0.02)


def test_killed_under_load(farm, redis, record_property):
    nodes = pair(farm, redis, "timeout=1000 retryInterval=200")
    with Crowd(nodes) as crowd:
        crowd.all_see(200)
        redis.kill()
        crowd.all_see(503)
        time.sleep(6)  # longer than the client library takes a failed server for dead
        begin = time.monotonic()
        redis.start()
        answers = time.monotonic()  # it has read its log and answers
        end = crowd.all_see(200)
        record_property("recovery_s", round(end - answers, 3))
        print(f"killed: all served {end - answers:.3f} s after redis answered "
              f"({answers - begin:.3f} s after it was started)")
    crowd.check()
    assert end - answers < 5, "recovery is a matter of the retry interval"
    assert nodes[0].status()["counters"]["central_outages"] >= 1
    nodes[0].wait_log("SC1010|SC1014")
    nodes[0].wait_log("SC1011")


def test_frozen_under_load(farm, store, record_property):
    nodes = pair(farm, store, "timeout=800 retryInterval=200")
    with Crowd(nodes) as crowd:
        crowd.all_see(200)
        store.freeze()
        frozen = time.monotonic()
        crowd.all_see(503)
        time.sleep(7)
        waits = [a[1] - a[0] for a in crowd.since(frozen, 503)]
        # those that noticed have waited, the others have not
        assert sum(w > 0.7 for w in waits) < len(waits) / 4, (len(waits), max(waits))
        store.thaw()
        begin = time.monotonic()
        end = crowd.all_see(200)
        record_property("recovery_s", round(end - begin, 3))
        print(f"frozen: all served {end - begin:.3f} s after {store.name} went on, longest 503 "
              f"{max(waits):.3f} s")
    crowd.check()
    assert max(waits) < 10
    assert end - begin < 5


def test_host_that_does_not_answer(farm, redis):
    """Connections are neither accepted nor refused, as if its host had vanished."""
    nodes = pair(farm, redis, "timeout=600 retryInterval=200")
    waiting = []
    with Crowd(nodes, 4) as crowd:
        crowd.all_see(200)
        redis.kill()
        with socket.socket() as hole:
            hole.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            hole.bind(("127.0.0.1", redis.port))
            hole.listen(0)
            for _ in range(4):  # nobody takes these: its queue is full
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", redis.port))
                waiting.append(one)
            begin = time.monotonic()
            crowd.all_see(503)
            time.sleep(3)
            waits = [a[1] - a[0] for a in crowd.since(begin, 503)]
            assert sum(w > 0.5 for w in waits) < len(waits) / 4
        for one in waiting:
            one.close()
        redis.start()
        begin = time.monotonic()
        end = crowd.all_see(200)
        print(f"vanished: all served {end - begin:.3f} s after redis answered, longest 503 "
              f"{max(waits):.3f} s")
    crowd.check()


def test_memcached_killed_means_gone(farm):
    """It comes back empty: the sessions have ended, and that is told once."""
    one = Memcached().start()
    try:
        node = single(farm, one.provider, "retryInterval=100 timeout=2000")
        browser = node.client()
        browser.op("set=a:1")
        node.client(cookies={"SID": UNKNOWN}).op("")  # the sentinel is known
        one.kill()
        reply = browser.get("/t")
        assert reply.status == 503
        assert "SID" in browser.cookies
        one.start()
        wait_until(lambda: browser.get("/t").status == 200, 10, "answers")
        assert "SID" not in browser.cookies
        node.wait_log("SC1012")
        assert count(node, "lost") == 1
    finally:
        one.close()


def test_empty_sessions_instead_of_503(farm, redis):
    node = single(farm, redis.provider, "onUnreachable=empty timeout=500")
    browser = node.client()
    browser.op("set=a:1")
    cookie = dict(browser.cookies)
    redis.kill()
    reply = browser.op("")
    assert reply.values is None
    assert not reply.set_cookies
    assert browser.cookies == cookie
    redis.start()
    assert wait_until(lambda: browser.op("").values, 10, "its session") == {"a": "1"}


def test_emptied_store_ends_sessions(farm, redis):
    node = single(farm, redis.provider)
    browser = node.client()
    browser.op("set=a:1")
    node.client(cookies={"SID": UNKNOWN}).op("")
    redis.empty()
    assert browser.op("").values == {}
    node.wait_log("SC1012")


def test_a_full_store(farm, redis):
    """It answers and takes nothing: no new sessions, the others are there, logging out works."""
    node = single(farm, redis.provider)
    browser, leaving = node.client(), node.client()
    browser.op("set=a:1")
    leaving.op("set=b:1")
    old = dict(leaving.cookies)
    assert redis.call("CONFIG", "SET", "maxmemory-policy", "noeviction") == b"OK"
    assert redis.call("CONFIG", "SET", "maxmemory", "1") == b"OK"
    other = node.client()
    other.op("set=c:1")
    assert "SID" not in other.cookies
    node.wait_log("SC0211")
    assert browser.values() == {"a": "1"}
    browser.op("set=a:2")
    assert browser.values() == {"a": "1"}
    leaving.op("clear")
    assert "SID" not in leaving.cookies
    assert node.client(cookies=old).values() == {}
    assert redis.call("CONFIG", "SET", "maxmemory", "0") == b"OK"
    assert browser.values("set=a:3") == {"a": "3"}
    assert browser.values() == {"a": "3"}
    assert count(node, "outages") == 0


def test_starts_without_its_store(farm):
    one = Redis()
    try:
        node = single(farm, one.provider, "timeout=500")
        browser = node.client(cookies={"SID": UNKNOWN})
        assert browser.get("/t").status == 503
        assert "SID" in browser.cookies
        assert node.client().get("/t").status == 200, "who has no session needs no store"
        assert node.client().get("/t?set=a:1").status == 503
        one.start()
        wait_until(lambda: browser.get("/t").status == 200, 10, "answers")
        assert node.client().values("set=a:1") == {"a": "1"}
    finally:
        one.close()


def test_nonsense_address(farm):
    node = farm.node("n1", modules=MODULES, directives=manager("redis:127.0.0.1:70000"))
    assert "SC1005" in node.start_fails()


def test_hung_store_lets_children_end(farm, redis):
    node = single(farm, redis.provider, "timeout=500")
    browser = node.client()
    browser.op("set=a:1")
    redis.freeze()
    assert browser.get("/t").status == 503
    before = node.workers()
    node.restart()
    wait_until(lambda: not set(before) & set(node.workers()), 20, "the old children have ended")
    redis.thaw()
    wait_until(lambda: browser.get("/t").status == 200, 10, "answers")
    assert browser.values() == {"a": "1"}


# ---- hostile content -----------------------------------------------------------------------------

@pytest.mark.parametrize("value", [b"", b"garbage", b"SCV\x01" + b"\0" * 45, b"SCV\x01" * 5000,
                                   b"x" * 400000],
                         ids=["empty", "garbage", "frame", "long", "huge"])
def test_garbage_under_a_key(farm, store, value):
    node = single(farm, store.provider)
    browser, other = node.client(), node.client()
    browser.op("set=a:1")
    mine = store.keys()
    other.op("set=b:2")
    key = next(k for k in mine if store.get(k)[4:5] == b"\0")
    store.set(key, value)
    assert browser.op("").values == {}
    assert "SID" not in browser.cookies
    assert count(node, "refused") >= 1
    assert other.values() == {"b": "2"}
    node.wait_log("SC1013")


def test_values_belong_to_their_keys(farm, store):
    """A session that was copied over another one's key is none: it would be that user's."""
    node = single(farm, store.provider)
    one, two = node.client(), node.client()
    one.op("set=who:one")
    first = next(k for k in store.keys() if store.get(k)[4:5] == b"\0")
    two.op("set=who:two")
    second = next(k for k in store.keys() if store.get(k)[4:5] == b"\0" and k != first)
    store.set(second, store.get(first))
    assert two.op("").values == {}
    assert one.values() == {"who": "one"}


def test_later_version_is_not_touched(farm, store):
    node = single(farm, store.provider)
    browser = node.client()
    browser.op("set=a:1")
    key = next(k for k in store.keys() if store.get(k)[4:5] == b"\0")
    was = store.get(key)
    store.set(key, b"SCV\x02" + was[4:])
    assert browser.get("/t").status == 503
    assert "SID" in browser.cookies
    assert store.get(key) == b"SCV\x02" + was[4:]
    store.set(key, was)
    assert browser.values() == {"a": "1"}


# ---- stores of one node --------------------------------------------------------------------------

@pytest.mark.parametrize("provider", ["shmcb:sessions(2000000)", "dbm:sessions"],
                         ids=["shmcb", "dbm"])
def test_one_node(farm, provider):
    node = single(farm, provider)
    browser = node.client()
    browser.op("set=a:1")
    threads = [threading.Thread(target=lambda i=i: node.client(cookies=browser.cookies).get(
        f"/t?set=p{i}:1&sleep=20")) for i in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert set(browser.values()) == {"a"} | {f"p{i}" for i in range(12)}
    old = dict(browser.cookies)
    browser.op("clear")
    assert node.client(cookies=old).values() == {}
    assert node.client(cookies={"SID": UNKNOWN}).values() == {}


def test_dbm_survives_a_restart(farm):
    node = single(farm, "dbm:sessions")
    browser = node.client()
    browser.op("set=a:1")
    node.stop()
    node.start()
    assert browser.values() == {"a": "1"}


def test_dbm_takes_small_sessions_only(farm):
    node = single(farm, "dbm:sessions")
    browser = node.client()
    browser.op("set=a:1")
    browser.op("big=b:3000")
    assert browser.values() == {"a": "1"}
    node.wait_log("SC0213")


# ---- with a cluster ------------------------------------------------------------------------------

def test_behind_a_balancer(farm, redis):
    cluster = farm.cluster(2, balancers=1, modules=MODULES,
                           options=manager(redis.provider)).start()
    browser = cluster.balancer.client()
    browser.op("set=a:1")
    first, home = browser.id, cluster.node(browser.route)
    other = next(n for n in cluster.nodes if n is not home)
    for _ in range(4):
        assert browser.values() == {"a": "1"}
        assert browser.route == home.route
    home.kill9()
    wait_until(lambda: browser.get("/t").status == 200, 20, "served elsewhere")
    # as long as the other node takes the one of the cookie for alive, the cookie stays as it is
    wait_until(lambda: browser.values() == {"a": "1"} and browser.route == other.route, 20,
               "the cookie names the other node")
    assert browser.id == first
