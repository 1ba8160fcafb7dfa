# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Nodes that announce themselves become workers of a balancer that names none of them."""

import os
import re
import signal
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import Client, Load
from node import free_port, wait_until
from tribes import BEGIN, END, Tomcat

MANAGER = '<Location "/bm">\n  SetHandler balancer-manager\n</Location>\nProxyPass /bm !\n'
KEEP = "keep=2"


def announce(node, url=None, more=""):
    """Say so in its configuration; its own address and port unless an URL is given."""
    base = re.sub(r"SessionClusterAnnounce.*\n", "", node.directives)
    node.directives = base + f"SessionClusterAnnounce {url or f'http://*:{node.port}'} {more}\n"


def take_members(balancer, args=KEEP, growth=4, static=(), more=""):
    """No BalancerMember but these, and members as they come."""
    balancer.nodes = list(static)
    balancer.proxy_args = f"growth={growth} nonce=for-tests"
    balancer.directives += f"SessionClusterMembers balancer://cluster {args}\n{MANAGER}{more}"


def workers(balancer):
    """URL -> route, status, lbfactor, lbset, as balancer-manager has them."""
    reply = balancer.client().get("/bm?xml=1", headers={"Referer": "http://127.0.0.1/bm"})
    assert reply.status == 200
    found = {}
    text = reply.body.decode() if isinstance(reply.body, bytes) else reply.body
    for one in re.findall(r"<httpd:worker>(.*?)</httpd:worker>", text, re.S):
        field = dict(re.findall(r"<httpd:(\w+)>([^<]*)</httpd:\w+>", one))
        assert field["name"] not in found, f"{field['name']} is there twice: {text}"
        found[field["name"]] = (field.get("route", ""), field["status"].split(),
                                float(field["loadfactor"]), int(field["lbset"]))
    return found


def serving(balancer):
    """Routes of the workers that get requests."""
    return sorted(r for r, status, _, _ in workers(balancer).values()
                  if "Ok" in status and r)


def info(balancer):
    return balancer.status()["balancers"][0]


def url(node):
    return f"http://127.0.0.1:{node.port}"


def sticky_to(balancer, route):
    for _ in range(60):
        one = balancer.client()
        one.op("set=a:1")
        if one.route == route:
            return one
    raise AssertionError(f"no session on {route}")


@pytest.fixture
def make(farm):
    """A cluster whose nodes announce themselves to a balancer that knows none."""
    def build(n=3, *, members=KEEP, growth=4, static=(), more="", options="", start=True, **kw):
        cluster = farm.cluster(n, balancers=1, options=options, **kw)
        for node in cluster.nodes:
            announce(node)
        take_members(cluster.balancer, members, growth, [cluster[i] for i in static], more)
        if start:
            cluster.start()
            wait_until(lambda: len(serving(cluster.balancer)) == min(n, growth + len(static)), 15,
                       "members are workers")
        return cluster
    return build


def connections(port):
    """How many sockets of this machine have that port at their other end."""
    found = 0
    with open("/proc/net/tcp", encoding="ascii") as f:
        for line in f.readlines()[1:]:
            fields = line.split()
            # established, or closed by the other side only
            found += int(fields[2].split(":")[1], 16) == port and fields[3] in ("01", "08")
    return found


# ---- joining -------------------------------------------------------------------------------------

