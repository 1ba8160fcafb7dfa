# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A balancer in front of nodes that die, hang and come back."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import Load
from node import MEMBERSHIP, PROXY_MODULES, free_port, proxy_lines, wait_until


# Threads for everybody: an httpd that runs short of them closes idle connections, also those that a
# balancer keeps, and a request that is just being sent on one ends with 502, cluster or not.
ROOMY = {"threads": 100, "max_children": 3}


def routes_of(load):
    return {r.extra.get("route") for r in load.records if r.ok}


# ---- the promise ---------------------------------------------------------------------------------

def test_killed_node(farm):
    """200 browsers count; a node dies. Of the requests that began after its death none fails."""
    cluster = farm.cluster(3, balancers=1, **ROOMY).start()
    victim = cluster[1]
    with Load(cluster.balancer.port, clients=200, rate=300) as load:
        load.run_for(3)
        assert routes_of(load) == {"n1", "n2", "n3"}
        killed = time.monotonic()
        victim.kill9()
        dead = time.monotonic()
        load.run_for(5)
        # and it comes back while they count on
        victim.start()
        cluster.wait_together()
        back = time.monotonic()
        load.run_for(3)
    assert not load.failures(after=dead), load.failures(after=dead)[:5]
    assert not load.failures(before=killed - 1), load.failures(before=killed - 1)[:5]
    assert load.check_counters() > 2000
    assert load.check_ids() == 200
    during = {r.extra["route"] for r in load.records if r.ok and dead < r.start < back - 5}
    assert "n2" not in during
    assert load.slowest(after=dead) < 6
    # every session is on every node, with its last value
    for node in cluster.nodes:
        assert node.sessions() == 200


def test_frozen_node(farm):
    """The same with a node that hangs: it accepts connections and never answers."""
    cluster = farm.cluster(3, balancers=1, **ROOMY).start()
    victim = cluster[1]
    with Load(cluster.balancer.port, clients=200, rate=300) as load:
        load.run_for(3)
        frozen = time.monotonic()
        victim.freeze()
        wait_until(lambda: cluster.balancer.lost("n2"), 10, "balancer drops n2")
        left = time.monotonic()
        load.run_for(4)
        victim.thaw()
        cluster.wait_together()
        load.run_for(3)
    assert left - frozen < 6
    bad = load.failures(after=left)
    assert not bad, bad[:5]
    assert load.check_counters() > 1500
    assert load.check_ids() == 200
    assert load.slowest(after=left) < 3, "nobody waits for a node that left the view"
    for node in cluster.nodes:
        wait_until(lambda n=node: n.sessions() == 200, 10, f"all sessions on {node.name}")
    # the node that slept has learned everything: the same values everywhere
    for jar in load.jars[::20]:
        values = [node.client(cookies=jar).values() for node in cluster.nodes]
        assert values[0] == values[1] == values[2]


def test_rolling_restart(farm):
    """Node after node is stopped and started: only requests in the middle of a stop may fail."""
    cluster = farm.cluster(2, balancers=1, **ROOMY).start()
    stops = []
    with Load(cluster.balancer.port, clients=40, rate=120) as load:
        load.run_for(1.5)
        for node in cluster.nodes:
            begin = time.monotonic()
            assert node.stop()
            stops.append((begin, time.monotonic()))
            load.run_for(1)
            node.start()
            cluster.wait_together()
            load.run_for(0.5)
    assert load.check_counters() > 200
    assert load.check_ids() == 40
    for r in load.failures():
        assert any(r.end >= begin and r.start <= end for begin, end in stops), r


# ---- one request at a time ------------------------------------------------------------------------

@pytest.fixture
def trio(farm):
    return farm.cluster(3, balancers=1).start()


def sticky_to(cluster, route):
    """A browser whose session lives on that node."""
    for _ in range(60):
        one = cluster.balancer.client()
        one.op("set=a:1")
        if one.route == route:
            return one
    raise AssertionError(f"no session on {route}")


def test_sticky_and_failover_in_one_request(trio):
    one = sticky_to(trio, "n2")
    bodies = {size: sticky_to(trio, "n2") for size in (20_000, 5_000_000)}
    gets = [sticky_to(trio, "n2") for _ in range(10)]
    for i in range(10):
        assert one.op(f"set=i:{i}").json()["route"] == "n2"
    trio[1].kill9()
    # at once: membership does not know yet, the connect fails, another node takes the request
    for size, browser in bodies.items():
        reply = browser.op("body=1&set=b:1", method="POST", body=b"x" * size)
        assert reply.json()["body"] == size
        assert reply.values == {"a": "1", "b": "1"}
    reply = one.op("set=j:1")
    assert reply.values == {"a": "1", "i": "9", "j": "1"}
    assert reply.json()["route"] in ("n1", "n3")
    # as soon as the node that serves it knows of the death, the cookie names that node
    wait_until(lambda: one.op() and one.route != "n2", 10, "new route")
    for _ in range(5):
        assert one.op().json()["route"] == one.route
    for other in gets:
        assert other.values() == {"a": "1"}


