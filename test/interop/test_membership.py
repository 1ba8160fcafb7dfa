# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Who sees whom: multicast and static membership, leaving, dying, hanging, probes."""

import os
import signal

import pytest

from rig import PATIENCE, Group, both_ways, free_port, wait_until

SYNC_ACK = 6


def exchange(ring, *pair):
    for sender, receiver in both_ways(pair):
        message = ring.message(40)
        sender.send_ok(message, receiver, SYNC_ACK)
        receiver.got(message, sender)


# ---- multicast -----------------------------------------------------------------------------------

def test_multicast_ours_first(ring):
    group = Group()
    node = ring.node(**group.node)
    tomcat = ring.tomcat(**group.tomcat)
    node.sees(tomcat)
    tomcat.sees(node)
    exchange(ring, node, tomcat)


def test_multicast_tomcat_first(ring):
    group = Group()
    tomcat = ring.tomcat(**group.tomcat)
    node = ring.node(**group.node)
    node.sees(tomcat)
    tomcat.sees(node)
    exchange(ring, node, tomcat)


def test_multicast_two_and_two(ring):
    """Two of each: everybody sees the three others, and our two each other as before."""
    group = Group()
    peers = [ring.node(**group.node, route="n1"), ring.tomcat(**group.tomcat),
             ring.node(**group.node, route="n2"), ring.tomcat(**group.tomcat)]
    for one in peers:
        for other in peers:
            if one is not other:
                one.sees(other)
    for one, other in zip(peers, peers[1:]):
        exchange(ring, one, other)


def test_refused_by_default(ring):
    """Without foreign=accept a node says nothing in a Tomcat's group, and why."""
    group = Group()
    tomcat = ring.tomcat(**group.tomcat)
    node = ring.node(**{**group.node, "foreign": "refuse"})
    node.logged("SC0432: foreign member 127.0.0.1:%d" % tomcat.port)
    sentinel = ring.node(**group.node)  # when this one is seen the other would have been
    tomcat.sees(sentinel)
    assert not tomcat.said(f"added {node.address} .*")
    # and nothing that comes from there is taken
    message = ring.message(40)
    assert tomcat.wait(tomcat.send(message, node, SYNC_ACK)).group(1).startswith("failed fail-ack")
    assert not node.said("(added|message) .*")


# ---- leaving, dying, hanging ---------------------------------------------------------------------

def test_goodbye(ring):
    """A graceful leave is believed at once, without probe, on both sides."""
    node, tomcat = ring.pair()
    other = ring.node(**node.group.node, route="n2")
    tomcat.sees(other)
    other.close()
    tomcat.lost(other)
    tomcat.close()
    node.lost(tomcat)
    node.logged(f"SC0413: .*127.0.0.1:{tomcat.port} .*left")


def test_our_process_killed(ring):
    quick = {"m_dropTime": 1000}
    node, tomcat = ring.pair(quick, quick)
    node.kill()
    tomcat.lost(node)


def test_java_stopped_and_killed(ring):
    """A Java machine that hangs is gone, back when it goes on, and gone for good when it dies."""
    quick = {"m_dropTime": 1000}
    jvm = ring.jvm()
    group = Group()
    tomcat = ring.tomcat(jvm, **{**group.tomcat, **quick})
    node = ring.node(**{**group.node, **quick})
    node.sees(tomcat)
    tomcat.sees(node)
    jvm.signal(signal.SIGSTOP)
    node.lost(tomcat)
    node.logged(f"SC0413: .*127.0.0.1:{tomcat.port} .*is gone")
    jvm.signal(signal.SIGCONT)
    node.sees(tomcat, times=2)
    exchange(ring, node, tomcat)
    jvm.kill()
    node.lost(tomcat, times=2)


def test_ours_stopped(ring):
    """Tomcat's failure detector asks for an answer: a process that hangs gives none."""
    group = Group()
    detector = "TcpFailureDetector{performReadTest=true;readTestTimeout=500}"
    tomcat = ring.tomcat(**{**group.tomcat, "m_dropTime": 1000, "heartbeat": 200,
                            "interceptor": ["MessageDispatch", detector]})
    node = ring.node(**group.node)
    node.sees(tomcat)
    tomcat.sees(node)
    node.process.signal(signal.SIGSTOP)
    tomcat.lost(node)
    node.process.signal(signal.SIGCONT)
    tomcat.sees(node, times=2)
    exchange(ring, node, tomcat)


# ---- probes --------------------------------------------------------------------------------------

PROBE = bytes.fromhex("4fa77348798243c99f6f8980a15b07147dd9525bebf1439ab77ebe8f81671eb6"
                      "3715be87457e4ca8bf0a4d1353381532" "55f694b73afa407891047dd77284c0d5")


def detector_links(read, timeout=int(PATIENCE * 1000)):
    return {"interceptor": ["MessageDispatch",
                            f"TcpFailureDetector{{performReadTest={read};"
                            f"readTestTimeout={timeout}}}"]}


