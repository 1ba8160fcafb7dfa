# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Which node a balancer sends a session to, and which request it sends nowhere: told by the header
X-Choice, which all balancers here set from SESSION_CLUSTER_CHOICE."""

import http.client
import re
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from client import Load, pipeline
from node import Balancer, send_signal, wait_until

ROOMY = {"threads": 100, "max_children": 3}
SHOW = ('Header always set X-Choice "%{SESSION_CLUSTER_CHOICE}e"\n'
        'Header always set X-Failover "%{SESSION_CLUSTER_FAILOVER}e"\n')
MANAGER = ("<Location /balancer-manager>\n  SetHandler balancer-manager\n</Location>\n"
           "ProxyPass /balancer-manager !\n")
MEMBER = "retry=2 connectiontimeout=2"


BOTH = pytest.mark.parametrize("options", ["", "SessionClusterManager backup\n"],
                               ids=["delta", "backup"])
HINTED = ("<Location /t>\n  SetHandler sc-test\n</Location>\nSession On\n"
          "SessionClusterCookieName SID\nSessionClusterBackupHint On\n")


class Front(Balancer):
    """A balancer whose workers differ: arguments by route, of the balancer, and what else there is.
    With engine=False it has no directive of the cluster, as outside its network."""

    def __init__(self, farm, name, nodes, *, workers=None, engine=True, method="", **kw):
        self.workers = workers or {}
        self.engine = engine
        self.method = method
        kw.setdefault("extra", SHOW)
        super().__init__(farm, name, nodes, **kw)

    def compose(self):
        super().compose()
        if not self.engine:
            self.head = ""
        self.head += self.method
        members = "".join(
            f'  BalancerMember "http://{n.host}:{n.port}" route={n.route} '
            f'{self.workers.get(n.route, MEMBER)}\n' for n in self.nodes)
        self.config = (MANAGER + '<Proxy "balancer://cluster">\n' + members +
                       f"  ProxySet lbmethod=bysession stickysession=SID {self.proxy_args}\n"
                       "</Proxy>\nProxyTimeout 15\nProxyPass /sc-status !\n"
                       'ProxyPass / "balancer://cluster/"\n' + self.extra)

    # -- balancer-manager, as a form does it

    def nonce(self):
        page = self.client().get("/balancer-manager").text
        return re.search(r"nonce=([0-9a-f-]+)", page).group(1)

    def manage(self, **fields):
        """One POST; names of fields as in the form."""
        body = urlencode({"b": "cluster", "nonce": self.nonce(), **fields})
        reply = self.client().post("/balancer-manager", body, headers={
            "Content-Type": "application/x-www-form-urlencoded",
            "Referer": f"http://{self.host}:{self.port}/balancer-manager",
            "Host": f"{self.host}:{self.port}"})
        assert reply.status == 200, reply
        return reply.text

    def worker(self, node):
        return f"http://{node.host}:{node.port}"

    def drain(self, node, on=True):
        self.manage(w=self.worker(node), w_status_N=1 if on else 0)


def make(farm, nodes=3, fronts=1, options="SessionClusterManager backup\n", start=True, session=None,
         node=None, **front):
    """A cluster whose balancers are Fronts."""
    kw = {**ROOMY, **(node or {})}
    if session is not None:
        kw["session"] = session
    cluster = farm.cluster(nodes, options=options, **kw)
    for i in range(fronts):
        cluster.balancers.append(
            farm.add(Front(farm, f"b{i + 1}", cluster.nodes,
                           **{k: v for k, v in ROOMY.items() if k == "max_children"}, **front)))
    cluster.connect()
    if start:
        cluster.start()
        cluster.wait_settled()
    return cluster


def make_sessions(node, count):
    """Cookies of new sessions of a node."""
    replies = pipeline(node.port, [("set=a:1", None)] * count)
    assert all(r.status == 200 for r in replies), [r for r in replies if r.status != 200][:3]
    return [r.set_cookies["SID"][0] for r in replies]


def ask(front, cookies, threads=4, query=""):
    """Where each goes: (route, choice), over a few connections."""
    parts = [cookies[i::threads] for i in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        got = list(pool.map(lambda p: pipeline(front.port, [(query, c) for c in p]), parts))
    out = [None] * len(cookies)
    for i, replies in enumerate(got):
        for k, r in enumerate(replies):
            out[i + k * threads] = (r.json()["route"] if r.status == 200 else r.status,
                                    r.header("X-Choice"))
    return out


def fetches(cluster):
    return sum(n.count("fetches") for n in cluster.live())


def told(front, sessions):
    """Whether the balancer knows where so many sessions are."""
    return front.status()["store"]["proxies"] >= sessions


def at(front, cookie, query="", **kw):
    reply = front.client().get("/t?" + query, cookies=f"SID={cookie}", **kw)
    return (reply.json()["route"] if reply.status == 200 else reply.status), \
        reply.header("X-Choice")


def hint_of(cookie):
    """The backup that a cookie names; "" for none."""
    return cookie.partition(".")[0].partition("-")[2]


def without_hint(cookie):
    return re.sub(r"-[^.]*", "", cookie)


# ---- the promise ---------------------------------------------------------------------------------

def test_every_session_goes_to_its_backup(farm):
    """Five nodes, 10,000 sessions, one node dies. All of its sessions' next requests go to the node
    that has the backup, so no node asks another one; two balancers agree about all of them, and one
    that is restarted in the middle goes on as before."""
    cluster = make(farm, 5, 2, session=HINTED)  # so the cookie tells the test where the backup is
    one, two = cluster.balancers
    with ThreadPoolExecutor(5) as pool:
        cookies = list(pool.map(lambda n: make_sessions(n, 2000), cluster.nodes))
    for front in cluster.balancers:
        wait_until(lambda f=front: told(f, 10000), 20, "locations told")
    cluster.wait_settled()
    backups = [hint_of(c) for c in cookies[1]]
    assert set(backups) == {"n1", "n3", "n4", "n5"}
    lost = [without_hint(c) for c in cookies[1]]
    cluster[1].kill9()
    got = ask(one, lost[:500])
    for node in cluster.live():  # without a lease they ask others, whatever they have
        wait_until(lambda n=node: n.lost("n2") and n.status()["node"]["leased"], 10, "lease")
    before = fetches(cluster)
    got += ask(one, lost[500:700])
    one.restart()
    got += ask(one, lost[700:1400])
    one.restart(signal.SIGHUP)
    got += ask(one, lost[1400:])
    # when its death has been noticed, the backups become primaries
    assert {how for _, how in got} <= {"backup", "primary"}
    assert [route for route, _ in got] == backups
    assert fetches(cluster) == before
    assert [route for route, _ in ask(two, lost)] == backups
    assert one.count("choices_backup") + one.count("choices_primary") >= 2000
    # about all 10,000, as if n2 had been the node of each
    wait_until(lambda: one.lost("n2") and two.lost("n2"), 15, "n2 gone")
    everything = [c.partition("-")[0] + ".n2" for part in cookies for c in part]
    agreed = ask(one, everything)
    assert agreed == ask(two, everything)
    assert Counter(route for route, _ in agreed) == Counter(
        {r: 2000 + backups.count(r) for r in ("n1", "n3", "n4", "n5")})


def test_balancers_of_a_delta_cluster_agree(farm):
    """Nobody has to say where the sessions are: they are everywhere."""
    cluster = make(farm, 5, 2, options="")
    cookies = make_sessions(cluster[1], 300)
    wait_until(lambda: all(n.sessions() == 300 for n in cluster.nodes), 15, "replicated")
    cluster[1].kill9()
    first = ask(cluster.balancers[0], cookies)
    assert {how for _, how in first} == {"placement"}
    assert {route for route, _ in first} == {"n1", "n3", "n4", "n5"}
    assert ask(cluster.balancers[1], cookies) == first


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_frozen_node(farm, mpm):
    """Who waits for a node that stands still is told as soon as that is known; who comes later does
    not wait at all."""
    cluster = make(farm, 3, mpm=mpm, children=16 if mpm == "prefork" else 2)
    cookies = make_sessions(cluster[1], 12)
    front = cluster.balancer
    wait_until(lambda: told(front, 12), 10, "locations told")
    cluster[1].freeze()
    begin = time.monotonic()
    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(lambda c=c: at(front, c)) for c in cookies[:8]]
        wait_until(lambda: front.lost("n2"), 10, "n2 dropped")
        gone = time.monotonic()
        late = [pool.submit(lambda c=c: at(front, c)) for c in cookies[8:]]
        for one in late:
            route, how = one.result()
            assert route in ("n1", "n3") and how in ("backup", "primary")
        assert time.monotonic() - gone < 3
        assert {one.result()[0] for one in waiting} == {502}
        assert time.monotonic() - gone < 3 and time.monotonic() - begin < 10
    assert front.count("waits_ended") == 8
    assert {how for _, how in ask(front, cookies)} <= {"backup", "primary"}
    cluster[1].thaw()


def test_only_connections_to_who_is_gone_are_ended(farm):
    """Also where connections are made and closed all the time, so that descriptors soon are others'."""
    short = {f"n{i}": MEMBER + " disablereuse=On" for i in (1, 2, 3)}
    cluster = make(farm, 3, workers=short)
    front = cluster.balancer
    with Load(front.port, clients=80, rate=200) as load:
        load.run_for(2)
        cluster[1].freeze()
        wait_until(lambda: front.lost("n2"), 10, "n2 dropped")
        load.run_for(1)
    cluster[1].thaw()
    failed = load.failures()
    assert {r.status for r in failed} == {502}, failed[:5]
    assert len(failed) == front.count("waits_ended")
    load.check_counters()


