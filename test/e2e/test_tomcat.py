# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A balancer in front of a cluster of real Tomcats, of which nobody has told them."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import Client
from node import PROXY_MODULES, free_port, wait_until
from tomcat import MAP, Front, Played, Sessions, Tomcat, timed

DROP = 3000  # ms, of the balancers; three seconds more are for busy machines


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
                           f"dropTime={DROP} interval=500 map={MAP} "
                           "map=localhost#/none-map")).start()
    wait_until(lambda: front.sees("t1", "t2", "t3"), 10, "the Tomcats are heard")

    sessions = Sessions(front, 30)
    wait_until(lambda: front.known() >= 30, 10, "all sessions are known")
    before = front.count("tomcat_answers")
    wait_until(lambda: front.count("tomcat_answers") > before + 6, 10, "they are asked regularly")
    front.wait_log(r"SC0808: .*localhost#/none-map are: it has no map of that name")
    for t in tomcats:
        assert t.complaints(quiet[t.route]) == []
    assert front.count("tomcat_refused") == 0 and front.known("localhost#/none-map") == 0
    first, second, third = tomcats

    # the same Tomcats behind a balancer that knows nothing
    plain = farm.httpd("plain", modules=PROXY_MODULES, cluster_module=False, session_module=False,
                       config=front.config.replace("lbmethod=bysession", "lbmethod=byrequests"))
    plain.start()
    chance = Sessions(plain, 24)

    # one that dies; the last sessions were made so late that nobody has told of them
    for _ in range(6):
        sessions.make()
    holders = sessions.holders("t1", tomcats)
    assert len(set(holders.values())) == 2 and len(holders) == 12
    by_chance = chance.holders("t1", tomcats)
    before = front.count("tomcat_answers")
    first.kill9()
    assert timed(lambda: front.lost("t1"), 10, "t1 is gone") < DROP / 1000 + 3
    wait_until(lambda: front.count("tomcat_answers") >= before + 2, 10, "the others are asked")
    for cookie in sessions.of("t1"):
        assert sessions.visit(cookie)["route"] == holders[Sessions.hex(cookie)]
    print(f"killed: {len(holders)} of {len(holders)} first requests reached the backup")
    # in any order: both take turns, so in that of their creation chance is not one
    wanted = [(c, by_chance[Sessions.hex(c)]) for c in chance.of("t1")]
    random.shuffle(wanted)
    reached = sum(chance.visit(c)["route"] == to for c, to in wanted)
    print(f"without this module: {reached} of {len(wanted)}")

    # it comes back
    first.launch().wait_ready()
    wait_until(lambda: front.sees("t1", "t2", "t3"), 10, "t1 is back")
    more = Sessions(front, 15)
    assert len(more.of("t1")) == 5, "its worker is up again"
    wait_until(lambda: front.known() >= 75, 10, "all sessions are known")

    # one that hangs
    both = [sessions, more]
    holders = {}
    for some in both:
        holders.update(some.holders("t2", tomcats))
    second.freeze()
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(lambda: Client(front.port, timeout=60, cookies={
                "JSESSIONID": sessions.of("t2")[0]}).get("/app/nothing").status)
            assert timed(lambda: front.lost("t2"), 10, "t2 is gone") < DROP / 1000 + 3
            assert waiting.result() == 502 and front.count("waits_ended") == 1
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


def test_delta(farm, tmp_path):
    """With DeltaManager every one of them has every session; two balancers choose the same."""
    group = f"239.{random.randint(1, 250)}.{random.randint(1, 250)}.8:{free_port()}"
    tomcats = [Tomcat(str(tmp_path), f"t{i}", "127.0.0.1",
                      ["manager=delta", f"group={group}", "bind=127.0.0.1"]) for i in (1, 2, 3)]
    try:
        start(tomcats[:1])  # whoever starts later is given the sessions by the first
        start(tomcats[1:])
        quiet = {t.route: len(t.log()) for t in tomcats}
        follow = " ".join(f"member=127.0.0.1:{t.rx_port}:{t.route}" for t in tomcats)
        fronts = [farm.add(Front(farm, f"f{i}", tomcats,
                                 f"{follow} frequency=500 dropTime={DROP}")) for i in (1, 2)]
        for front in fronts:
            front.start()
        for front in fronts:
            wait_until(lambda f=front: f.sees("t1", "t2", "t3"), 10, "the Tomcats answer")
        sessions = Sessions(fronts[0], 18)
        for t in tomcats:
            assert t.complaints(quiet[t.route]) == []

        alive = list(tomcats)
        for victim, end in ((tomcats[0], "kill9"), (tomcats[1], "freeze")):
            lost = sessions.of(victim.route)
            assert lost
            sessions.settle(alive)
            getattr(victim, end)()
            alive.remove(victim)
            for front in fronts:
                assert timed(lambda f=front, v=victim: f.lost(v.route), 10, "gone") < DROP / 1000 + 3
            for cookie in lost:
                said = sessions.visit(cookie)
                other = Client(fronts[1].port, cookies={"JSESSIONID": cookie}, timeout=60)
                again = other.get("/app/count").json()
                assert again["route"] == said["route"] and again["n"] == said["n"] + 1
                sessions.counts[Sessions.hex(cookie)] += 1
        assert fronts[0].count("tomcat_asked") == 0
        tomcats[1].thaw()
        for front in fronts:
            wait_until(lambda f=front: f.sees("t2", "t3"), 10, "t2 is back")
    finally:
        for t in tomcats:
            t.close()


