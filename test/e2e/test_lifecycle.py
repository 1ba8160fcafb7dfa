# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Starts, restarts, crashes, ends: of httpd, its children and the engine."""

import os
import re
import resource
import signal
import socket
import subprocess
import time

import pytest

from client import Load
from names import Names
from node import (MEMBERSHIP, PROXY_MODULES, SECRET, SESSION_CONFIG, free_port, is_socket, proc_parent,
                  proc_state, wait_until)

# A request that meets a dead engine waits for its successor, not longer than this.
BOUNDED_WAIT = 5.0


def remember(node, count=20):
    browsers = []
    for i in range(count):
        one = node.client()
        one.op(f"set=i:{i}")
        browsers.append(one)
    return browsers


def check_remembered(browsers):
    for i, one in enumerate(browsers):
        assert one.values() == {"i": str(i)}


# ---- an engine whose module was taken out of the configuration has to leave -------------------------

@pytest.fixture(scope="module", autouse=True)
def removed(shared_farm):
    """Begins first, is looked at last: the engine may take a minute."""
    one = shared_farm.node("removed").start()
    remember(one, 1)
    engine = one.engine_pid()
    one.cluster_module = False
    one.session, one.directives = "Session On\n<Location /t>\n SetHandler sc-test\n</Location>\n", ""
    one.restart()
    return one, engine, time.monotonic()


# ---- restarts ------------------------------------------------------------------------------------

def test_graceful_restarts(farm):
    node = farm.node().start()
    browsers = remember(node)
    engine, children = node.engine_pid(), set(node.workers())
    for _ in range(3):
        node.restart()
    check_remembered(browsers)
    browsers[0].op("set=more:1")
    assert browsers[0].values() == {"i": "0", "more": "1"}
    assert node.engine_pid() == engine
    wait_until(lambda: not children & set(node.workers()), 10, "old children gone")
    assert proc_parent(engine) == node.pid
    assert node.sessions() == 20


def test_hard_restart(farm):
    node = farm.node().start()
    browsers = remember(node)
    engine = node.engine_pid()
    node.restart(signal.SIGHUP)
    node.wait_ready()
    check_remembered(browsers)
    assert node.engine_pid() == engine
    browsers[1].op("set=i:1&set=more:1")
    assert browsers[1].values()["more"] == "1"


def test_graceful_restarts_under_load(farm):
    node = farm.node().start()
    with Load(node.port, clients=30, rate=150) as load:
        load.run_for(1)
        for _ in range(3):
            node.restart()
            load.run_for(0.5)
    assert load.check_counters() > 200
    assert load.check_ids() == 30
    assert len(load.failures()) <= 1, load.failures()[:3]
    assert load.slowest() < BOUNDED_WAIT


def test_hard_restart_under_load(farm):
    node = farm.node().start()
    with Load(node.port, clients=30, rate=150) as load:
        load.run_for(1)
        node.restart(signal.SIGHUP)
        node.wait_ready()
        back = time.monotonic()
        load.run_for(1.5)
    load.check_counters()
    load.check_ids()
    assert not load.failures(after=back), load.failures(after=back)[:3]


def test_new_limits_reach_the_engine(farm):
    node = farm.node(directives="SessionClusterMaxSessionSize 16K\n").start()
    browser = node.client()
    browser.op("big=x:9000")
    assert browser.values() == {"x": "#9000"}
    node.directives = "SessionClusterMaxSessionSize 4K\n"
    node.restart()

    def refused():
        one = node.client()
        one.request("/t?big=x:9000")
        return not one.cookies
    wait_until(refused, 5, "new limit")
    assert browser.values() == {"x": "#9000"}  # what is there stays
    node.directives = "SessionClusterMaxSessionSize 32K\n"
    node.restart()
    wait_until(lambda: not refused(), 5, "higher limit")
    assert browser.values() == {"x": "#9000"}


def test_what_needs_a_full_restart_is_said(farm):
    node = farm.node(directives="SessionClusterMemory 8M\n").start()
    browsers = remember(node, 3)
    node.directives = "SessionClusterMemory 16M\n"
    node.restart()
    node.wait_log(r"warn.*SessionClusterMemory.*start")
    check_remembered(browsers)