def test_who_waits_may_be_left_waiting(farm):
    cluster = make(farm, 3, method="SessionClusterBalancerMethod byrequests abandonGone=false\n")
    cookie, = make_sessions(cluster[1], 1)
    front = cluster.balancer
    with ThreadPoolExecutor(1) as pool:
        cluster[1].freeze()
        waiting = pool.submit(lambda: at(front, cookie))
        wait_until(lambda: front.lost("n2"), 10, "n2 dropped")
        cluster[1].thaw()
        assert waiting.result()[0] == "n2", "it was slow and no more"
    assert front.count("waits_ended") == 0


def test_an_interim_answer_is_none(farm):
    """A node that has said no more than that its answer will take long is still waited for."""
    cluster = make(farm, 3, extra=SHOW + "SetEnv proxy-interim-response Suppress\n")
    front = cluster.balancer
    cookie, = make_sessions(cluster[1], 1)
    assert at(front, cookie, "interim&sleep=100")[0] == "n2"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: at(front, cookie, "interim&sleep=9000"))
        wait_until(lambda: cluster[1].asleep() == 1, 10, "it is with the node")
        cluster[1].freeze()
        assert waiting.result()[0] == 502
    assert front.lost("n2") and front.count("waits_ended") == 1
    cluster[1].thaw()


