# Licensed under the Apache License, Version 2.0; see LICENSE.
"""SessionClusterDeployer: the same files on all nodes, whole or not at all."""

import hashlib
import os
import pwd
import re
import signal
import subprocess
import threading
import time

import pytest

import foe
from node import proc_parent, proc_state, read_file, send_signal, wait_until

BLOCK = 64 * 1024
LONG = 60.0  # machines may be busy


# ---- parts ---------------------------------------------------------------------------------------

def own(path):
    """Give it to the user that httpd serves as."""
    if os.geteuid() == 0:
        user = pwd.getpwnam("www-data")
        os.chown(path, user.pw_uid, user.pw_gid)


class Place:
    """Directories of one node's deployer."""

    def __init__(self, node, watch, **options):
        self.node = node
        self.watch = watch
        self.options = options
        self.dirs = {}
        for name in ("deploy", "temp", "watch"):
            path = os.path.join(node.root, name)
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o755)
            own(path)
            self.dirs[name] = path

    def line(self):
        words = {"deployDir": self.dirs["deploy"], "tempDir": self.dirs["temp"],
                 "watchDir": self.dirs["watch"], "watchEnabled": str(self.watch).lower(),
                 "processDeployFrequency": 200}
        words.update(self.options)
        return "SessionClusterDeployer " + " ".join(f'"{k}={v}"' for k, v in words.items()) + "\n"

    def put(self, name, data, mode=0o644):
        """A file in watchDir, as a careful administrator would put it there."""
        path = os.path.join(self.dirs["watch"], name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        new = os.path.join(self.node.root, f"new-{threading.get_ident()}")
        with open(new, "wb") as f:
            f.write(data)
        os.chmod(new, mode)
        os.rename(new, path)
        return path

    def remove(self, name):
        os.unlink(os.path.join(self.dirs["watch"], name))

    def path(self, name):
        return os.path.join(self.dirs["deploy"], name)

    def deployed(self):
        """name -> content of everything in deployDir."""
        found = {}
        top = self.dirs["deploy"]
        for folder, _, files in os.walk(top):
            for one in files:
                path = os.path.join(folder, one)
                found[os.path.relpath(path, top)] = read_file(path)
        return found

    def parts(self):
        return [n for n in os.listdir(self.dirs["temp"]) if n.endswith(".part")]


class Deployment:
    """A cluster whose first `watchers` nodes watch."""

    def __init__(self, farm, n=3, watchers=1, start=True, **options):
        self.cluster = farm.cluster(n, directives=f"SessionClusterSecret file:{farm.secret()}\n")
        self.nodes = self.cluster.nodes
        self.places = [Place(node, i < watchers, **options) for i, node in enumerate(self.nodes)]
        for node, place in zip(self.nodes, self.places):
            node.directives += place.line()
        if start:
            self.cluster.start()

    def all_have(self, want, timeout=LONG, places=None):
        for place in places or self.places:
            wait_until(lambda p=place: p.deployed() == want, timeout,
                       f"{place.node.name}: {sorted(want)} in deployDir", pause=0.1)


def deployer_pid(node):
    """The deployer's process: a child of the engine."""
    engine = node.engine_pid()
    for pid in node.processes():
        if proc_parent(pid) == engine and b"session-deploy" in read_file(f"/proc/{pid}/comm"):
            return pid
    return 0


def content(size, seed=1):
    """Bytes that compress badly and differ with the seed."""
    block = hashlib.sha512(str(seed).encode()).digest() * 1024
    return (block * (size // len(block) + 1))[:size]


class Writing(threading.Thread):
    """A session that is written and read all the time, on one node and another."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.client = nodes[0].client()
        self.client.op("set=k:0")
        self.node = nodes[1]
        self.n = 0
        self.wrong = []
        self.over = threading.Event()

    def run(self):
        client = self.client
        while not self.over.wait(0.01):
            try:
                self.n += 1
                client.op(f"set=k:{self.n}")
                read = client.op("", port=self.node.port).values["k"]
                if read != str(self.n):
                    self.wrong.append((self.n, read))
            except Exception as e:  # pylint: disable=broad-except
                self.wrong.append((self.n, repr(e)))

    def check(self):
        self.over.set()
        self.join(60)
        assert self.n > 0 and not self.wrong, self.wrong[:5]


# ---- what an administrator does ------------------------------------------------------------------

def test_add_change_remove(farm):
    made = Deployment(farm)
    first = made.places[0]
    want = {"index.html": b"one\n", "app/lib/a.js": b"let a;\n", "app/b.css": b"b{}\n",
            "tool": b"#!/bin/sh\n"}
    for name, data in want.items():
        first.put(name, data, 0o4755 if name == "tool" else 0o666)
    made.all_have(want)
    for place in made.places:  # modes are defined, whatever they were in watchDir
        assert os.stat(place.path("tool")).st_mode & 0o7777 == 0o755
        assert os.stat(place.path("index.html")).st_mode & 0o7777 == 0o644
        assert os.stat(place.path("app/lib")).st_mode & 0o7777 == 0o755
        if os.geteuid() == 0:
            assert os.stat(place.path("app/lib/a.js")).st_uid == pwd.getpwnam("www-data").pw_uid

    want["index.html"] = b"two, and longer\n"
    first.put("index.html", want["index.html"])
    first.remove("app/lib/a.js")
    del want["app/lib/a.js"]
    made.all_have(want)
    for place in made.places:
        assert not os.path.exists(place.path("app/lib"))  # empty directories go

    first.remove("app/b.css")
    os.rmdir(os.path.join(first.dirs["watch"], "app/lib"))
    os.rmdir(os.path.join(first.dirs["watch"], "app"))
    del want["app/b.css"]
    want["app"] = b"a file where a directory was\n"
    first.put("app", want["app"])
    made.all_have(want)
    for node in made.nodes:
        wait_until(lambda n=node: n.status()["deployer"]["files"] == len(want), LONG, "files")
        assert node.status()["deployer"]["waiting"] == 0
        assert node.count("deploy_refused") == 0
    wait_until(lambda: made.nodes[1].count("deploy_removed") == 2, LONG, "counted")


@pytest.fixture(scope="module")
def shared_deployment(shared_farm):
    made = Deployment(shared_farm)
    made.want = {}
    return made


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 10240, 20480])
def test_sizes(shared_deployment, size):
    """Tomcat's own never completes a file whose size is a multiple of its block."""
    shared_deployment.want[f"size-{size}"] = content(size, size)
    shared_deployment.places[0].put(f"size-{size}", content(size, size))
    shared_deployment.all_have(shared_deployment.want)


def test_late_joiner_without_the_watcher(farm):
    made = Deployment(farm, start=False)
    first, second, third = made.nodes
    want = {"a": content(3 * BLOCK, 1), "d/b": content(10, 2)}
    first.launch()
    second.launch()
    first.wait_ready()
    second.wait_ready()
    for name, data in want.items():
        made.places[0].put(name, data)
    made.places[0].put("gone", b"x")
    made.all_have(dict(want, gone=b"x"), places=made.places[:2])
    made.places[0].remove("gone")
    made.all_have(want, places=made.places[:2])
    first.stop()
    third.start()
    made.all_have(want, places=made.places[2:])
    # and the one who was away while something changed
    second.stop()
    first.start()
    want["a"] = content(BLOCK + 7, 3)
    made.places[0].put("a", want["a"])
    made.all_have(want, places=[made.places[0], made.places[2]])
    second.start()
    made.all_have(want)


# ---- deaths --------------------------------------------------------------------------------------

class Halves(threading.Thread):
    """Looks all the time whether a name stands for anything but whole contents."""

    def __init__(self, path, whole):
        super().__init__(daemon=True)
        self.path = path
        self.whole = {hashlib.sha256(c).hexdigest() for c in whole}
        self.sizes = {len(c) for c in whole}
        self.halves = []
        self.looks = 0
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.005):
            try:
                with open(self.path, "rb") as f:
                    data = f.read()
            except FileNotFoundError:
                continue
            self.looks += 1
            if len(data) not in self.sizes or hashlib.sha256(data).hexdigest() not in self.whole:
                self.halves.append(len(data))

    def check(self):
        self.over.set()
        self.join(10)
        assert self.looks > 0 and not self.halves, self.halves[:5]


def half_way(node, size):
    done = node.status()["deployer"]["done"]
    return size // 8 < done < size


@pytest.mark.parametrize("victim", ["receiver", "watcher", "receiver's deployer",
                                    "receiver's engine"])
def test_killed_in_the_middle(farm, victim):
    old, new = content(1000, 1), content(6 * 1024 * 1024, 2)
    made = Deployment(farm, n=2, maxRate="1M")
    watcher, receiver = made.nodes
    made.places[0].put("big", old)
    made.all_have({"big": old})
    looking = [Halves(p.path("big"), [old, new]) for p in made.places]
    for one in looking:
        one.start()
    made.places[0].put("big", new)
    wait_until(lambda: half_way(receiver, len(new)), LONG, "half of it")
    assert made.places[1].deployed() == {"big": old}
    before = receiver.count("deploy_bytes_in")
    if victim == "receiver":
        receiver.kill9()
        assert made.places[1].deployed() == {"big": old} and made.places[1].parts()
        receiver.start()
    elif victim == "watcher":
        watcher.kill9()
        time.sleep(0.5)
        assert made.places[1].deployed() == {"big": old}
        watcher.start()
    elif victim == "receiver's deployer":
        send_signal(deployer_pid(receiver), signal.SIGKILL)
        receiver.wait_log("SC0922")
    else:
        engine, deployer = receiver.engine_pid(), deployer_pid(receiver)
        receiver.kill_engine()
        receiver.wait_new_engine(engine)
        wait_until(lambda: proc_state(deployer) in ("", "Z", "X"), LONG, "its deployer ended too")
    made.all_have({"big": new})
    for one in looking:
        one.check()
    # it went on where it was
    used = receiver.count("deploy_bytes_in") - (0 if victim == "receiver" else len(old))
    assert used < len(new) * 1.5 and before > 0
    wait_until(lambda: not made.places[1].parts(), LONG, "nothing left in tempDir")


def test_a_changed_copy_is_not_spread(farm):
    """A node whose file was changed behind its back gives bytes that are not those of the version."""
    data, other = content(3 * BLOCK, 1), content(3 * BLOCK, 2)
    made = Deployment(farm, start=False)
    first, second, third = made.nodes
    first.launch()
    second.launch()
    first.wait_ready()
    second.wait_ready()
    made.places[0].put("a", data)
    made.all_have({"a": data}, places=made.places[:2])
    wait_until(lambda: second.count("deploy_batches") == 1, LONG, "batch")
    first.stop()
    third.launch()  # joins while second's copy is wrong
    with open(made.places[1].path("a"), "r+b") as f:
        f.write(other)
    looking = Halves(made.places[2].path("a"), [data])
    looking.start()
    third.wait_ready()
    third.wait_log("SC0905: a could not be brought here .*: its checksum is wrong", LONG)
    assert made.places[2].deployed() == {}
    first.start()
    made.all_have({"a": data}, places=[made.places[0], made.places[2]])
    # second notices it when it looks after its files: once a minute, and at its start
    send_signal(deployer_pid(second), signal.SIGKILL)
    made.all_have({"a": data})
    second.wait_log("SC0915: a was changed in deployDir")
    looking.check()


def test_frozen_deployer_stops_no_session(farm):
    made = Deployment(farm, n=2)
    pids = [wait_until(lambda n=n: deployer_pid(n), LONG, "deployer") for n in made.nodes]
    for pid in pids:
        send_signal(pid, signal.SIGSTOP)
    try:
        made.places[0].put("a", content(3 * BLOCK))
        client = made.nodes[0].client()
        for i in range(50):
            client.op(f"set=k:{i}")
        assert made.nodes[0].count("degraded") == 0
    finally:
        for pid in pids:
            send_signal(pid, signal.SIGCONT)
    made.all_have({"a": content(3 * BLOCK)})
    deployer = deployer_pid(made.nodes[1])
    assert made.nodes[1].stop()
    assert proc_state(deployer) in ("", "Z", "X")


# ---- rules ---------------------------------------------------------------------------------------

def test_two_watchers(farm):
    made = Deployment(farm, n=3, watchers=2)
    made.places[0].put("a", b"first's")
    made.places[0].put("b", b"only first's")
    made.all_have({"a": b"first's", "b": b"only first's"})
    made.places[1].put("a", b"second's, later")
    made.all_have({"a": b"second's, later", "b": b"only first's"})
    made.nodes[0].wait_log("SC0903: two watchers disagree about a")
    wait_until(lambda: made.nodes[0].count("deploy_conflicts") == 1, LONG, "counted")
    made.nodes[0].stop()
    made.nodes[0].start()
    made.places[0].put("c", b"new")  # when that is there, the rest has been looked at
    made.all_have({"a": b"second's, later", "b": b"only first's", "c": b"new"})
    made.places[0].put("a", b"first's again")
    made.all_have({"a": b"first's again", "b": b"only first's", "c": b"new"})


def test_what_is_skipped_and_refused(farm):
    made = Deployment(farm, n=2, maxFileSize=100000, maxFiles=4)
    place = made.places[0]
    watch = place.dirs["watch"]
    os.symlink("/etc/passwd", os.path.join(watch, "link"))
    os.symlink("/etc", os.path.join(watch, "dir"))
    os.mkfifo(os.path.join(watch, "pipe"))
    place.put(".hidden", b"x")
    place.put("good", b"good")
    place.put("large", content(100001))
    place.put("secret", b"x", 0o600)  # root's
    made.all_have({"good": b"good"})
    refused = 6 if os.geteuid() == 0 else 5
    node = made.nodes[0]
    wait_until(lambda: node.count("deploy_refused") == refused, LONG, "refused")
    node.wait_log(r"SC0911: link is not deployed: it is a link")
    node.wait_log(r"SC0911: \.hidden is not deployed")
    node.wait_log(r"SC0911: large is not deployed: it is larger than maxFileSize")
    place.put("ok", b"ok")
    made.all_have({"good": b"good", "ok": b"ok"})
    assert node.count("deploy_refused") == refused  # once each
    for name in "1234":
        place.put(name, b"n")
    node.wait_log("there are more than maxFiles")
    wait_until(lambda: len(made.places[1].deployed()) == 4, LONG, "four files")
    # what is too large for the receiver only
    assert made.nodes[1].count("deploy_refused") == 0


def test_too_large_for_one_member(farm):
    made = Deployment(farm, n=2, start=False)
    made.nodes[1].directives = made.nodes[1].directives.replace(
        "SessionClusterDeployer ", "SessionClusterDeployer maxFileSize=1000 ")
    made.cluster.start()
    made.places[0].put("large", content(1001))
    made.places[0].put("small", content(1000))
    made.all_have({"small": content(1000)}, places=made.places[1:])
    wait_until(lambda: made.nodes[1].count("deploy_refused") == 1, LONG, "refused")
    made.nodes[1].wait_log("SC0911: large is not deployed")


def test_member_without_a_deployer(farm):
    """As in a rolling upgrade: it takes the messages for those of another application."""
    made = Deployment(farm, n=3, start=False)
    made.nodes[2].directives = made.nodes[2].directives.split("SessionClusterDeployer")[0]
    made.cluster.start()
    made.places[0].put("a", content(BLOCK))
    made.all_have({"a": content(BLOCK)}, places=made.places[:2])
    wait_until(lambda: made.nodes[2].count("messages_in") > 0, LONG, "heard")
    assert made.places[2].deployed() == {} and made.nodes[2].state() == "ready"
    assert made.nodes[2].status()["deployer"]["running"] is False


# ---- no room -------------------------------------------------------------------------------------

class Disk:
    """A small file system with a node's deployDir and tempDir, in a mount namespace of its own, so that
    nothing is left behind. It is there while the node runs."""

    # keeps the node's own address, as a Place of netns.py
    front = back = "127.0.0.1"

    def __init__(self, place, size):
        self.place = place
        self.top = os.path.join(place.node.root, "disk")
        os.mkdir(self.top, 0o755)
        script = (f'mount -t tmpfs -o size={size},mode=755 tmpfs "{self.top}" && '
                  f'cd "{self.top}" && mkdir -m 755 deploy temp && chown www-data: deploy temp && '
                  'cd / && exec "$@"')
        self.command = ["unshare", "--mount", "sh", "-c", script, "sh"]
        if subprocess.run(self.command + ["true"], capture_output=True, check=False).returncode:
            if os.environ.get("SC_NO_NETNS") == "1":
                pytest.skip("no mount namespaces here (SC_NO_NETNS=1)")
            pytest.fail("this test needs to mount a tmpfs, as root with CAP_SYS_ADMIN; leave it out "
                        "with SC_NO_NETNS=1")
        for name in ("deploy", "temp"):
            place.dirs[name] = os.path.join(self.top, name)
        place.node.place = self

    def entered(self):
        """The node runs: from here on the test looks at its files where they are."""
        for name in ("deploy", "temp"):
            self.place.dirs[name] = f"/proc/{self.place.node.pid}/root{self.top}/{name}"

    def grow(self, size):
        subprocess.run(["nsenter", f"--mount=/proc/{self.place.node.pid}/ns/mnt", "mount", "-o",
                        f"remount,size={size}", self.top], check=True)


@pytest.mark.parametrize("where", ["receiver", "watcher"])
def test_full_disk(farm, where):
    made = Deployment(farm, n=2, start=False)
    watcher, receiver = made.places
    full = receiver if where == "receiver" else watcher
    disk = Disk(full, "4m")
    full.node.directives = full.node.directives.split("SessionClusterDeployer")[0] + full.line()
    made.cluster.start()
    disk.entered()
    old, new = content(1 << 20, 1), content(6 << 20, 2)
    watcher.put("a", old)
    made.all_have({"a": old})
    looking = [Halves(p.path("a"), [old, new]) for p in made.places]
    for one in looking:
        one.start()
    writing = Writing(made.nodes)
    writing.start()

    watcher.put("a", new)
    wait_until(lambda: full.node.count("deploy_failed") >= 1, LONG, "counted")
    full.node.wait_log(r"No space left on device.*SC0905: a could not be brought here from member "
                       r".*: tempDir cannot be written to; it is tried again" if where == "receiver"
                       else r"No space left on device.*SC0902: a in watchDir could not be taken over")
    # what has come is no use and in the way; small files have room
    watcher.put("b", b"small")
    made.all_have({"a": old, "b": b"small"}, places=[full])
    if where == "receiver":  # each time that it is told what there is, and no more often
        wait_until(lambda: full.node.count("deploy_failed") >= 2, LONG, "tried again")
    assert full.node.count("deploy_failed") < 20 and full.deployed()["a"] == old
    assert full.node.status()["deployer"]["running"]

    disk.grow("32m")
    made.all_have({"a": new, "b": b"small"})
    writing.check()
    for one in looking:
        one.check()
    wait_until(lambda: not full.parts(), LONG, "nothing left in tempDir")
    assert all(n.count("degraded") == 0 for n in made.nodes)
    assert "SC0922" not in full.node.log()


def limit_files(pid, size):
    """The size that files of a process may grow to, set as its own user may."""
    user = {"user": "www-data", "group": "www-data", "extra_groups": []} if os.geteuid() == 0 else {}
    subprocess.run(["prlimit", "--pid", str(pid), f"--fsize={size}:"], check=True, **user)


def test_files_that_may_not_grow(farm):
    """A limit on the size of files is not the end of the process."""
    made = Deployment(farm, n=2)
    node = made.nodes[1]
    old, new = content(10000, 1), content(3 << 20, 2)
    made.places[0].put("a", old)
    made.all_have({"a": old})
    pid = deployer_pid(node)
    limit_files(pid, 1 << 20)
    made.places[0].put("a", new)
    node.wait_log(r"File too large.*SC0905: a could not be brought here", LONG)
    wait_until(lambda: node.count("deploy_failed") >= 1, LONG, "counted")
    assert deployer_pid(node) == pid and made.places[1].deployed() == {"a": old}
    limit_files(pid, "unlimited")
    made.all_have({"a": new})
    assert deployer_pid(node) == pid and "SC0922" not in node.log()


# ---- a member that plays foul --------------------------------------------------------------------

def tree(top, *without):
    """name -> content or target of all files below a directory."""
    found = {}
    for folder, folders, files in os.walk(top):
        folders[:] = [f for f in folders if os.path.join(folder, f) not in without]
        for one in files + [f for f in folders if os.path.islink(os.path.join(folder, f))]:
            path = os.path.join(folder, one)
            found[path] = os.readlink(path) if os.path.islink(path) else read_file(path)
    return found


class Victim:
    """Two nodes, of which the second one is spoken to by a member with the secret."""

    def __init__(self, farm):
        self.foe = foe.Foe(farm)
        self.made = Deployment(farm, n=2, start=False, maxFileSize="1M", maxTotalSize="4M",
                               maxFiles=20)
        self.foe.listed(self.made.nodes)
        self.made.cluster.start()
        self.nodes, self.places = self.made.nodes, self.made.places
        self.node, self.place = self.nodes[1], self.places[1]
        # where it could write if it were led there
        self.outside = os.path.join(self.node.root, "outside")
        os.mkdir(self.outside, 0o755)
        own(self.outside)
        with open(os.path.join(self.outside, "kept"), "wb") as f:
            f.write(b"kept")
        own(os.path.join(self.outside, "kept"))
        self.places[0].put("first", b"first")
        self.made.all_have({"first": b"first"})
        self.before = self.others()
        self.foe.join(self.nodes)
        self.writing = Writing(self.nodes)
        self.writing.start()

    def others(self):
        """All files of the node but those that it may write."""
        root = self.node.root
        return tree(root, self.place.dirs["deploy"], self.place.dirs["temp"],
                    os.path.join(root, "logs"), os.path.join(root, "run"))

    def counted(self, name, more, act):
        before = self.node.count(name)
        act()
        wait_until(lambda: self.node.count(name) == before + more, LONG,
                   f"{name}: {before} + {more}")

    def refuses(self, more, *entries):
        self.counted("deploy_refused", more, lambda: self.foe.list(self.node, *entries))

    def fetches(self, name, data):
        """A file is offered. @return when the node has asked for its first bytes"""
        since = self.foe.heard()
        self.foe.list(self.node, foe.entry(name, data))
        sha = hashlib.sha256(data).digest()
        self.foe.answer(self.node, foe.ASK_BLOCK, foe.text(name) + sha + foe.varint(0), since)

    def gives(self, name, data):
        """And given, as it should be."""
        self.fetches(name, data)
        for at in range(0, len(data), BLOCK):
            if at > 0:
                sha = hashlib.sha256(data).digest()
                self.foe.answer(self.node, foe.ASK_BLOCK, foe.text(name) + sha + foe.varint(at))
            self.foe.say(self.node, foe.block(data, at, data[at:at + BLOCK]))

    def check(self, want):
        """Nothing has come of it, and good files still come."""
        self.foe.leave()
        want = dict(want, first=b"first", good=content(3 * BLOCK, 9))
        self.places[0].put("good", want["good"])
        self.made.all_have(want)
        self.writing.check()
        assert self.others() == self.before
        left = set(os.listdir(self.place.dirs["temp"])) - {"catalogue", "catalogue.new", "lock"}
        assert all(re.fullmatch(r"[0-9a-f]{64}\.part", name) for name in left), left
        assert all(n.count("degraded") == 0 for n in self.nodes)
        assert "SC0922" not in self.node.log()  # one process all the time


@pytest.fixture
def victim(farm):
    made = Victim(farm)
    with made.foe:
        yield made


FOUL_NAMES = ["../outside/kept", "/etc/deployed", "a/../../outside/kept", "..", ".", ".htaccess",
              "a/.git/config", "a//b", "a/", "", "a\nb", "a\0b", "a\x7fb", "a\x1b[2J", "..\\kept",
              "n" * 256, "/".join("d" * 18)]


def test_foul_names(victim):
    for name in FOUL_NAMES:
        victim.refuses(1, foe.entry(name, b"foul"))
        # that others are read and removed is refused as well
        victim.refuses(1, foe.entry(name, kind=foe.REMOVED))
        victim.counted("deploy_refused", 1, lambda n=name: victim.foe.say(
            victim.node, foe.ask_block(n, hashlib.sha256(b"kept").digest(), 0, 4)))
    victim.node.wait_log("SC0914: a deployer's message of member .* was refused")
    assert not os.path.exists("/etc/deployed")
    victim.check({})


def test_foul_files(victim):
    # what is no file
    for kind in (0, 3, 255):
        victim.refuses(1, foe.entry("a", b"foul", kind=kind))
    victim.refuses(1, foe.entry("a", b"foul", executable=4))
    # too large, also where a sum of sizes would not fit; of a time that has not come
    victim.refuses(4, foe.entry("a1", size=(1 << 20) + 1), foe.entry("a2", size=(1 << 64) - 1),
                   foe.entry("a3", size=(1 << 63)), foe.entry("a4", b"foul", ahead=25 * 3600))
    victim.node.wait_log("SC0911: a1 is not deployed: it is larger than maxFileSize")
    victim.node.wait_log("SC0911: a4 is not deployed: its stamp is more than a day ahead")
    # more together than there may be, and more of them: it asks for those that may be
    victim.refuses(1, *[foe.entry(f"b{i}", size=1 << 20, sha=bytes([i] * 32)) for i in range(4)])
    victim.node.wait_log("SC0911: b3 is not deployed: all files together")
    victim.foe.leave()
    victim.foe.join(victim.nodes)
    victim.refuses(11, *[foe.entry(f"c{i:02}", b"foul %d" % i) for i in range(30)])
    victim.node.wait_log("SC0911: c19 is not deployed: there are more than maxFiles")
    victim.check({})


def test_foul_links(victim):
    # somebody has put links there, by which a name leads out
    deploy, kept = victim.place.dirs["deploy"], os.path.join(victim.outside, "kept")
    os.symlink(victim.outside, os.path.join(deploy, "way"))
    os.symlink(kept, os.path.join(deploy, "last"))
    victim.counted("deploy_failed", 1, lambda: victim.gives("way/kept", b"foul"))
    victim.counted("deploy_failed", 1, lambda: victim.gives("way/new/kept", b"foul too"))
    victim.node.wait_log("SC0905: way/kept could not be brought here .*: it could not be put into")
    # the link itself makes room
    victim.gives("last", b"a file")
    wait_until(lambda: not os.path.islink(os.path.join(deploy, "last")), LONG, "replaced")
    assert read_file(kept) == b"kept" and os.listdir(victim.outside) == ["kept"]
    os.unlink(os.path.join(deploy, "way"))
    victim.check({"last": b"a file"})


def test_foul_blocks(victim):
    node, member = victim.node, victim.foe
    data = content(2 * BLOCK + 100, 5)
    part = os.path.join(victim.place.dirs["temp"], hashlib.sha256(data).hexdigest() + ".part")

    # not the one that comes next, behind the end, of no file that is wanted: as if not said
    victim.fetches("a", data)
    for at in (BLOCK, 2 * BLOCK, len(data), 1, (1 << 63), (1 << 64) - 1):
        member.say(node, foe.block(data, at, data[:BLOCK]))
    member.say(node, foe.block(b"another", 0, b"another"))
    member.say(node, foe.message(foe.NO_BLOCK, hashlib.sha256(b"another").digest()))
    # another size than was asked for
    for size in (BLOCK - 1, BLOCK + 1, 0, 2 * BLOCK):
        before = node.count("deploy_failed")
        victim.counted("deploy_refused", 1, lambda s=size: member.say(
            node, foe.block(data, 0, data[:s])))
        wait_until(lambda b=before: node.count("deploy_failed") == b + 1, LONG, "given up")
        assert not os.path.exists(part)
        victim.fetches("a", data)
    node.wait_log("SC0905: a could not be brought here .*: a block has the wrong size")
    # other bytes
    for at in (0, BLOCK):
        member.answer(node, foe.ASK_BLOCK, foe.text("a") + hashlib.sha256(data).digest()
                      + foe.varint(at))
        member.say(node, foe.block(data, at, b"x" * BLOCK))
    victim.counted("deploy_failed", 1, lambda: member.say(
        node, foe.block(data, 2 * BLOCK, b"x" * 100)))
    node.wait_log("SC0905: a could not be brought here .*: its checksum is wrong")
    assert not os.path.exists(part)
    victim.check({})


def test_foul_messages(victim):
    node, member = victim.node, victim.foe
    sha = hashlib.sha256(b"first").digest()
    for data in (foe.message(99), foe.message(foe.SUM, b"short"), foe.message(foe.SUM, b"s" * 33),
                 foe.message(foe.SUM, b"s" * 32, version=9), foe.message(foe.LIST), b"SCD1",
                 foe.message(foe.ASK, b"\xff" * 20), foe.message(foe.BLOCK, sha + b"\xff" * 20),
                 foe.ask_block("first", sha, 0, 0), foe.ask_block("first", sha, 0, (128 << 10) + 1),
                 foe.message(foe.BLOCK, b"b" * (200 << 10))):
        victim.counted("deploy_refused", 1, lambda d=data: member.say(node, d))
    # what it has not, or not there, it does not give
    for name, what, at, n in (("first", sha, 0, 6), ("first", sha, (1 << 64) - 1, 2),
                              ("catalogue", sha, 0, 5),
                              ("first", hashlib.sha256(b"second").digest(), 0, 5)):
        since = member.heard()
        member.say(node, foe.ask_block(name, what, at, n))
        member.answer(node, foe.NO_BLOCK, what, since)
    # more at once than a member may ask for
    before = node.count("deploy_refused")

    def flood():
        for ended in [member.begin(node, foe.ask_block("first", sha, 0, 5)) for _ in range(100)]:
            member.wait(ended)
        return node.count("deploy_refused") > before
    wait_until(flood, LONG, "refused")
    victim.check({})


# ---- after a batch -------------------------------------------------------------------------------

def test_command_once_for_a_batch(farm):
    made = Deployment(farm, n=2, start=False)
    for node, place in zip(made.nodes, made.places):
        out = os.path.join(place.dirs["temp"], "ran")
        node.directives = node.directives.replace(
            "SessionClusterDeployer ",
            "SessionClusterDeployer \"command=/bin/sh -c 'readlink /proc/self/fd/* > "
            f"{out}.fds; grep SigIgn /proc/self/status > {out}.signals; ls | wc -l >> {out}'\" ")
    made.cluster.start()

    def ran(place):
        return read_file(os.path.join(place.dirs["temp"], "ran")).split()

    want = {f"f{i}": content(20000, i) for i in range(30)}
    for name, data in want.items():
        made.places[0].put(name, data)
    made.all_have(want)
    for node, place in zip(made.nodes, made.places):
        wait_until(lambda n=node: n.count("deploy_commands") >= 1, LONG, "command")
        wait_until(lambda p=place: ran(p), LONG, "its output")
    # a busy machine may take the files in two batches, but never one by one
    assert all(len(ran(p)) <= 3 and ran(p)[-1] == b"30" for p in made.places), [
        ran(p) for p in made.places]
    for node, place in zip(made.nodes, made.places):
        wait_until(lambda n=node, p=place: n.count("deploy_commands") == n.count("deploy_batches")
                   == len(ran(p)), LONG, "counted")
        assert node.count("deploy_commands_failed") == 0
        # it gets nothing of the engine's: /dev/null, the error log, what it opens itself
        fds = read_file(os.path.join(place.dirs["temp"], "ran.fds")).decode().split()
        assert "/dev/null" in fds and not [f for f in fds if "socket" in f], fds
        assert not [f for f in fds if f.endswith(("/deploy", "/lock"))], fds
        ignored = read_file(os.path.join(place.dirs["temp"], "ran.signals")).split()[1]
        assert int(ignored, 16) & 0x7fffffff == 0  # 32 and 33 are the C library's own


def test_failing_command(farm):
    made = Deployment(farm, n=2, start=False)
    for node in made.nodes:
        node.directives = node.directives.replace(
            "SessionClusterDeployer ", "SessionClusterDeployer command=/bin/false ")
    made.cluster.start()
    made.places[0].put("a", b"a")
    made.nodes[1].wait_log(r"SC0910: the command /bin/false failed \(exit code 1\)", LONG)
    wait_until(lambda: made.nodes[1].count("deploy_commands_failed") == 1, LONG, "counted")


def test_graceful_restart(farm):
    made = Deployment(farm, n=2, afterDeploy="graceful")
    node = made.nodes[1]
    engine, restarts = node.engine_pid(), node.restarts()
    client = node.client()
    client.op("set=k:1")
    made.places[0].put("a", b"a")
    node.wait_log("SC0942", LONG)
    wait_until(lambda: node.restarts() == restarts + 1, LONG, "restarted")
    wait_until(lambda: node.state() == "ready", LONG, "ready")
    assert node.engine_pid() == engine  # sessions and deployer have not noticed
    assert client.op("").values["k"] == "1"
    made.places[0].put("b", b"b")
    made.all_have({"a": b"a", "b": b"b"})


# ---- configuration -------------------------------------------------------------------------------

def refused(node, line, message, secret=True, membership=True):
    node.membership = "SessionClusterMembership static\nSessionClusterMember 127.0.0.1:9\n" \
        if membership else ""
    node.directives = (f"SessionClusterSecret file:{node.farm.secret()}\n" if secret else
                       "SessionClusterSecret none\n" if membership else "") + line
    code, said = node.configtest()
    assert code != 0 and re.search(message, said), said


def test_wrong_values(farm):
    node = farm.node("n1")
    place = Place(node, True)
    good = place.line()
    deploy, temp, watch = (place.dirs[n] for n in ("deploy", "temp", "watch"))
    node.membership = "SessionClusterMembership static\nSessionClusterMember 127.0.0.1:9\n"
    node.directives = f"SessionClusterSecret file:{farm.secret()}\n" + good
    code, said = node.configtest()
    assert code == 0, said

    refused(node, good, "SC0937: SessionClusterDeployer needs a SessionClusterSecret", secret=False)
    refused(node, good, "SC0936: .*nobody to deploy to", secret=False, membership=False)
    refused(node, good + good, "SessionClusterDeployer is given twice")
    word = "SessionClusterDeployer "
    base = f"{word}deployDir={deploy} tempDir={temp} "
    refused(node, f"{word}deployDir={deploy}\n", "SC0938: .*needs deployDir= and tempDir=")
    refused(node, base + "watchEnabled=true\n", "SC0939: .*needs watchDir=")
    refused(node, base + "watchEnabled=maybe\n", "watchEnabled wants true or false")
    refused(node, f"{word}deployDir=relative tempDir={temp}\n", "deployDir wants the absolute path")
    refused(node, f"{word}deployDir={deploy}/none tempDir={temp}\n",
            "SC0930: .*none: .*make that directory")
    refused(node, f"{word}deployDir={node.conf} tempDir={temp}\n", "SC0931: .*is no directory")
    refused(node, f"{word}deployDir={deploy} tempDir={deploy}\n", "SC0934")
    os.mkdir(os.path.join(deploy, "in"))
    own(os.path.join(deploy, "in"))
    refused(node, f"{word}deployDir={deploy} tempDir={deploy}/in\n", "SC0934: .*lies in deployDir")
    refused(node, base + f"watchDir={deploy} watchEnabled=true\n", "SC0934")
    os.chmod(temp, 0o777)
    refused(node, base + "\n", "SC0933: .*everybody can write there")
    os.chmod(temp, 0o555)
    refused(node, base + "\n", "SC0932: .*cannot write to it")
    os.chmod(temp, 0o755)
    if os.path.ismount("/dev/shm"):
        other = os.path.join("/dev/shm", os.path.basename(node.root))
        os.mkdir(other, 0o755)
        own(other)
        try:
            refused(node, f"{word}deployDir={deploy} tempDir={other}\n",
                    "SC0935: .*another file system")
        finally:
            os.rmdir(other)
    refused(node, base + "maxFiles=0\n", "maxFiles wants a number of files from 1 to 100000")
    refused(node, base + "maxFileSize=x\n", "maxFileSize wants bytes from 1 to")
    refused(node, base + "maxFileSize=2M maxTotalSize=1M\n", "SC0940")
    refused(node, base + "blockSize=1M\n", "blockSize wants bytes from 4096 to 131072")
    refused(node, base + "blockSize=128K\nSessionClusterMaxSessionSize 1K\n"
            "SessionClusterManager delta blockSize=4K\n"
            "SessionClusterReceiver maxFrame=64K\n", "SC0941")
    refused(node, base + "processDeployFrequency=1\n", "processDeployFrequency wants milliseconds")
    refused(node, base + "afterDeploy=stop\n", "afterDeploy wants nothing or graceful")
    refused(node, base + "command=reload\n", "command wants the absolute path of a program")
    refused(node, base + "commandTimeout=0\n", "commandTimeout wants seconds from 1 to 3600")
    refused(node, base + "maxValidTime=300\n", "has no maxValidTime: a file that was begun")
    refused(node, base + "colour=red\n", "knows deployDir, tempDir")
    refused(node, f"<VirtualHost *:1>\n{base}\n</VirtualHost>\n", "cannot occur within")
    assert watch
