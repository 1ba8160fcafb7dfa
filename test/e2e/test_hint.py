# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Balancers that know only what stands in the cookie: the backup as a hint, and ranked ids."""

from collections import Counter

from node import wait_until
from test_balancer import (BOTH, HINTED, LIMIT, Front, ask, at, fetches, hint_of, make, make_sessions, told,
                           without_hint)

def outside(farm, cluster, **kw):
    """A balancer outside of the cluster's network, without any directive of the cluster."""
    front = farm.add(Front(farm, "dmz", cluster.nodes, engine=False, **kw))
    front.launch().wait_listening()
    return front


@BOTH
def test_hints_lead_to_the_backup(farm, options):
    """All sessions of a dead node go to the node that the cookie names; that is the one that has
    the backup, so none is fetched; a balancer that is a member chooses the same."""
    cluster = make(farm, 5, options=options, session=HINTED)
    dmz = outside(farm, cluster)
    inside = cluster.balancer
    cookies = make_sessions(cluster[1], 300)
    if options:
        wait_until(lambda: told(inside, 300), 10, "locations told")
    else:
        wait_until(lambda: all(n.sessions() == 300 for n in cluster.nodes), 10, "replicated")
    hints = [hint_of(c) for c in cookies]
    assert set(hints) == {"n1", "n3", "n4", "n5"}
    assert Counter(ask(dmz, cookies)) == {("n2", "route"): 300}
    before = fetches(cluster)
    cluster[1].kill9()
    got = ask(dmz, cookies)
    assert {how for _, how in got} == {"hint"}
    assert [route for route, _ in got] == hints
    if options:
        for node in cluster.live():
            wait_until(lambda n=node: n.lost("n2") and n.status()["node"]["leased"], 10, "lease")
        before = fetches(cluster)
        assert [route for route, _ in ask(dmz, cookies)] == hints
        assert fetches(cluster) == before
    wait_until(lambda: inside.lost("n2"), 10, "n2 gone")
    assert [route for route, _ in ask(inside, [without_hint(c) for c in cookies])] == hints


@BOTH
def test_hints_follow_the_backup(farm, options):
    cluster = make(farm, 4, options=options, session=HINTED)
    one = cluster[0].client()
    one.op("set=a:1")
    assert one.cookies["SID"].endswith(".n1")
    backup = hint_of(one.cookies["SID"])
    assert backup in ("n2", "n3", "n4")
    for _ in range(3):  # nothing has changed: no cookie
        assert one.op("").header("Set-Cookie") is None
    assert one.op("set=b:1").header("Set-Cookie") is None
    cluster.node(backup).kill9()
    wait_until(lambda: cluster[0].lost(backup), 10, "backup gone")
    # a request that changes nothing brings the new one, once
    wait_until(lambda: one.op("") and hint_of(one.cookies["SID"]) != backup, 10, "another hint")
    again = hint_of(one.cookies["SID"])
    assert again in {"n2", "n3", "n4"} - {backup}
    assert one.op("").header("Set-Cookie") is None
    # after a failover the cookie names the node that took it over, and its backup
    taker = cluster.node(again)
    cluster[0].kill9()
    wait_until(lambda: taker.lost("n1"), 10, "n1 gone")
    moved = taker.client(cookies=one.cookies)
    assert moved.values() == {"a": "1", "b": "1"}
    assert moved.cookies["SID"].endswith("." + again)
    last = ({"n2", "n3", "n4"} - {backup, again}).pop()
    wait_until(lambda: moved.op("") and hint_of(moved.cookies["SID"]) == last, 10, "the last one")
    assert moved.id == one.id.partition("-")[0] + "-" + last


def test_hints_off(farm):
    """The default; a cookie that has one from before is understood, and loses it when it is due."""
    cluster = make(farm, 2)
    one = cluster[0].client()
    one.op("set=a:1")
    assert "-" not in one.cookies["SID"]
    one.cookies["SID"] = one.cookies["SID"].replace(".", "-n2.")
    assert one.values() == {"a": "1"}
    assert hint_of(one.cookies["SID"]) == "n2"


def test_a_lone_node_gives_no_hint(farm):
    node = farm.node("n1", session=HINTED).start()
    one = node.client()
    one.op("set=a:1")
    assert len(one.cookies["SID"]) == 32


