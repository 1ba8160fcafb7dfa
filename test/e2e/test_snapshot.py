# Licensed under the Apache License, Version 2.0; see LICENSE.
"""SessionClusterSnapshot: what survives when all nodes are stopped, and what must not come back."""

import os
import pwd
import re
import secrets
import signal
import stat
import time

import pytest

from client import pipeline
from node import read_file, send_signal, wait_until

COUNT = 300


# ---- parts ---------------------------------------------------------------------------------------

def keep(node, *args):
    """Give a node a snapshot in a directory of its own."""
    folder = os.path.join(node.root, "snapshot")
    os.mkdir(folder, 0o700)
    if os.geteuid() == 0:
        user = pwd.getpwnam("www-data")
        os.chown(folder, user.pw_uid, user.pw_gid)
    node.snapshot = os.path.join(folder, "sessions")
    node.directives += "SessionClusterSnapshot " + " ".join((node.snapshot,) + args) + "\n"
    return node


def cluster_of(farm, manager, n=3, *args, **kw):
    made = farm.cluster(n, directives=manager, **kw)
    for one in made.nodes:
        keep(one, *args)
    return made


def stop_all(nodes):
    """As one command for all machines does it: at once."""
    for one in nodes:
        os.kill(one.pid, signal.SIGTERM)
    for one in nodes:
        assert one.stop(60), one.tail()


def start_all(nodes, timeout=30.0):
    for one in nodes:
        one.launch()
    for one in nodes:
        one.wait_ready(timeout)


def make_sessions(nodes, count=COUNT, more=""):
    """Their cookies; session i has i=value i."""
    cookies = []
    for k, node in enumerate(nodes):
        part = range(k, count, len(nodes))
        for reply in pipeline(node.port, [(f"set=i:{i}{more}", None) for i in part]):
            assert reply.status == 200, reply
            cookies.append((reply.set_cookies["SID"][0], reply.values["i"]))
    return cookies


def check_sessions(node, cookies):
    for reply, (cookie, i) in zip(pipeline(node.port, [("", c) for c, _ in cookies]), cookies):
        assert reply.status == 200 and reply.values.get("i") == i, (node.name, cookie[-8:], reply)


def asides(node):
    folder = os.path.dirname(node.snapshot)
    return [n for n in os.listdir(folder) if ".bad-" in n]


def crash(node):
    """Power failure. The engine first: one that only loses its parent leaves as at a stop."""
    engine = node.engine_pid()
    send_signal(node.pid, signal.SIGSTOP)  # it makes no successor
    send_signal(engine, signal.SIGKILL)
    node.kill9()