def test_who_was_gone_before_is_waited_for(farm):
    """The engine of a node stands still and its httpd serves: a request that was sent there although
    is left alone, however often the view changes."""
    cluster = make(farm, 3, workers={"n2": MEMBER + " hcmethod=TCP hcinterval=1"}, start=False)
    front = cluster.balancer
    front.modules += ["watchdog", "proxy_hcheck"]
    cluster.start()
    cluster.wait_settled()
    cookie, = make_sessions(cluster[1], 1)
    engine = cluster[1].engine_pid()
    send_signal(engine, signal.SIGSTOP)
    wait_until(lambda: front.lost("n2"), 10, "n2 gone")
    assert at(front, cookie, "sleep=3000")[0] == "n2"
    send_signal(engine, signal.SIGCONT)
    assert front.count("waits_ended") == 0


def test_a_node_without_its_engine_answers(farm):
    """As while a graceful restart replaces it, only longer: it has left the view, not in silence, and
    what it works on it finishes."""
    patient = "static frequency=200 dropTime=60000"
    cluster = make(farm, 3, node={"membership": patient})
    front = cluster.balancer
    cookie, = make_sessions(cluster[1], 1)
    engine = cluster[1].engine_pid()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: at(front, cookie, "sleep=3000"))
        wait_until(lambda: cluster[1].asleep() == 1, 10, "it is with the node")
        send_signal(cluster[1].pid, signal.SIGSTOP)  # who would start another engine
        send_signal(engine, signal.SIGTERM)
        wait_until(lambda: front.lost("n2"), 10, "n2 gone")
        assert waiting.result()[0] == "n2"
    assert front.lost("n2") and front.count("waits_ended") == 0
    send_signal(cluster[1].pid, signal.SIGCONT)
    wait_until(lambda: not front.lost("n2"), 10, "n2 back")


