# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Interceptors that change bytes, and those that talk to each other, in both directions."""

import os
import re

import pytest

from rig import ACK, Group, free_port, wait_until

SYNC_ACK, ASYNC, GZIP = 6, 8, 0x100
KEY = "000102030405060708090a0b0c0d0e0f"
KEY_256 = KEY * 2
DETECTOR = "TcpFailureDetector"
SIZES = (0, 1, 1000, 300 * 1024)


def chain(*links):
    """The same on both sides."""
    return ({"interceptor": [*links, DETECTOR]},) * 2


def both_ways(pair):
    return (pair, pair[::-1])


CHAINS = {
    "gcm": chain("Encrypt{encryptionKey=%s}" % KEY),
    "gcm-256": chain("Encrypt{encryptionAlgorithm=AES/GCM/NoPadding;encryptionKey=%s}" % KEY_256),
    "cbc": chain("Encrypt{encryptionAlgorithm=AES/CBC/PKCS5Padding;encryptionKey=%s}" % KEY),
    "gzip": chain("Gzip"),
    "fragmentation": chain("Fragmentation{maxSize=1000}"),
    "order": chain("Order"),
    "two-phase": chain("TwoPhaseCommit"),
    "all": chain("TwoPhaseCommit", "Order", "Gzip", "Encrypt{encryptionKey=%s}" % KEY,
                 "Fragmentation{maxSize=10000}", "MessageDispatch"),
}


@pytest.mark.parametrize("name", CHAINS)
def test_bytes_arrive_as_sent(ring, name):
    # A confirmation that overtakes its message confirms nothing. Tomcat's receiver works on frames
    # of one connection at the same time, so only who waits for the message's end is safe.
    rounds = (SYNC_ACK,) * 3 if "two-phase" in name or name == "all" else (0, SYNC_ACK, ASYNC)
    for sender, receiver in both_ways(ring.pair(*CHAINS[name])):
        messages = [ring.message(size) for size in SIZES] + [ring.message(b"again " * 9000)]
        for times, options in enumerate(rounds, 1):
            for message in messages:
                end = sender.send(message, receiver, options)
                if options == SYNC_ACK:
                    assert sender.wait(end).group(1) == "ok"
            # all of them, before the next ones: what has to wait for its turn is not acknowledged
            for message in messages:
                wire = receiver.got(message, sender, times=times)
        assert bool(wire & GZIP) == (name in ("gzip", "all"))  # the last one could be squeezed
        assert receiver.events.count("message .*") == 3 * len(messages)


def test_chains_must_agree(ring):
    """What proves that the bytes were changed: a side without the interceptor gets others."""
    for name in ("gcm", "gzip", "fragmentation", "order"):
        node, tomcat = ring.pair(CHAINS[name][0], {"interceptor": DETECTOR})
        message = ring.message(5000)
        node.send_ok(message, tomcat, SYNC_ACK)
        tomcat.wait(rf"message {node.address} .*")
        assert not tomcat.events.count(f"message .*{message.said}"), name


def test_wrong_key(ring):
    """Nothing gets through. Who waits for a processed message is told so by our side, not by
    Tomcat's."""
    node, tomcat = ring.pair({"interceptor": ["Encrypt{encryptionKey=%s}" % KEY, DETECTOR]},
                             {"interceptor": ["Encrypt{encryptionKey=%s}" % KEY[::-1], DETECTOR]})
    refused = node.counter("decrypt_refused")
    said = tomcat.wait(tomcat.send(ring.message(40), node, SYNC_ACK)).group(1)
    assert said.startswith("failed fail-ack"), said
    assert node.counter("decrypt_refused") == refused + 2  # its second attempt was another
    node.send_ok(ring.message(40), tomcat, SYNC_ACK)
    for one in (node, tomcat):
        assert not one.events.count("message .*")


def test_replayed(ring):
    """The same bytes a second time, as from somebody who has listened: both sides drop them, and
    acknowledge them, since it may be a second attempt of who missed the first acknowledgement."""
    links = {"interceptor": ["Encrypt{encryptionKey=%s}" % KEY, "MessageDispatch"]}
    pair = ring.pair(links, links)
    for sender, receiver in both_ways(pair):
        relay = ring.relay(receiver, sender)
        message = ring.message(40)
        sender.send_ok(message, relay, SYNC_ACK)
        receiver.got(message, sender)
        frame = bytes(relay.asked)
        assert frame.startswith(b"FLT2002") and frame.endswith(b"TLF2003")
        assert relay.replay(frame) == ACK
        after = ring.message(41)
        sender.send_ok(after, relay, SYNC_ACK)
        receiver.got(after, sender)
        assert receiver.events.count("message .*") == 2
    assert pair[0].counter("replays_refused") == 1


def test_order_of_many(ring):
    """Sent one after the other without acknowledgement, on several connections: Order puts them
    into the order in which they were sent."""
    for sender, receiver in both_ways(ring.pair(*CHAINS["order"])):
        messages = [ring.message(200 + n) for n in range(60)]
        for message in messages:
            sender.send_ok(message, receiver, 0)
        for message in messages:
            receiver.got(message, sender)
        sizes = [int(re.match(r"message \S+ \d+ (\d+)", line).group(1))
                 for line in receiver.events.lines if line.startswith("message ")]
        assert sizes == sorted(sizes)