@pytest.mark.parametrize("read", ("true", "false"))
def test_probe_on_the_wire(ring, read):
    """The 64 bytes that all failure detectors know, on a connection of their own, by both sides;
    they ask for an acknowledgement when that is what is tested."""
    for prober, target in both_ways(ring.pair(detector_links(read), detector_links(read))):
        relay = ring.relay(target, prober)
        wait_until(lambda: relay.frames(prober), "a probe")  # it has not waited until it passed
        probes = relay.frames(prober)
        assert {(frame.options, frame.body) for frame in probes} == {(3 if read == "true" else 1,
                                                                      PROBE)}
        assert sum(frame.raw in relay.asked for frame in probes) == len(probes)


def test_no_answer_no_member(ring):
    """Who is heard, and accepts connections, but does not answer is not taken for a member, by both
    sides, when an answer is asked for. He is asked again, and is one when he does."""
    links = detector_links("true", 500)
    pair = ring.pair(links, {**links, "heartbeat": 200})
    for prober, target in both_ways(pair):
        relay = ring.relay(target, hold=True)
        wait_until(lambda: len(relay.frames(prober)) >= 3, "three probes")
        assert not prober.said(f"added {relay.address} .*")
        relay.hold = False
        prober.sees(relay)


@pytest.mark.parametrize("read", ("true", "false"))
def test_probes(ring, read):
    """What a failure detector sends is answered and nobody's message, on both sides."""
    group = Group()
    detector = detector_links(read)["interceptor"][1]
    # a ping above it makes it probe all members now and again
    tomcat = ring.tomcat(**{**group.tomcat, "heartbeat": 100,
                            "interceptor": ["MessageDispatch", "TcpPing{interval=100}", detector]})
    node = ring.node(**group.node, interceptor=["MessageDispatch", detector])
    node.sees(tomcat)
    tomcat.sees(node)
    before = node.counter("frames_in")
    wait_until(lambda: node.counter("frames_in") >= before + 5, "five probes")
    exchange(ring, node, tomcat)
    for one in (node, tomcat):
        assert one.said("message .*") == 1
        assert not one.said("gone .*")


# ---- static membership ---------------------------------------------------------------------------

def uid():
    return os.urandom(16).hex()


def static_makers(ring):
    """How to start a node and a Tomcat that have each other in their lists."""
    ports, own = [free_port(), free_port()], uid()

    def node():
        return ring.node(ports[0], membership="static", foreign="accept", m_frequency=200,
                         m_dropTime=2000, member=f"127.0.0.1:{ports[1]}")

    def tomcat(jvm=None, expiration=int(PATIENCE * 1000)):
        made = ring.tomcat(jvm, port=ports[1], name="grp", membership="static", m_useThread="true",
                           m_pingInterval=200, m_expirationTime=expiration,
                           local=f"127.0.0.1:{ports[1]}:{own}",
                           member=f"127.0.0.1:{ports[0]}:{uid()}")  # our id is known to nobody
        made.own = own
        return made

    return node, tomcat


@pytest.mark.parametrize("first", ("ours", "tomcat"))
def test_static_by_java_objects(ring, first):
    """Tribes' StaticMembershipService: START, PING and STOP as Java objects."""
    node, tomcat = static_makers(ring)
    made = {"ours": node, "tomcat": tomcat}
    one = made.pop(first)()
    other = made.popitem()[1]()
    ours, theirs = (one, other) if first == "ours" else (other, one)
    assert ours.sees(theirs).group(1) == theirs.own
    theirs.sees(ours)
    exchange(ring, ours, theirs)
    # its pings keep it a member, longer than dropTime
    pings = ours.counter("frames_in")
    wait_until(lambda: ours.counter("frames_in") >= pings + 15, "fifteen pings")
    assert not ours.said("gone .*") and not theirs.events.count("gone .*")
    if first == "ours":
        ours.close()
        theirs.lost(ours)  # it was told: expirationTime is longer
    else:
        theirs.close()
        ours.lost(theirs)
        ours.logged(f"SC0413: .*127.0.0.1:{theirs.port} .*left")


@pytest.mark.parametrize("dies", ("ours", "tomcat"))
def test_static_by_java_objects_killed(ring, dies):
    """Who says nothing any more is missed when expirationTime, or our dropTime, is over."""
    jvm = ring.jvm()
    node, tomcat = static_makers(ring)
    ours, theirs = node(), tomcat(jvm, 2000)
    ours.sees(theirs)
    theirs.sees(ours)
    exchange(ring, ours, theirs)
    if dies == "ours":
        ours.kill()
        wait_until(lambda: not theirs.members(), "the end of our membership")
        theirs.lost(ours)
    else:
        jvm.kill()
        wait_until(lambda: not ours.members(), "the end of the Tomcat's membership")
        ours.lost(theirs)
        ours.logged(f"SC0413: .*127.0.0.1:{theirs.port} .*is gone")


def test_remote_call_is_answered(ring):
    """Whoever calls a procedure does not wait for an answer that will not come."""
    node, tomcat = ring.pair()
    tomcat.tell(f"call {node.address} {int(PATIENCE * 10 * 1000)}")
    tomcat.wait(r"called 0 \d+")
    assert node.counter("calls_refused") == 1
