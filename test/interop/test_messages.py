# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Byte messages in both directions: send options, sizes, acknowledgements."""

import pytest

from rig import (ACK, ASYNC, FAIL_ACK, PLAIN, USE_ACK, Group, Tomcat, both_ways, free_port,
                 wait_until)

BYTE, SYNC, SECURE, UDP, MULTICAST = 1, 4, 16, 32, 64
# 4 without 2 asks for no acknowledgement; nothing reacts to SECURE; 128, 256 and the highest bit
# are no flags of an interceptor here and just travel
OPTIONS = (0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 22, 24, 128, 256, 262, 0x40000000, 0x40000006)
DATAGRAMS = (32, 34, 36, 38, 40, 42, 46)
TO_ALL = (64, 66, 70, 72, 96)  # 96: MULTICAST and UDP
SIZES = (0, 1, 100 * 1024, 5 * 1024 * 1024)


def test_every_option(ring):
    for sender, receiver in both_ways(ring.pair()):
        for options in OPTIONS:
            message = ring.message(40)
            sender.send_ok(message, receiver, options)
            assert receiver.got(message, sender) == options | BYTE


@pytest.mark.parametrize("options", (USE_ACK | SYNC, ASYNC))
def test_sizes(ring, options):
    for sender, receiver in both_ways(ring.pair()):
        for size in SIZES:
            message = ring.message(size)
            sender.send_ok(message, receiver, options)
            receiver.got(message, sender)


def test_many(ring):
    """Without acknowledgements frames travel back to back; each of them arrives once."""
    for sender, receiver in both_ways(ring.pair()):
        messages = [ring.message(n % 3000 + 4) for n in range(300)]
        ends = [sender.send(message, receiver, (0, ASYNC, USE_ACK)[n % 3])
                for n, message in enumerate(messages)]
        for message in messages:
            receiver.got(message, sender)
        for end in ends:
            assert sender.wait(end).group(1) == "ok"
        assert receiver.said("message .*") == len(messages)


def test_acknowledged_on_the_wire(ring):
    """21 bytes for each message that asks for them, nothing for the others."""
    for sender, receiver in both_ways(ring.pair(PLAIN, PLAIN)):
        relay = ring.relay(receiver, sender)
        acks = 0
        for options in OPTIONS:
            message = ring.message(40)
            sender.send_ok(message, relay, options)
            receiver.got(message, sender)
            acks += bool(options & USE_ACK)
            wait_until(lambda: bytes(relay.answered) == ACK * acks, f"{acks} acknowledgements")
        assert [frame.options for frame in relay.frames(sender)] == [o | BYTE for o in OPTIONS]


def check_ends(ring, sender, receiver, relay, options):
    """Who waits for the acknowledgements that the relay keeps back; what is sent arrives all the
    same. An asynchronous message has ended well for who has sent it; how it really ended Tomcat
    tells its error handler, and ours nobody."""
    sent = []
    for one in options:
        message = ring.message(40)
        sent.append((one, message, sender.send(message, relay, one)))
    for one, message, end in sent:
        ended = sender.wait(end).group(1)
        waits = one & USE_ACK
        if one & ASYNC:
            assert ended == "ok", one
            if isinstance(sender, Tomcat):
                ended = sender.done(end)
            else:
                waits = False
        assert ended.startswith("failed") if waits else ended == "ok", (one, ended)
        assert receiver.got(message, sender) == one | BYTE


def patience(options):
    """Who waits is to give up soon, and who does not is to be told from who has given up. @return
    for either kind of options: these, and attributes of a node and of a Tomcat"""
    waiting = [one for one in options if one & USE_ACK]
    return ((waiting, {"timeout": 1500}, {"sender_timeout": 1500}),
            ([one for one in options if one not in waiting], {}, {}))


def test_acknowledgement_kept_back(ring):
    for options, ours, theirs in patience(OPTIONS):
        for sender, receiver in both_ways(ring.pair({**PLAIN, **ours}, {**PLAIN, **theirs})):
            check_ends(ring, sender, receiver, ring.relay(receiver, sender, hold=True), options)


# ---- datagrams -----------------------------------------------------------------------------------

def test_udp(ring):
    """The option UDP: a datagram to one member, and one back when an acknowledgement is asked for.
    Nothing passes on TCP."""
    ports = [free_port(), free_port()]
    for (sender, receiver), udp in zip(
            both_ways(ring.pair({**PLAIN, "udpPort": ports[0]}, {**PLAIN, "udpPort": ports[1]})),
            ports[::-1]):
        relay = ring.relay(receiver, sender, udp=udp)
        acks = 0
        for n, options in enumerate(DATAGRAMS, 1):
            message = ring.message(200)
            sender.send_ok(message, relay, options)
            assert receiver.got(message, sender) == options | BYTE
            acks += bool(options & USE_ACK)
            wait_until(lambda: relay.datagram_answers == [ACK] * acks, f"{acks} acknowledgements")
            assert len(relay.datagrams) == n and not any(relay.asked)
        message = ring.message(200)  # without the option the same relay has it on TCP
        sender.send_ok(message, relay, USE_ACK)
        receiver.got(message, sender)
        assert len(relay.datagrams) == len(DATAGRAMS) and any(relay.asked)


