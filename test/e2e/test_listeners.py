# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What other modules hear of, and may ask: test/e2e/mod_sc_listener with real nodes."""

import os
import shutil
from collections import namedtuple

import pytest

from node import wait_until
from test_status import ACTIONS, act

CONFIG = """
Session On
SessionClusterCookieName SID
SessionClusterContext shop
<Location /t>
  SetHandler sc-test
</Location>
<Location /ask>
  SetHandler sc-listener
</Location>
<Location /none>
  SetHandler sc-listener
  Session Off
</Location>
"""
NOTIFY = "SessionClusterManager {} notifyListenersOnReplication=true\n"

Event = namedtuple("Event", "what reason id new_id context primary who where pid")
Member = namedtuple("Member", "what route address port role how pid")


class Journal:
    """What one node's listener has written."""

    def __init__(self, folder, node, module, more=""):
        self.path = os.path.join(folder, f"{node.name}.journal")
        self.node = node
        lines = f"LoadModule sc_listener_module {module}\nScListenerJournal {self.path}\n{more}"
        node.session = lines + CONFIG

    def lines(self):
        try:
            with open(self.path, encoding="ascii") as f:
                return [line.split() for line in f.read().splitlines()]
        except FileNotFoundError:
            return []

    def sessions(self, what=None, reason=None, session=None):
        return [e for e in (Event(*w) for w in self.lines() if len(w) == 9)
                if what in (None, e.what) and reason in (None, e.reason)
                and session in (None, e.id)]

    def members(self, what, route):
        return [m for m in (Member(*w) for w in self.lines() if len(w) == 7)
                if m.what == what and m.route == route]

    def wait(self, what, reason, session, timeout=15):
        """The only event of this kind for that session."""
        wait_until(lambda: self.sessions(what, reason, session), timeout,
                   f"{self.node.name} hears {what} {reason}")
        found = self.sessions(what, reason, session)
        assert len(found) == 1, found
        return found[0]


@pytest.fixture
def folder(farm):
    path = os.path.join(farm.root, "journals")
    os.mkdir(path)
    os.chmod(path, 0o777)
    return path


def in_child(event, node):
    """A request's doing: told in a child, as this node's own."""
    return event.where == "request" and event.who == "own" and int(event.pid) in node.workers()


def in_engine(event, node, who):
    return event.where == "engine" and event.who == who and int(event.pid) == node.engine_pid()


def make(farm, folder, module, manager, n=2, **kw):
    cluster = farm.cluster(n, directives=manager, **kw)
    journals = [Journal(folder, node, module) for node in cluster.nodes]
    return cluster.start(), journals


@pytest.fixture(params=["delta", "backup"])
def kind(request):
    return request.param


# ---- sessions ------------------------------------------------------------------------------------

def test_origin_hears_and_replicas_do_not(farm, folder, listener_module, kind):
    cluster, (a, b) = make(farm, folder, listener_module, f"SessionClusterManager {kind}\n")
    one = cluster[0].client()
    one.op("set=a:1")
    created = a.wait("created", "-", one.id)
    assert in_child(created, cluster[0])
    assert created.context == "shop" and created.primary == "n1"
    one.op()
    one.op("set=a:1")  # no change, no event
    assert a.sessions("changed") == []
    one.op("set=a:2")
    assert in_child(a.wait("changed", "-", one.id), cluster[0])
    first = one.id
    one.op("header=Session-Cluster-Rotate:1")
    assert in_child(a.wait("created", "-", one.id), cluster[0])
    renamed = a.wait("destroyed", "renamed", first)
    assert in_child(renamed, cluster[0]) and renamed.new_id == one.id
    last = one.id
    one.op("clear=1")
    assert in_child(a.wait("destroyed", "invalidated", last), cluster[0])
    assert len(a.sessions()) == 5 and a.sessions("primary") == []
    assert cluster[0].count("events_lost") == 0
    other = cluster[1].client()
    other.op("set=a:1")  # something for b, so that it is known to write
    b.wait("created", "-", other.id)
    assert len(b.sessions()) == 1


