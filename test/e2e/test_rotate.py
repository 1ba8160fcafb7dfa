# Licensed under the Apache License, Version 2.0; see LICENSE.
"""New ids: at a login, because the application asks for one; what an old id is worth then."""

import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlencode

import pytest

from node import wait_until
from test_cluster import login_config

HEADER = "Session-Cluster-Rotate"
REFRESH = f"header={HEADER}:refresh"
STRICT = f"header={HEADER}:1"

CONFIG = """
Session On
SessionClusterCookieName SID
SessionClusterRotateId login admin
RemoteIPHeader X-Client
RemoteIPInternalProxy 127.0.0.1
AddType text/html .shtml
AddOutputFilter INCLUDES .shtml
<LocationMatch "^/(t|short|off|age)$">
  SetHandler sc-test
</LocationMatch>
<Location /short>
  SessionClusterRotateId login grace=1
</Location>
<Location /off>
  SessionClusterRotateId Off
</Location>
<Location /age>
  SessionMaxAge 600
</Location>
"""


def make_pair(farm, manager):
    return farm.cluster(2, session=CONFIG, directives=manager, modules=["remoteip"])


@pytest.fixture(scope="module", params=["delta", "backup"])
def pair(request, shared_farm):
    """Two nodes that no test of this file that shares them kills or freezes."""
    return make_pair(shared_farm, f"SessionClusterManager {request.param}\n").start()


@pytest.fixture
def gate(farm):
    """A folder for files by which requests wait for each other."""
    path = os.path.join(farm.root, "gate-" + uuid.uuid4().hex[:8])
    os.mkdir(path)
    os.chmod(path, 0o777)
    return path


class Late:
    """A request that has loaded its session and goes on when it is told to."""

    def __init__(self, gate, node, cookies, steps, path="/t", headers=None):
        here, go = (os.path.join(gate, uuid.uuid4().hex) for _ in range(2))
        self.go = go
        self.pool = ThreadPoolExecutor(1)
        self.client = node.client(cookies=cookies, timeout=40)
        self.reply = self.pool.submit(self.client.op, f"touch={here}&until={go}&{steps}",
                                      path=path, headers=headers)
        wait_until(lambda: os.path.exists(here), 15, "the late request has begun")

    def finish(self):
        with open(self.go, "w", encoding="ascii"):
            pass
        reply = self.reply.result(30)
        self.pool.shutdown()
        return reply


def rotations(*nodes):
    return sum(node.log().count("SC1054") for node in nodes)


def dead(node, cookies, path="/t"):
    """An old id gets nothing, and stores nothing; nothing is said to the browser."""
    one = node.client(cookies=cookies)
    assert one.op("set=evil:1", path=path).set_cookies == {}
    assert one.op(path=path).set_cookies == {}
    return one.values(path=path) == {}


# ---- login ---------------------------------------------------------------------------------------

def test_planted_id_is_worthless(pair):
    """Somebody makes a session, plants its id and asks on both nodes, before the login, during it
    and after it, from the victim's own address and with the victim's browser."""
    for round_no in range(4):
        at, other = pair.nodes if round_no % 2 else reversed(pair.nodes)
        attacker = at.client()
        attacker.op("set=cart:1")
        planted = dict(attacker.cookies)
        victim = at.client(cookies=planted)
        stop = threading.Event()
        seen = []

        def poll(node):
            while not stop.is_set() and len(seen) < 2000:
                reply = node.client(cookies=planted).op()  # pylint: disable=cell-var-from-loop
                seen.append((reply.values, reply.set_cookies))
                time.sleep(0.005)
        threads = [threading.Thread(target=poll, args=(n,)) for n in (at, other)]
        for t in threads:
            t.start()
        wait_until(lambda: len(seen) > 10, 10, "the attacker polls")
        victim.op("set=login:joe")
        after = len(seen)
        wait_until(lambda: len(seen) > after + 20, 10, "the attacker still polls")
        stop.set()
        for t in threads:
            t.join()
        assert victim.cookies != planted
        assert victim.values() == {"cart": "1", "login": "joe"}
        assert other.client(cookies=victim.cookies).values() == {"cart": "1", "login": "joe"}
        assert all(values in ({"cart": "1"}, {}) for values, _ in seen)
        assert all(not cookies for _, cookies in seen)
        assert seen[-1][0] == {}
        assert dead(at, planted) and dead(other, planted)
        assert victim.values() == {"cart": "1", "login": "joe"}


def test_any_of_the_named_attributes(pair):
    one = pair[0].client()
    for steps, new in (("set=a:1", False), ("set=login:joe", True), ("set=login:joe&set=b:1", False),
                       ("set=ADMIN:yes", True), ("del=admin", False), ("set=login:ann", True)):
        before = one.cookies.get("SID")
        one.op(steps)
        assert before is None or (one.cookies["SID"] != before) == new, steps