# ---- coordinators --------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ("NonBlockingCoordinator", "SimpleCoordinator"))
def test_coordinator(ring, kind):
    """Two of each agree on the member with the lowest port; and on the next one when it leaves."""
    group = Group()
    ports = sorted(free_port() for _ in range(4))
    links = {"interceptor": [kind, DETECTOR], "heartbeat": 500}
    ours = {"interceptor": [kind, DETECTOR]}
    # ours is first, a Tomcat second
    peers = [ring.node(ports[0], **{**group.node, **ours}, route="n1"),
             ring.tomcat(port=ports[1], **{**group.tomcat, **links}),
             ring.node(ports[2], **{**group.node, **ours}, route="n2"),
             ring.tomcat(port=ports[3], **{**group.tomcat, **links})]
    peers[0].route, peers[2].route = "n1", "n2"
    for first in range(2 if kind == "NonBlockingCoordinator" else 1):  # the other waits for seconds
        rest = peers[first:]
        names = {rest[0].address, getattr(rest[0], "route", "")}
        wait_until(lambda: {one.coordinator() for one in rest} <= names,  # pylint: disable=W0640
                   f"{rest[0].address} coordinates")
        rest[0].close()


# ---- membership by interceptors ------------------------------------------------------------------

@pytest.mark.parametrize("ours", ("membership", "interceptor"))
def test_static_interceptor(ring, ours):
    """Tribes' StaticMembershipInterceptor, which knows members by their unique ids, and either of
    ours: the membership of that name and the interceptor."""
    ports = [free_port(), free_port()]
    uids = [os.urandom(16).hex() for _ in ports]
    theirs = {"interceptor": [DETECTOR, "TcpPing{interval=200}", "StaticMembership"],
              "heartbeat": 200, "local": f"127.0.0.1:{ports[1]}:{uids[1]}",
              "member": f"127.0.0.1:{ports[0]}:{uids[0]}"}
    if ours == "membership":
        node = ring.node(ports[0], membership="static", foreign="accept", m_frequency=200,
                         uid=uids[0], member=f"127.0.0.1:{ports[1]}")
    else:  # besides multicast, by which they do not hear each other
        listed = f"member=127.0.0.1:{ports[1]},uniqueId={uids[1]}"
        node = ring.node(ports[0], **Group().node, uid=uids[0],
                         interceptor=[DETECTOR, "TcpPing{interval=200}",
                                      "StaticMembership{%s}" % listed])
    tomcat = ring.tomcat(port=ports[1], **theirs)
    node.sees(tomcat)
    tomcat.sees(node)
    for sender, receiver in ((node, tomcat), (tomcat, node)):
        message = ring.message(40)
        sender.send_ok(message, receiver, SYNC_ACK)
        receiver.got(message, sender)
        assert receiver.events.count("message .*") == 1  # texts and pings are swallowed
    node.close()
    tomcat.lost(node)
    again = ring.node(ports[0], membership="static", foreign="accept", m_frequency=200, uid=uids[0],
                      member=f"127.0.0.1:{ports[1]}")
    tomcat.sees(again, times=2)
    again.sees(tomcat)
    tomcat.close()
    again.lost(tomcat)


@pytest.mark.parametrize("first", ("ours", "tomcat"))
def test_static_interceptor_and_a_real_life(ring, first):
    """The same with a node as it is, whose unique id is in nobody's list. To Tribes it is there as
    long as it answers its probes; its texts say nothing to it."""
    ports, listed = [free_port(), free_port()], [os.urandom(16).hex() for _ in range(2)]
    links = ["TcpPing{interval=200}", DETECTOR]

    def node():
        member = f"member=127.0.0.1:{ports[1]},uniqueId={listed[1]}"
        return ring.node(ports[0], **Group().node,
                         interceptor=[*links, "StaticMembership{%s}" % member])

    def tomcat():
        return ring.tomcat(port=ports[1], interceptor=[*links, "StaticMembership"], heartbeat=200,
                           local=f"127.0.0.1:{ports[1]}:{listed[1]}",
                           member=f"127.0.0.1:{ports[0]}:{listed[0]}")

    made = {"ours": node, "tomcat": tomcat}
    one = made.pop(first)()
    other = made.popitem()[1]()
    ours, theirs = (one, other) if first == "ours" else (other, one)
    assert ours.sees(theirs).group(1) == listed[1]
    assert theirs.sees(ours).group(1) == listed[0]  # as in its list, whatever it is called
    for sender, receiver in ((ours, theirs), (theirs, ours)):
        message = ring.message(40)
        sender.send_ok(message, receiver, SYNC_ACK)
        receiver.got(message, sender)
    ours.close()
    theirs.lost(ours)
    ours = node()  # its next life
    theirs.sees(ours, times=2)
    ours.sees(theirs)
    theirs.close()
    ours.lost(theirs)


def test_domain_filter(ring):
    """Members and messages of another domain are not let in, on both sides."""
    group = Group()
    links = ["DomainFilter{domain=red}", DETECTOR]
    peers = [ring.node(**group.node, m_domain="red", interceptor=links, route="n1"),
             ring.tomcat(**{**group.tomcat, "m_domain": "red", "interceptor": links}),
             ring.node(**group.node, m_domain="blue", interceptor=DETECTOR, route="n2"),
             ring.tomcat(**{**group.tomcat, "m_domain": "blue"})]
    for one in peers[:2]:
        for other in peers[:2]:
            if one is not other:
                one.sees(other)
                message = ring.message(40)
                one.send_ok(message, other, SYNC_ACK)
                other.got(message, one)
    for one in peers[2:]:
        for other in peers:
            if one is not other:
                one.sees(other)
                message = ring.message(40)
                one.send(message, other, 0)
        for other in peers[:2]:
            assert not other.events.count(f"added {re.escape(one.address)}.*")
            assert not other.events.count(f"message {re.escape(one.address)}.*")