def test_replicas_hear_with_the_option(farm, folder, listener_module, kind):
    cluster, (a, b) = make(farm, folder, listener_module, NOTIFY.format(kind))
    one = cluster[0].client()
    one.op("set=a:1")
    created = b.wait("created", "-", one.id)
    assert in_engine(created, cluster[1], "replicated")
    assert created.context == "shop" and created.primary == "n1"
    one.op("set=a:2")
    assert in_engine(b.wait("changed", "-", one.id), cluster[1], "replicated")
    first = one.id
    one.op("header=Session-Cluster-Rotate:refresh")
    assert in_engine(b.wait("created", "-", one.id), cluster[1], "replicated")
    renamed = b.wait("destroyed", "renamed", first)
    assert in_engine(renamed, cluster[1], "replicated") and renamed.new_id == one.id
    last = one.id
    one.op("clear=1")
    assert in_engine(b.wait("destroyed", "invalidated", last), cluster[1], "replicated")
    # each of them once where it happened, too
    assert [e.what for e in a.sessions()] == ["created", "changed", "created", "destroyed",
                                              "destroyed"]
    assert all(e.who == "own" for e in a.sessions())


def values(journal, what, session):
    """What the listener has read at each of these events."""
    return [w[3] for w in journal.lines() if w[:3] == ["values", what, session]]


def test_values_are_read(farm, folder, listener_module, kind):
    """An event has none; in the engine, too, a listener reads what this node holds by then."""
    cluster = farm.cluster(3, directives=NOTIFY.format(kind))
    journals = [Journal(folder, node, listener_module, "ScListenerValues On\n")
                for node in cluster.nodes]
    cluster.start()
    cluster.wait_settled()
    one = cluster[0].client()
    one.op("set=a:1")
    # delta: both others hold it; backup: one of them, the other one knows where it is
    wait_until(lambda: sum(j.sessions("created", "-", one.id) != [] for j in journals[1:])
               >= (2 if kind == "delta" else 1), 15, "they hear of it")
    at = [j for j in journals[1:] if j.sessions("created", "-", one.id)]
    assert len(at) == (2 if kind == "delta" else 1)
    for journal in at:
        assert in_engine(journal.wait("created", "-", one.id), journal.node, "replicated")
    for journal in [journals[0], *at]:
        wait_until(lambda j=journal: values(j, "created", one.id) == ["a=1"], 15, "of the new one")
    one.op("set=b:2")
    one.op("del=a")
    for journal in [journals[0], *at]:
        wait_until(lambda j=journal: values(j, "changed", one.id)[-1:] == ["b=2"], 15, "of a change")
    first = one.id
    one.op("header=Session-Cluster-Rotate:refresh")
    for journal in [journals[0], *at]:
        wait_until(lambda j=journal: values(j, "created", one.id) == ["b=2"], 15, "under a new id")
        wait_until(lambda j=journal, i=first: values(j, "destroyed", i) == ["not-held"], 15, "gone")
    # its primary dies, and who takes over reads it as well
    cluster[0].kill9()
    wait_until(lambda: cluster[1].lost("n1") and cluster[2].lost("n1"), 20, "n1 is gone")
    heir = next(n for n in (cluster[1], cluster[2]) if n is at[0].node)
    assert heir.client(cookies=one.cookies).values() == {"b": "2"}
    mine = next(j for j in journals if j.node is heir)
    wait_until(lambda: values(mine, "primary", one.id)[-1:] == ["b=2"], 15, "as the new primary")
    heir.client(cookies=one.cookies).op("clear=1")
    wait_until(lambda: values(mine, "destroyed", one.id) == ["not-held"], 15, "ended")


def test_values_of_a_central_store(farm, folder, listener_module):
    """Nothing of it is in the node's memory."""
    node = farm.node(modules=["socache_shmcb"],
                     directives="SessionClusterManager store provider=shmcb\n")
    journal = Journal(folder, node, listener_module, "ScListenerValues On\n")
    node.start()
    one = node.client()
    one.op("set=a:1")
    wait_until(lambda: values(journal, "created", one.id) == ["error"], 15, "no values")


def test_the_other_name_of_the_option(farm, folder, listener_module):
    cluster, (_, b) = make(farm, folder, listener_module,
                           "SessionClusterManager delta notifySessionListenersOnReplication=true\n")
    one = cluster[0].client()
    one.op("set=a:1")
    b.wait("created", "-", one.id)