@pytest.mark.parametrize("mpm", ["event", "prefork"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGWINCH], ids=["stop", "graceful"])
def test_a_balancer_stops_while_requests_wait(farm, mpm, number):
    cluster = make(farm, 2, options="", mpm=mpm, extra=SHOW + "GracefulShutdownTimeout 10\n")
    front = cluster.balancer
    cookie, = make_sessions(cluster[0], 1)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: at(front, cookie, "sleep=4000"))
        wait_until(lambda: cluster[0].asleep() == 1, 10, "it is with the node")
        assert front.stop(number=number)
        try:
            assert running.result()[0] == "n1"
        except (OSError, http.client.HTTPException):
            assert number == signal.SIGTERM


# ---- members that leave and come ------------------------------------------------------------------

@BOTH
@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_graceful_stop(farm, options, mpm):
    """As soon as a node begins to stop it gets nothing new; what is under way there ends well."""
    cluster = make(farm, 3, node={"mpm": mpm, "children": 8 if mpm == "prefork" else 2},
                   options=options + "GracefulShutdownTimeout 30\nKeepAliveTimeout 2\n")
    front, leaver = cluster.balancer, cluster[1]
    busy, idle = make_sessions(leaver, 2)
    # the balancer has connections to it that it keeps
    assert {route for route, _ in ask(front, [None] * 30)} == {"n1", "n2", "n3"}
    asked = len(front.log())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: at(front, busy, "sleep=8000&set=b:1"))
        wait_until(lambda: leaver.asleep() == 1, 7, "it is with the node")
        send_signal(leaver.pid, signal.SIGWINCH)
        wait_until(lambda: front.member("n2")["node_state"] == "leaving", 5, "announced")
        assert {route for route, _ in ask(front, [None] * 30)} == {"n1", "n3"}
        assert at(front, idle)[0] in ("n1", "n3")
        assert front.count("moved_on") == 1
        assert not running.done() and leaver.alive()
        assert running.result()[0] == "n2"
    assert not re.search("AH0095[79]|AH01114", front.log()[asked:]), "nobody has tried it"
    reply = front.client().get("/t", cookies=f"SID={busy}")
    assert reply.json()["route"] in ("n1", "n3") and reply.json()["values"]["b"] == "1"
    wait_until(lambda: not leaver.alive(), 20, "it has ended")
    assert "SC0726" in leaver.log()


@BOTH
def test_drain_under_load(farm, options):
    cluster = make(farm, 3, options=options)
    front, leaver = cluster.balancer, cluster[1]
    long = make_sessions(leaver, 1)[0]
    with Load(front.port, clients=60, rate=200) as load, ThreadPoolExecutor(1) as pool:
        load.run_for(2)
        running = pool.submit(lambda: at(front, long, "sleep=2500&set=b:1"))
        load.run_for(0.5)
        front.drain(leaver)
        drained = time.monotonic()
        load.run_for(2.5)
        assert running.result() == ("n2", "route"), "what was under way ends where it began"
        assert leaver.stop()
        load.run_for(1.5)
    assert not load.failures(), load.failures()[:5]
    assert load.check_counters() > 500
    assert load.check_ids() == 60
    served = Counter(r.extra["route"] for r in load.records if r.start > drained + 0.2)
    assert served["n2"] == 0 and served["n1"] and served["n3"], served
    assert front.count("moved_on") > 50
    assert at(front, long)[0] in ("n1", "n3")


def test_draining_ends(farm):
    """A worker that is not drained any more gets its sessions back: they have stayed its own."""
    cluster = make(farm, 3)
    front = cluster.balancer
    cookies = make_sessions(cluster[1], 50)
    wait_until(lambda: told(front, 50), 10, "locations told")
    before = fetches(cluster)
    front.drain(cluster[1])
    got = Counter(ask(front, cookies))
    assert {how for _, how in got} == {"backup"} and all(r != "n2" for r, _ in got), got
    assert fetches(cluster) == before
    front.drain(cluster[1], False)
    assert Counter(ask(front, cookies)) == {("n2", "route"): 50}
    # nobody else to go to: it stays
    front.drain(cluster[1])
    for other in (cluster[0], cluster[2]):
        front.manage(w=front.worker(other), w_status_D=1)
    assert Counter(ask(front, cookies)) == {("n2", "route"): 50}