def test_udp_acknowledgement_kept_back(ring):
    for options, ours, theirs in patience(DATAGRAMS):
        ports = [free_port(), free_port()]
        pair = ring.pair({**PLAIN, **ours, "udpPort": ports[0]},
                         {**PLAIN, **theirs, "udpPort": ports[1]})
        for (sender, receiver), udp in zip(both_ways(pair), ports[::-1]):
            relay = ring.relay(receiver, sender, udp=udp, hold=True)
            check_ends(ring, sender, receiver, relay, options)
            assert not any(relay.asked)


def test_multicast_to_the_group(ring):
    """The option MULTICAST: one datagram that everybody gets, whoever it is for. Nobody can
    acknowledge it, so nobody waits for that; UDP besides it changes nothing."""
    group, ports = Group(), [free_port(), free_port()]
    node = ring.node(**group.node, **PLAIN, udpPort=ports[0])
    tomcats = [ring.tomcat(**{**group.tomcat, **PLAIN, "udpPort": ports[1]}),
               ring.tomcat(**{**group.tomcat, **PLAIN})]
    everybody = [node, *tomcats]
    for one in everybody:
        one.group = group
        for other in everybody:
            if one is not other:
                one.sees(other)
    for sender, receiver, udp in ((node, tomcats[0], ports[1]), (tomcats[0], node, ports[0])):
        relay = ring.relay(receiver, *everybody, udp=udp)
        for options in TO_ALL:
            message = ring.message(200)
            sender.send_ok(message, relay, options)
            for one in everybody:
                if one is not sender:
                    assert one.got(message, sender) == options | BYTE
        assert not any(relay.asked) and not relay.datagrams
    for one, other in ((node, tomcats[0]), (tomcats[0], node)):
        assert one.said(f"message {other.address} .*") == len(TO_ALL)
    assert tomcats[1].said("message .*") == 2 * len(TO_ALL)


# ---- refused -------------------------------------------------------------------------------------


def test_fail_ack_of_tomcat(ring):
    """Its listener throws: only SYNCHRONIZED_ACK is told, after one more attempt."""
    ring.expect("told to fail")
    node, tomcat = ring.pair(PLAIN, PLAIN, ring.jvm())
    relay = ring.relay(tomcat, node)
    tomcat.tell("fail on")
    message = ring.message(40)
    assert node.wait(node.send(message, relay, USE_ACK | SYNC)).group(1) == "failed fail-ack"
    assert bytes(relay.answered) == FAIL_ACK * 2
    tomcat.got(message, node, times=2)
    node.send_ok(ring.message(40), relay, USE_ACK)
    assert bytes(relay.answered) == FAIL_ACK * 2 + ACK
    tomcat.tell("fail off")
    node.send_ok(ring.message(40), relay, USE_ACK | SYNC)


def test_fail_ack_of_ours(ring):
    """A Tomcat that sends what looks like session messages has its frame refused, and stays able
    to send others."""
    node, tomcat = ring.pair(PLAIN, PLAIN)
    relay = ring.relay(node, tomcat)
    session = ring.message(b"SCE1" + bytes(60))
    said = tomcat.wait(tomcat.send(session, relay, USE_ACK | SYNC)).group(1)
    assert said.startswith("failed fail-ack"), said
    assert bytes(relay.answered) == FAIL_ACK * 2  # Tribes tries once more as well
    tomcat.send_ok(session, relay, USE_ACK)
    tomcat.send_ok(session, relay, 0)
    message = ring.message(40)
    tomcat.send_ok(message, relay, USE_ACK | SYNC)
    node.got(message, tomcat)
    assert node.said("(message|record) .*") == 1


def test_java_objects_are_none_of_our_business(ring):
    """Frames without BYTE_MESSAGE carry Java objects: acknowledged, and not handed up."""
    node, tomcat = ring.pair()
    tomcat.tell(f"object 6 {node.address} hello")
    assert tomcat.wait("sent object (.*)").group(1) == "ok"
    message = ring.message(40)
    tomcat.send_ok(message, node, USE_ACK)
    node.got(message, tomcat)
    assert node.said("message .*") == 1


def test_nobody_there(ring):
    """Nobody listens: an error on both sides, at once."""
    pair = ring.pair(PLAIN, PLAIN)
    relay = ring.relay(*pair)
    pair[0].sees(relay)
    relay.deafen()
    for sender in pair:
        ended = sender.wait(sender.send(ring.message(1), relay, USE_ACK)).group(1)
        assert ended.startswith("failed"), ended