def test_log_rotation(farm):
    node = farm.node().start()
    engine = node.engine_pid()
    old = node.error_log + ".1"
    os.rename(node.error_log, old)
    node.restart()
    wait_until(lambda: old not in node.fds(engine), 5, "engine lets go of the rotated log")
    assert node.error_log in node.fds(engine)
    assert node.engine_pid() == engine
    node.client().op("set=a:1")


# ---- crashes -------------------------------------------------------------------------------------

def test_engine_killed_under_load(farm):
    node = farm.node().start()
    with Load(node.port, clients=40, rate=200) as load:
        load.run_for(1)
        for _ in range(2):
            old = node.kill_engine()
            node.wait_new_engine(old)
            load.run_for(1)
    assert not load.failures(), load.failures()[:3]
    assert load.check_counters() > 200
    assert load.check_ids() == 40
    assert load.slowest() < BOUNDED_WAIT
    assert node.sessions() == 40


def test_engine_killed_sessions_are_read_meanwhile(farm):
    """Reading needs no engine."""
    node = farm.node().start()
    browsers = remember(node, 5)
    engine = node.engine_pid()
    os.kill(engine, signal.SIGSTOP)
    try:
        check_remembered(browsers)
    finally:
        os.kill(engine, signal.SIGCONT)


def test_child_killed_under_load(farm):
    node = farm.node(children=3, max_children=4).start()
    kills = []
    with Load(node.port, clients=40, rate=200) as load:
        load.run_for(1)
        for _ in range(3):
            kills.append(time.monotonic())
            node.kill_child()
            load.run_for(1.2)
    load.check_counters()
    assert load.check_ids() == 40
    # only what that child had in its hands is lost
    for r in load.failures():
        assert any(r.start <= k + 0.5 and r.end >= k - 0.1 for k in kills), r
    assert node.sessions() == 40


def test_child_that_crashes_in_its_handler(farm):
    node = farm.node().start()
    browser = node.client()
    browser.op("set=a:1")
    for _ in range(3):
        with pytest.raises(OSError):
            browser.request("/t?set=a:2&crash=1")
    # the change was never saved; session and engine know nothing of the crash
    assert wait_until(lambda: browser.op(), 5, "service").values == {"a": "1"}
    browser.op("set=a:3")
    assert browser.values() == {"a": "3"}