def test_a_node_says_that_it_leaves(farm):
    """It hands its sessions over, which takes a while here. Meanwhile balancers send it no new ones,
    and its own to those who have them; these write themselves into the cookies."""
    cluster = make(farm, 3, options="SessionClusterManager backup leaveTime=10 copyRate=100\n")
    front, leaver = cluster.balancer, cluster[1]
    cookies = make_sessions(leaver, 1500)
    wait_until(lambda: told(front, 1500), 10, "locations told")

    def state():
        return [m["node_state"] for m in front.status()["view"]["members"]
                if m["route"] == "n2" and m["state"] == "alive"]
    engine = leaver.engine_pid()
    send_signal(engine, signal.SIGTERM)
    wait_until(lambda: state() == ["leaving"], 5, "n2 leaves")
    got = Counter(ask(front, cookies[:300]))
    new = {front.client().op("set=a:1").json()["route"] for _ in range(9)}
    assert state() == ["leaving"], "that was quick enough"
    assert {route for route, _ in got} == {"n1", "n3"}, got
    assert {how for _, how in got} <= {"backup", "primary"}
    assert "n2" not in new
    leaver.wait_new_engine(engine, 30)
    browser = front.client(cookies={"SID": cookies[0]})
    assert browser.values() == {"a": "1"}


def test_back_at_once(farm):
    """A member that returns, or appears for the first time, does not wait for retry=."""
    cluster = make(farm, 3, start=False,
                   workers={f"n{i}": "retry=300 connectiontimeout=2" for i in (1, 2, 3)})
    front = cluster.balancer
    for one in (cluster[0], cluster[1], front):
        one.launch()
    for one in (cluster[0], cluster[1], front):
        one.wait_ready()
    # n3 has never been there; its worker has an error before it comes
    wait_until(lambda: front.sees("n1", "n2"), 15, "two nodes")
    for _ in range(4):
        assert front.client().op("set=a:1").json()["route"] in ("n1", "n2")
    cluster[2].start()
    wait_until(lambda: front.sees("n1", "n2", "n3"), 15, "three nodes")
    wait_until(lambda: front.client().op("set=a:1").json()["route"] == "n3", 5, "n3 serves")
    cookie, = make_sessions(cluster[1], 1)
    cluster[1].kill9()
    assert at(front, cookie)[0] in ("n1", "n3")
    wait_until(lambda: front.lost("n2"), 10, "n2 gone")
    cluster[1].start()
    wait_until(lambda: front.sees("n1", "n2", "n3"), 15, "three again")
    wait_until(lambda: front.client().op("set=a:1").json()["route"] == "n2", 5, "n2 serves")


# ---- sessions that have ended ---------------------------------------------------------------------

@BOTH
def test_a_cookie_without_a_session_pins_nobody(farm, options):
    cluster = make(farm, 3, options=options)
    front = cluster.balancer
    ended, lives = make_sessions(cluster[1], 2)
    if options:
        wait_until(lambda: told(front, 2), 10, "locations told")
    assert Counter(ask(front, [ended] * 6)) == {("n2", "route"): 6}
    assert at(front, ended, "clear") == ("n2", "route")
    wait_until(lambda: at(front, ended)[1] == "gone", 5, "told of the end")
    got = Counter(ask(front, [ended] * 12))
    assert {route for route, _ in got} >= {"n1", "n3"}, got
    assert {how for _, how in got} == {"gone"}
    assert Counter(ask(front, [lives] * 6)) == {("n2", "route"): 6}
    # the backend's view of it: what the browser has sent, whatever mod_proxy_balancer has seen
    header = {"Cookie": f"x=1; SID={ended}; y=2", "X-Other": "z"}
    reply = front.client().get(f"/t?SID={ended}", headers=header)
    told_by_node = reply.json()
    assert reply.header("X-Choice") == "gone" and reply.header("X-Failover") == "(null)"
    assert told_by_node["cookie"] == "x=1; y=2", "its own cookie is taken out by the node"
    assert "SID=; Max-Age=0" in reply.header("Set-Cookie")
    # the same in the URL, of which nothing is lost on the way
    for _ in range(6):
        reply = front.client().op(f"SID={ended}&set=b:1")
        assert reply.header("X-Choice") == "gone" and reply.values == {"b": "1"}
    reply = front.client().op(f"SID={ended}", headers={"Cookie": f"SID={lives}"})
    assert reply.header("X-Choice") == "gone" and reply.values == {"a": "1"}
    assert front.count("choices_gone") >= 20