@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_members_join_and_serve(make, manager, mpm):
    cluster = make(options=manager, start=False, mpm=mpm)
    announce(cluster[1], f"HTTP://LocalHost:{cluster[1].port}", "weight=3 lbset=0")
    cluster.balancer.mpm = mpm
    cluster.start()
    balancer = cluster.balancer
    wait_until(lambda: serving(balancer) == ["n1", "n2", "n3"], 15, "three workers")
    found = workers(balancer)
    assert found[url(cluster[0])] == ("n1", ["Init", "Ok"], 1.0, 0)
    assert found[f"http://localhost:{cluster[1].port}"] == ("n2", ["Init", "Ok"], 3.0, 0)
    assert info(balancer) | {"added": 0} == {
        "name": "balancer://cluster", "places": 4, "members": 3, "resting": 0, "waiting": 0,
        "added": 0, "removed": 0}
    assert info(balancer)["added"] == 3
    # without a session requests go to all, by weight
    seen = [balancer.client().op().json()["route"] for _ in range(50)]
    assert {seen.count("n1"), seen.count("n3")} <= {9, 10, 11} and 28 <= seen.count("n2") <= 32
    # with one they stay
    for route in ("n1", "n2", "n3"):
        one = sticky_to(balancer, route)
        assert {one.op(f"set=i:{i}").json()["route"] for i in range(8)} == {route}


def test_all_children_follow(make):
    """Each child has its own list; none may answer 503, or use a worker twice."""
    cluster = make(start=False)
    cluster.balancer.children = cluster.balancer.max_children = 4
    cluster.balancer.threads = 8
    cluster.start()
    assert len(cluster.balancer.workers()) >= 4
    with Load(cluster.balancer.port, clients=40, rate=200) as load:
        load.run_for(2)
    assert not load.failures(), load.failures()[:5]
    assert load.check_ids() == 40
    wait_until(lambda: all(len(workers(cluster.balancer)) == 3 for _ in range(20)), 10,
               "no worker twice in any child")
    assert info(cluster.balancer)["added"] == 3


def test_a_request_is_tried_elsewhere(make):
    """One announces a place where nobody listens: other workers are tried in the same request."""
    cluster = make(start=False)
    announce(cluster[2], f"http://127.0.0.1:{free_port()}", "weight=50")
    cluster.start()
    wait_until(lambda: len(workers(cluster.balancer)) == 3, 15, "three workers")
    for _ in range(20):
        assert cluster.balancer.client().op("set=a:1").json()["route"] in ("n1", "n2")


# ---- leaving -------------------------------------------------------------------------------------

def test_killed_node(make):
    cluster = make(members="keep=600")
    balancer, victim = cluster.balancer, cluster[1]
    mine = [sticky_to(balancer, "n2") for _ in range(5)]
    for one in mine:
        assert one.op("set=b:2").values == {"a": "1", "b": "2"}
    victim.kill9()
    # within the same request another node takes over
    assert mine[0].op("set=c:3").values == {"a": "1", "b": "2", "c": "3"}
    wait_until(lambda: balancer.lost("n2"), 10, "n2 has left")
    wait_until(lambda: serving(balancer) == ["n1", "n3"], 10, "its worker is down")
    assert "HcFl" in workers(balancer)[url(victim)][1]
    for one in mine:
        assert one.values() | {"c": "3"} == {"a": "1", "b": "2", "c": "3"}
    # back at the same place it is the same worker
    victim.start()
    wait_until(lambda: serving(balancer) == ["n1", "n2", "n3"], 15, "its worker is up")
    assert len(workers(balancer)) == 3
    assert info(balancer)["added"] == 3 and info(balancer)["removed"] == 0


def test_stopped_node_is_given_up(make):
    cluster = make()
    balancer = cluster.balancer
    one = sticky_to(balancer, "n3")
    assert cluster[2].stop()
    wait_until(lambda: url(cluster[2]) not in workers(balancer), 15, "its place is free")
    assert one.op().values == {"a": "1"}
    told = info(balancer)
    assert (told["members"], told["removed"]) == (2, 1)
    balancer.wait_log(rf"SC0710: balancer://cluster: {url(cluster[2])}, worker of member n3")
    cluster[2].start()
    wait_until(lambda: serving(balancer) == ["n1", "n2", "n3"], 20, "it is a worker again")
    assert info(balancer)["added"] == 4