def test_old_id_ends_after_its_time(pair):
    """From then on it is an unknown one, which the browser is told to forget."""
    one = pair[0].client()
    one.op("set=a:1", path="/short")
    old = dict(one.cookies)
    one.op("set=login:joe", path="/short")
    for node in pair.nodes:
        wait_until(lambda n=node: "SID" in n.client(cookies=old).op(path="/short").set_cookies, 15,
                   "the old cookie is taken back")
        poor = node.client(cookies=old)
        poor.op(path="/short")
        assert "SID" not in poor.cookies
    assert one.values(path="/short") == {"a": "1", "login": "joe"}


def test_login_with_an_old_id(pair):
    """Whoever logs in with it, the victim whose answer was lost or somebody else, gets a session,
    but not that one."""
    one = pair[0].client()
    one.op("set=cart:1")
    old = dict(one.cookies)
    one.op("set=login:joe")
    for node in pair.nodes:
        again = node.client(cookies=old)
        again.op("set=login:mallory&set=x:1")
        assert again.cookies["SID"] not in (old["SID"], one.cookies["SID"])
        assert again.values() == {"login": "mallory", "x": "1"}
    assert one.values() == {"cart": "1", "login": "joe"}


def test_off_is_off(pair):
    one = pair[0].client()
    one.op("set=a:1", path="/off")
    before = dict(one.cookies)
    one.op("set=login:joe", path="/off")
    assert one.cookies == before
    one.op(STRICT, path="/off")  # but for whoever asks for it
    assert one.cookies != before


# ---- requests beside the change of id ------------------------------------------------------------

@pytest.mark.parametrize("where", [0, 1], ids=["same node", "other node"])
def test_overtaken_requests_keep_their_changes(pair, gate, where):
    one = pair[0].client()
    one.op("set=a:1&set=b:1")
    late = [Late(gate, pair[where], one.cookies, "set=late:1"),
            Late(gate, pair[where], one.cookies, "del=b"),
            Late(gate, pair[where], one.cookies, "set=c:1", path="/age"),
            Late(gate, pair[where], one.cookies, "", path="/age"),
            Late(gate, pair[where], one.cookies, "set=d:1&" + REFRESH),
            Late(gate, pair[where], one.cookies, "")]
    one.op("set=login:joe")
    before = rotations(*pair.nodes)
    for request in late:
        assert "SID" not in request.finish().set_cookies
    want = {"a": "1", "late": "1", "c": "1", "d": "1", "login": "joe"}
    for node in pair.nodes:
        assert node.client(cookies=one.cookies).values() == want
    assert rotations(*pair.nodes) == before


def test_overtaken_by_two(pair, gate):
    """The id has changed twice meanwhile, once on each node."""
    one = pair[0].client()
    one.op("set=a:1")
    late = Late(gate, pair[0], one.cookies, "set=late:1")
    one.op("set=login:joe")
    one.port = pair[1].port
    one.op("set=admin:yes")
    assert "SID" not in late.finish().set_cookies
    assert one.values() == {"a": "1", "late": "1", "login": "joe", "admin": "yes"}


def test_overtaken_by_somebody_else(pair, gate):
    """Whoever had planted the id cannot write into the session by a request that he has kept open,
    unless he sits at the same address and has the same browser."""
    one = pair[0].client()
    one.op("set=a:1", headers={"X-Client": "10.1.1.1"})
    late = [Late(gate, node, one.cookies, "set=evil:1", headers=headers)
            for node in pair.nodes
            for headers in ({"X-Client": "10.1.1.2"},
                            {"X-Client": "10.1.1.1", "User-Agent": "other"})]
    one.op("set=login:joe", headers={"X-Client": "10.1.1.1"})
    for request in late:
        assert "SID" not in request.finish().set_cookies
    assert one.values() == {"a": "1", "login": "joe"}
    assert any("SC1051" in node.log() for node in pair.nodes)


def test_overtaken_logout(pair, gate):
    one = pair[0].client()
    one.op("set=a:1")
    late = Late(gate, pair[1], one.cookies, "clear=1")
    one.op("set=login:joe")
    late.finish()
    for node in pair.nodes:
        assert node.client(cookies=one.cookies).values() == {}


def test_overtaken_login(pair, gate):
    """A form that was sent twice: each answer's cookie is good, whichever comes last."""
    one = pair[0].client()
    one.op("set=a:1")
    late = Late(gate, pair[0], one.cookies, "set=login:joe")
    one.op("set=login:joe")
    late.finish()
    want = {"a": "1", "login": "joe"}
    assert late.client.cookies["SID"] != one.cookies["SID"]
    assert one.values() == want and late.client.values() == want


