# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Who sees whom: multicast and static membership, leaving, dying, hanging, probes."""

import os
import signal

import pytest

from rig import Group, free_port, wait_until

SYNC_ACK = 6


def exchange(ring, one, other):
    for sender, receiver in ((one, other), (other, one)):
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
    assert not tomcat.events.count(f"added {node.address} .*")
    # and nothing that comes from there is taken
    message = ring.message(40)
    assert tomcat.wait(tomcat.send(message, node, SYNC_ACK)).group(1).startswith("failed fail-ack")
    assert not node.events.count("(added|message) .*")


def test_multicast_to_the_group(ring):
    """The option MULTICAST: a datagram that everybody gets."""
    node, tomcat = ring.pair()
    for sender, receiver in ((node, tomcat), (tomcat, node)):
        message = ring.message(200)
        sender.send_ok(message, receiver, 64)
        assert receiver.got(message, sender) & 64


def test_udp(ring):
    """The option UDP: a datagram to one member, acknowledged when that is asked for."""
    node, tomcat = ring.pair({"udpPort": free_port()}, {"udpPort": free_port()})
    for sender, receiver in ((node, tomcat), (tomcat, node)):
        for options in (32, 34, 38):
            message = ring.message(200)
            sender.send_ok(message, receiver, options)
            assert receiver.got(message, sender) & 32


# ---- leaving, dying, hanging ---------------------------------------------------------------------

def test_goodbye(ring):
    """A graceful leave is believed at once, without probe, on both sides."""
    slow = {"m_dropTime": 60000}
    node, tomcat = ring.pair(slow, slow)
    other = ring.node(**{**node.group.node, **slow}, route="n2")
    tomcat.sees(other)
    other.close()
    tomcat.lost(other)
    tomcat.close()
    node.lost(tomcat)
    node.logged("SC0413: .*left")


def test_our_process_killed(ring):
    quick = {"m_dropTime": 1000}
    node, tomcat = ring.pair(quick, quick)
    node.process.kill()
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
    node.logged("SC0413: .*is gone")
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

@pytest.mark.parametrize("read", ("true", "false"))
def test_probes(ring, read):
    """What a failure detector sends is answered and nobody's message, on both sides."""
    group = Group()
    detector = "TcpFailureDetector{performReadTest=%s;readTestTimeout=5000}" % read
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
        assert one.events.count("message .*") == 1
        assert not one.events.count("gone .*")


# ---- static membership ---------------------------------------------------------------------------

def uid():
    return os.urandom(16).hex()


@pytest.mark.parametrize("first", ("ours", "tomcat"))
def test_static_by_java_objects(ring, first):
    """Tribes' StaticMembershipService: START, PING and STOP as Java objects."""
    ports, own = [free_port(), free_port()], uid()

    def node():
        return ring.node(ports[0], membership="static", foreign="accept", m_frequency=200,
                         m_dropTime=2000, member=f"127.0.0.1:{ports[1]}")

    def tomcat():
        return ring.tomcat(port=ports[1], name="grp", membership="static", m_useThread="true",
                           m_pingInterval=200, m_expirationTime=60000,
                           local=f"127.0.0.1:{ports[1]}:{own}",
                           member=f"127.0.0.1:{ports[0]}:{uid()}")  # our id is known to nobody

    made = {"ours": node, "tomcat": tomcat}
    one = made.pop(first)()
    other = made.popitem()[1]()
    ours, theirs = (one, other) if first == "ours" else (other, one)
    assert ours.sees(theirs).group(1) == own
    theirs.sees(ours)
    exchange(ring, ours, theirs)
    # its pings keep it a member, longer than dropTime
    pings = ours.counter("frames_in")
    wait_until(lambda: ours.counter("frames_in") >= pings + 15, "fifteen pings")
    assert not ours.events.count("gone .*") and not theirs.events.count("gone .*")
    if first == "ours":
        ours.close()
        theirs.lost(ours)  # it was told: expirationTime is a minute
    else:
        theirs.close()
        ours.lost(theirs)
        ours.logged("SC0413: .*left")


def test_remote_call_is_answered(ring):
    """Whoever calls a procedure does not wait for an answer that will not come."""
    node, tomcat = ring.pair()
    tomcat.tell(f"call {node.address} 20000")
    took = int(tomcat.wait(r"called 0 (\d+)").group(1))
    assert took < 10000, took
    assert node.counter("calls_refused") == 1
