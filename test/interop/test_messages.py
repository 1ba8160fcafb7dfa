# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Byte messages in both directions: send options, sizes, acknowledgements."""

import pytest

from rig import ACK, FAIL_ACK, PLAIN, wait_until

BYTE, USE_ACK, SYNC, ASYNC = 1, 2, 4, 8
# 4 without 2 asks for no acknowledgement; 256 is no flag of an interceptor here and just travels
OPTIONS = (0, 2, 4, 6, 8, 10, 14, 16, 256, 262)
SIZES = (0, 1, 100 * 1024, 5 * 1024 * 1024)


def both_ways(pair):
    node, tomcat = pair
    return ((node, tomcat), (tomcat, node))


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
        assert receiver.events.count("message .*") == len(messages)


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


def test_acknowledgement_kept_back(ring):
    """Who waits for it, and who does not."""
    quick = {"timeout": 700, **PLAIN}, {"sender_timeout": 700, **PLAIN}
    for sender, receiver in both_ways(ring.pair(*quick)):
        relay = ring.relay(receiver, sender)
        relay.hold = True
        for options in (0, SYNC, ASYNC, ASYNC | USE_ACK):
            sender.send_ok(ring.message(40), relay, options)
        messages = [ring.message(40), ring.message(40)]
        ends = [sender.send(messages[0], relay, USE_ACK),
                sender.send(messages[1], relay, USE_ACK | SYNC)]
        for message, end in zip(messages, ends):
            assert sender.wait(end).group(1).startswith("failed")
            receiver.got(message, sender)


def test_fail_ack_of_tomcat(ring):
    """Its listener throws: only SYNCHRONIZED_ACK is told, after one more attempt."""
    node, tomcat = ring.pair(PLAIN, PLAIN)
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
    assert node.events.count("(message|record) .*") == 1


def test_java_objects_are_none_of_our_business(ring):
    """Frames without BYTE_MESSAGE carry Java objects: acknowledged, and not handed up."""
    node, tomcat = ring.pair()
    tomcat.tell(f"object 6 {node.address} hello")
    assert tomcat.wait("sent object (.*)").group(1) == "ok"
    message = ring.message(40)
    tomcat.send_ok(message, node, USE_ACK)
    node.got(message, tomcat)
    assert node.events.count("message .*") == 1


def test_nobody_there(ring):
    """Nobody listens: an error on both sides, at once."""
    pair = ring.pair(PLAIN, PLAIN)
    relay = ring.relay(*pair)
    pair[0].sees(relay)
    relay.deafen()
    for sender in pair:
        ended = sender.wait(sender.send(ring.message(1), relay, USE_ACK)).group(1)
        assert ended.startswith("failed"), ended