def test_ended_sessions_in_paths(farm):
    """;SID= in the path, as servlet containers write it."""
    cluster = make(farm, 3, options="", proxy_args="scolonpathdelim=On")
    front = cluster.balancer
    ended, = make_sessions(cluster[1], 1)
    path = f"/t/x;SID={ended};v=1"

    def get(query=""):
        reply = front.client().op(query, path=path)
        assert reply.json()["uri"] == path, "the backend gets it as it is"
        return reply.json()["route"], reply.header("X-Choice")
    assert get() == ("n2", "route")
    cluster[1].client(cookies={"SID": ended}).op("clear")
    wait_until(lambda: get()[1] == "gone", 5, "told of the end")
    assert len({get("set=b:1")[0] for _ in range(6)}) > 1


@BOTH
def test_idle_sessions_pin_nobody(farm, options):
    session = ("<Location /t>\n  SetHandler sc-test\n</Location>\nSession On\n"
               "SessionClusterCookieName SID\nSessionClusterMaxInactive 1\n")
    cluster = make(farm, 3, session=session, options=options)
    front = cluster.balancer
    idle, = make_sessions(cluster[1], 1)
    wait_until(lambda: not any(n.sessions() for n in cluster.nodes), 15, "idled out")
    wait_until(lambda: at(front, idle)[1] == "gone", 5, "told of the end")
    assert len({route for route, _ in ask(front, [idle] * 9)}) > 1


# ---- what a client may send -----------------------------------------------------------------------

HOSTILE = ["SID=", "SID", "SID=;", "SID=.", "SID=..", "SID=.n9", "SID=-.n9", "SID=" + "A" * 6000 + ".n9",
           "SID=ABC.n9", "SID=\xff\xfe.n9", "SID=%00%0d%0a.n9", "SID=<script>.n9",
           "SID=" + "0" * 31 + ".n9", "SID=" + "g" * 32 + "-n3.n9", "SID=../../etc/passwd.n9",
           "SID=" + "." * 5000, "SID=a" + ".n9" * 1000, "SID=\"; SID=x", "SID=a,SID=b", "sid=1.n2"]


def test_hostile_cookies(farm):
    """The inner method decides, as if they were not there."""
    cluster = make(farm, 3, options="")
    front = cluster.balancer
    for line in HOSTILE:
        for path in (False, True):
            if path and re.search("[^!-~]", line):
                continue
            got = Counter()
            for _ in range(6):
                reply = front.client().get("/t?" + (line if path else ""),
                                           cookies="" if path else line)
                assert reply.status == 200, (line, reply)
                assert reply.header("X-Choice") == "inner", (line, path)
                got[reply.json()["route"]] += 1
            assert set(got) == {"n1", "n2", "n3"}, (line, got)
    assert not re.search(r"\[(error|crit|alert|emerg)\]", front.log())


# ---- requests that kill nodes ---------------------------------------------------------------------

LIMIT = "SessionClusterBalancerMethod byrequests maxFailures=3 failureTime=8\n"


def children(cluster):
    return {pid for n in cluster.nodes for pid in n.workers()}


def test_a_request_that_kills_is_stopped(farm):
    """It kills whoever serves it; three times, then it reaches nobody. Others do not notice."""
    cluster = make(farm, 5, method=LIMIT)
    front = cluster.balancer
    bad, good = make_sessions(cluster[1], 2)
    for i in range(3):
        assert at(front, bad, "crash") == (502, "route")
        assert front.count("node_failures") == i + 1
    alive = children(cluster)
    for _ in range(6):  # by any child of the balancer
        assert at(front, bad, "crash") == (502, "refused")
    assert at(front, bad) == (502, "refused")
    assert at(front, good)[0] == "n2"
    assert front.client().op("set=a:1").status == 200
    assert children(cluster) >= alive
    assert front.count("choices_refused") == 7
    said = re.findall(r"SC0722: .*", front.log())
    assert len(said) == 1 and bad[:4] in said[0] and bad[:8] not in said[0], said
    # it may try again later, also after a reload
    front.restart()
    assert at(front, bad) == (502, "refused")
    wait_until(lambda: at(front, bad)[0] == "n2", 15, "served again")


