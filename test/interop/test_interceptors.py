# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Interceptors that change bytes, and those that talk to each other, in both directions."""

import os
import re

import pytest

from rig import ACK, ASYNC, FAIL_ACK, Group, both_ways, free_port, wait_until

SYNC_ACK, GZIP = 6, 0x100
KEY = "000102030405060708090a0b0c0d0e0f"
DISPATCH = "MessageDispatch"
DETECTOR = "TcpFailureDetector"
SIZES = (0, 1, 1000, 300 * 1024)


def chain(*links):
    """The same on both sides."""
    return ({"interceptor": [*links, DETECTOR]},) * 2


def encrypt(mode, key):
    return "Encrypt{encryptionAlgorithm=AES/%s;encryptionKey=%s}" % (MODES[mode], key)


MODES = {"gcm": "GCM/NoPadding", "cbc": "CBC/PKCS5Padding"}
CHAINS = {
    "gcm": chain("Encrypt{encryptionKey=%s}" % KEY),
    "gcm-192": chain(encrypt("gcm", KEY + KEY[:16])),
    "gcm-256": chain(encrypt("gcm", KEY * 2)),
    "cbc": chain(encrypt("cbc", KEY)),
    "cbc-192": chain(encrypt("cbc", KEY + KEY[:16])),
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
        assert receiver.said("message .*") == 3 * len(messages)


@pytest.mark.parametrize("name", ("gcm", "cbc", "gzip", "fragmentation", "order", "two-phase"))
def test_chains_must_agree(ring, name):
    """What proves that the bytes were changed: a side without the interceptor gets others, or one
    message more."""
    bare = {"interceptor": DETECTOR}
    for ours, theirs in ((CHAINS[name][0], bare), (bare, CHAINS[name][0])):
        node, tomcat = ring.pair(ours, theirs)
        sender, receiver = (tomcat, node) if ours is bare else (node, tomcat)
        message = ring.message(5000)
        sender.send_ok(message, receiver, SYNC_ACK)
        as_sent = rf"message {sender.address} \d+ {message.said}"
        if name == "two-phase":
            receiver.wait(rf"message {sender.address} \d+ 48 .*")
            assert receiver.said(as_sent) == 1
        else:
            receiver.wait(rf"message {sender.address} .*")
            assert not receiver.said(as_sent)


# ---- Encrypt -------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", MODES)
def test_wrong_key(ring, mode):
    """Nothing gets through. Who waits for a processed message is told so by our side, not by
    Tomcat's; where messages are not authentic by ours neither, since that would be an oracle."""
    ring.expect("Failed to decrypt message")
    node, tomcat = ring.pair({"interceptor": [encrypt(mode, KEY), DETECTOR]},
                             {"interceptor": [encrypt(mode, KEY[::-1]), DETECTOR]})

    def refused():  # what was decrypted to anything by chance is not as old as it says
        return node.counter("decrypt_refused") + node.counter("replays_refused")

    before = refused()
    said = tomcat.wait(tomcat.send(ring.message(40), node, SYNC_ACK)).group(1)
    assert said.startswith("failed fail-ack" if mode == "gcm" else "ok"), said
    # who is told that it failed makes a second attempt
    assert refused() == before + (2 if mode == "gcm" else 1)
    node.send_ok(ring.message(40), tomcat, SYNC_ACK)
    for one in (node, tomcat):
        assert not one.said("message .*")


@pytest.mark.parametrize("mode", MODES)
def test_replayed(ring, mode):
    """The same bytes a second time, as from somebody who has listened: both sides drop them, and
    acknowledge them, since it may be a second attempt of who missed the first acknowledgement."""
    ring.expect("replay attack detected")
    links = {"interceptor": [encrypt(mode, KEY), DISPATCH]}
    pair = ring.pair(links, links)
    for sender, receiver in both_ways(pair):
        relay = ring.relay(receiver, sender)
        message = ring.message(40)
        sender.send_ok(message, relay, SYNC_ACK)
        receiver.got(message, sender)
        frame, = relay.frames(sender)
        assert relay.deliver(frame) == ACK
        after = ring.message(41)
        sender.send_ok(after, relay, SYNC_ACK)
        receiver.got(after, sender)
        assert receiver.said("message .*") == 2
    assert pair[0].counter("replays_refused") == 1


# ---- Order ---------------------------------------------------------------------------------------

def sizes_got(peer):
    peer.members()  # it has said all that came before this
    return [int(re.match(r"message \S+ \d+ (\d+)", line).group(1))
            for line in list(peer.events.lines) if line.startswith("message ")]


def test_order_of_many(ring):
    """Sent one after the other without acknowledgement, on several connections: Order puts them
    into the order in which they were sent."""
    for sender, receiver in both_ways(ring.pair(*CHAINS["order"])):
        messages = [ring.message(200 + n) for n in range(60)]
        for message in messages:
            sender.send_ok(message, receiver, 0)
        for message in messages:
            receiver.got(message, sender)
        assert sizes_got(receiver) == list(range(200, 260))


def test_order_restored(ring):
    """Messages that arrive in another order than they were sent in wait for those before them.
    Tomcat acknowledges what waits; ours does not, since it may yet be lost."""
    links = {"interceptor": ["Order{expire=%d}" % 3600000, DISPATCH]}
    pair = ring.pair(links, links)
    for sender, receiver in both_ways(pair):
        relay = ring.relay(receiver, sender)
        messages = [ring.message(100 + n) for n in range(1, 7)]
        sender.send_ok(messages[0], relay, SYNC_ACK)
        receiver.got(messages[0], sender)
        relay.keep = True
        for message in messages[1:]:
            sender.send_ok(message, relay, SYNC_ACK)
        assert [int.from_bytes(frame.body[-4:], "big") for frame in relay.frames(sender)] == [
            1, 2, 3, 4, 5, 6]
        assert [frame.body[:-4] for frame in relay.kept] == [m.data for m in messages[1:]]
        waits = FAIL_ACK if receiver is pair[0] else ACK
        said = [1]
        for number, answer, now in ((3, waits, ()), (4, waits, ()), (6, waits, ()),
                                    (2, ACK, (2, 3, 4)), (5, ACK, (5, 6))):
            assert relay.deliver(relay.kept[number - 2]) == answer, number
            said += now
            wait_until(lambda: len(sizes_got(receiver)) >= len(said), f"{said}")
            assert sizes_got(receiver) == [100 + n for n in said]


# ---- Fragmentation -------------------------------------------------------------------------------

def test_fragments_on_the_wire(ring):
    """As many frames as it takes, none of them larger than it may be, and each with its place."""
    links = {"interceptor": ["Fragmentation{maxSize=1000}", DISPATCH]}
    for sender, receiver in both_ways(ring.pair(links, links)):
        relay = ring.relay(receiver, sender)
        message = ring.message(300 * 1024)
        sender.send_ok(message, relay, SYNC_ACK)
        receiver.got(message, sender)
        sent = relay.frames(sender)
        assert len(sent) == 308 and len({frame.id for frame in sent}) == 1
        assert all(len(frame.body) <= 1000 + 9 for frame in sent)
        assert {frame.body[-5:] for frame in sent} == {(308).to_bytes(4, "big") + b"\1"}
        pieces = {int.from_bytes(frame.body[-9:-5], "big"): frame.body[:-9] for frame in sent}
        assert b"".join(pieces[n] for n in range(308)) == message.data


# ---- TwoPhaseCommit ------------------------------------------------------------------------------

def test_nothing_without_confirmation(ring):
    """A message whose confirmation does not come is held; it is delivered when that comes, once."""
    links = {"interceptor": ["TwoPhaseCommit", DISPATCH]}
    for sender, receiver in both_ways(ring.pair(links, links)):
        relay = ring.relay(receiver, sender)
        relay.keep = True
        message = ring.message(40)
        sender.send_ok(message, relay, SYNC_ACK)
        first, confirmation = relay.kept
        assert first.body == message.data and confirmation.body[16:32] == first.id
        assert relay.deliver(first) == ACK  # after it was processed
        assert not receiver.said("message .*")
        assert relay.deliver(confirmation) == ACK
        receiver.got(message, sender)
        assert relay.deliver(confirmation) == ACK
        relay.keep = False
        after = ring.message(41)
        sender.send_ok(after, relay, SYNC_ACK)
        receiver.got(after, sender)
        assert receiver.said("message .*") == 2


def test_confirmed_without_acknowledgement(ring):
    """From a Tomcat that sends one after the other and does not wait for ours."""
    links = {"interceptor": [DISPATCH, "TwoPhaseCommit", DETECTOR]}
    node, tomcat = ring.pair(links, links)
    messages = [ring.message(size) for size in SIZES]
    for times, options in enumerate((0, ASYNC), 1):
        for message in messages:
            tomcat.send_ok(message, node, options)
        for message in messages:
            assert node.got(message, tomcat, times=times) == options | 1
    assert node.said("message .*") == 2 * len(messages)


# ---- coordinators --------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ("NonBlockingCoordinator", "SimpleCoordinator"))
def test_coordinator(ring, kind):
    """Two of each agree on the member with the lowest port; and on the next one when it leaves."""
    ring.expect("Connection (refused|reset)|Broken pipe")  # who has left may be asked once more
    jvm = ring.jvm()
    group = Group()
    ports = sorted(free_port() for _ in range(4))
    links = {"interceptor": [kind, DETECTOR], "heartbeat": 500}
    ours = {"interceptor": [kind, DETECTOR]}
    # ours is first, a Tomcat second
    peers = [ring.node(ports[0], **{**group.node, **ours}, route="n1"),
             ring.tomcat(jvm, port=ports[1], **{**group.tomcat, **links}),
             ring.node(ports[2], **{**group.node, **ours}, route="n2"),
             ring.tomcat(jvm, port=ports[3], **{**group.tomcat, **links})]
    peers[0].route, peers[2].route = "n1", "n2"
    for first in range(2):
        rest = peers[first:]
        names = {rest[0].address, getattr(rest[0], "route", "")}
        wait_until(lambda: {one.coordinator() for one in rest} <= names,  # pylint: disable=W0640
                   f"{rest[0].address} coordinates")
        rest[0].close()


# ---- membership by interceptors ------------------------------------------------------------------

OURS = pytest.mark.parametrize("ours", ("membership", "interceptor"))


PING = "TcpPing{interval=200}"


def static_pair(ring, ours, links):
    """Tribes' StaticMembershipInterceptor, which knows members by their unique ids, and either of
    ours: the membership of that name and the interceptor. @param links those above it"""
    ring.expect("Unable to send TCP ping", "Local member notification failed")  # to who is gone
    ports = [free_port(), free_port()]
    uids = [os.urandom(16).hex() for _ in ports]
    theirs = {"interceptor": [*links, "StaticMembership"],
              "heartbeat": 200, "local": f"127.0.0.1:{ports[1]}:{uids[1]}",
              "member": f"127.0.0.1:{ports[0]}:{uids[0]}"}
    by_membership = {"membership": "static", "foreign": "accept", "m_frequency": 200,
                     "uid": uids[0], "member": f"127.0.0.1:{ports[1]}"}
    if ours == "membership":
        node = ring.node(ports[0], **by_membership)
    else:  # besides multicast, by which they do not hear each other
        listed = f"member=127.0.0.1:{ports[1]},uniqueId={uids[1]}"
        node = ring.node(ports[0], **Group().node, uid=uids[0],
                         interceptor=[*links, "StaticMembership{%s}" % listed])
    node.again = by_membership
    tomcat = ring.tomcat(ring.jvm(), port=ports[1], **theirs)
    node.sees(tomcat)
    tomcat.sees(node)
    return node, tomcat


@OURS
def test_static_interceptor(ring, ours):
    node, tomcat = static_pair(ring, ours, (DETECTOR, PING))
    for sender, receiver in both_ways((node, tomcat)):
        message = ring.message(40)
        sender.send_ok(message, receiver, SYNC_ACK)
        receiver.got(message, sender)
        assert receiver.said("message .*") == 1  # texts and pings are swallowed
    node.close()
    tomcat.lost(node)
    again = ring.node(node.port, **node.again)
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


@OURS
@pytest.mark.parametrize("dies", ("ours", "tomcat"))
def test_static_interceptor_killed(ring, ours, dies):
    """Who does not answer is missed, though he is in the list: pings from above the failure
    detector make it ask."""
    node, tomcat = static_pair(ring, ours, (PING, DETECTOR))
    died, other = (node, tomcat) if dies == "ours" else (tomcat, node)
    died.process.kill()
    wait_until(lambda: not other.members(), "the end of a membership")
    other.lost(died)


def test_domain_filter(ring):
    """Members and messages of another domain are not let in, on both sides."""
    group = Group()
    links = ["DomainFilter{domain=red}", DETECTOR]
    red = [ring.node(**group.node, m_domain="red", interceptor=links, route="n1"),
           ring.tomcat(**{**group.tomcat, "m_domain": "red", "interceptor": links})]
    blue = [ring.node(**group.node, m_domain="blue", interceptor=DETECTOR, route="n2"),
            ring.tomcat(**{**group.tomcat, "m_domain": "blue"})]
    for one, other in both_ways(red):
        one.sees(other)
        message = ring.message(40)
        one.send_ok(message, other, SYNC_ACK)
        other.got(message, one)
    for one in blue:
        for other in red + blue:
            if one is not other:
                one.sees(other)
    # who is heard after those that are not let in
    last = ring.node(**group.node, m_domain="red", interceptor=links, route="n3")
    for one in red:
        one.sees(last)
    for one in blue:
        # processed when it has ended: ours says that it is refused, after two attempts
        before = red[0].counter("frames_refused")
        said = one.wait(one.send(ring.message(40), red[0], SYNC_ACK)).group(1)
        assert said.startswith("failed fail-ack"), said
        assert red[0].counter("frames_refused") == before + 2
        one.send_ok(ring.message(40), red[1], SYNC_ACK)
        for other in red:
            assert not other.said(f"(added|message) {re.escape(one.address)}.*")
