# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Interceptors that change no bytes, in chains of real nodes: DomainFilter, StaticMembership,
TcpPing, Throughput and the two coordinators."""

import re

import pytest

from node import wait_until
from test_multicast import group, multicast


def chain(*lines):
    return "".join(f"SessionClusterInterceptor {line}\n" for line in lines)


# ---- DomainFilter --------------------------------------------------------------------------------

def test_domain_filter_keeps_groups_apart(farm):
    address, port = group()

    def half(domain, names):
        return farm.cluster(2, names=names, membership=multicast(address, port) + f" domain={domain}",
                            options=chain("MessageDispatch", f"DomainFilter domain={domain}",
                                          "TcpFailureDetector"))
    left, right = half("left", ["l1", "l2"]), half("right", ["r1", "r2"])
    for one in left.nodes + right.nodes:
        one.launch()
    for one in left.nodes + right.nodes:
        one.wait_ready()
    left.wait_together()
    right.wait_together()
    # one without a filter hears them all, and what it says to them is refused
    open_one = farm.cluster(1, names=["o1"], membership=multicast(address, port) + " domain=open")
    open_one[0].launch().wait_listening()
    wait_until(lambda: {"l1", "l2", "r1", "r2"} <= set(open_one[0].view()), 20, "all are heard")
    for one in left.nodes + right.nodes:
        wait_until(lambda o=one: o.count("frames_refused") > 0, 20, f"{one.name} refuses")
    assert left[0].sees("l2") and left[1].sees("l1")
    assert right[0].sees("r2") and right[1].sees("r1")

    one = left[0].client()
    one.op("set=a:1")
    assert left[1].client(cookies=one.cookies).values() == {"a": "1"}
    assert right[0].client(cookies=one.cookies).values() == {}


# ---- MessageDispatch -----------------------------------------------------------------------------

def test_dispatch_bounds_sessions(farm):
    """A member that hangs: what waits for it is bounded, and it asks for what it missed."""
    cluster = farm.cluster(3, options="SessionClusterSendOptions 10\n" + chain(
        "MessageDispatch maxQueueSize=20000 alwaysSend=false", "TcpFailureDetector")).start()
    cluster.wait_settled()
    a, b, c = cluster.nodes
    b.freeze()
    browsers = [a.client() for _ in range(60)]
    for i, one in enumerate(browsers):
        one.op(f"set=n:{i}&big=x:2000")
    b.thaw()
    a.wait_log("SC0541.*maxQueueSize.*refused")
    assert a.count("async_over") > 0 and a.count("async_lost") > 0
    for node in (c, b):
        for i, one in enumerate(browsers):
            wait_until(lambda n=node, o=one, v=str(i):
                       n.client(cookies=o.cookies).values().get("n") == v, 30, "it has the session")
    wait_until(lambda: b.sessions() == 60, 30, "it has them all")


# ---- coordinators --------------------------------------------------------------------------------

def coordinators(nodes):
    return {n.status()["view"]["coordinator"] for n in nodes}


@pytest.mark.parametrize("name", ["NonBlockingCoordinator", "SimpleCoordinator"])
def test_coordinator(farm, name):
    cluster = farm.cluster(3, options=chain(name, "MessageDispatch", "TcpFailureDetector")).start()
    # all have one address, so the port decides
    order = sorted(cluster.nodes, key=lambda n: n.rx_port)
    wait_until(lambda: coordinators(order) == {order[0].route}, 30, "all agree")
    order[2].wait_log(rf"the coordinator is {order[0].route} \(127\.0\.0\.1:{order[0].rx_port}\)")
    order[0].kill9()
    wait_until(lambda: coordinators(order[1:]) == {order[1].route}, 30, "the second one follows")
    assert order[1].stop()
    wait_until(lambda: coordinators(order[2:]) == {order[2].route}, 30, "the last one is alone")
    order[0].start()
    wait_until(lambda: coordinators([order[0], order[2]]) == {order[0].route}, 30, "it is back")


def test_no_coordinator(farm):
    one = farm.node().start()
    assert one.status()["view"]["coordinator"] == ""


# ---- TcpPing -------------------------------------------------------------------------------------

def test_ping_finds_a_frozen_node(farm):
    """Nothing else would find it for a minute: neither silence nor a message that fails."""
    patient = "static frequency=200 dropTime=60000"
    sender = "SessionClusterSender timeout=60000\n"
    asking = farm.cluster(2, membership=patient, names=["a1", "a2"], options=sender + chain(
        "TcpPing interval=300", "MessageDispatch", "TcpFailureDetector"))
    silent = farm.cluster(2, membership=patient, names=["s1", "s2"], options=sender + chain(
        "MessageDispatch", "TcpFailureDetector"))
    asking.start()
    silent.start()
    silent[1].freeze()
    asking[1].freeze()
    wait_until(lambda: asking[0].lost("a2"), 30, "the frozen one is found")
    assert not silent[0].lost("s2")
    asking[1].thaw()
    wait_until(lambda: asking[0].sees("a2"), 30, "it is back")


# ---- Throughput ----------------------------------------------------------------------------------

def test_throughput_is_logged(farm):
    cluster = farm.cluster(2, options=chain("Throughput interval=10", "MessageDispatch",
                                            "TcpFailureDetector")).start()
    a, b = cluster.nodes
    one = a.client()

    def write():
        one.op("inc=n")
        return re.search(r"SC0481: throughput: sent \d+0 messages, \d+\.\d\d MB on the wire", a.log()) \
            and re.search(r"SC0481: .*received \d+0 messages, \d+\.\d\d MB", b.log())
    wait_until(write, 30, "both report")


# ---- StaticMembership ----------------------------------------------------------------------------

def test_static_membership_beside_multicast(farm):
    """Two nodes in two multicast groups, which know each other from a list."""
    address, port = group()
    cluster = farm.cluster(2, membership=multicast(address, port))
    for n, other in (cluster.nodes, cluster.nodes[::-1]):
        n.directives = chain("TcpPing interval=500", "MessageDispatch", "TcpFailureDetector",
                             f"StaticMembership member=127.0.0.1:{other.rx_port}")
    elsewhere, elsewhere_port = group()
    cluster[1].membership = f"SessionClusterMembership {multicast(elsewhere, elsewhere_port)}\n"
    cluster.start()
    a, b = cluster.nodes
    cluster.wait_settled()
    one = a.client()
    one.op("set=a:1")
    assert b.client(cookies=one.cookies).values() == {"a": "1"}
    assert b.stop()
    wait_until(lambda: a.lost("n2"), 10, "it said good-bye")
    b.start()
    cluster.wait_together(20)
    assert b.client(cookies=one.cookies).values() == {"a": "1"}
    b.kill9()
    wait_until(lambda: a.lost("n2"), 20, "found dead")
    b.start()
    cluster.wait_together(20)
    assert b.client(cookies=one.cookies).values() == {"a": "1"}


def test_static_membership_by_name(farm):
    """A name, of both families where this machine has them; and one that nobody knows, which holds
    up nothing and is said once."""
    address, port = group()
    cluster = farm.cluster(2, membership=multicast(address, port))
    for n, other in (cluster.nodes, cluster.nodes[::-1]):
        n.directives = chain("MessageDispatch", "TcpFailureDetector",
                             f"StaticMembership member=localhost:{other.rx_port} "
                             "member=nobody.invalid:4000")
    elsewhere, elsewhere_port = group()
    cluster[1].membership = f"SessionClusterMembership {multicast(elsewhere, elsewhere_port)}\n"
    cluster.start()
    a, b = cluster.nodes
    cluster.wait_settled()
    one = a.client()
    one.op("set=a:1")
    assert b.client(cookies=one.cookies).values() == {"a": "1"}
    a.wait_log(r"SC0489: member nobody\.invalid:4000 of StaticMembership has no address yet")
    assert len(re.findall("SC0489", a.log())) == 1


def test_static_membership_says_who_is_missing(farm):
    """Nobody listens where a member should, and somebody who does not know of this node."""
    one = farm.cluster(1, names=["one"], membership=multicast(*group()))[0]
    other = farm.cluster(1, names=["other"], membership=multicast(*group()))[0]
    one.directives = chain("TcpFailureDetector", "StaticMembership member=127.0.0.1:1 "
                           f"member=127.0.0.1:{other.rx_port}")
    other.launch()
    one.launch()
    for n in (one, other):
        n.wait_ready()
    one.wait_log(r"Connection refused: .*SC0523: member 127\.0\.0\.1:1 of StaticMembership", 40)
    one.wait_log(rf"SC0524: member 127\.0\.0\.1:{other.rx_port} of StaticMembership takes", 40)


# ---- what is refused -----------------------------------------------------------------------------

STATIC = ("SessionClusterRoute n1\nSessionClusterMembership static\n"
          "SessionClusterMember 127.0.0.1:4001\n"
          "SessionClusterReceiver address=127.0.0.1 port=4000\n")
MULTICAST = "SessionClusterRoute n1\nSessionClusterMembership multicast bind=127.0.0.1\n"
OPEN = MULTICAST.replace("bind", "foreign=accept bind")
DETECTOR = "TcpFailureDetector"
TOMCAT = "member=h:4003,uniqueId=00112233445566778899aabbccddeeff"
RED = MULTICAST.replace("bind", "domain=red bind")

WRONG = [
    (STATIC + chain("TcpPing useThread=true"), r"has no useThread: the interval always counts"),
    (STATIC + chain("TcpPing interval=10"), r"milliseconds from 50"),
    (STATIC + chain("Throughput interval=0"), r"interval must be a number of messages from 1"),
    (STATIC + chain("MessageDispatch maxThreads=10"), r"has no maxThreads: .*no threads"),
    (STATIC + chain("MessageDispatch useDeepClone=false"), r"has no useDeepClone"),
    (STATIC + chain("MessageDispatch optionFlag=16"), r"optionFlag must be 8"),
    (STATIC + chain("DomainFilter domain=a"),
     r"domain is \"a\" but this node announces \"\".*must be the same"),
    (MULTICAST.replace("bind", "domain=b bind") + chain("DomainFilter"), r"announces \"b\""),
    (STATIC + chain("NonBlockingCoordinator waitForCoordMsgTimeout=1"), r"from 100 to 600000"),
    (STATIC + chain("NonBlockingCoordinator", "SimpleCoordinator"), r"one coordinator"),
    (STATIC + chain("StaticMembership member=127.0.0.1:4002"), r"SessionClusterMember"),
    (chain("StaticMembership member=127.0.0.1:4002"), r"there is none"),
    (MULTICAST + chain("StaticMembership"), r"member=host:port is missing"),
    (MULTICAST + chain("StaticMembership member=127.0.0.1"), r"member wants host:port"),
    (MULTICAST + chain("StaticMembership member=::1:4000"), r"IPv6 address in brackets"),
    (MULTICAST + chain("StaticMembership member=h:1,uniqueId=12"), r"uniqueId= with 32 hex digits"),
    (MULTICAST + chain("StaticMembership member=h:1 member=h:1"), r"h:1 is given twice"),
    (MULTICAST + chain("StaticMembership localMember=h:1"), r"its own local member"),
    (MULTICAST + chain("StaticMembership member=h:1", DETECTOR),
     r"StaticMembership must not stand above \(before\) TcpFailureDetector: .*verifies"),
    (MULTICAST + chain("StaticMembership member=h:1", "TcpPing", DETECTOR),
     r"not stand above .* TcpPing"),
    (MULTICAST + chain("StaticMembership member=h:1"),
     r"StaticMembership needs a TcpFailureDetector above"),
    (MULTICAST + chain("TcpPing", "StaticMembership member=h:1"), r"needs a TcpFailureDetector"),
    (MULTICAST + chain(DETECTOR, f"StaticMembership {TOMCAT}"),
     r"uniqueId= is for a Tomcat, and Tomcats are no members here without foreign=accept"),
    (STATIC + chain(DETECTOR, "NonBlockingCoordinator"),
     r"TcpFailureDetector must not stand above \(before\) NonBlockingCoordinator"),
    (STATIC + chain(DETECTOR, "SimpleCoordinator"), r"nobody has verified"),
    (STATIC + chain("DomainFilter", "NonBlockingCoordinator"), r"filtered out above it"),
    (MULTICAST + chain(DETECTOR, "StaticMembership member=h:1", "Gzip"),
     r"StaticMembership must not stand above \(before\) Gzip: static members .*strangers"),
    (MULTICAST + chain(DETECTOR, "StaticMembership member=h:1", "Order"), r"above \(before\) Order"),
    (MULTICAST + chain(DETECTOR, "StaticMembership member=h:1", "Fragmentation"),
     r"above .* Fragmentation"),
    (MULTICAST + chain(DETECTOR, "StaticMembership member=h:1", "TwoPhaseCommit"),
     r"above .* TwoPhaseCommit"),
    (RED + chain(DETECTOR, "StaticMembership member=h:1,domain=blue", "DomainFilter domain=red"),
     r"h:1,domain=blue is in domain \"blue\", and DomainFilter keeps out"),
    (STATIC + chain(DETECTOR + " optionFlag=256", "Gzip"),
     r"TcpFailureDetector: optionFlag=256 has a bit of Gzip's, 256"),
    (STATIC + chain("Order optionFlag=512", "Gzip optionFlag=512"), r"selects no message"),
    (STATIC + chain("Order optionFlag=1024"), r"Order: optionFlag=1024 selects no message"),
    (STATIC + chain("TwoPhaseCommit optionFlag=16"), r"selects no message"),
    (STATIC + chain("Fragmentation optionFlag=32"), r"selects no message"),
    (STATIC + chain("Throughput optionFlag=64"), r"0, which means all, is right"),
    (STATIC + chain("Throughput interval=5 interval=5"), r"interval is given twice; once is right"),
    (STATIC + chain("TcpPing optionFlag=512 optionFlag=1024"), r"optionFlag is given twice"),
    (STATIC + chain("DomainFilter domain={97,98}"), r"domain wants .*as text: .*\{97,98\} is ab"),
    (MULTICAST + chain("StaticMembership member=h:1,domain={97,98}"), r"\{97,98\} is ab here"),
    (MULTICAST.replace("bind", "domain={97} bind"), r"domain wants .*\{97,98\} is ab here"),
    (STATIC + chain(DETECTOR + " removeSuspectsTimeout=-5"), r"from -1 to 1000000"),
    (MULTICAST + chain("StaticMembership " + " ".join(f"member=h:{n}" for n in range(1, 10))),
     r"at most 8 attributes and optionFlag"),
]


@pytest.mark.parametrize("lines,because", WRONG, ids=range(len(WRONG)))
def test_refused(farm, lines, because):
    code, said = farm.httpd("c", head=lines).configtest()
    assert code != 0
    assert re.search(because, said), said


RIGHT = [
    STATIC + chain("Throughput interval=1 optionFlag=6", "NonBlockingCoordinator", "DomainFilter",
                   "TcpPing staticOnly=true interval=50", "MessageDispatch optionFlag=8",
                   "TcpFailureDetector optionFlag=512"),
    OPEN + chain("SimpleCoordinator", "TcpPing", "MessageDispatch", DETECTOR,
                 "StaticMembership member=127.0.0.1:4001 member=[::1]:4002,domain=x " + TOMCAT),
    MULTICAST + chain(DETECTOR, "StaticMembership member=h:4001"),
    OPEN + chain("Gzip", DETECTOR + " removeSuspectsTimeout=-1 optionFlag=1024",
                      "StaticMembership optionFlag=512 " + " ".join(
                          f"member={'h' * 62}{n}:65535,uniqueId={'0' * 31}{n},domain={'d' * 63}"
                          for n in range(8))),
    OPEN + chain("Order optionFlag=1024", "Gzip"),
    RED + chain("DomainFilter domain=red", DETECTOR, "StaticMembership member=h:1,domain=red member=h:2"),
]


@pytest.mark.parametrize("lines", RIGHT, ids=range(len(RIGHT)))
def test_accepted(farm, lines):
    code, said = farm.httpd("c", head=lines).configtest()
    assert code == 0, said