def test_frozen_engine_does_not_block_for_ever(farm):
    node = farm.node().start()
    browser = node.client()
    browser.op("set=a:1")
    engine = node.engine_pid()
    os.kill(engine, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        browser.request("/t?set=a:2")
        assert time.monotonic() - begin < BOUNDED_WAIT + 1
    finally:
        os.kill(engine, signal.SIGCONT)
    wait_until(lambda: browser.op("set=a:3").status == 200 and browser.values() == {"a": "3"}, 5,
               "writing again")


# ---- the end -------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGWINCH], ids=["stop", "graceful-stop"])
def test_stop_leaves_nothing(farm, how):
    node = farm.node().start()
    remember(node, 2)
    assert node.stop(number=how), "processes had to be killed"
    node.check_log()
    # and it can start again at once, without complaints about leftovers
    node.start()
    browser = node.client()
    browser.op("set=a:1")
    assert browser.values() == {"a": "1"}


def test_engine_ends_with_its_parent(farm):
    node = farm.node().start()
    engine = node.engine_pid()
    os.kill(node.pid, signal.SIGKILL)
    wait_until(lambda: proc_state(engine) in ("", "Z", "X"), 5, "engine gone")
    node.kill9()
    node.start()  # sockets and files of the dead instance are in nobody's way


# ---- restarts with another receiver --------------------------------------------------------------

def open_pair(farm, **kw):
    """Two nodes that may listen anywhere."""
    return farm.cluster(2, options="SessionClusterSecret none\n", children=1, **kw)


def still_one_cluster(cluster, name):
    a, b = cluster.nodes
    cluster.wait_together()
    one = a.client()
    one.op(f"set={name}:1")
    wait_until(lambda: b.client(cookies=one.cookies).values() == {name: "1"}, 5, "replicated")
    two = b.client()
    two.op(f"set={name}:2")
    wait_until(lambda: a.client(cookies=two.cookies).values() == {name: "2"}, 5, "replicated")


def test_receiver_with_another_address(farm):
    """Its port is in use by nobody but itself."""
    cluster = open_pair(farm).start()
    a = cluster[0]
    browsers = remember(a, 5)
    everywhere = "SessionClusterReceiver address=0.0.0.0 advertiseAddress=127.0.0.1 autoBind={}\n"
    for bind in (1, 100):
        a.directives = cluster.options + everywhere.format(bind)
        a.restart()
        a.wait_ready()
        assert a.status()["node"]["receiver"] == f"0.0.0.0:{a.rx_port}"
        still_one_cluster(cluster, "wide")
        a.directives = cluster.options
        a.restart()
        a.wait_ready()
        assert a.status()["node"]["receiver"] == f"127.0.0.1:{a.rx_port}"
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", a.rx_port), 5).close()
        still_one_cluster(cluster, "narrow")
    check_remembered(browsers)


def test_receiver_with_more_ports_stays_on_its_own(farm):
    cluster = open_pair(farm).start()
    a = cluster[0]
    for bind in (2, 50, 1):
        a.directives = cluster.options + f"SessionClusterReceiver autoBind={bind}\n"
        a.restart()
        a.wait_ready()
        assert a.status()["node"]["receiver"] == f"127.0.0.1:{a.rx_port}"
    still_one_cluster(cluster, "same")


def test_receiver_that_cannot_be_had_at_a_restart(farm):
    """Better the old one than no server."""
    cluster = open_pair(farm).start()
    a = cluster[0]
    browsers = remember(a, 5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen(1)
        for n, wish in enumerate(("address=192.0.2.1", "address=192.0.2.1 autoBind=9",
                                  f"port={taken.getsockname()[1]}")):
            a.directives = cluster.options + f"SessionClusterReceiver {wish}\n"
            a.restart()
            a.wait_ready()
            assert a.status()["node"]["receiver"] == f"127.0.0.1:{a.rx_port}"
            assert len(re.findall(rf"SC0610: .*\n.*SC0642: .* 127\.0\.0\.1, port {a.rx_port},",
                                  a.log())) == n + 1
            still_one_cluster(cluster, f"old{n}")
    check_remembered(browsers)
    assert a.stop()
    a.directives = cluster.options + "SessionClusterReceiver address=192.0.2.1\n"
    assert "SC0610" in a.start_fails()


def test_receiver_without_protection_is_not_kept(farm):
    """The old address was for the old configuration, which had a secret."""
    node = farm.node()
    node.membership = f"SessionClusterMembership {MEMBERSHIP}\nSessionClusterMember 127.0.0.1:1\n"
    node.directives = (f"SessionClusterSecret file:{farm.secret()}\n"
                       "SessionClusterReceiver address=0.0.0.0 advertiseAddress=127.0.0.1\n")
    node.start()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen(1)
        node.directives = f"SessionClusterReceiver port={taken.getsockname()[1]}\n"
        node.write()
        # a secret would be added for it otherwise
        with open(node.conf, encoding="utf-8") as f:
            assert SECRET or "SessionClusterSecret" not in f.read()
        if not SECRET:
            os.kill(node.pid, signal.SIGUSR1)
            assert node.proc.wait(20) != 0
            assert "SC0642" not in node.log()


def test_dns_takes_no_other_port(farm):
    """The others would look for it at this one."""
    node = farm.node()
    node.membership = f"SessionClusterMembership dns name=localhost port={node.rx_port}\n"
    node.directives = "SessionClusterReceiver autoBind=100\n"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", node.rx_port))
        taken.listen(1)
        assert re.search(rf"SC0610: .* {node.rx_port} to {node.rx_port} ", node.start_fails())
    node.start()
    assert node.status()["node"]["receiver"] == f"127.0.0.1:{node.rx_port}"


def test_ipv4_written_as_ipv6(farm):
    cluster = farm.cluster(2, children=1)
    a, b = cluster.nodes
    a.directives += "SessionClusterReceiver address=::ffff:127.0.0.1\n"
    b.membership = b.membership.replace(f"127.0.0.1:{a.rx_port}", f"[::ffff:127.0.0.1]:{a.rx_port}")
    cluster.start()
    assert a.status()["node"]["receiver"] == f"127.0.0.1:{a.rx_port}"
    still_one_cluster(cluster, "four")


def test_names_that_cannot_be_looked_up_at_a_restart(farm):
    names = Names(farm.root)
    names.addresses = ["127.0.0.1"]
    try:
        for membership, members in ((MEMBERSHIP, "SessionClusterMember n2.test:1 route=n2\n"),
                                    ("dns name=all.test port={port}", "")):
            node = farm.node(place=names.place("127.0.0.1"))
            node.membership = (f"SessionClusterMembership {membership}\n"
                               .format(port=node.rx_port) + members)
            node.directives = "SessionClusterReceiver address=auto\n"
            node.start()
            browsers = remember(node, 3)
            engine = node.engine_pid()
            names.addresses = []
            for _ in range(2):
                node.restart()
            node.wait_ready()
            assert node.status()["node"]["receiver"] == f"127.0.0.1:{node.rx_port}"
            assert node.engine_pid() == engine
            assert len(re.findall(r"SC0640: .* it stays on 127\.0\.0\.1,", node.log())) == 2
            check_remembered(browsers)
            names.addresses = ["127.0.0.1"]
            node.restart()
            assert len(re.findall(r"SC0640", node.log())) == 2
    finally:
        farm.close()
        names.close()


def ip(lab, place, *args):
    lab.inside_of(place, lambda: subprocess.run(["ip", *args], check=True))


GROUP = "multicast address=239.7.7.7 port=45999 frequency=200 dropTime=1500"


def test_no_route_to_the_group_at_a_restart(farm, lab):
    cluster = open_pair(farm, lab=lab, membership=GROUP)
    a = cluster[0]
    a.directives += "SessionClusterReceiver address=auto\n"
    cluster.start()
    assert a.status()["node"]["receiver"] == f"{a.place.back}:{a.rx_port}"
    ip(lab, a.place, "route", "del", "224.0.0.0/4", "dev", "back")
    a.restart()
    a.wait_log(rf"SC0640: .* it stays on {a.place.back},")
    still_one_cluster(cluster, "stays")


def test_group_follows_the_receiver(farm, lab):
    cluster = open_pair(farm, lab=lab, membership=GROUP)
    a, b = cluster.nodes
    a.directives = cluster.options + f"SessionClusterReceiver address={a.place.front}\n"
    b.launch()
    a.launch()
    for one in cluster.nodes:
        one.wait_ready()
    assert not a.sees("n2")  # they are on two networks
    a.directives = cluster.options
    a.restart()
    still_one_cluster(cluster, "moved")
    # one that cannot be joined: it stays where it was
    a.membership = a.membership.replace("multicast", "multicast bind=192.0.2.1")
    a.restart()
    a.wait_log(r"SC0611: .*goes on with the group that was joined before")
    still_one_cluster(cluster, "again")


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_engine_inherits_nothing(farm):
    """However many files the parent has open."""
    node = farm.node()
    few = node.start()
    before = open_files(few.engine_pid())
    assert node.stop()
    os.makedirs(os.path.join(node.root, "logs", "many"))
    node.extra = "".join(f'CustomLog "{node.root}/logs/many/{n}" "%h"\n' for n in range(1500))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        node.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_files(node.pid) > 1500
    assert open_files(node.engine_pid()) <= before + 2
    remember(node, 1)


# ---- processing models ---------------------------------------------------------------------------

@pytest.mark.parametrize("mpm", ["worker", "prefork"])
def test_processing_models(farm, mpm):
    node = farm.node(mpm=mpm, children=3).start()
    browsers = remember(node, 5)
    with Load(node.port, clients=10, rate=60) as load:
        load.run_for(0.5)
        engine = node.engine_pid()
        node.restart()
        load.run_for(0.5)
        assert node.engine_pid() == engine
        node.wait_new_engine(node.kill_engine())
        load.run_for(0.5)
    load.check_counters()
    assert len(load.failures()) <= 1, load.failures()[:3]
    check_remembered(browsers)
    # prefork signals its process group at a hard restart; the engine is not in it
    engine = node.engine_pid()
    node.restart(signal.SIGHUP)
    node.wait_ready()
    assert node.engine_pid() == engine
    check_remembered(browsers)
    assert node.stop()


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_single_process(farm, mpm):
    node = farm.node(mpm=mpm, single=True).start()
    browsers = remember(node, 3)
    check_remembered(browsers)
    browsers[0].op("inc=n")
    assert browsers[0].values()["n"] == "1"
    assert node.stop()


# ---- starting ------------------------------------------------------------------------------------

def test_receiver_port_in_use(farm):
    node = farm.node()
    node.membership = f"SessionClusterMembership {MEMBERSHIP}\nSessionClusterMember 127.0.0.1:1\n"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", node.rx_port))
        taken.listen(1)
        said = node.start_fails()
    line = re.search(rf".*{node.rx_port}.*", said)
    assert line, said
    assert re.search(r"(?i)in use", said), said
    assert re.search(r"SessionClusterReceiver|autoBind", said), "says what to change"


def test_auto_bind_takes_the_next_port(farm):
    base = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base))
        taken.listen(1)
        node = farm.node(directives="SessionClusterRoute n1\nSessionClusterMembership static\n"
                         f"SessionClusterMember 127.0.0.1:{base}\n"
                         f"SessionClusterReceiver address=127.0.0.1 port={base} autoBind=20\n")
        node.start()
        port = int(node.status()["node"]["receiver"].rpartition(":")[2])
    assert base < port < base + 20


