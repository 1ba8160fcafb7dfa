# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A balancer in front of a cluster of real Tomcats, of which nobody has told them."""

import random

import pytest

from node import free_port, wait_until
from tomcat import MAP, Front, Sessions, Tomcat, timed

DROP = 3000  # ms, of the balancers


def start(tomcats):
    for t in tomcats:
        t.launch()
    for t in tomcats:
        t.wait_ready()


@pytest.fixture(scope="module")
def by_multicast(tmp_path_factory):
    """Three with BackupManager, each at an address of its own."""
    group = f"239.{random.randint(1, 250)}.{random.randint(1, 250)}.7:{free_port()}"
    root = str(tmp_path_factory.mktemp("tomcat"))
    made = [Tomcat(root, f"t{i}", f"127.0.0.{10 + i}", ["manager=backup", f"group={group}",
                                                      "bind=127.0.0.1"]) for i in (1, 2, 3)]
    try:
        start(made)
        yield made, group
    finally:
        for t in made:
            t.close()


def test_backup_holder_is_reached(farm, by_multicast):
    tomcats, group = by_multicast
    address, port = group.split(":")
    quiet = {t.route: len(t.log()) for t in tomcats}
    front = farm.add(Front(farm, "front", tomcats,
                           f"address={address} port={port} bind=127.0.0.1 frequency=500 "
                           f"dropTime={DROP} interval=500 map={MAP}")).start()
    wait_until(lambda: front.sees("t1", "t2", "t3"), 10, "the Tomcats are heard")

    sessions = Sessions(front, 30)
    wait_until(lambda: front.known() >= 30, 10, "all sessions are known")
    before = front.count("tomcat_answers")
    wait_until(lambda: front.count("tomcat_answers") > before + 6, 10, "they are asked regularly")
    for t in tomcats:
        assert t.complaints(quiet[t.route]) == []
    assert front.count("tomcat_refused") == 0
    first, second, third = tomcats

    # one that dies
    holders = sessions.holders("t1", tomcats)
    assert len(set(holders.values())) == 2
    first.kill9()
    assert timed(lambda: front.lost("t1"), 10, "t1 is gone") < DROP / 1000 + 1
    for cookie in sessions.of("t1"):
        assert sessions.visit(cookie)["route"] == holders[Sessions.hex(cookie)]
    print(f"killed: {len(holders)} of {len(holders)} first requests reached the backup")

    # it comes back
    first.launch().wait_ready()
    wait_until(lambda: front.sees("t1", "t2", "t3"), 10, "t1 is back")
    more = Sessions(front, 15)
    assert len(more.of("t1")) == 5, "its worker is up again"
    wait_until(lambda: front.known() >= 45, 10, "all sessions are known")

    # one that hangs
    both = [sessions, more]
    holders = {}
    for some in both:
        holders.update(some.holders("t2", tomcats))
    second.freeze()
    try:
        assert timed(lambda: front.lost("t2"), 10, "t2 is gone") < DROP / 1000 + 1
        for some in both:
            for cookie in some.of("t2"):
                assert some.visit(cookie)["route"] == holders[Sessions.hex(cookie)]
    finally:
        second.thaw()
    print(f"frozen: {len(holders)} of {len(holders)} first requests reached the backup")
    wait_until(lambda: front.sees("t1", "t2", "t3"), 10, "t2 is back")

    # one that says good-bye: sooner than anybody would ask it
    third.ask_to_stop()
    wait_until(lambda: front.lost("t3"), 10, "t3 has left")
    assert "t3" in front.wait_log(r"SC0802: Tomcat t3 .* left").group(0)
    for t in tomcats:
        assert not [x for x in t.complaints(quiet[t.route]) if "{127, 0, 0, 1}" in x]
