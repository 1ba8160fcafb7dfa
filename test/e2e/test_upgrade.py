# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Another build of the module while sessions live: on one node, and in a cluster node by node."""

import os
import shutil
import signal
import subprocess

import pytest

from client import Load
from conftest import TREE
from node import send_signal, wait_until
from test_snapshot import keep

NEWER = ('SC_VERSION="0.1.1"', "SC_PROTOCOL_VERSION=2")  # and what it can read is the same
OTHER_SETTINGS = ('SC_VERSION="0.1.2"', "SC_INTERCEPTORS_MAX=24")  # the store is the same
OTHER_STORE = ('SC_VERSION="0.2.0"', "STORE_VERSION=99")


@pytest.fixture(scope="module")
def build(workspace, module_path):
    """Build the module with other constants; only what has them is compiled again."""
    made = {}

    def variant(*defines):
        if defines in made:
            return made[defines]
        out = os.path.join(workspace, f"build{len(made)}")
        there = os.path.dirname(module_path)
        for part in ("src", "mod_session_cluster.o"):
            copy = shutil.copytree if part == "src" else shutil.copy2
            if os.path.exists(os.path.join(there, part)):
                copy(os.path.join(there, part), os.path.join(out, part))
        names = [d.split("=")[0] for d in defines]
        for folder, _, files in os.walk(os.path.join(TREE, "src")):
            for name in files:
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as f:
                    text = f.read()
                at = os.path.join(out, os.path.relpath(path, TREE)[:-2] + ".o")
                if os.path.exists(at) and any(n in text for n in names):
                    os.unlink(at)
        flags = " ".join(f"'-D{d}'" for d in defines)
        for define, room in (("STORE_VERSION=99", "store"), ("SC_INTERCEPTORS_MAX=24", "")):
            if define in defines:  # it stands in a header, of that room or of all
                shutil.rmtree(os.path.join(out, "src", room), ignore_errors=True)
        subprocess.run(["make", "-s", "-j2", "-f", "Makefile.apxs", f"OUT={out}", f"OPT=-O0 {flags}",
                        os.path.join(out, "mod_session_cluster.so")], cwd=TREE, check=True)
        made[defines] = os.path.join(out, "mod_session_cluster.so")
        return made[defines]
    return variant


def put(node, build_path):
    """As a package manager replaces a file that is in use."""
    if node.module is None:
        node.module = os.path.join(node.root, "mod_session_cluster.so")
    shutil.copy(build_path, node.module + ".new")
    os.chmod(node.module + ".new", 0o644)
    os.replace(node.module + ".new", node.module)


def version(node):
    return node.status()["node"]["version"]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP], ids=["graceful", "hard"])
def test_one_node(farm, build, number):
    node = farm.node()
    put(node, farm.module)
    node.start()
    old = version(node)
    one = node.client()
    one.op("set=a:1")
    for path, expected in ((build(*NEWER), "0.1.1"), (farm.module, old)):  # and back
        engine = node.engine_pid()
        put(node, path)
        node.restart(number)
        node.wait_ready()
        wait_until(lambda e=expected: version(node) == e, 10, "the other version")
        assert node.engine_pid() != engine
        assert one.values() == {"a": "1"}
        one.op(f"set=v:{expected}")
        assert one.values() == {"a": "1", "v": expected}
        one.op("del=v")
    assert node.log().count("SC1170: another version of the module was loaded") == 2
    assert "SC0608" not in node.log()
    # as it is: the engine stays
    engine = node.engine_pid()
    node.restart(number)
    node.wait_ready()
    assert node.engine_pid() == engine and one.values() == {"a": "1"}


def test_settings_laid_out_differently(farm, build):
    """What the parent remembers over a restart cannot be read by the new build; sessions can."""
    made = farm.cluster(2, directives="SessionClusterManager backup\n")
    for node in made.nodes:
        put(node, farm.module)
    made.start()
    made.wait_settled()
    one = made[0].client()
    one.op("set=a:1")
    for path, expected in ((build(*OTHER_SETTINGS), "0.1.2"), (farm.module, version(made[1]))):
        engine = made[0].engine_pid()
        put(made[0], path)
        made[0].restart()
        made[0].wait_ready()
        assert version(made[0]) == expected and made[0].engine_pid() != engine
        made.wait_settled()
        assert one.values() == {"a": "1"}
    assert made[0].log().count("SC1170: another version of the module was loaded") == 2
    assert "SC0608" not in made[0].log()
    made[0].kill_engine()
    wait_until(lambda: made[0].state() == "ready", 20, "ready again")
    assert one.values() == {"a": "1"}
    assert made[0].stop(30), made[0].tail()