def test_whole_nodes_die_under_it(farm):
    """Three nodes are killed while they serve it; the fourth never hears of it."""
    cluster = make(farm, 5, method=LIMIT.replace("failureTime=8", "failureTime=60"))
    front = cluster.balancer
    bad = make_sessions(cluster[1], 1)[0]
    wait_until(lambda: told(front, 1), 10, "location told")
    seen = []
    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            victim = cluster.node(at(front, bad)[0])
            running = pool.submit(lambda: at(front, bad, "set=b:1&sleep=12000"))
            wait_until(lambda v=victim: v.asleep() == 1, 7, "it is with the node")
            victim.kill9()
            seen.append(victim.route)
            assert running.result()[0] == 502
    assert len(set(seen)) == 3
    assert at(front, bad) == (502, "refused")
    assert front.count("node_failures") == 3


def test_many_requests_on_one_dying_node_are_one_failure(farm):
    cluster = make(farm, 3, method=LIMIT)
    front = cluster.balancer
    cookie = make_sessions(cluster[1], 1)[0]
    wait_until(lambda: told(front, 1), 10, "location told")
    with ThreadPoolExecutor(10) as pool:
        running = [pool.submit(lambda: at(front, cookie, "sleep=12000")) for _ in range(10)]
        wait_until(lambda: cluster[1].asleep() == 10, 7, "they are with the node")
        cluster[1].kill9()
        assert {one.result()[0] for one in running} == {502}
    assert front.count("node_failures") == 10
    assert at(front, cookie)[0] in ("n1", "n3")
    assert front.count("choices_refused") == 0


def test_no_limit(farm):
    cluster = make(farm, 2, options="", method=LIMIT.replace("=3", "=0"))
    cookie = make_sessions(cluster[0], 1)[0]
    for _ in range(5):
        assert at(cluster.balancer, cookie, "crash")[0] == 502
    assert at(cluster.balancer, cookie)[0] == "n1"


def test_answers_of_backends_are_no_failures(farm):
    """500 and 502 that a node says itself, also with ProxyErrorOverride, and slow ones."""
    cluster = make(farm, 2, options="", method=LIMIT,
                   extra=SHOW + "<Location /t>\n  ProxyErrorOverride On\n</Location>\n")
    cookie = make_sessions(cluster[0], 1)[0]
    for status in (500, 502, 503, 504):
        for _ in range(4):
            assert at(cluster.balancer, cookie, f"status={status}")[0] == status
    assert at(cluster.balancer, cookie)[0] == "n1"
    assert cluster.balancer.count("node_failures") == 0


def test_keep_alive_browser_does_not_hide_it(farm):
    """mod_proxy closes the connection of a browser that keeps it, without a word, so that it tries
    again by itself: that counts as well."""
    cluster = make(farm, 3, method=LIMIT)
    front = cluster.balancer
    cookie = make_sessions(cluster[1], 1)[0]
    browser = front.client(cookies={"SID": cookie}, keep=True)
    for _ in range(3):
        browser.op()
        with pytest.raises((ConnectionError, OSError)):
            reply = browser.get("/t?crash")
            raise ConnectionError(f"an answer instead: {reply}") if reply.status in (500, 502) \
                else AssertionError(reply)
        browser.close()
    assert front.count("node_failures") == 3
    assert at(front, cookie) == (502, "refused")


def test_answers_cut_short_are_failures(farm):
    cluster = make(farm, 3, method=LIMIT)
    front = cluster.balancer
    cookie = make_sessions(cluster[1], 1)[0]
    for _ in range(3):
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            front.client().get("/t?flush&sleep=50&crash", cookies=f"SID={cookie}")
    wait_until(lambda: front.count("node_failures") == 3, 5, "noticed")
    assert at(front, cookie) == (502, "refused")


def test_who_has_begun_to_answer_is_not_cut_short(farm):
    """A node that leaves the view for some other reason finishes what it has begun."""
    cluster = make(farm, 3, options="")
    front = cluster.balancer
    cookie = make_sessions(cluster[1], 1)[0]
    engine = cluster[1].engine_pid()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: at(front, cookie, "flush&sleep=6000"))
        wait_until(lambda: cluster[1].asleep() == 1, 10, "it has begun")
        send_signal(engine, signal.SIGSTOP)
        wait_until(lambda: front.lost("n2"), 10, "n2 gone")
        assert running.result()[0] == "n2"
    send_signal(engine, signal.SIGCONT)
    assert front.count("waits_ended") == 0