# ---- Tomcats that are played ---------------------------------------------------------------------

CHOICE = 'Header set X-Choice "%{SESSION_CLUSTER_CHOICE}e"\n'


@pytest.fixture
def played():
    made = Played.play("r1", "r2", "r3")
    yield made
    for one in made:
        try:
            one.dies()
        except OSError:
            pass


def front_of(farm, name, tomcats, more):
    follow = " ".join(f"member=127.0.0.1:{t.rx_port}:{t.route}" for t in tomcats)
    front = farm.add(Front(farm, name, tomcats, f"{follow} frequency=100 dropTime=1000 map={MAP} "
                           f"interval=100 timeout=300 {more}", extra=CHOICE)).start()
    wait_until(lambda: front.sees("r1", "r2", "r3"), 10, "they are there")
    return front


def choices(front, cookies):
    found = []
    for cookie in cookies:
        reply = front.client(cookies={"JSESSIONID": cookie}).get("/app/x")
        assert reply.status == 200, reply
        found.append((reply.header("X-Choice"), reply.text))
    return found


@pytest.mark.parametrize("damage,count,more", [
    (lambda f: f[:1500] + b"TLF2003" * 300, "tomcat_refused", ""),
    (lambda f: f[:600] + b"\xff" * (len(f) - 607) + f[-7:], "tomcat_refused", ""),
    (lambda f: f[:7] + (70000).to_bytes(4, "big") + f[11:-7] + b"\0" * (70000 - len(f) + 18) +
     b"TLF2003", "tomcat_refused", "maxAnswer=64K"),
    (lambda f: f.replace(b"\x04\x7f\0\0\x01", b"\x04\x7f\0\0\x63"), "tomcat_ignored", ""),
    (lambda f: f[:-9], "tomcat_refused", ""),
    (lambda f: b"GET / HTTP/1.1\r\n\r\n" * 100, None, ""),
], ids=["cut off", "malformed", "too large", "of others", "stops", "garbage"])
def test_bad_answers_decide_nothing(farm, played, damage, count, more):
    for one in played:
        one.damage = damage
    front = front_of(farm, "front", played, more)
    if count:
        wait_until(lambda: front.count(count) > 0, 10, "it is counted")
    else:
        wait_until(lambda: front.count("tomcat_asked") > 3, 10, "they are asked again")
    assert front.known() == 0
    assert count == "tomcat_ignored" or front.count("tomcat_answers") == 0
    played[0].dies()
    wait_until(lambda: front.lost("r1"), 10, "r1 is gone")
    cookies = [f"{i:032X}.r1" for i in range(8)]
    found = choices(front, cookies)
    assert {how for how, _ in found} == {"placement"} and {to for _, to in found} == {"r2", "r3"}
    assert choices(front, [""])[0][0] == "inner"
    # one log line, not one for each
    assert len([x for x in front.log().splitlines() if "SC0808" in x]) <= 1


def test_location_decides(farm, played):
    """As told, on each balancer, and after the engine has died."""
    fronts = [front_of(farm, f"f{i}", played, "") for i in (1, 2)]
    primaries = Played.places(played)
    for front in fronts:
        wait_until(lambda f=front: f.known() == 9, 10, "all nine are known")
    cookies = [f"{ident}.r1" for ident, route in primaries.items() if route == "r1"]
    others = [f"{ident}.r1" for ident, route in primaries.items() if route != "r1"]
    assert len(cookies) == 3 and len(others) == 6
    played[0].dies()
    for front in fronts:
        wait_until(lambda f=front: f.lost("r1"), 10, "r1 is gone")
    found = [choices(front, cookies) for front in fronts]
    assert found[0] == found[1] and {how for how, _ in found[0]} == {"backup"}
    # a cookie that is behind: the session has moved
    assert choices(fronts[0], others) == [("primary", primaries[c[:32]]) for c in others]

    old = fronts[0].kill_engine()
    fronts[0].wait_new_engine(old)
    assert fronts[0].view().get("r2") == "alive" and fronts[0].lost("r1"), "as it was"
    assert choices(fronts[0], cookies) == found[0]
    wait_until(lambda: fronts[0].sees("r2", "r3"), 10, "the new engine hears them")
    assert not [x for x in fronts[0].log().splitlines() if "SC0702" in x and "r1" not in x]

    # what nobody confirms any more is forgotten
    for one in played:
        one.damage = lambda frame: frame[:700]
    wait_until(lambda: fronts[0].known() == 0, 20, "they are forgotten")
    assert {how for how, _ in choices(fronts[0], cookies)} == {"placement"}
