# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The Debian package: built, installed, run, removed and purged. Not on this system: in a copy of its
files that exists in memory, as long as the test runs."""

import os
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from client import Client
from conftest import TREE
from node import free_port, send_signal, wait_until

NAME = "libapache2-mod-session-cluster"
STATE = "/var/lib/session-cluster"


@pytest.fixture(scope="module")
def package(workspace):
    """Path of the built package; SC_DEB: of one that was built before."""
    if os.environ.get("SC_DEB"):
        return os.path.abspath(os.environ["SC_DEB"])
    out = os.path.join(workspace, "package")
    done = subprocess.run(["make", "-f", "Makefile.apxs", "deb", f"OUT={out}"], cwd=TREE,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = [f for f in os.listdir(os.path.join(out, "deb"))
             if re.fullmatch(rf"{NAME}_[^_]+_\w+\.deb", f)]
    assert len(found) == 1
    return os.path.join(out, "deb", found[0])


class Copy:
    """The system's files with a writable layer of memory over them, in a mount namespace of its own
    that ends with one process."""

    SETUP = """set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs tmpfs "$1/root/run"
mkdir "$1/root/run/lock"
echo ready
exec sleep 1000"""

    def __init__(self, folder):
        self.root = os.path.join(folder, "root")
        self.holder = subprocess.Popen(["unshare", "-m", "sh", "-c", self.SETUP, "sh", folder],
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = self.holder.stdout.readline()
        if said.strip() != "ready":
            said += self.holder.communicate(timeout=10)[0]
            if os.environ.get("SC_NO_NETNS") == "1":
                pytest.skip(f"no mount namespaces here (SC_NO_NETNS=1): {said}")
            pytest.fail("this test needs to mount an overlay, as root with CAP_SYS_ADMIN; leave it "
                        f"out with SC_NO_NETNS=1: {said}", pytrace=False)
        # nothing that is installed here starts anything
        self.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)

    def command(self, *args):
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "chroot", self.root,
                "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
                "DEBIAN_FRONTEND=noninteractive", *args]

    def run(self, *args, ok=True):
        done = subprocess.run(self.command(*args), capture_output=True, text=True, check=False,
                              timeout=120, cwd="/")
        assert not ok or done.returncode == 0, (args, done.stdout, done.stderr)
        return done

    def shell(self, script, ok=True):
        return self.run("sh", "-c", script, ok=ok).stdout

    def write(self, path, text, mode=0o644):
        subprocess.run(self.command("sh", "-c", f'cat > "{path}" && chmod {mode:o} "{path}"'),
                       input=text, text=True, check=True, cwd="/")

    def traces(self):
        """Files that have to do with the module."""
        return set(self.shell("find /etc /usr /var /lib -xdev -name '*session[-_]cluster*'").split())

    def close(self):
        self.holder.kill()
        self.holder.wait(10)
        self.holder.stdout.close()


@pytest.fixture
def copy():
    folder = tempfile.mkdtemp(prefix="sc-package-")
    made = Copy(folder)
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


class Server:
    """The system's own httpd, as its unit starts it, on another port."""

    def __init__(self, root):
        self.root = root
        self.port = free_port()
        self.proc = None
        root.write("/etc/apache2/ports.conf", f"Listen 127.0.0.1:{self.port}\n")
        root.shell("mkdir -p /run/apache2 /run/lock/apache2 /var/log/apache2")
        root.shell("rm -f /etc/apache2/sites-enabled/*")

    def start(self):
        self.proc = subprocess.Popen(self.root.command(
            "sh", "-c", ". /etc/apache2/envvars; exec apache2 -DFOREGROUND"), cwd="/")
        wait_until(lambda: self.proc.poll() is not None or self.answers(), 20, "httpd listening")
        assert self.proc.poll() is None, self.log()

    def answers(self):
        return Client(self.port, timeout=2).get("/").status in (200, 403, 404)

    def stop(self):
        send_signal(self.proc.pid, signal.SIGTERM)
        assert self.proc.wait(30) == 0, self.log()

    def log(self):
        return self.root.shell("cat /var/log/apache2/error.log", ok=False)


CONF = """
LoadModule sc_test_module {test_module}
<Location /t>
  SetHandler sc-test
  Require all granted
</Location>
<Location /sc-status>
  SetHandler session-cluster-status
  Require all granted
</Location>
ServerName localhost
Session On
SessionClusterCookieName SID
SessionClusterSnapshot /var/lib/session-cluster/sessions
"""