# ---- beside what mod_proxy_balancer has -------------------------------------------------------------

def test_nofailover(farm):
    cluster = make(farm, 3, proxy_args="nofailover=On")
    front = cluster.balancer
    cookies = make_sessions(cluster[1], 3)
    front.drain(cluster[1])
    assert Counter(ask(front, cookies)) == {("n2", "route"): 3}, "it is asked for"
    front.drain(cluster[1], False)
    cluster[1].kill9()
    wait_until(lambda: front.lost("n2"), 10, "n2 gone")
    assert {status for status, _ in ask(front, cookies)} == {503}
    assert front.client().op("set=a:1").json()["route"] in ("n1", "n3")


def test_redirect(farm):
    """n2's sessions go where the configuration says, wherever their backups are."""
    cluster = make(farm, 4, workers={"n2": MEMBER + " redirect=n4"})
    front = cluster.balancer
    cookies = make_sessions(cluster[1], 30)
    front.drain(cluster[1])
    assert {route for route, _ in ask(front, cookies)} == {"n4"}
    front.drain(cluster[1], False)
    cluster[1].kill9()
    wait_until(lambda: front.lost("n2"), 10, "n2 gone")
    assert {route for route, _ in ask(front, cookies)} == {"n4"}


def test_standbys_spares_and_sets(farm):
    cluster = make(farm, 5, workers={"n3": MEMBER + " lbset=1", "n4": MEMBER + " status=+R",
                                     "n5": MEMBER + " status=+H"}, options="")
    front = cluster.balancer
    cookies = make_sessions(cluster[0], 30)
    new = {front.client().op("set=a:1").json()["route"] for _ in range(8)}
    assert new == {"n1", "n2"}
    order = []
    for victim in (0, 1, 2, 3):
        cluster[victim].kill9()
        wait_until(lambda v=victim: front.lost(f"n{v + 1}"), 10, "gone")
        routes = {route for route, _ in ask(front, cookies)}
        assert len(routes) == 1, routes
        order += routes
    assert order == ["n2", "n3", "n4", "n5"]


def test_growth(farm):
    """A worker that is added while httpd runs is chosen like the others."""
    cluster = make(farm, 3, proxy_args="growth=4")
    front = cluster.balancer
    front.nodes = cluster.nodes[:2]
    front.restart(signal.SIGHUP)
    front.manage(b_nwrkr=front.worker(cluster[2]), b_wyes=1)
    front.manage(w=front.worker(cluster[2]), w_wr="n3", w_status_D=0)
    wait_until(lambda: front.client().op("set=a:1").json()["route"] == "n3", 10, "n3 serves")
    cookies = make_sessions(cluster[2], 20)
    wait_until(lambda: {r for r, _ in ask(front, cookies)} == {"n3"}, 5, "sticky to n3")
    cluster[0].kill9()
    wait_until(lambda: front.lost("n1"), 10, "n1 gone")
    cookies = [c.partition(".")[0] + ".n1" for c in make_sessions(cluster[1], 40)]
    wait_until(lambda: told(front, 60), 10, "locations told")
    assert {r for r, _ in ask(front, cookies)} == {"n2"}, "its primary"
    cluster[1].kill9()
    assert {r for r, _ in ask(front, cookies)} == {"n3"}


def test_health_checks(farm):
    """mod_proxy_hcheck rules over the workers it looks after; the choice is the same."""
    cluster = make(farm, 3, workers={"n2": MEMBER + " hcmethod=TCP hcinterval=1"}, start=False)
    front = cluster.balancer
    front.modules += ["watchdog", "proxy_hcheck"]
    cluster.start()
    cluster.wait_settled()
    cookies = make_sessions(cluster[1], 20)
    wait_until(lambda: told(front, 20), 10, "locations told")
    cluster[1].kill9()
    assert {how for _, how in ask(front, cookies)} == {"backup"}
    wait_until(lambda: front.lost("n2"), 10, "n2 gone")
    assert {how for _, how in ask(front, cookies)} <= {"backup", "primary"}
    cluster[1].start()
    wait_until(lambda: front.client().op("set=a:1").json()["route"] == "n2", 15, "n2 serves")