def test_nobody_is_left(make):
    """Then it is rather the network of the cluster that is gone: all workers stay, and are tried."""
    cluster = make(2, members="keep=5")  # longer than between the two deaths
    balancer = cluster.balancer
    for node in cluster.nodes:
        node.kill9()
    wait_until(lambda: balancer.lost("n1") and balancer.lost("n2"), 10, "both have left")
    lost = time.monotonic()
    while time.monotonic() < lost + 8:
        assert len(workers(balancer)) == 2
        time.sleep(0.2)
    assert not any("HcFl" in w[1] for w in workers(balancer).values())
    assert info(balancer)["removed"] == 0
    cluster[0].start()
    wait_until(lambda: balancer.client().get("/t").status == 200, 10, "n1 serves")
    wait_until(lambda: list(workers(balancer)) == [url(cluster[0])], 15, "and n2 is given up")


def test_back_at_another_port(make):
    """Again and again, under load: places are used again, and no request fails but those that were
    with the node when it died."""
    cluster = make(members="keep=600")
    balancer, mover = cluster.balancer, cluster[1]
    old, kills = [url(mover)], []
    with Load(balancer.port, clients=30, rate=100) as load:
        for _ in range(5):
            load.run_for(0.3)
            begin = time.monotonic()
            mover.kill9()
            kills.append((begin, time.monotonic()))
            wait_until(lambda: balancer.lost("n2"), 10, "n2 has left")
            mover.port = free_port()
            announce(mover)
            mover.start()
            wait_until(lambda: url(mover) in workers(balancer), 20, "n2 has a new worker")
            wait_until(lambda: serving(balancer) == ["n1", "n2", "n3"], 10, "and it serves")
            wait_until(lambda: not set(old) & set(workers(balancer)), 10, "the old one is gone")
            wait_until(lambda: workers(balancer) and not connections(int(old[-1][-5:])), 20,
                       "nor is any connection to it left")
            old.append(url(mover))
        load.run_for(1)
    for r in load.failures():  # only what was in the middle of it when it died
        assert any(r.end >= begin and r.start <= end for begin, end in kills), r
    assert load.check_ids() == 30
    assert sticky_to(balancer, "n2").op().json()["route"] == "n2"
    wait_until(lambda: all(len(workers(balancer)) == 3 for _ in range(10)), 10, "three workers")
    told = info(balancer)
    assert (told["added"], told["removed"], told["waiting"]) == (8, 5, 0)


def test_request_that_outlives_its_worker(make):
    """A node moves with a graceful restart, and goes on with what it had begun at its old place."""
    cluster = make(2, growth=2)
    balancer, mover = cluster.balancer, cluster[1]
    one = sticky_to(balancer, "n2")
    before, old = url(mover), mover.port
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(one.op, "sleep=9000")
        wait_until(lambda: connections(old), 5, "it is being served")
        mover.port = free_port()
        announce(mover)
        mover.restart()
        # as long as it lasts the old worker has its place, and then the new one gets it
        wait_until(lambda: info(balancer)["waiting"] == 1, 10, "n2 waits for a place")
        other = balancer.client(cookies=one.cookies)
        assert other.op("set=b:2").json()["route"] == "n1"
        assert "HcFl" in workers(balancer)[before][1] and not slow.done()
        assert slow.result().json()["route"] == "n2"
    wait_until(lambda: url(mover) in workers(balancer), 20, "n2 has its place")
    assert before not in workers(balancer)
    wait_until(lambda: sticky_to(balancer, "n2") and not connections(old), 20,
               "no connection is left to where it was")


def test_more_nodes_than_places(make):
    cluster = make(3, growth=2)
    balancer = cluster.balancer
    assert len(workers(balancer)) == 2 and info(balancer)["waiting"] == 1
    balancer.wait_log(r"SC0712: balancer://cluster: no place is left for member n\d .*growth=")
    out = ({"n1", "n2", "n3"} - set(serving(balancer))).pop()
    for _ in range(20):
        assert balancer.client().op("set=a:1").status == 200
    assert balancer.log().count("SC0712") == 1
    # one goes, and the one that waited takes its place
    gone = cluster.node(serving(balancer)[0])
    assert gone.stop()
    wait_until(lambda: out in serving(balancer), 25, f"{out} has a place")
    assert info(balancer)["waiting"] == 0


