# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Real httpd instances for the tests: nodes and balancers, each with a ServerRoot of its own.

Every process of an instance carries a mark in its environment, so that all of them are found, also
those whose parent is gone, and none is left behind."""

import errno
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import time
import uuid

from client import Client

HERE = os.path.dirname(os.path.abspath(__file__))
MARK = "SC_E2E_MARK"
HTTPD = shutil.which("apache2") or shutil.which("httpd") or "/usr/sbin/apache2"
APXS = shutil.which("apxs") or shutil.which("apxs2") or "apxs"
MODULES = subprocess.run([APXS, "-q", "LIBEXECDIR"], capture_output=True, text=True,
                         check=True).stdout.strip()

# Quick enough for tests, slow enough for two busy cores. A silent member is probed before it goes.
MEMBERSHIP = "static frequency=200 dropTime=1500"

# SC_SECRET=1: every cluster without one of its own has a SessionClusterSecret, so that any test can be
# run on encrypted lines, but for those of what cannot be had with one.
SECRET = os.environ.get("SC_SECRET") == "1"
SECRETLESS = re.compile(r"foreign=accept|udpPort=|uniqueId=")

# SC_CORES=folder: crashing children leave a core there (the folder must be writable for them).
CORES = os.environ.get("SC_CORES")
if CORES:
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

NODE_MODULES = ["authn_core", "authz_core", "authn_file", "authz_user", "alias", "dir", "env",
                "mime", "filter", "headers", "include", "request", "setenvif"]
PROXY_MODULES = ["proxy", "proxy_http", "slotmem_shm", "proxy_balancer", "lbmethod_byrequests"]


# ---- waiting -------------------------------------------------------------------------------------

def wait_until(condition, timeout=10.0, what="condition", pause=0.05):
    """Poll until condition() is true; its value. Errors of a node that is not there yet count as
    false."""
    end = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except (OSError, ValueError, KeyError) as e:
            last = e
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {timeout} s (last: {last!r})")
        time.sleep(pause)


# ---- ports ---------------------------------------------------------------------------------------

_used_ports = set()


def free_port():
    """A port below the ephemeral range, so that no outgoing connection takes it meanwhile."""
    while True:
        port = random.randint(12000, 31000)
        if port in _used_ports:
            continue
        ok = True
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as s:
                try:
                    s.bind(("127.0.0.1", port))
                except OSError as e:
                    if e.errno not in (errno.EADDRINUSE, errno.EACCES):
                        raise
                    ok = False
        if ok:
            _used_ports.add(port)
            return port


# ---- processes -----------------------------------------------------------------------------------

def read_file(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""


def marked(mark):
    """Pids of all living processes that carry the mark."""
    want = f"{MARK}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and want in read_file(f"/proc/{name}/environ").split(b"\0"):
            if proc_state(int(name)) not in ("Z", "X", ""):
                found.append(int(name))
    return found


def proc_stat(pid):
    text = read_file(f"/proc/{pid}/stat").decode("latin-1")
    return text[text.rfind(")") + 2:].split() if ")" in text else []


def proc_state(pid):
    fields = proc_stat(pid)
    return fields[0] if fields else ""


def proc_parent(pid):
    fields = proc_stat(pid)
    return int(fields[1]) if fields else 0


def proc_rss(pid):
    """Resident bytes."""
    fields = read_file(f"/proc/{pid}/statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def send_signal(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


# ---- one httpd -----------------------------------------------------------------------------------

class Httpd:
    """One instance: configuration, life, death."""

    def __init__(self, farm, name, *, mpm="event", single=False, modules=(), cluster_module=True,
                 session_module=True, head="", config="", children=2, threads=16,
                 max_children=4, loglevel="session_cluster:debug", place=None, env=None):
        self.farm = farm
        self.name = name
        self.mpm = mpm
        self.single = single          # -X
        self.modules = list(NODE_MODULES) + [m for m in modules if m not in NODE_MODULES]
        self.cluster_module = cluster_module
        self.session_module = session_module
        self.head = head              # after the modules: cluster directives
        self.config = config          # at the end
        self.children = children
        self.threads = threads
        self.max_children = max_children
        self.loglevel = loglevel
        self.module = None            # its build of the module; None: the farm's
        self.place = place            # a Place of netns.py: its network; None: loopback
        self.env = dict(env or {})    # more of its environment
        self.port = free_port()
        self.mark = f"{farm.mark}-{name}-{uuid.uuid4().hex[:8]}"
        self.proc = None
        self.stops = []               # where in the log it was told to stop, and had stopped
        self.root = os.path.join(farm.root, f"{name}-{self.mark[-8:]}")
        for folder in ("", "run", "logs", "htdocs", "conf"):
            os.makedirs(os.path.join(self.root, folder), exist_ok=True)
            os.chmod(os.path.join(self.root, folder), 0o755)
        shutil.copytree(os.path.join(HERE, "pages"), self.htdocs, dirs_exist_ok=True)
        for folder, _, files in os.walk(self.htdocs):
            os.chmod(folder, 0o755)
            for f in files:
                script = f.endswith(".cgi")
                os.chmod(os.path.join(folder, f), 0o755 if script else 0o644)

    # -- paths and addresses

    @property
    def host(self):
        """Where it serves."""
        return self.place.front if self.place else "127.0.0.1"

    @property
    def cluster_host(self):
        """Where it receives replication."""
        return self.place.back if self.place else "127.0.0.1"

    @property
    def htdocs(self):
        return os.path.join(self.root, "htdocs")

    @property
    def conf(self):
        return os.path.join(self.root, "conf", "httpd.conf")

    @property
    def error_log(self):
        return os.path.join(self.root, "logs", "error.log")

    # -- configuration

    def load_line(self, name):
        path = os.path.join(MODULES, f"mod_{name}.so")
        return (f"<IfModule !mod_{name}.c>\n  LoadModule {name}_module {path}\n</IfModule>\n")

    def mpm_lines(self):
        lines = self.load_line(f"mpm_{self.mpm}")
        lines += f"StartServers {self.children}\n"
        if self.mpm == "prefork":
            n = self.max_children * 8
            return lines + (f"MinSpareServers {self.children}\nMaxSpareServers {n}\n"
                            f"ServerLimit {n}\nMaxRequestWorkers {n}\n")
        most = self.max_children * self.threads
        return lines + (f"ServerLimit {self.max_children}\nThreadsPerChild {self.threads}\n"
                        f"MaxRequestWorkers {most}\nMinSpareThreads {self.threads}\n"
                        f"MaxSpareThreads {most}\n")

    def text(self):
        root = self.root
        out = f'ServerRoot "{root}"\nServerName localhost\nListen {self.host}:{self.port}\n'
        out += f'DefaultRuntimeDir "{root}/run"\nPidFile "{root}/run/httpd.pid"\n'
        out += self.mpm_lines()
        cgi = "cgi" if self.mpm == "prefork" else "cgid"
        for name in ["unixd", "log_config"] + self.modules + [cgi]:
            out += self.load_line(name)
        out += f'<IfModule mod_cgid.c>\n  ScriptSock "{root}/run/cgisock"\n</IfModule>\n'
        out += f'Mutex "file:{root}/run" default\n'
        if CORES:
            out += f'CoreDumpDirectory "{CORES}"\n'
        if os.geteuid() == 0:
            out += "User www-data\nGroup www-data\n"
        out += (f'ErrorLog "{self.error_log}"\n'
                f"LogLevel warn {self.loglevel if self.cluster_module else ''}\n"
                'LogFormat "%t %s \\"%r\\" %{SESSION_CLUSTER_ROUTE}e %{SESSION_CLUSTER_ROLE}e '
                '%{SESSION_CLUSTER_WAIT_US}e %{SESSION_CLUSTER_FAILOVER}e" sc\n'
                f'CustomLog "{root}/logs/access.log" sc\n'
                f'TypesConfig /etc/mime.types\nDocumentRoot "{self.htdocs}"\n'
                "Timeout 20\nKeepAliveTimeout 30\nMaxKeepAliveRequests 0\n"
                "GracefulShutdownTimeout 3\n")
        if self.session_module:
            out += self.load_line("session")
            out += f"LoadModule sc_test_module {self.farm.test_module}\n"
        if self.session_module and "auth_form" in self.modules:
            # depends on mod_session's symbols
            line = self.load_line("auth_form")
            out = out.replace(line, "", 1) + line
        if self.cluster_module:
            out += f"LoadModule session_cluster_module {self.module or self.farm.module}\n"
        out += f'<Directory "{self.htdocs}">\n  Require all granted\n  Options +Includes\n'
        out += "</Directory>\n"
        if self.cluster_module:
            out += "<Location /sc-status>\n  SetHandler session-cluster-status\n"
            out += "  Session Off\n" if self.session_module else ""
            out += "</Location>\n"
        return out + self.head + "\n" + self.config + "\n"

    def write(self):
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(self.text())

    def configtest(self):
        """Exit code and what it said."""
        self.write()
        done = subprocess.run([HTTPD, "-t", "-d", self.root, "-f", self.conf],
                              capture_output=True, text=True, timeout=30, env=self.environment(),
                              check=False)
        return done.returncode, done.stdout + done.stderr

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(MARK)}
        env[MARK] = self.mark
        if "SC_PRELOAD" in env:  # a sanitizer's library: make memcheck
            env["LD_PRELOAD"] = env["SC_PRELOAD"]
        env.update(self.env)
        return env

    # -- life

    def launch(self):
        """Start, wait for nothing."""
        assert self.proc is None or self.proc.poll() is not None, "runs already"
        self.write()
        with open(os.path.join(self.root, "logs", "console.log"), "ab") as console:
            self.proc = subprocess.Popen(
                (self.place.command if self.place else []) +
                os.environ.get("SC_WRAP", "").split() +  # valgrind: make memcheck
                [HTTPD, "-X" if self.single else "-DFOREGROUND", "-d", self.root, "-f", self.conf],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                env=self.environment(), start_new_session=True)
        return self

    def listens(self):
        with socket.socket() as s:
            s.settimeout(1)
            return s.connect_ex((self.host, self.port)) == 0

    def wait_listening(self, timeout=15.0, pause=0.05):
        def check():
            if self.proc.poll() is not None:
                raise AssertionError(f"{self.name} ended at start:\n{self.tail()}")
            return self.listens()
        wait_until(check, timeout, f"{self.name} listening", pause)
        return self

    def wait_ready(self, timeout=20.0):
        self.wait_listening(timeout)
        if self.cluster_module and self.wants_engine():
            try:
                wait_until(lambda: self.state() == "ready", timeout, f"{self.name} ready")
            except AssertionError as e:
                raise AssertionError(f"{e}\n{self.tail()}") from None
        return self

    def wants_engine(self):
        return re.search(r"^\s*SessionCluster", self.head + "\n" + self.config, re.M) is not None

    def start(self, timeout=20.0):
        return self.launch().wait_ready(timeout)

    def start_fails(self, timeout=15.0):
        """Start something that must refuse to start; what it said, console and error log."""
        self.launch()
        try:
            code = self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} started:\n{self.tail()}") from None
        assert code != 0
        return read_file(os.path.join(self.root, "logs", "console.log")).decode() + self.log()

    @property
    def pid(self):
        return self.proc.pid

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def processes(self):
        return marked(self.mark)

    def workers(self):
        """The children that serve requests."""
        engine = self.engine_pid()
        return [p for p in self.processes()
                if p not in (self.pid, engine) and proc_parent(p) == self.pid
                and b"cgi" not in read_file(f"/proc/{p}/comm") and not self.is_cgid(p)]

    def is_cgid(self, pid):
        """mod_cgid's daemon is a child too; only it holds the listening script socket, and it
        holds no connection of the server."""
        sock = os.path.join(self.root, "run", "cgisock")
        inodes = set()
        for line in read_file("/proc/net/unix").decode().splitlines()[1:]:
            parts = line.split()
            if len(parts) >= 8 and parts[7].startswith(sock):
                inodes.add(parts[6])
        for fd in self.fds(pid):
            found = re.fullmatch(r"socket:\[(\d+)\]", fd)
            if found and found.group(1) in inodes:
                return True
        return False

    @staticmethod
    def fds(pid):
        found = []
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                try:
                    found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
                except OSError:
                    pass
        except OSError:
            pass
        return found

    def stop(self, timeout=12.0, number=signal.SIGTERM):
        """Stop as an administrator does. True if everything was gone in time by itself."""
        if self.proc is None:
            return True
        asked = len(self.log())
        send_signal(self.pid, number)
        end = time.monotonic() + timeout
        clean = False
        while time.monotonic() < end:
            if self.proc.poll() is not None and not self.processes():
                clean = True
                break
            time.sleep(0.05)
        if not clean:
            self.kill9()
        self.proc = None
        self.stops.append((asked, len(self.log())))
        return clean

    def kill9(self):
        """Power failure: no process of this instance runs any more when this returns."""
        if self.proc is None:
            return
        # nobody may replace what is killed, nor say good-bye when its parent is gone
        if self.proc.poll() is None:
            send_signal(self.pid, signal.SIGSTOP)
        for pid in self.processes():
            send_signal(pid, signal.SIGSTOP)
        end = time.monotonic() + 10
        dying = set()
        while True:
            pids = self.processes()
            dying |= set(pids)
            # a process that ends loses its environment, by which it is found, before its sockets
            if not pids and all(proc_state(p) in ("Z", "X", "") for p in dying):
                break
            # the parent last: when it dies the kernel continues the group of a stopped engine, which
            # would say good-bye then
            for pid in [p for p in pids if p != self.pid] or pids:
                send_signal(pid, signal.SIGKILL)
            if time.monotonic() > end:
                raise AssertionError(f"{self.name}: cannot kill {pids}")
            time.sleep(0.01)
        self.proc.wait(10)
        self.proc = None

    def freeze(self):
        """All processes stand still; the kernel goes on accepting connections for them."""
        send_signal(self.pid, signal.SIGSTOP)
        for _ in range(3):
            for pid in self.processes():
                send_signal(pid, signal.SIGSTOP)
        wait_until(lambda: all(proc_state(p) == "T" for p in self.processes()), 5, "frozen")

    def thaw(self):
        for pid in self.processes():
            send_signal(pid, signal.SIGCONT)

    def kill_engine(self):
        pid = self.engine_pid()
        send_signal(pid, signal.SIGKILL)
        return pid

    def kill_child(self):
        pid = random.choice(self.workers())
        send_signal(pid, signal.SIGKILL)
        return pid

    def wait_new_engine(self, old, timeout=10.0):
        def check():
            pid = self.engine_pid()
            return pid != old and pid and self.state() == "ready"
        wait_until(check, timeout, f"{self.name}: engine after {old}")
        return self.engine_pid()

    def wait_new_engine_process(self, old, timeout=10.0):
        """It need not be ready."""
        wait_until(lambda: self.engine_pid() not in (0, old), timeout,
                   f"{self.name}: engine after {old}")

    def restarts(self):
        return len(re.findall(r"resuming normal operations", self.log()))

    def restart(self, number=signal.SIGUSR1, timeout=15.0):
        """graceful (SIGUSR1) or hard (SIGHUP), with the configuration as it is now."""
        before = self.restarts()
        self.write()
        send_signal(self.pid, number)
        wait_until(lambda: self.restarts() > before, timeout, f"{self.name} restarted")

    # -- looking inside

    def status(self, timeout=5.0):
        reply = Client(self.port, timeout=timeout, host=self.host).get("/sc-status?json")
        if reply.status != 200:
            raise ValueError(f"status page: {reply!r}")
        return json.loads(reply.body)

    def state(self):
        return self.status()["node"]["state"]

    def engine_pid(self):
        return self.status()["node"]["engine_pid"]

    def count(self, name):
        return self.status()["counters"][name]

    def view(self):
        """route (or host:port without one) -> state, of the others."""
        found = {}
        for m in self.status()["view"]["members"]:
            if not m["self"]:
                found[m["route"] or f"{m['host']}:{m['port']}"] = m["state"]
        return found

    def member(self, route):
        """All that it knows of a member."""
        return {m["route"]: m for m in self.status()["view"]["members"]}[route]

    def sees(self, *routes):
        """Whether exactly these others are alive."""
        return {r for r, s in self.view().items() if s == "alive"} == set(routes)

    def lost(self, route):
        """Whether that member has left the view; one that is only suspect has not."""
        return self.view().get(route, "gone") == "gone"

    def sessions(self):
        """Live sessions in the store, all contexts."""
        return self.status()["store"]["sessions"]

    def asleep(self):
        """How many requests are in a sleep= of mod_sc_test now."""
        return self.client().get("/t").json()["asleep"]

    def log(self):
        return read_file(self.error_log).decode("utf-8", "replace")

    def wait_log(self, pattern, timeout=10.0):
        return wait_until(lambda: re.search(pattern, self.log()), timeout,
                          f"{self.name}: log line /{pattern}/")

    def tail(self, lines=60):
        text = self.log().splitlines()[-lines:]
        console = read_file(os.path.join(self.root, "logs", "console.log")).decode().splitlines()
        return "\n".join([f"--- {self.name} ({self.root})"] + console[-10:] + text)

    def check_log(self, but="no exception"):
        """No crash of ours may go unnoticed. (Of children that were told to end: see Farm.close.)"""
        text = self.log()
        for asked, stopped in reversed(self.stops):
            text = (text[:asked] + re.sub(r".*exit signal Segmentation fault.*", "",
                                          text[asked:stopped]) + text[stopped:])
        bad = re.findall(rf".*(?:exit signal (?!Killed|Terminated|{but})|AddressSanitizer|"
                         r"stack smashing|double free|undefined symbol).*", text)
        assert not bad, f"{self.name}: {bad[:5]}\n{self.tail()}"

    # -- requests

    def client(self, **kw):
        return Client(self.port, host=self.host, **kw)


# ---- cluster parts -------------------------------------------------------------------------------

SESSION_CONFIG = """
<Location /t>
  SetHandler sc-test