def test_sessions_of_a_dead_node_go_home_no_more(trio):
    """After the node came back the sessions stay where they are."""
    one = sticky_to(trio, "n2")
    trio[1].kill9()
    # the first ones may come as guests of a node that does not know of the death yet
    one.op("set=b:1")
    wait_until(lambda: trio.balancer.lost("n2"), 10, "n2 gone")
    wait_until(lambda: one.op() and one.route != "n2", 10, "the cookie names another node")
    took = one.route
    trio[1].start()
    trio.wait_together()
    for _ in range(3):
        assert one.op().json()["route"] == took
    # but it serves new ones
    sticky_to(trio, "n2")


def test_all_front_ends_choose_the_same_node(farm):
    cluster = farm.cluster(4, balancers=2, children=1).start()
    browsers = [sticky_to(cluster, "n2") for _ in range(16)]
    # one of them has a different past: counters of its own
    for _ in range(7):
        cluster.balancers[1].client().op("set=x:1")
    cluster[1].kill9()
    for front in cluster.balancers:
        wait_until(lambda f=front: f.lost("n2"), 10, "n2 gone")
    chosen = []
    for one in browsers:
        line = f"SID={one.cookies['SID']}"
        via = [front.client().op("", cookies=line).json()["route"] for front in cluster.balancers]
        assert via[0] == via[1], one.route
        chosen.append(via[0])
    assert len(set(chosen)) > 1, "they are spread over the survivors"


def test_balancer_marks_workers_for_its_children(trio):
    """A frozen node: requests of its sessions are quick once the view says so."""
    browsers = [sticky_to(trio, "n2") for _ in range(4)]
    trio[1].freeze()
    wait_until(lambda: trio.balancer.lost("n2"), 10, "n2 gone")
    with ThreadPoolExecutor(4) as pool:
        for reply in pool.map(lambda b: b.op("set=b:1"), browsers):
            assert reply.elapsed < 2
    trio[1].thaw()
    trio.wait_together()
    wait_until(lambda: sticky_to(trio, "n2"), 10, "n2 serves again")


def test_all_nodes_but_one_dead(trio):
    one = trio.balancer.client()
    for k in range(2):
        one.op(f"set=k{k}:1")
        trio.node(one.route).kill9()
    assert one.values() == {"k0": "1", "k1": "1"}


def test_balancer_restart_keeps_stickiness(trio):
    browsers = [trio.balancer.client() for _ in range(10)]
    for one in browsers:
        one.op("set=a:1")
    was = [one.route for one in browsers]
    trio[2].kill9()
    wait_until(lambda: trio.balancer.lost("n3"), 10, "n3 gone")
    trio.balancer.restart()  # worker states live in memory made anew at each restart
    for one, route in zip(browsers, was):
        reply = one.op()
        assert reply.values == {"a": "1"}
        assert reply.elapsed < 2
        if route != "n3":
            assert one.route == route


def test_new_sessions_avoid_dead_nodes(trio):
    trio[0].kill9()
    wait_until(lambda: trio.balancer.lost("n1"), 10, "n1 gone")
    for _ in range(12):
        reply = trio.balancer.client().op("set=a:1")
        assert reply.json()["route"] in ("n2", "n3")
        assert reply.elapsed < 1


def test_path_parameter_stickiness(trio):
    """URLs may carry the id where cookies do not go; the balancer follows them."""
    one = sticky_to(trio, "n3")
    for _ in range(4):
        reply = trio.balancer.client().op(f"SID={one.cookies['SID']}", path="/t")
        assert reply.json()["route"] == "n3"


# ---- balancer and node in one httpd ------------------------------------------------------------------

def test_balancer_and_node_in_one(farm):
    both = farm.node("n1", modules=PROXY_MODULES)
    other = farm.node("n2")
    for one in (both, other):
        one.membership = f"SessionClusterMembership {MEMBERSHIP}\n" + "".join(
            f"SessionClusterMember 127.0.0.1:{m.rx_port} route={m.route}\n" for m in (both, other))
    front = free_port()
    both.extra = (f"Listen 127.0.0.1:{front}\n<VirtualHost 127.0.0.1:{front}>\n"
                  "ServerName localhost\nSession Off\n" + proxy_lines([both, other]) +
                  "</VirtualHost>\n")
    other.start()
    both.start()
    wait_until(lambda: both.sees("n2") and other.sees("n1"), 10, "both together")
    browsers = [both.client() for _ in range(12)]
    for one in browsers:
        one.port = front
        one.op("set=a:1")
    assert {one.route for one in browsers} == {"n1", "n2"}
    other.kill9()
    for one in browsers:
        assert one.op("set=b:1").values == {"a": "1", "b": "1"}
        assert one.route == "n1"