# ---- restarts of the balancer --------------------------------------------------------------------

@pytest.mark.parametrize("mpm,persist", [("event", "Off"), ("event", "On"), ("prefork", "On")])
def test_graceful_restart(make, mpm, persist):
    cluster = make(more=f"BalancerPersist {persist}\n", start=False)
    balancer = cluster.balancer
    balancer.mpm = mpm
    cluster.start()
    one = sticky_to(balancer, "n2")
    with Load(balancer.port, clients=30, rate=100) as load:
        load.run_for(0.5)
        balancer.restart()
        load.run_for(1)
        # another configuration: a new engine, which knows nobody for a moment
        balancer.directives += "SessionClusterMaxSessionSize 32K\n"
        balancer.restart()
        load.run_for(2)
    bad = [r for r in load.failures() if r.status == 503]
    assert not bad, bad[:5]
    wait_until(lambda: serving(balancer) == ["n1", "n2", "n3"], 15, "all are workers")
    wait_until(lambda: all(len(workers(balancer)) == 3 for _ in range(10)), 10, "once each")
    assert one.op().json()["route"] == "n2"
    # a node that was gone meanwhile, and one that came
    cluster[2].kill9()
    wait_until(lambda: balancer.lost("n3"), 10, "n3 has left")
    cluster[2].port = free_port()
    announce(cluster[2])
    balancer.restart(signal.SIGHUP)
    cluster[2].start()
    wait_until(lambda: url(cluster[2]) in workers(balancer), 20, "n3 is a worker")
    wait_until(lambda: serving(balancer) == ["n1", "n2", "n3"] and len(workers(balancer)) == 3, 20,
               "three workers")


def test_persisted_members_that_are_gone(make):
    """After a stop and a start workers of before are there; those of nodes that are gone go."""
    cluster = make(more="BalancerPersist On\n")
    balancer = cluster.balancer
    assert balancer.stop()
    cluster[1].kill9()
    balancer.start()
    wait_until(lambda: balancer.client().op("set=a:1").status == 200, 10, "served")
    wait_until(lambda: sorted(workers(balancer)) == sorted([url(cluster[0]), url(cluster[2])]), 20,
               "two workers")
    assert serving(balancer) == ["n1", "n3"]


# ---- beside what is configured -------------------------------------------------------------------

def test_static_member_beside(make):
    """The configured one stays as it is, also when its node announces itself, at whatever URL."""
    cluster = make(3, static=[0], start=False)
    announce(cluster[0], f"http://localhost:{cluster[0].port}", "weight=9")
    balancer = cluster.balancer
    cluster.start()
    wait_until(lambda: serving(balancer) == ["n1", "n2", "n3"], 15, "three workers")
    found = workers(balancer)
    assert len(found) == 3 and found[url(cluster[0])][2] == 1.0
    assert info(balancer)["members"] == 2
    cluster[0].kill9()
    wait_until(lambda: serving(balancer) == ["n2", "n3"], 10, "its worker is down")
    gone = time.monotonic()
    while time.monotonic() < gone + 4:  # longer than keep=
        assert url(cluster[0]) in workers(balancer)
        time.sleep(0.2)
    assert info(balancer)["removed"] == 0


def test_filters(make):
    cluster = make(3, members="route=n[12]", start=False)
    balancer = cluster.balancer
    balancer.extra += ('<Proxy "balancer://other">\n  ProxySet lbmethod=bysession growth=3\n</Proxy>\n')
    balancer.directives += (f"SessionClusterMembers balancer://other "
                            f"url=http://127.0.0.1:{cluster[2].port} connectiontimeout=7\n")
    cluster.start()
    wait_until(lambda: serving(balancer) == ["n1", "n2", "n3"], 15, "workers")
    told = {b["name"]: b["members"] for b in balancer.status()["balancers"]}
    assert told == {"balancer://cluster": 2, "balancer://other": 1}
    assert {balancer.client().op().json()["route"] for _ in range(20)} == {"n1", "n2"}