def test_front_end_without_mod_session(farm):
    """Role balancer, no session module at all."""
    node = farm.node("n1")
    front = farm.balancer("front", [node])
    cluster = [node, front]
    for one in cluster:
        one.membership = (f"SessionClusterMembership {MEMBERSHIP}\n"
                          f"SessionClusterMember 127.0.0.1:{node.rx_port} route=n1\n"
                          f"SessionClusterMember 127.0.0.1:{front.rx_port}\n")
    node.start()
    front.start()
    browser = front.client()
    browser.op("set=a:1")
    assert browser.values() == {"a": "1"}
    assert browser.route == "n1"


def test_node_without_mod_proxy(farm):
    node = farm.node()
    assert not set(PROXY_MODULES) & set(node.modules)
    code, said = node.configtest()
    assert code == 0 and "Syntax OK" in said


def test_cookie_name_without_mod_session(farm):
    node = farm.node(session="SessionClusterCookieName SID\n", session_module=False)
    code, said = node.configtest()
    assert code != 0
    assert re.search(r"mod_session\b", said), said


def test_mod_session_loaded_after_us(farm):
    node = farm.node()
    node.session = node.load_line("session").replace("<IfModule !mod_session.c>", "") \
        .replace("</IfModule>", "") + SESSION_CONFIG.split("</Location>")[1]
    node.session_module = False
    code, said = node.configtest()
    assert code != 0
    assert re.search(r"mod_session.*(before|first|order|earlier)", said, re.S), said


def test_nothing_configured_costs_nothing(farm):
    """Loaded but not used: no engine, no socket."""
    node = farm.node(session="")
    node.start()
    # it listens before it has children
    wait_until(lambda: len(node.processes()) >= 2, 10, "children")
    names = [f for f in os.listdir(os.path.join(node.root, "run"))
             if is_socket(os.path.join(node.root, "run", f)) and not f.startswith("cgisock")]
    assert not names


# ---- last ----------------------------------------------------------------------------------------

def test_engine_leaves_when_the_module_was_removed(removed):
    node, engine, since = removed
    wait_until(lambda: proc_state(engine) in ("", "Z", "X"), max(1, since + 90 - time.monotonic()),
               "engine of a removed module gone")
    assert node.client().get("/static.html").status == 200