@pytest.mark.parametrize("option", [False, True], ids=["origin", "replicas too"])
def test_idle(farm, folder, listener_module, kind, option):
    manager = NOTIFY.format(kind) if option else f"SessionClusterManager {kind}\n"
    cluster = farm.cluster(2, directives=manager,
                           extra="SessionClusterMaxInactive 1\n")
    a, b = [Journal(folder, node, listener_module) for node in cluster.nodes]
    cluster.start()
    one = cluster[0].client()
    one.op("set=a:1")
    assert in_engine(a.wait("destroyed", "idle", one.id), cluster[0], "own")
    if option:
        assert in_engine(b.wait("destroyed", "idle", one.id), cluster[1], "replicated")
    else:
        wait_until(lambda: cluster[1].sessions() == 0, 15, "gone on n2")
        assert b.sessions() == []


def test_ended_on_the_status_page(farm, folder, listener_module):
    cluster = farm.cluster(2, extra=ACTIONS)
    a, b = [Journal(folder, node, listener_module) for node in cluster.nodes]
    cluster.start()
    one = cluster[0].client()
    one.op("set=a:1")
    assert act(cluster[1], "expire", id=one.cookies["SID"])["done"]
    gone = b.wait("destroyed", "invalidated", one.id)
    assert in_child(gone, cluster[1]) and gone.primary == "n1"
    assert not a.sessions("destroyed")  # it did not happen there


def test_shutdown(farm, folder, listener_module, kind):
    cluster, (a, b) = make(farm, folder, listener_module, f"SessionClusterManager {kind} "
                           "expireSessionsOnShutdown=true notifyListenersOnReplication=true\n")
    one = cluster[0].client()
    one.op("set=a:1")
    cluster[0].stop()
    gone = a.wait("destroyed", "shutdown", one.id)
    assert gone.where == "engine" and gone.who == "own"
    b.wait("destroyed", "invalidated", one.id)


def test_primary_after_a_death(farm, folder, listener_module, kind):
    cluster, (_, b) = make(farm, folder, listener_module, f"SessionClusterManager {kind}\n")
    one = cluster[0].client()
    one.op("set=a:1")
    cluster[0].kill9()
    wait_until(lambda: cluster[1].lost("n1"), 15, "n1 is lost")
    one.port = cluster[1].port
    wait_until(lambda: one.request("/t").status == 200 and one.route == "n2", 15, "n2 has it")
    event = b.wait("primary", "-", one.id)
    assert in_engine(event, cluster[1], "own") and event.primary == "n2"


def test_moved(farm, folder, listener_module):
    """A node that leaves hands its sessions over: they are gone from it, and not from the world."""
    cluster, (a, *others) = make(farm, folder, listener_module, "SessionClusterManager backup\n", n=3)
    cluster.wait_settled()
    one = cluster[0].client()
    one.op("set=a:1")
    cluster[0].stop()
    assert a.wait("destroyed", "moved", one.id).who == "own"
    assert [e.what for e in a.sessions()] == ["created", "destroyed"]
    heirs = [o for o in others if o.sessions("primary", "-", one.id)]
    assert len(heirs) == 1
    assert not any(o.sessions("destroyed") for o in others)


# ---- members -------------------------------------------------------------------------------------

def test_members(farm, folder, listener_module):
    cluster = farm.cluster(2, balancers=1)
    a, b = [Journal(folder, node, listener_module) for node in cluster.nodes]
    cluster.start()
    for journal, other in ((a, cluster[1]), (b, cluster[0])):
        wait_until(lambda j=journal, o=other: j.members("joined", o.route), 15, "joined")
        joined = journal.members("joined", other.route)
        assert len(joined) == 1 and joined[0].role == "node"
        assert joined[0].address == "127.0.0.1" and joined[0].port == str(other.rx_port)
        assert int(joined[0].pid) == journal.node.engine_pid()
        wait_until(lambda j=journal: [m for m in j.members("joined", "-") if m.role == "balancer"],
                   15, "the balancer joined")
    cluster[1].stop()
    wait_until(lambda: a.members("left", "n2"), 15, "left")
    assert [m.how for m in a.members("left", "n2")] == ["goodbye"]
    cluster[1].start()
    wait_until(lambda: len(a.members("joined", "n2")) == 2, 15, "back")
    cluster[1].kill9()
    wait_until(lambda: len(a.members("left", "n2")) == 2, 15, "lost")
    assert a.members("left", "n2")[1].how == "lost", a.lines()


# ---- bad listeners, restarts ---------------------------------------------------------------------