def test_virtual_host_that_inherits(make):
    """A virtual host has a copy of the main server's balancer, and the same workers."""
    cluster = make(2, start=False)
    port = free_port()
    cluster.balancer.extra += (f"Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>\n"
                               "  ServerName other\n"
                               '  ProxyPass "/" "balancer://cluster/"\n</VirtualHost>\n')
    cluster.start()
    for _ in range(20):
        assert Client(port).op("set=a:1").status == 200
    cluster[0].kill9()
    for _ in range(20):
        assert Client(port).op("set=a:1").json()["route"] == "n2"
    cluster[0].port = free_port()
    announce(cluster[0])
    cluster[0].start()
    wait_until(lambda: {Client(port).op("set=a:1").json()["route"] for _ in range(4)}
               == {"n1", "n2"}, 20, "n1 serves from its new port")
    assert cluster.balancer.client().op("set=a:1").status == 200


def test_weight_changes(make):
    cluster = make(2)
    balancer, node = cluster.balancer, cluster[0]
    announce(node, more="weight=5 lbset=2")
    node.restart()
    wait_until(lambda: workers(balancer)[url(node)][2:] == (5.0, 2), 15, "new weight")
    assert len(workers(balancer)) == 2 and info(balancer)["removed"] == 0


def test_who_says_nothing_is_no_worker(make):
    cluster = make(2, start=False)
    cluster[1].directives = ""
    cluster.start()
    wait_until(lambda: serving(cluster.balancer) == ["n1"], 15, "one worker")
    assert info(cluster.balancer)["waiting"] == 0
    member = next(m for m in cluster.balancer.status()["view"]["members"] if m["route"] == "n1")
    assert (member["url"], member["weight"], member["lbset"]) == (url(cluster[0]), 1, 0)


def test_administrator_has_the_last_word(make):
    """What is changed in balancer-manager stays until the node says something new."""
    cluster = make(2)
    balancer, node = cluster.balancer, cluster[0]
    change = f"b=cluster&w={url(node)}&w_lf=7&w_status_D=1&nonce=for-tests"
    reply = balancer.client().post("/bm", change.encode(),
                                   headers={"Referer": "http://127.0.0.1/bm",
                                            "Content-Type": "application/x-www-form-urlencoded"})
    assert reply.status == 200
    assert workers(balancer)[url(node)][2] == 7.0 and serving(balancer) == ["n2"]
    generation = balancer.status()["view"]["generation"]
    cluster[1].kill9()
    wait_until(lambda: balancer.status()["view"]["generation"] > generation, 10, "another view")
    assert workers(balancer)[url(node)][2] == 7.0 and "Dis" in workers(balancer)[url(node)][1]
    announce(node, more="weight=5")
    node.restart()
    wait_until(lambda: workers(balancer)[url(node)][2] == 5.0, 15, "new weight")
    assert "Dis" in workers(balancer)[url(node)][1]


def test_two_nodes_at_one_url(make):
    """A line that was copied: one worker, of the node that was there first, and a word about it."""
    cluster = make(3, start=False)
    announce(cluster[1], url(cluster[0]))
    cluster.start()
    balancer = cluster.balancer
    wait_until(lambda: len(workers(balancer)) == 2, 15, "two workers")
    balancer.wait_log(r"SC0717: balancer://cluster: member n\d announces")
    first = workers(balancer)[url(cluster[0])][0]
    other = cluster[0] if first == "n2" else cluster[1]
    other.stop()
    wait_until(lambda: balancer.lost(other.route), 15, "one of them has left")
    assert workers(balancer)[url(cluster[0])][0] == first
    assert balancer.log().count("SC0717") == 1


# ---- hostile announcements -----------------------------------------------------------------------