def test_hints_are_the_clients(farm):
    """They choose a node and nothing else, and it need not exist."""
    cluster = make(farm, 3, session=HINTED)
    dmz = outside(farm, cluster)
    cookie, = make_sessions(cluster[1], 1)
    sid = without_hint(cookie).partition(".")[0]
    for hint in ("n9", "", "-", "--", "n1-n3", "n" * 100, "%00", "n1\xff", "<b>", "n1;", "n2"):
        for node in cluster.nodes:
            one = node.client()
            reply = one.get("/t?", cookies=f"SID={sid}-{hint}.n2")
            assert reply.status == 200
            assert ";" in hint or reply.values == {"a": "1"}, hint
        reply = dmz.client().get("/t?", cookies=f"SID={sid}-{hint}.n2")
        assert reply.status == 200, hint
        if ";" not in hint:
            assert (reply.json()["route"], reply.header("X-Choice")) == ("n2", "route")
    cluster[1].kill9()
    for hint in ("n9", "", "-", "n" * 100, "n2", "n3"):
        route, how = at(dmz, f"{sid}-{hint}.n2")
        assert route in ("n1", "n3") and how == ("hint" if hint == "n3" else "placement"), hint


def test_without_an_engine(farm):
    """No directive of the cluster at all: route, hint, placement; the limit and draining, too."""
    cluster = make(farm, 3, options="")
    dmz = outside(farm, cluster)
    cookies = make_sessions(cluster[1], 60)
    wait_until(lambda: all(n.sessions() == 60 for n in cluster.nodes), 10, "replicated")
    assert Counter(ask(dmz, cookies)) == {("n2", "route"): 60}
    dmz.drain(cluster[1])
    moved = ask(dmz, cookies)
    assert {route for route, _ in moved} == {"n1", "n3"} and {h for _, h in moved} == {"placement"}
    dmz.drain(cluster[1], False)
    for _ in range(3):
        assert at(dmz, cookies[0], "crash")[0] == 502
    assert at(dmz, cookies[0]) == (502, "refused")
    cluster[1].kill9()
    assert ask(dmz, cookies[1:]) == moved[1:]
    inside = cluster.balancer
    wait_until(lambda: inside.lost("n2"), 10, "n2 gone")
    assert ask(inside, cookies[1:]) == moved[1:]
    assert "engine started" not in dmz.log()
    # it has a status page nevertheless, with what there is
    assert list(dmz.status()) == ["counters"]
    assert dmz.count("choices_refused") == 1 and dmz.count("choices_placement") > 100
    assert "choices_hint" in dmz.client().get("/sc-status").text


# ---- ranked ids ------------------------------------------------------------------------------------

RANKED = "SessionClusterBalancerMethod byrequests rankedDelimiter=.\n"


def test_ranked_ids(farm):
    """As WildFly writes them: the first node that can be used. The nodes here take such cookies for
    nobody's, which does not matter: which node it is does."""
    cluster = make(farm, 4, options="", method=RANKED)
    front = cluster.balancer
    ranked = "Xy_-7a1bCdEf.n2.n4.n1"
    assert Counter(ask(front, [ranked] * 8)) == {("n2", "route"): 8}
    assert at(front, "Xy_-7a1bCdEf.n3") == ("n3", "route")
    assert Counter(ask(front, ["abc.n9.n3.n1"] * 4)) == {("n3", "ranked"): 4}
    front.drain(cluster[1])
    assert Counter(ask(front, [ranked] * 8)) == {("n4", "ranked"): 8}
    front.drain(cluster[1], False)
    cluster[1].kill9()
    reply = front.client().get("/t?", cookies=f"SID={ranked}")
    assert reply.json()["route"] == "n4" and reply.header("X-Failover") == "n2>n4"
    cluster[3].kill9()
    assert Counter(ask(front, [ranked] * 8)) == {("n1", "ranked"): 8}
    cluster[0].kill9()
    assert Counter(ask(front, [ranked] * 4)) == {("n3", "placement"): 4}
    assert front.count("choices_ranked") == 4 + 8 + 1 + 8


def test_ranked_ids_of_strangers(farm):
    """In front of nodes that are no members of anything: no engine, and nofailover."""
    cluster = make(farm, 3, options="")
    dmz = outside(farm, cluster, method=RANKED.replace("=.", "=:"))
    assert "engine started" not in dmz.log()
    assert Counter(ask(dmz, ["abc.n3:n1"] * 4)) == {("n3", "route"): 4}
    dmz.proxy_args = "nofailover=On"
    dmz.restart()
    cluster[2].kill9()
    assert {status for status, _ in ask(dmz, ["abc.n3:n1"] * 4)} == {503}
    dmz.proxy_args = ""
    dmz.restart()
    assert Counter(ask(dmz, ["abc.n3:n1"] * 4)) == {("n1", "ranked"): 4}


def test_not_ranked_unless_asked_for(farm):
    cluster = make(farm, 3, options="", method=LIMIT)
    assert at(cluster.balancer, "abc.n3.n1")[1] == "inner"