def test_slow_listener(farm, folder, listener_module):
    """It is named in the log; sessions go on meanwhile, and nothing is lost."""
    cluster = farm.cluster(2, directives=NOTIFY.format("delta"))
    Journal(folder, cluster[0], listener_module)
    b = Journal(folder, cluster[1], listener_module, "ScListenerSleep 60\n")
    cluster.start()
    browsers = [cluster[0].client(timeout=30) for _ in range(10)]
    for one in browsers:
        one.op("set=a:1")
    for one in browsers:
        assert cluster[1].client(cookies=one.cookies).values() == {"a": "1"}
        b.wait("created", "-", one.id, 30)
    cluster[1].wait_log(r"SC1060: a listener of mod_sc_listener\.c took \d+ ms; the whole cluster")
    assert cluster[1].count("events_lost") == 0


def test_crashing_listener(farm, folder, listener_module):
    """The engine dies with it, once, and its successor has all sessions."""
    cluster = farm.cluster(2, directives=NOTIFY.format("delta"))
    fatal = os.path.join(folder, "fatal")
    Journal(folder, cluster[0], listener_module)
    b = Journal(folder, cluster[1], listener_module, f"ScListenerCrash {fatal}\n")
    cluster.start()
    first = cluster[0].client()
    first.op("set=a:1")
    b.wait("created", "-", first.id)
    engine = cluster[1].engine_pid()
    with open(fatal, "w", encoding="ascii"):
        pass
    os.chmod(fatal, 0o666)
    second = cluster[0].client(timeout=30)
    second.op("set=b:1")
    cluster[1].wait_new_engine(engine, 20)
    for one, want in ((first, {"a": "1"}), (second, {"b": "1"})):
        assert cluster[1].client(cookies=one.cookies, timeout=30).values() == want
    third = cluster[0].client(timeout=30)
    third.op("set=c:1")
    b.wait("created", "-", third.id, 30)


def test_listener_comes_and_goes(farm, folder, listener_module):
    """The engine is kept over restarts, but not when there are other listeners than before."""
    node = farm.node().start()
    engine = node.engine_pid()
    plain = node.session
    journal = Journal(folder, node, listener_module)
    node.session += "SessionClusterMaxInactive 1\n"
    node.restart()
    node.wait_new_engine(engine)
    engine = node.engine_pid()
    one = node.client()
    one.op("set=a:1")
    journal.wait("created", "-", one.id)
    assert int(journal.wait("destroyed", "idle", one.id).pid) == engine
    node.restart()
    assert node.engine_pid() == engine
    one.op("set=a:1")
    journal.wait("created", "-", one.id)
    node.session = plain
    node.restart()
    node.wait_new_engine(engine)
    before = len(journal.lines())
    one.op("set=b:1")
    assert len(journal.lines()) == before


def test_replaced_listener(farm, folder, listener_module):
    node = farm.node()
    copy = os.path.join(folder, "mod_sc_listener.so")
    shutil.copy(listener_module, copy)
    Journal(folder, node, copy)
    node.start()
    engine = node.engine_pid()
    shutil.copy(listener_module, copy + ".new")
    os.rename(copy + ".new", copy)
    node.restart()
    node.wait_new_engine(engine)


@pytest.mark.parametrize("first", [True, False], ids=["before", "behind"])
def test_order_of_loading_does_not_matter(farm, folder, listener_module, first):
    node = farm.node()
    journal = Journal(folder, node, listener_module)
    if first:
        line = f"LoadModule sc_listener_module {listener_module}\n"
        node.session = node.session.replace(line, "")
        node.load_line = lambda name, old=node.load_line: (line if name == "session" else "") \
            + old(name)
    node.start()
    one = node.client()
    one.op("set=a:1")
    assert in_child(journal.wait("created", "-", one.id), node)
    assert one.get("/ask?locate").json()["role"] == "primary"


def test_loads_without_this_module(farm, folder, listener_module):
    node = farm.httpd("plain", cluster_module=False, session_module=False, config=(
        f"LoadModule sc_listener_module {listener_module}\nScListenerJournal {folder}/none\n"
        "<Location /ask>\n  SetHandler sc-listener\n</Location>\n"))
    node.start()
    assert node.client().get("/ask").json()["status"] == "mod_session_cluster is not loaded"


# ---- functions -----------------------------------------------------------------------------------