def varint(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def announcement(address, route, worker, weight=1, lbset=0, uid=None, alive=1000, role=0):
    """Member data with our mark, of a node that is ready."""
    mark = b"SCM1\x01" + bytes([role, 3]) + os.urandom(8)
    mark += varint(len(route)) + route + varint(len(worker)) + worker + varint(0) + varint(0)
    mark += varint(weight) + varint(lbset)
    body = struct.pack(">qiii", alive, address[1], -1, -1) + b"\x04"
    body += socket.inet_aton(address[0]) + struct.pack(">ii", 0, 0) + (uid or os.urandom(16))
    body += struct.pack(">i", len(mark)) + mark
    return BEGIN + struct.pack(">i", len(body)) + body + END


HOSTILE = [
    b"http://127.0.0.1:80@evil.example/", b"http://127.0.0.1:8080?x", b"file:///etc/passwd",
    b"unix:/run/x.sock|http://h/", b"http://127.0.0.1:8080/../", b"http://169.254.169.254",
    b"http://0.0.0.0:1", b"balancer://cluster", b"http://127.0.0.1:99999", b"http://[::1",
    b"http://127.0.0.1:8080/%2e%2e", b"HTTP://127.0.0.1:8080", b"http://127.0.0.1:80", b"x" * 127,
]


def test_hostile_announcements(farm):
    """A stranger on a group without a secret: URLs that no balancer may use make no workers, and
    the group goes on."""
    group = f"multicast address=239.255.77.77 port={free_port()} bind=127.0.0.1 " \
            "frequency=200 dropTime=1500"
    cluster = farm.cluster(1, balancers=1, membership=group, options="SessionClusterSecret none\n")
    announce(cluster[0])
    take_members(cluster.balancer, more="SessionClusterSecret none\n")
    cluster.start()
    balancer = cluster.balancer
    port = int(re.search(r"port=(\d+)", group).group(1))
    wait_until(lambda: serving(balancer) == ["n1"], 15, "one worker")
    # receivers that answer probes with an acknowledgement
    strangers = [Tomcat() for _ in HOSTILE]
    begin = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))

        def beat():
            alive = int((time.monotonic() - begin) * 1000) + 5
            for i, worker in enumerate(HOSTILE):
                s.sendto(announcement(("127.0.0.1", strangers[i].port), f"bad{i}".encode(), worker,
                                      uid=strangers[i].uid, alive=alive), ("239.255.77.77", port))
            return balancer.count("urls_refused") >= len(HOSTILE)
        wait_until(beat, 20, "all refused", pause=0.2)
    assert balancer.count("urls_refused") >= len(HOSTILE)
    assert balancer.log().count("SC0414") < len(HOSTILE)
    assert list(workers(balancer)) == [url(cluster[0])]
    assert balancer.client().op("set=a:1").json()["route"] == "n1"
    for one in strangers:
        one.close()


def test_strangers_are_no_workers(farm):
    """With a secret who does not have it announces in vain."""
    options = f"SessionClusterSecret file:{farm.secret()}\n"
    group = f"multicast address=239.255.77.78 port={free_port()} bind=127.0.0.1 " \
            "frequency=200 dropTime=1500"
    cluster = farm.cluster(1, balancers=0, membership=group, options=options)
    balancer = farm.balancer("b1", [], directives=options)
    cluster.balancers.append(balancer)
    cluster.connect()
    announce(cluster[0])
    take_members(balancer)
    cluster.start()
    wait_until(lambda: serving(balancer) == ["n1"], 15, "one worker")
    port = int(re.search(r"port=(\d+)", group).group(1))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))

        def beat():
            s.sendto(announcement(("127.0.0.1", 4000), b"bad", b"http://127.0.0.1:4000"),
                     ("239.255.77.78", port))
            return balancer.count("datagrams_forged") > 5
        wait_until(beat, 15, "refused")
    assert list(workers(balancer)) == [url(cluster[0])]
    assert balancer.count("urls_refused") == 0