def test_one_node_under_load(farm, build):
    node = farm.node()
    put(node, farm.module)
    node.start()
    with Load(node.port, clients=20, rate=100) as load:
        load.run_for(1)
        put(node, build(*NEWER))
        node.restart()
        load.run_for(1)
    assert load.check_counters() > 50
    assert load.check_ids() == 20
    assert len(load.failures()) <= 2, load.failures()[:3]


def test_another_layout(farm, build):
    """What lies in memory cannot be read by the new build: it begins anew, and says so."""
    node = farm.node()
    put(node, farm.module)
    node.start()
    one = node.client()
    one.op("set=a:1")
    put(node, build(*OTHER_STORE))
    node.restart()
    node.wait_ready()
    wait_until(lambda: version(node) == "0.2.0", 10, "the other version")
    assert "SC0608: this build of the module lays out its memory differently" in node.log()
    assert node.sessions() == 0 and one.values() == {}
    one.op("set=a:2")
    node.restart(signal.SIGHUP)
    node.wait_ready()
    assert one.values() == {"a": "2"}
    assert node.log().count("SC0608") == 1


def test_another_layout_with_a_snapshot(farm, build):
    """Then they go through the file."""
    node = keep(farm.node())
    put(node, farm.module)
    node.start()
    one = node.client()
    one.op("set=a:1")
    put(node, build(*OTHER_STORE))
    node.restart()
    node.wait_ready()
    wait_until(lambda: version(node) == "0.2.0", 10, "the other version")
    assert "SC0608" in node.log()
    assert one.values() == {"a": "1"} and node.count("restored") == 1


def test_another_layout_in_a_cluster(farm, build, manager):
    """The others have them."""
    made = farm.cluster(2, directives=manager)
    for node in made.nodes:
        put(node, farm.module)
    made.start()
    made.wait_settled()
    clients = []
    for i in range(20):
        one = made[i % 2].client()
        one.op(f"set=i:{i}")
        clients.append(one)
    for node in made.nodes:
        made.wait_settled()
        put(node, build(*OTHER_STORE))
        node.restart()
        node.wait_ready()
        wait_until(lambda n=node: version(n) == "0.2.0", 10, "the other version")
        assert node.log().count("SC0608") == 1
    made.wait_settled()
    for i, one in enumerate(clients):
        for node in made.nodes:
            assert one.values(port=node.port) == {"i": str(i)}


def test_rolling(farm, build, manager):
    """Two versions side by side, for as long as it takes; old and new take over from each other."""
    made = farm.cluster(3, directives=manager)
    for node in made.nodes:
        put(node, farm.module)
    made.start()
    made.wait_settled()
    clients = []
    for i in range(30):
        one = made[i % 3].client()
        one.op(f"set=i:{i}")
        clients.append(one)
    ended = made[0].client()
    ended.op("set=a:1")
    cookies = dict(ended.cookies)
    for k, node in enumerate(made.nodes):
        put(node, build(*NEWER))
        node.restart(signal.SIGUSR1 if k else signal.SIGHUP)
        node.wait_ready()
        wait_until(lambda n=node: version(n) == "0.1.1", 10, "the newer version")
        made.wait_settled()
        for i, one in enumerate(clients):
            at = made[(i + k) % 3]
            one.op(f"set=k{k}:{i}", port=at.port)
        for i, one in enumerate(clients):
            for other in made.nodes:
                want = {"i": str(i), **{f"k{n}": str(i) for n in range(k + 1)}}
                assert one.values(port=other.port) == want, (k, i, other.name)
        if k == 0:
            ended.op("clear", port=made[1].port)
            # an old node loses its memory: what it gets is from a new one, too
            made[2].kill9()
            wait_until(lambda: made[0].lost("n3") and made[1].lost("n3"), 20, "n3 gone")
            made[2].start()
            made.wait_settled()
            assert version(made[2]) != version(made[0])
        for other in made.nodes:
            assert other.client(cookies=cookies).values() == {}
    for node in made.nodes:
        assert node.count("records_refused") == node.count("frames_refused") == 0


def test_stopped_while_replaced(farm, build):
    """A file that cannot be loaded: httpd says so and ends, and so does the engine."""
    node = farm.node()
    put(node, farm.module)
    node.start()
    engine = node.engine_pid()
    with open(node.module + ".new", "wb") as f:
        f.write(b"no module")
    os.chmod(node.module + ".new", 0o644)
    os.replace(node.module + ".new", node.module)
    send_signal(node.pid, signal.SIGUSR1)
    wait_until(lambda: not node.alive(), 20, "httpd gone")
    wait_until(lambda: engine not in node.processes(), 20, "engine gone")
    put(node, build(*NEWER))
    node.proc = None
    node.start()
    assert version(node) == "0.1.1"