def test_functions(farm, folder, listener_module, kind):
    cluster, (a, _) = make(farm, folder, listener_module, f"SessionClusterManager {kind}\n")
    cluster.wait_settled()
    one = cluster[0].client()
    none = one.get("/ask?locate").json()
    assert none["status"] != 0 and none["is_primary"] == 0
    one.op("set=a:1")
    assert one.get("/ask?locate").json() == {"status": 0, "is_primary": 1, "primary": "n1",
                                             "role": "primary", "backups": ["n2"]}
    there = cluster[1].client(cookies=one.cookies)
    assert there.get("/ask?locate").json() == {"status": 0, "is_primary": 0, "primary": "n1",
                                               "role": "backup", "backups": ["n2"]}
    for path in ("/none?locate", "/none?invalidate", "/none?change_id=0"):
        assert one.get(path).json()["status"] != 0
    old = dict(one.cookies)
    assert one.get("/ask?change_id=0").json() == {"status": 0}
    assert one.cookies != old and one.values() == {"a": "1"}
    assert cluster[1].client(cookies=old).values() == {}
    old = dict(one.cookies)
    assert one.get("/ask?change_id=1").json() == {"status": 0}
    assert one.cookies != old
    assert cluster[1].client(cookies=old).values() == {"a": "1"}
    last = dict(one.cookies)
    session = one.id
    assert one.get("/ask?invalidate").json() == {"status": 0}
    assert "SID" not in one.cookies
    for node in cluster.nodes:
        assert node.client(cookies=last).values() == {}
    assert in_child(a.wait("destroyed", "invalidated", session), cluster[0])
    assert one.get("/ask?invalidate").json()["status"] != 0


# ---- expressions ---------------------------------------------------------------------------------

EXPRESSIONS = """
LogFormat "%{user}^sc|%{absent}^sc|%U" sc_values
CustomLog "{root}/logs/values.log" sc_values
<Location /admin>
  SetHandler sc-test
  Require expr "session_cluster('role') == 'admin'"
</Location>
<Location /t>
  Header always set X-User "expr=%{session_cluster:user}"
  Header set X-Role admin "expr=session_cluster('role') == 'admin'"
</Location>
<Location /raw>
  SetHandler sc-test
</Location>
<Location /off>
  SetHandler sc-test
  Session Off
  Header set X-User "expr=<%{session_cluster:user}>"
</Location>
"""


def test_expressions(farm):
    node = farm.node()
    node.extra = EXPRESSIONS.replace("{root}", node.root)
    node.start()
    one = node.client()
    assert one.get("/admin").status == 403
    assert one.op().header("X-User") in (None, "")
    one.op("set=role:guest&set=user:joe")
    assert one.get("/admin").status == 403
    reply = one.op("set=role:admin")
    assert reply.header("X-User") == "joe"
    assert one.op().header("X-Role") == "admin"
    assert one.get("/admin").status == 200
    assert one.get("/off").header("X-User") == "<>"
    assert node.client(cookies={"SID": "0" * 32}).get("/admin").status == 403
    one.op("set=user:%22a%0Ab", path="/raw")
    one.op("clear=1", path="/raw")
    assert one.get("/admin").status == 403

    def lines():
        with open(os.path.join(node.root, "logs", "values.log"), encoding="ascii") as f:
            return f.read().splitlines()
    wait_until(lambda: lines()[-1] == "-|-|/admin", 10, "the last line")
    assert "joe|-|/admin" in lines()
    assert '\\"a\\nb|-|/raw' in lines()


def test_expressions_do_not_see_what_is_the_modules_own(farm):
    node = farm.node(extra='<Location /t>\n  Header always set X "expr=<%{session_cluster:%01origin}>"\n'
                     '</Location>\n'.replace("%01", "\x01"))
    node.start()
    one = node.client()
    one.op("set=a:1")
    one.op("header=Session-Cluster-Rotate:1")
    assert one.op().header("X") == "<>"


def test_expression_fails_closed(farm):
    """When nobody knows whether the session exists, nobody is admitted."""
    cluster = farm.cluster(2, directives="SessionClusterManager backup fetchTimeout=100\n",
                           extra=EXPRESSIONS.replace("CustomLog", "#"))
    cluster.start()
    cluster.wait_settled()
    one = cluster[0].client()
    one.op("set=role:admin")
    assert one.get("/admin").status == 200
    stranger = cluster[1].client(cookies={"SID": "1" * 32 + ".n1"})
    cluster[0].freeze()
    try:
        assert stranger.get("/admin").status in (403, 503)
    finally:
        cluster[0].thaw()