</Location>
Session On
SessionClusterCookieName SID
"""


class Node(Httpd):
    """A node of role node. Stand-alone without members; the application is the test handler at /t.

    Membership comes when Cluster calls join()."""

    def __init__(self, farm, name, *, route=None, extra="", session=SESSION_CONFIG,
                 directives="", **kw):
        self.route = name if route is None else route
        self.session = session
        self.extra = extra            # further configuration, may be changed before a restart
        self.directives = directives  # cluster-wide directives, too
        self.rx_port = free_port()
        self.membership = ""
        super().__init__(farm, name, **kw)
        self.compose()

    def compose(self):
        self.head = ""
        if self.membership:
            self.head += f"SessionClusterRoute {self.route}\n" if self.route else ""
            self.head += self.membership
            self.head += (f"SessionClusterReceiver address={self.cluster_host} "
                          f"port={self.rx_port} autoBind=1\n")
            if "SessionClusterSecret" not in self.directives:
                if SECRET and not SECRETLESS.search(self.membership + self.directives):
                    self.head += f"SessionClusterSecret file:{self.farm.secret()}\n"
                elif self.place:
                    self.head += "SessionClusterSecret none\n"
        self.head += self.directives
        self.config = self.session + self.extra

    def write(self):
        self.compose()
        super().write()


class Balancer(Node):
    """An httpd of role balancer in front of nodes."""

    def __init__(self, farm, name, nodes, *, member_args="retry=2 connectiontimeout=2",
                 proxy_args="", **kw):
        self.nodes = nodes
        self.member_args = member_args
        self.proxy_args = proxy_args
        kw.setdefault("threads", 64)
        super().__init__(farm, name, route="", session="", modules=PROXY_MODULES,
                         session_module=False, **kw)

    def compose(self):
        super().compose()
        self.head = "SessionClusterRole balancer\n" + self.head
        self.config = proxy_lines(self.nodes, self.member_args, self.proxy_args) + self.extra


def proxy_lines(nodes, member_args="retry=2 connectiontimeout=2", proxy_args="", path="/"):
    members = "".join(f'  BalancerMember "http://{n.host}:{n.port}" route={n.route} '
                      f"{member_args}\n" for n in nodes)
    return ('<Proxy "balancer://cluster">\n' + members +
            f"  ProxySet lbmethod=bysession stickysession=SID {proxy_args}\n</Proxy>\n"
            "ProxyTimeout 15\nProxyPass /sc-status !\n"
            f'ProxyPass {path} "balancer://cluster{path}"\n')


class Cluster:
    """Nodes that know each other, and balancers in front of them."""

    def __init__(self, farm, n=2, *, membership=MEMBERSHIP, options="", balancers=0, names=None,
                 lab=None, member_args="retry=2 connectiontimeout=2", **kw):
        self.farm = farm
        self.membership = membership  # {host}: the node's own address
        self.options = options  # directives for all
        directives = kw.pop("directives", "")
        self.nodes = [Node(farm, name, directives=options + directives,
                           place=lab.place(name) if lab else None, **kw)
                      for name in (names or [f"n{i + 1}" for i in range(n)])]
        self.balancers = [Balancer(farm, f"b{i + 1}", self.nodes, member_args=member_args,
                                   place=lab.hub if lab else None) for i in range(balancers)]
        farm.instances += self.nodes + self.balancers
        self.connect()

    def connect(self, route_names=True):
        every = self.nodes + self.balancers
        for one in every:
            one.membership = "SessionClusterMembership " \
                f"{self.membership.replace('{host}', one.cluster_host)}\n"
            if self.membership.startswith("static"):
                for m in every:
                    route = f" route={m.route}" if m.route and route_names else ""
                    host = f"[{m.cluster_host}]" if ":" in m.cluster_host else m.cluster_host
                    one.membership += f"SessionClusterMember {host}:{m.rx_port}{route}\n"

    def start(self, timeout=25.0):
        every = self.nodes + self.balancers
        for one in every:
            one.launch()
        for one in every:
            one.wait_ready(timeout)
        self.wait_together()
        return self

    def wait_together(self, timeout=15.0):
        for one in self.live() + self.balancers:
            others = [n.route for n in self.nodes if n is not one and n.alive()]
            wait_until(lambda o=one, r=others: {x for x, s in o.view().items()
                                                if s == "alive"} >= set(r),
                       timeout, f"{one.name} sees {others}")

    def live(self):
        return [n for n in self.nodes if n.alive()]

    def wait_settled(self, timeout=25.0):
        """Everybody sees everybody, trusts its copies and has what it should have: nothing is being
        taken over, no session has too few copies, no location is about to change."""
        self.wait_together(timeout)

        def settled(node):
            status = node.status()
            own = status["node"]
            return own["state"] == "ready" and own["leased"] and own["short_copies"] == 0 \
                and own["moving"] == 0 and not status["transfer"]["running"]
        for one in self.live():
            try:
                wait_until(lambda o=one: settled(o), timeout, f"{one.name} settled")
            except AssertionError as e:
                status = one.status()
                raise AssertionError(f"{e}: {status['node']} {status['view']['members']}") from None

    @property
    def balancer(self):
        return self.balancers[0]

    def node(self, route):
        return next(n for n in self.nodes if n.route == route)

    def __getitem__(self, i):
        return self.nodes[i]


class Farm:
    """All instances of one test (or module of tests), and the end of every one of them."""

    def __init__(self, root, module, test_module):
        self.root = root
        self.module = module
        self.test_module = test_module
        self.mark = uuid.uuid4().hex
        self.instances = []
        os.makedirs(root, exist_ok=True)
        os.chmod(root, 0o755)

    def secret(self):
        """A file with a secret for all instances."""
        path = os.path.join(self.root, "secret")
        if not os.path.exists(path):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
                f.write(uuid.uuid4().hex + "\n")
        return path

    def add(self, instance):
        self.instances.append(instance)
        return instance

    def httpd(self, name, **kw):
        return self.add(Httpd(self, name, **kw))

    def node(self, name="n1", **kw):
        return self.add(Node(self, name, **kw))

    def balancer(self, name, nodes, **kw):
        return self.add(Balancer(self, name, nodes, **kw))

    def cluster(self, n=2, **kw):
        return Cluster(self, n, **kw)

    def tails(self):
        return "\n".join(i.tail() for i in self.instances)

    def close(self):
        """End everything by pid, whatever state it is in.

        Logs are searched for crashes first: children of the event MPM that are told to end at once
        while a connection is being closed sometimes crash by themselves (close_worker_sockets
        touches a socket whose pool a worker frees), with this module or without. How children
        end is tested where no connection is open, see test_stop_leaves_nothing."""
        complaints = []
        for one in self.instances:
            try:
                one.check_log()
            except AssertionError as e:
                complaints.append(str(e))
        for one in self.instances:
            try:
                if one.proc is not None:
                    one.thaw()
            except OSError:
                pass
        for one in self.instances:
            if one.alive():
                send_signal(one.pid, signal.SIGTERM)
        end = time.monotonic() + 6
        while time.monotonic() < end and any(one.alive() for one in self.instances):
            time.sleep(0.02)
        for one in self.instances:
            if one.proc is not None or one.processes():
                for pid in one.processes():
                    send_signal(pid, signal.SIGKILL)
                if one.proc is not None:
                    one.proc.wait(10)
        for one in self.instances:
            try:
                one.check_log("Segmentation fault")
            except AssertionError as e:
                complaints.append(str(e))
        self.instances = []
        assert not complaints, "\n".join(complaints)


def is_socket(path):
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