# ---- one node ------------------------------------------------------------------------------------

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGWINCH], ids=["stop", "graceful-stop"])
def test_stand_alone(farm, number):
    node = keep(farm.node()).start()
    cookies = make_sessions([node])
    gone = node.client()
    gone.op("set=i:1")
    old = dict(gone.cookies)
    gone.op("clear")
    assert node.stop(30, number), node.tail()
    st = os.lstat(node.snapshot)
    assert stat.S_ISREG(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o600
    if os.geteuid() == 0:
        assert pwd.getpwuid(st.st_uid).pw_name == "www-data"
    assert os.listdir(os.path.dirname(node.snapshot)) == ["sessions"]
    node.start()
    check_sessions(node, cookies)
    assert node.count("restored") == COUNT
    assert not os.path.exists(node.snapshot)  # used once
    back = node.client(cookies=old)
    assert back.values() == {}
    assert re.search(rf"SC1152: {COUNT} sessions and 1 ended", node.log())
    assert re.search(rf"SC1155: {COUNT} sessions and 1 ended", node.log())


def test_used_once(farm):
    """What a snapshot brought does not come back after a crash, nor by a restart."""
    node = keep(farm.node()).start()
    cookies = make_sessions([node], 20)
    assert node.stop(30)
    saved = read_file(node.snapshot)
    node.start()
    check_sessions(node, cookies)
    # an old one in its place: restarts keep the store, and must not look at it
    node.client(cookies={"SID": cookies[0][0]}).op("clear")
    with open(node.snapshot, "wb") as f:
        f.write(saved)
    os.chmod(node.snapshot, 0o600)
    if os.geteuid() == 0:
        user = pwd.getpwnam("www-data")
        os.chown(node.snapshot, user.pw_uid, user.pw_gid)
    for number in (signal.SIGUSR1, signal.SIGHUP):
        node.restart(number)
        node.wait_ready()
    node.directives += "SessionClusterMaxSessionSize 60K\n"  # another engine, with the same store
    node.restart()
    node.wait_ready()
    node.wait_new_engine(node.kill_engine())
    assert node.client(cookies={"SID": cookies[0][0]}).values() == {}
    check_sessions(node, cookies[1:])
    assert node.count("restored") == 20
    os.unlink(node.snapshot)
    crash(node)
    assert not os.path.exists(node.snapshot)
    node.start()
    assert node.client(cookies={"SID": cookies[1][0]}).values() == {}
    assert node.sessions() == 0


def test_time_off_counts(farm):
    node = keep(farm.node(directives="SessionClusterMaxInactive 4\n")).start()
    short = node.client()
    short.op("set=a:1")
    assert node.stop(30)
    stopped = time.monotonic()
    node.directives = node.directives.replace("MaxInactive 4", "MaxInactive 100")
    wait_until(lambda: time.monotonic() > stopped + 4.5, 10, "idle time")
    node.start()
    assert short.values() == {}
    assert re.search(r"not taken: 1 had idled out", node.log())


# ---- files that are not used ---------------------------------------------------------------------

def damage(path, how):
    data = bytearray(read_file(path))
    if how == "cut":
        del data[-1:]
    elif how == "flipped":
        data[len(data) // 2] ^= 4
    elif how == "longer":
        data += b"x"
    elif how == "empty":
        del data[:]
    elif how == "future":
        data[11] += 1
    elif how == "nonsense":
        data[:] = secrets.token_bytes(5000)
    with open(path, "wb") as f:
        f.write(data)


def test_damaged(farm):
    node = keep(farm.node())
    for n, how in enumerate(("cut", "flipped", "longer", "empty", "future", "nonsense")):
        node.start()
        cookies = make_sessions([node], 50)
        assert node.stop(30)
        damage(node.snapshot, how)
        node.start()
        assert node.sessions() == 0, how
        assert node.client(cookies={"SID": cookies[0][0]}).values() == {}
        assert node.count("snapshots_bad") == 1
        assert len(re.findall(r"SC1153: .* is not used", node.log())) == n + 1, how
        assert asides(node), how
        for name in asides(node):
            os.unlink(os.path.join(os.path.dirname(node.snapshot), name))
        assert node.stop(30)
        os.unlink(node.snapshot)


def test_another_nodes(farm):
    node = keep(farm.node(extra="", directives="SessionClusterRoute a\n")).start()
    make_sessions([node], 5)
    assert node.stop(30)
    node.directives = node.directives.replace("Route a", "Route b")
    node.start()
    assert node.sessions() == 0 and asides(node)
    assert "another node's" in node.log()


def test_encrypted(farm):
    word = "swordfish" * 4
    folder = os.path.join(farm.root, "keys")
    os.mkdir(folder, 0o700)
    for name in ("one", "two", "three"):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(secrets.token_hex(32) + "\n")
        os.chmod(os.path.join(folder, name), 0o600)

    def line(*names):
        return "SessionClusterSecret " + " ".join(f"file:{folder}/{n}" for n in names) + "\n"

    node = keep(farm.node())
    plain = node.directives
    node.start()
    before = make_sessions([node], 5, f"&set=w:{word}")
    assert node.stop(30)
    assert word.encode() in read_file(node.snapshot)
    node.directives = plain + line("one")
    node.start()  # the first one with a secret takes what is there, and says so
    check_sessions(node, before)
    warning = r"\[session_cluster:warn\].* SC0644: the snapshot \S+ is not encrypted although"
    assert len(re.findall(warning, node.log())) == 1
    cookies = make_sessions([node], 50, f"&set=w:{word}")
    assert node.stop(30)
    data = read_file(node.snapshot)
    assert len(data) > 50 * len(word) and word.encode() not in data
    for cookie, _ in cookies:
        assert bytes.fromhex(cookie.split(".")[0]) not in data
    node.directives = plain + line("two", "one")  # as while a secret is exchanged
    node.start()
    check_sessions(node, cookies)
    assert len(re.findall(warning, node.log())) == 1
    assert node.stop(30)
    node.directives = plain + line("three")
    node.start()
    assert node.sessions() == 0 and asides(node)
    assert "encrypted with a secret that this node does not have" in node.log()


# ---- several nodes -------------------------------------------------------------------------------

def test_all_at_once(farm, manager):
    """All stop at once and start in another order."""
    made = cluster_of(farm, manager).start()
    made.wait_settled()
    cookies = make_sessions(made.nodes)
    gone = made[0].client()
    gone.op("set=i:1")
    old = dict(gone.cookies)
    gone.op("clear")
    stop_all(made.nodes)
    start_all([made[2], made[0], made[1]])
    made.wait_settled()
    for node in made.nodes:
        check_sessions(node, cookies)
        assert node.client(cookies=old).values() == {}


def test_one_after_the_other(farm, manager):
    """Only the last one has all; nodes that start before it wait for it."""
    made = cluster_of(farm, manager).start()
    made.wait_settled()
    cookies = make_sessions(made.nodes)
    for k, node in enumerate(made.nodes):
        made.wait_settled()
        # changed by those that are left
        client = made[2].client(cookies={"SID": cookies[0][0]})
        client.op(f"set=i:{k + 100}")
        cookies[0] = (client.cookies["SID"], str(k + 100))
        assert node.stop(60), node.tail()
    assert "other nodes go on with the rest" in made[0].log()
    for node in made.nodes[:2]:
        node.launch()
        node.wait_listening()
    early = made[0].client(cookies={"SID": cookies[0][0]}).get("/t")
    # not "there is none", and not what it was then: no session, but the cookie stays
    assert early.values is None and not early.set_cookies, early
    made[2].launch()
    for node in made.nodes:
        node.wait_ready(40)
    made.wait_settled()
    for node in made.nodes:
        check_sessions(node, cookies)


def test_old_one_does_not_come_back(farm, manager):
    """Others go on while a node is stopped: nothing of what it knew then is seen again."""
    made = cluster_of(farm, manager).start()
    made.wait_settled()
    cookies = make_sessions(made.nodes, 60)
    ended = made[1].client(cookies={"SID": cookies[0][0]})
    changed = made[1].client(cookies={"SID": cookies[1][0]})
    assert made[0].stop(60)
    made.wait_settled()
    ended.op("clear")
    changed.op("set=i:new")
    made[0].launch()
    made[0].wait_listening()
    for _ in range(30):  # while it joins, too
        one = made[0].client(cookies=dict(changed.cookies)).get("/t")
        two = made[0].client(cookies={"SID": cookies[0][0]}).get("/t")
        assert one.values in (None, {"i": "new"}), one
        assert not two.values, two
        time.sleep(0.05)
    made[0].wait_ready(40)
    made.wait_settled()
    cookies[1] = (changed.cookies["SID"], "new")
    for node in made.nodes:
        check_sessions(node, cookies[1:])
        assert node.client(cookies={"SID": cookies[0][0]}).values() == {}


def test_late_one(farm, manager):
    """All stop at once; one starts much later, with a session that the others have ended and
    forgotten since (tombstoneTime), and one that they have changed."""
    made = cluster_of(farm, manager.strip() + " tombstoneTime=10\n", 3, "wait=3").start()
    made.wait_settled()
    cookies = make_sessions(made.nodes, 90)
    stop_all(made.nodes)
    start_all(made.nodes[:2], 60)
    made.wait_settled()
    ended, changed = (made[0].client(cookies={"SID": cookies[k][0]}) for k in (0, 1))
    assert ended.values() and changed.values()
    ended.op("clear")
    changed.op("set=i:new")
    made[2].start(60)
    made.wait_settled()
    cookies[1] = (changed.cookies["SID"], "new")
    for node in made.nodes:
        check_sessions(node, cookies[1:])
        assert node.client(cookies={"SID": cookies[0][0]}).values() == {}


def test_many(farm, manager):
    """A full stop and start of three nodes. SC_SNAPSHOT_SESSIONS=50000: what it was built for; with
    -s it tells how long what took."""
    count = int(os.environ.get("SC_SNAPSHOT_SESSIONS", "1500"))
    made = cluster_of(farm, manager + "SessionClusterMemory 256M\n", 3).start(60)
    made.wait_settled(60)
    cookies = make_sessions(made.nodes, count, "&big=b:1000")
    made.wait_settled(60)
    began = time.monotonic()
    stop_all(made.nodes)
    stopped = time.monotonic()
    start_all(made.nodes[::-1], 120)
    ready = time.monotonic()
    made.wait_settled(120)
    settled = time.monotonic()
    for node in made.nodes:
        check_sessions(node, cookies)
    print(f"\n{count} sessions, {manager.strip()}: stopped in {stopped - began:.1f} s, ready in "
          f"{ready - stopped:.1f} s, settled in {settled - stopped:.1f} s")
    for node in made.nodes:
        print("\n".join(re.findall(r"SC115[25].*", node.log())))


def test_nobody_else_comes(farm):
    """A node with a note waits, not for ever."""
    made = cluster_of(farm, "", 2, "wait=3").start()
    made.wait_settled()
    make_sessions(made.nodes, 10)
    assert made[0].stop(30)
    crash(made[1])
    made[0].start(30)
    assert made[0].sessions() == 0
    assert "SC1156" in made[0].log()
    made[0].client().op("set=a:1")


def test_one_that_hangs_does_not_go_on(farm, manager):
    """It may never wake up: who stops beside it keeps the sessions."""
    made = cluster_of(farm, manager, 2, "wait=3").start()
    made.wait_settled()
    cookies = make_sessions(made.nodes, 40)
    made.wait_settled()
    made[1].freeze()
    wait_until(lambda: not made[0].status()["node"]["leased"] or made[0].lost("n2"), 15,
               "its silence noticed")
    assert made[0].stop(60), made[0].tail()
    assert re.search(r"SC1152: 40 sessions", made[0].log())
    made[1].kill9()
    made[0].start(40)
    check_sessions(made[0], cookies)


# ---- what a configtest says -----------------------------------------------------------------------

def test_places(farm):
    node = farm.node()

    def refused(lines, *words):
        node.directives = lines
        code, said = node.configtest()
        assert code != 0, lines
        for word in words:
            assert word in said, (word, said)

    open_to_all = os.path.join(node.root, "open")
    os.mkdir(open_to_all)
    os.chmod(open_to_all, 0o777)
    refused(f"SessionClusterSnapshot {open_to_all}/s\n", "SC1161", "0700")
    shared = os.path.join(node.root, "shared")
    os.mkdir(shared)
    if os.geteuid() == 0:
        os.chown(shared, pwd.getpwnam("www-data").pw_uid, 65534)  # another group
        os.chmod(shared, 0o770)
        refused(f"SessionClusterSnapshot {shared}/s\n", "SC1161")
    refused(f"SessionClusterSnapshot {node.root}/nowhere/s\n", "SC1160", "no directory")
    refused(f"SessionClusterSnapshot {open_to_all}/\n", "wants a file")
    refused("SessionClusterSnapshot wait=3\n", "wants a file")
    refused("SessionClusterSnapshot\n", "wants a file")
    if os.geteuid() == 0:
        own = os.path.join(node.root, "roots")
        os.mkdir(own, 0o755)
        refused(f"SessionClusterSnapshot {own}/s\n", "SC1162", "httpd's user")
    keep(node)
    good = f"SessionClusterSnapshot {node.snapshot}\n"
    refused(good[:-1] + " wait=many\n", "wait")
    refused(good[:-1] + " wait=3601\n", "wait")
    refused(good[:-1] + " stay=3\n", "stay")
    refused("<VirtualHost *>\n" + good + "</VirtualHost>\n", "cannot occur")
    refused("SessionClusterRole balancer\nSessionClusterMembership static\n" + good, "SC1165")
    os.symlink("/etc/passwd", node.snapshot)
    refused(good, "SC1163")
    os.unlink(node.snapshot)
    with open(node.snapshot, "w", encoding="utf-8") as f:
        f.write("x")
    os.chmod(node.snapshot, 0o644)
    refused(good, "SC1164", "0600")
    os.unlink(node.snapshot)
    node.directives = "SessionClusterSnapshot snapshot/s wait=0\n"  # below ServerRoot
    code, said = node.configtest()
    assert code == 0, said