def test_life_of_the_package(copy, package, test_module):
    before = copy.traces()
    status_before = copy.run("dpkg-query", "-W", NAME, ok=False)
    assert status_before.returncode != 0, "it is installed on this system already"
    there = "/tmp/sc.deb"
    with open(package, "rb") as f:
        subprocess.run(copy.command("sh", "-c", f"cat > {there}"), input=f.read(), check=True,
                       cwd="/")
    copy.run("dpkg", "--install", there)

    # what a2enmod did
    enabled = copy.shell("ls -l /etc/apache2/mods-enabled")
    for name in ("session_cluster.load", "session_cluster.conf", "session.load"):
        assert f" {name} -> ../mods-available/{name}" in enabled
    assert "already enabled" in copy.run("a2enmod", "session_cluster").stdout
    assert copy.shell(f"stat -c '%U %a %F' {STATE}").strip() == "www-data 700 directory"
    conf = copy.shell("cat /etc/apache2/mods-available/session_cluster.conf")
    with open(os.path.join(TREE, "conf", "session_cluster.conf"), encoding="utf-8") as f:
        assert conf == f.read()
    assert not [line for line in conf.splitlines()
                if line.strip() and not line.lstrip().startswith(("#", "<"))]
    assert copy.shell("dpkg -V " + NAME) == ""
    files = copy.shell("dpkg -L " + NAME)
    for path in ("/usr/lib/apache2/modules/mod_session_cluster.so", "README.md.gz", "copyright",
                 "examples/node.conf.example"):
        assert path in files
    assert "Syntax OK" in copy.run("apache2ctl", "configtest").stderr

    # a server with it
    server = Server(copy)
    server.start()  # nothing is switched on: no engine
    server.stop()
    assert "SC0604" not in server.log()
    copy.run("cp", test_module, "/usr/lib/apache2/modules/mod_sc_test.so")
    copy.write("/etc/apache2/conf-available/shop.conf",
               CONF.format(test_module="/usr/lib/apache2/modules/mod_sc_test.so"))
    copy.run("a2enconf", "shop")
    server.start()
    one = Client(server.port)
    one.op("set=a:1")
    assert one.values() == {"a": "1"}
    server.stop()
    assert copy.shell(f"stat -c '%U %a' {STATE}/sessions").strip() == "www-data 600"
    server.start()
    assert one.values() == {"a": "1"}

    # installed again over itself, while it runs: nothing is lost
    copy.run("dpkg", "--install", there)
    send_signal(server.proc.pid, signal.SIGUSR1)
    wait_until(lambda: server.log().count("resuming normal operations") >= 4, 20, "restarted")
    assert one.values() == {"a": "1"}
    assert "the engine is replaced, sessions stay" in server.log()
    server.stop()

    # removed: configuration and sessions stay for its return
    copy.run("dpkg", "--remove", NAME)
    assert "session_cluster" not in copy.shell("ls /etc/apache2/mods-enabled")
    left = copy.traces() - before
    assert "/etc/apache2/mods-available/session_cluster.conf" in left
    assert "/usr/lib/apache2/modules/mod_session_cluster.so" not in left and STATE in left
    copy.run("a2disconf", "shop")
    server.start()  # and httpd runs without it
    server.stop()
    copy.run("dpkg", "--install", there)
    copy.run("a2enconf", "shop")
    server.start()
    assert one.values() == {"a": "1"}
    server.stop()

    # purged: nothing is left
    copy.run("a2disconf", "shop")
    copy.run("dpkg", "--purge", NAME)
    assert copy.traces() - before == set()
    assert copy.run("dpkg-query", "-W", NAME, ok=False).returncode != 0
    assert "Syntax OK" in copy.run("apache2ctl", "configtest").stderr


def test_what_it_says(package):
    """Control fields, and the version that the module itself has."""
    def field(name):
        return subprocess.run(["dpkg-deb", "-f", package, name], capture_output=True, text=True,
                              check=True).stdout.strip()
    with open(os.path.join(TREE, "include", "sc_base.h"), encoding="utf-8") as f:
        assert field("Version") == re.search(r'define SC_VERSION "(.+)"', f.read()).group(1)
    depends = field("Depends")
    for wanted in ("apache2-bin (>= 2.4", "apache2-api-20120211", "libc6", "libssl3", "zlib1g"):
        assert wanted in depends
    names = subprocess.run(["dpkg-deb", "-c", package], capture_output=True, text=True,
                           check=True).stdout
    assert all(" root/root " in line for line in names.splitlines())
    if shutil.which("lintian"):
        said = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", package],
                              capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stdout
