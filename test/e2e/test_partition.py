# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Nodes that cannot talk to all others, or in one direction only, or that stand still: what they
answer meanwhile, and what it costs the others. The networks are real, see netns.py."""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import Walker
from netns import PREFIX, RUN, Lab
from node import MEMBERSHIP, free_port, wait_until

QUORUM = "SessionClusterQuorum On\n"


def at(node, browser):
    """The same browser, sent to this node by whatever is in front."""
    return node.client(cookies=browser.cookies)


def made_on(node, count, steps="set=base:{}"):
    browsers = [node.client() for _ in range(count)]
    for i, one in enumerate(browsers):
        one.op(steps.format(i))
    return browsers


def multicast():
    address = "239." + ".".join(str(random.randint(1, 250)) for _ in range(3))
    return (f"multicast address={address} port={free_port()} bind={{host}} frequency=200 "
            "dropTime=1500")




# ---- networks -------------------------------------------------------------------------------------

def test_networks_are_removed(lab):
    """Also the second one in one test, also with something living in it."""
    with open("/proc/thread-self/net/dev", encoding="ascii") as f:
        assert "front:" in f.read(), "the test is in the hub"
    mine = {n for n in os.listdir(RUN) if n.startswith(lab.mark)}
    with pytest.raises(ZeroDivisionError):
        with Lab() as other:
            other.place("x")
            assert {n for n in os.listdir(RUN) if n.startswith(other.mark)}
            raise ZeroDivisionError
    left = {n for n in os.listdir(RUN) if n.startswith(f"{PREFIX}{os.getpid()}-")}
    assert left == mine
    lab.close()
    assert not {n for n in os.listdir(RUN) if n.startswith(lab.mark)}


@pytest.mark.parametrize("membership, how", [("static", "cut"), ("static", "unplug"),
                                             ("multicast", "cut")])
def test_cut_off_and_back(lab, farm, membership, how):
    """A node whose network went away is dropped, changes go on, and it comes back by itself with
    all of them."""
    membership = MEMBERSHIP if membership == "static" else multicast()
    cluster = farm.cluster(3, lab=lab, membership=membership, balancers=1).start()
    lone, rest = cluster[2], cluster.nodes[:2]
    browsers = [b for node in cluster.nodes for b in made_on(node, 4)]
    getattr(lab, how)(lone)
    for node in rest + cluster.balancers:
        wait_until(lambda n=node: n.lost("n3"), 15, f"{node.name} drops it")
    wait_until(lambda: lone.sees(), 15, "it is alone")
    for i, one in enumerate(browsers):
        at(rest[i % 2], one).op(f"set=v:{i}")
    # the balancer sends nobody there, though it could be reached
    for one in browsers:
        one.host, one.port = cluster.balancer.host, cluster.balancer.port
        assert one.op().json()["route"] != "n3"
    lab.heal()
    cluster.wait_settled()
    for i, one in enumerate(browsers):
        want = {"base": str(i % 4), "v": str(i)}
        wait_until(lambda o=one, w=want: at(lone, o).values() == w, 15, "what it missed")
        assert at(rest[0], one).values() == want
    assert all(n.status()["node"]["engine_starts"] == 1 for n in cluster.nodes)


# ---- nothing goes backwards -----------------------------------------------------------------------

def mute_one_way(lab, nodes):
    """B does not hear A any more, A hears B."""
    lab.mute(nodes[0], nodes[1])


def mute_to_all(lab, nodes):
    """Nobody hears A any more, A hears all."""
    lab.mute(nodes[0], *nodes[1:])


def deaf_to_all(lab, nodes):
    """A hears nobody any more, all hear A."""
    for other in nodes[1:]:
        lab.mute(other, nodes[0])


def sever_pair(lab, nodes):
    """A and B do not reach each other, everybody else reaches both."""
    lab.sever(nodes[0], nodes[1])


def cut_one(lab, nodes):
    lab.cut(nodes[0])


def freeze_one(lab, nodes):  # pylint: disable=unused-argument
    nodes[0].freeze()


@pytest.mark.parametrize("wound", [mute_one_way, mute_to_all, deaf_to_all, sever_pair, cut_one,
                                   freeze_one])
def test_nothing_goes_backwards(lab, farm, manager, wound):
    """With a quorum: browsers that wander over all nodes never see an older value than before,
    whoever is cut off from whom, and somebody serves them all the time."""
    cluster = farm.cluster(3, lab=lab, options=manager + QUORUM).start()
    with Walker.crowd(cluster.nodes, 5, timeout=2) as walkers:
        walkers.wait_acks(50)
        wound(lab, cluster.nodes)
        # a browser that meets a frozen node waits until it loses its patience
        walkers.wait_acks(40 if wound is freeze_one else 100)
        last = cluster[2]
        lab.heal()
        cluster[0].thaw()
        cluster.wait_settled()
        walkers.wait_acks(100)
        wait_until(lambda: {a.node for a in walkers.acks[-40:]} == {"n1", "n2", "n3"}, 15,
                   "all serve again")
    walkers.check()
    assert last.alive()
    walkers.check_end(cluster.nodes)


def test_wounds_one_after_the_other(lab, farm, manager):
    """Without time to recover between two of them."""
    rng = random.Random(5)
    cluster = farm.cluster(5, lab=lab, options=manager + QUORUM).start()
    with Walker.crowd(cluster.nodes, 6, timeout=2) as walkers:
        for _ in range(6):
            nodes = rng.sample(cluster.nodes, 5)
            rng.choice([mute_one_way, mute_to_all, deaf_to_all, sever_pair, cut_one])(lab, nodes)
            walkers.wait_acks(40)
            lab.heal()
            walkers.wait_acks(10)
        cluster.wait_settled()
        wait_until(lambda: len({a.node for a in walkers.acks[-60:]}) == 5, 15, "all serve again")
    walkers.check()
    walkers.check_end(cluster.nodes)


def test_cut_off_node_with_a_quorum_never_answers_from_its_old_copy(lab, farm, manager):
    cluster = farm.cluster(3, lab=lab, options=manager + QUORUM).start()
    a, _, lone = cluster.nodes
    browsers = made_on(a, 4, "set=v:old") + made_on(lone, 4, "set=v:old")
    for one in browsers:
        assert at(lone, one).values() == {"v": "old"}
    lab.cut(lone)
    for one in browsers:
        at(a, one).op("set=v:new")
        # acknowledged without it: from this moment on the old value is history
        reply = at(lone, one).get("/t")
        assert reply.status == 503 or reply.values == {"v": "new"}, reply
    wait_until(lambda: lone.sees(), 15, "it is alone")
    for one in browsers:
        assert at(lone, one).get("/t").status == 503
    lab.heal()
    for one in browsers:
        wait_until(lambda o=one: at(lone, o).get("/t").status == 200, 15, "serves again")
        assert at(lone, one).values() == {"v": "new"}


def test_cut_off_node_asks_when_its_lease_has_run_out(lab, farm, manager):
    """Without a quorum: as long as it believes in the others it does not trust its copies, and it
    says so; when it has dropped them it goes on alone."""
    cluster = farm.cluster(3, lab=lab, options=manager,
                           membership="static frequency=200 dropTime=6000").start()
    lone = cluster[2]
    one, = made_on(lone, 1, "set=v:old")
    cluster.wait_settled()
    before = lone.status()["counters"]
    lab.cut(lone)
    wait_until(lambda: lone.count("lapses") > before["lapses"], 10, "its lease runs out")
    assert not lone.lost("n1") and not lone.lost("n2"), "it has dropped nobody yet"
    at(lone, one).get("/t")
    assert lone.count("fetches") > before["fetches"], "it asked"
    wait_until(lambda: lone.sees(), 20, "it drops the others")
    wait_until(lambda: at(lone, one).get("/t").status == 200, 10, "goes on alone")
    assert at(lone, one).values() == {"v": "old"}


# ---- what it costs the others ---------------------------------------------------------------------

@pytest.mark.parametrize("wound", [cut_one, freeze_one])
def test_lost_node_costs_each_request_under_way_one_stall(lab, farm, manager, wound):
    """Measured is how many are slow, not how slow they are."""
    cluster = farm.cluster(3, lab=lab, options=manager + "SessionClusterSendOptions 6 timeout=2000\n"
                           ).start()
    servers = cluster.nodes[1:]
    browsers = [b for node in servers for b in made_on(node, 8)]
    slow = 1.0  # half the time that a stall lasts; thousands of times what a write takes
    waits = [[] for _ in browsers]
    end = time.monotonic() + 4.5

    def write(i):
        node = servers[i // 8]
        while time.monotonic() < end:
            # with the backup manager the lost one may hold a copy
            waits[i].append(at(node, browsers[i]).op("inc=n").elapsed)
            time.sleep(0.01)
    with ThreadPoolExecutor(len(browsers)) as pool:
        jobs = [pool.submit(write, i) for i in range(len(browsers))]
        wait_until(lambda: all(len(w) > 3 for w in waits), 10, "all write")
        wound(lab, cluster.nodes)
        for job in jobs:
            job.result(60)
    stalls = [sum(t > slow for t in w) for w in waits]
    # one for the change that was under way, and not another one when it is dropped
    assert max(stalls) <= 1, [[round(t, 2) for t in w if t > slow] for w in waits]
    for i, one in enumerate(browsers):
        for node in servers:
            assert at(node, one).values() == {"base": str(i % 8), "n": str(len(waits[i]))}