# ---- on request ----------------------------------------------------------------------------------

@pytest.mark.parametrize("steps", [STRICT, f"header={HEADER}:yes", "note=session-cluster-rotate:1",
                                   "set=x:1&" + STRICT,
                                   "note=session-cluster-rotate:1&status=403"])
def test_strict_on_request(pair, steps):
    one = pair[0].client()
    one.op("set=a:1")
    old = dict(one.cookies)
    reply = one.op(steps, status=403 if "403" in steps else 200)
    assert one.cookies != old and reply.header(HEADER) is None
    assert dead(pair[0], old) and dead(pair[1], old)
    assert one.values()["a"] == "1"


@pytest.mark.parametrize("steps", [REFRESH, "note=session-cluster-rotate:refresh",
                                   "set=x:1&" + REFRESH])
def test_refresh_on_request(pair, steps):
    """Rights stay, so the same browser may come with the old id for a moment, and gets the cookie
    that it has missed; nobody else may."""
    me = {"X-Client": "10.2.2.2", "User-Agent": "browser"}
    one = pair[0].client()
    one.op("set=a:1", headers=me)
    old = dict(one.cookies)
    reply = one.op(steps, headers=me)
    assert one.cookies != old and reply.header(HEADER) is None
    for node in pair.nodes:
        missed = node.client(cookies=old)
        assert missed.op("set=b:1", headers=me).values["a"] == "1"
        assert missed.id == one.id
        assert one.values()["b"] == "1"
        for stranger in ({"X-Client": "10.2.2.3", "User-Agent": "browser"},
                         {"X-Client": "10.2.2.2", "User-Agent": "other"}, {}):
            reply = node.client(cookies=old).op("set=evil:1", headers=stranger)
            assert reply.values == {"evil": "1"} and reply.set_cookies == {}
    assert "evil" not in one.values()


def test_refresh_then_login(pair):
    """An id from before the refresh does not reach what the login has made of it."""
    one = pair[0].client()
    one.op("set=a:1")
    oldest = dict(one.cookies)
    one.op(REFRESH)
    old = dict(one.cookies)
    one.op("set=login:joe")
    for node in pair.nodes:
        assert dead(node, oldest) and dead(node, old)
    one.op(REFRESH)  # nor what a refresh has made of that
    for node in pair.nodes:
        assert dead(node, oldest) and dead(node, old)


def test_nothing_is_asked_for(pair):
    one = pair[0].client()
    reply = one.op(STRICT)  # no session at all
    assert reply.set_cookies == {} and reply.header(HEADER) is None
    one.op("set=a:1")
    before = dict(one.cookies)
    reply = one.op(f"header={HEADER}:0")
    assert one.cookies == before and reply.header(HEADER) is None


def test_never_twice(pair):
    """One request with everything that asks for a new id, and one that it leads to, too."""
    one = pair[0].client()
    one.op("set=a:1")
    for steps in (f"set=login:joe&{STRICT}&note=session-cluster-rotate:1",
                  f"set=login:ann&{STRICT}&redirect=" + quote(f"/t?set=admin:1&{STRICT}"),
                  f"{STRICT}&redirect=" + quote(f"/t?{STRICT}")):
        before = rotations(pair[0])
        old = one.cookies["SID"]
        reply = one.op(steps)
        assert len(reply.all("Set-Cookie")) == 1 and one.cookies["SID"] != old, steps
        assert rotations(pair[0]) == before + 1, steps
        assert reply.header(HEADER) is None
    assert one.values() == {"a": "1", "login": "ann", "admin": "1"}


def test_never_twice_by_subrequests(pair):
    """A page of two parts, each of which asks, and changes the login."""
    node = pair[0]
    parts = "".join(f'<!--#include virtual="/t?set=login:{name}&{STRICT}" -->\n'
                    for name in ("joe", "ann"))
    with open(os.path.join(node.htdocs, "parts.shtml"), "w", encoding="ascii") as f:
        f.write(parts)
    one = node.client()
    one.op("set=a:1")
    old, before = one.cookies["SID"], rotations(node)
    reply = one.get("/parts.shtml")
    assert reply.status == 200 and reply.text.count('"pid"') == 2
    assert len(reply.all("Set-Cookie")) == 1 and one.cookies["SID"] != old
    assert reply.header(HEADER) is None
    assert rotations(node) == before + 1
    assert dead(node, {"SID": old}) and one.values()["a"] == "1"


def test_the_mark_is_out_of_reach(pair):
    """What is remembered of the old id is no attribute for anybody."""
    one = pair[0].client()
    one.op("set=a:1")
    one.op(REFRESH)
    for node in pair.nodes:
        one.port = node.port
        assert one.values() == {"a": "1"}
        one.op("set=%01origin:r0000&set=b:1")
        assert one.values() == {"a": "1", "b": "1"}
        one.op("del=b")
    one.op("del=a")  # and none that keeps a session alive
    assert one.values() == {}


# ---- failures in the middle ----------------------------------------------------------------------

def test_killed_behind_the_answer(farm, manager):
    pair = make_pair(farm, manager).start()
    one = pair[0].client()
    one.op("set=a:1")
    old = dict(one.cookies)
    one.op("set=login:joe")
    pair[0].kill9()
    wait_until(lambda: pair[1].lost("n1"), 15, "n2 alone")
    one.port = pair[1].port
    assert dead(pair[1], old)
    assert one.values() == {"a": "1", "login": "joe"}
    assert one.route == "n2"


def test_killed_before_the_answer(farm, manager):
    """The other node has perhaps heard of it, the browser has not."""
    pair = make_pair(farm, manager).start()
    one = pair[0].client()
    one.op("set=a:1")
    changed = pair[0].count("changed")
    pair[1].freeze()
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(one.op, "set=login:joe")
        wait_until(lambda: pair[0].count("changed") > changed, 10, "n1 has changed the id")
        pair[0].kill9()
        pair[1].thaw()
        with pytest.raises(OSError):
            lost.result(20)
    wait_until(lambda: pair[1].lost("n1"), 15, "n2 alone")
    one.port = pair[1].port
    assert one.values() in ({"a": "1"}, {})  # never the login, which nobody was told of
    one.op("set=login:joe")
    assert one.values()["login"] == "joe"


def test_refresh_killed_before_the_answer(farm):
    pair = make_pair(farm, "").start()
    one = pair[0].client()
    one.op("set=a:1&set=login:joe")
    changed = pair[0].count("changed")
    pair[1].freeze()
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(one.op, REFRESH)
        wait_until(lambda: pair[0].count("changed") > changed, 10, "n1 has changed the id")
        pair[0].kill9()
        pair[1].thaw()
        with pytest.raises(OSError):
            lost.result(20)
    one.port = pair[1].port
    assert wait_until(lambda: one.request("/t").json()["values"], 15) == {"a": "1", "login": "joe"}
    wait_until(lambda: pair[1].lost("n1"), 15, "n2 alone")
    assert one.values() == {"a": "1", "login": "joe"}


def test_refused(farm, manager):
    """A change that not all have acknowledged is refused, but it has been made: the browser is told
    the id that there is from now on."""
    pair = make_pair(farm, manager + "SessionClusterSendOptions 6 timeout=300 onTimeout=fail\n")
    pair.start()
    pair.wait_settled()
    one = pair[0].client()
    one.op("set=a:1")
    old = dict(one.cookies)
    pair[1].freeze()
    reply = one.op("set=login:joe", status=503)
    assert len(reply.all("Set-Cookie")) == 1 and one.cookies != old
    pair[1].thaw()
    pair.wait_settled()
    for node in pair.nodes:
        assert node.client(cookies=one.cookies).values() == {"a": "1", "login": "joe"}
        assert dead(node, old)


def test_engine_killed_meanwhile(farm):
    """The answer comes from its successor, which finds half of it done, or all, or nothing."""
    node = farm.node(session=CONFIG, modules=["remoteip"]).start()
    for _ in range(3):
        one = node.client(timeout=30)
        one.op("set=a:1")
        old = dict(one.cookies)
        engine = node.engine_pid()
        with ThreadPoolExecutor(1) as pool:
            reply = pool.submit(one.op, "set=login:joe")
            node.kill_engine()
            reply.result(30)
        assert one.cookies != old
        assert one.values() == {"a": "1", "login": "joe"}
        assert dead(node, old)
        node.wait_new_engine(engine)


# ---- mod_auth_form -------------------------------------------------------------------------------

def test_mod_auth_form(farm):
    pair = farm.cluster(2, session=login_config(farm.root), modules=["auth_form"]).start()
    form = urlencode({"httpd_username": "joe", "httpd_password": "secret"})
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    attacker = pair[0].client()
    attacker.op("set=cart:1")
    planted = dict(attacker.cookies)
    victim = pair[0].client(cookies=planted)
    assert victim.post("/login", form, headers=kind).status == 302
    assert victim.cookies != planted
    assert victim.get("/private").json()["user"] == "joe"
    for node in pair.nodes:
        one = node.client(cookies=planted)
        assert one.get("/private").status in (302, 401)
        assert one.values() == {} and one.cookies == planted
    again = pair[1].client(cookies=planted)  # its answer was lost, say
    assert again.post("/login", form, headers=kind).status == 302
    assert again.get("/private").json()["user"] == "joe"
    assert victim.get("/private").json()["user"] == "joe"
