# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the benchmark stands on: httpd instances, their CPU time, the load generator."""

import grp
import http.client
import json
import os
import pwd
import random
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
HTTPD = shutil.which("apache2") or shutil.which("httpd") or "/usr/sbin/apache2"
APXS = shutil.which("apxs") or shutil.which("apxs2") or "apxs"
USER = "www-data"
CHILDREN = 2
THREADS = 48
# of load.c; its own bound on silence is 10 s
LOAD_TIMEOUT = 120


class Failure(Exception):
    """Something could not be run."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError) as e:
        raise Failure(f"{' '.join(command)}: {e}") from None


# ---- processes -----------------------------------------------------------------------------------

def proc_stat(pid):
    """Fields of /proc/PID/stat after the name; [] when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
            text = f.read()
    except OSError:
        return []
    return text[text.rfind(")") + 2:].split()


def tree(root):
    """root and all its descendants that are no zombies."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = proc_stat(name)
            if fields and fields[0] not in "ZX":
                children.setdefault(int(fields[1]), []).append(int(name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found if proc_stat(root) else found[1:]


def pin(pids, cpus):
    """All threads of these processes, and what they will start, run on these CPUs only."""
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            try:
                os.sched_setaffinity(int(thread), cpus)
            except ProcessLookupError:
                pass


def process_ns(pid):
    """CPU time of a process with all its threads, ended ones too, in ns: its CPU clock, the one
    that clock_getcpuclockid(3) names."""
    return int(time.clock_gettime_ns((~pid << 3) | 2))


def anonymous_memory(pid):
    """Resident bytes of a process that are its own: neither the store nor program files."""
    with open(f"/proc/{pid}/status", encoding="latin-1") as f:
        for line in f:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise Failure(f"no RssAnon of process {pid}")


class Cpu:
    """CPU time of all processes of some nodes."""

    def __init__(self, nodes):
        self.by_pid = {}
        self.what = {}
        self.ended = 0  # time of children that ended, in ns
        for node in nodes:
            for pid in node.processes():
                try:
                    self.by_pid[pid] = process_ns(pid)
                except OSError:
                    continue
                self.what[pid] = node.kind_of(pid)
            fields = proc_stat(node.pid)
            if fields:
                ticks = int(fields[13]) + int(fields[14])
                self.ended += ticks * 1000000000 // os.sysconf("SC_CLK_TCK")

    def since(self, before):
        self.ns = self.ended - before.ended
        self.by = {}
        for pid, ns in self.by_pid.items():
            spent = ns - before.by_pid.get(pid, 0)
            self.ns += spent
            self.by[self.what[pid]] = self.by.get(self.what[pid], 0) + spent
        self.changed = set(self.by_pid) != set(before.by_pid)
        return self


def machine_ns():
    """CPU time that was spent on this machine, by anybody, in ns (steps of 10 ms)."""
    with open("/proc/stat", encoding="latin-1") as f:
        fields = [int(x) for x in f.readline().split()[1:9]]
    busy = sum(fields) - fields[3] - fields[4]  # idle, waiting for a disk
    return busy * 1000000000 // os.sysconf("SC_CLK_TCK")


class Foreign:
    """Share of all CPUs that others took while something ran: neither the nodes that are measured
    nor the load generator. Others are noise."""

    def __init__(self, load):
        self.machine = machine_ns()
        self.children = self.ended()
        self.load = process_ns(load.proc.pid)
        self.began = time.monotonic_ns()

    @staticmethod
    def ended():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = resource.getrusage(resource.RUSAGE_SELF)
        return int(1e9 * (usage.ru_utime + usage.ru_stime + own.ru_utime + own.ru_stime))

    def share(self, nodes_ns):
        """After the load generator has ended."""
        ours = nodes_ns + self.ended() - self.children - self.load
        all_of_it = (time.monotonic_ns() - self.began) * os.cpu_count()
        return max(0.0, (machine_ns() - self.machine - ours) / all_of_it)


def settle(nodes, quiet_ns=1000000, step=0.05, timeout=5.0):
    """Wait until what goes on behind the answers (asynchronous replication) is over."""
    end = time.monotonic() + timeout
    last = Cpu(nodes)
    while time.monotonic() < end:
        time.sleep(step)
        now = Cpu(nodes)
        # an idle node costs something too
        if now.since(last).ns < quiet_ns * len(nodes):
            return
        last = now


# ---- load ----------------------------------------------------------------------------------------

class Running:
    """A process that is there while the with statement lasts; self.proc."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        for stream in filter(None, (self.proc.stdin, self.proc.stdout, self.proc.stderr)):
            try:
                stream.close()
            except OSError:
                pass


class Load(Running):
    """A run of the load generator."""

    def __init__(self, farm, args, cpu=None):
        command = [farm.load] + [str(a) for a in args]
        if cpu is not None:
            command = ["taskset", "-c", str(cpu)] + command
        self.proc = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)

    def wait_ready(self, timeout=LOAD_TIMEOUT):
        ready, _, _ = select.select([self.proc.stdout], [], [], timeout)
        if not ready or self.proc.stdout.readline() != "ready\n":
            self.proc.kill()
            raise Failure(f"load generator: {self.proc.communicate()[1].strip()}")

    def go(self):
        self.proc.stdin.write("go\n")
        self.proc.stdin.flush()

    def result(self, timeout=LOAD_TIMEOUT):
        try:
            out, err = self.proc.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failure("load generator: no result in time") from None
        if self.proc.returncode != 0:
            raise Failure(f"load generator: {err.strip()}")
        return json.loads(out)


# ---- httpd ---------------------------------------------------------------------------------------

class Httpd:
    """One instance, all of whose processes are there from its start to its end."""

    def __init__(self, farm, name, config, threads=THREADS):
        """@param threads of each child"""
        self.farm = farm
        self.name = name
        self.config = config
        self.threads = threads
        self.port = farm.free_port()
        self.root = os.path.join(farm.root, name)
        self.proc = None
        self.engine = 0
        self.cluster = "session_cluster_module" in config
        os.makedirs(os.path.join(self.root, "run"))
        os.makedirs(os.path.join(self.root, "htdocs"))
        self.error_log = os.path.join(self.root, "error.log")
        farm.instances.append(self)

    @property
    def pid(self):
        return self.proc.pid

    def text(self):
        root = self.root
        lines = [f'ServerRoot "{root}"', "ServerName localhost",
                 f"Listen 127.0.0.1:{self.port}", f'DefaultRuntimeDir "{root}/run"',
                 f'PidFile "{root}/run/httpd.pid"', f'Mutex "file:{root}/run" default',
                 self.farm.load_line("mpm_event"), self.farm.load_line("unixd"),
                 self.farm.load_line("authz_core"),
                 # as many processes as ever: none comes or goes during a run
                 f"StartServers {CHILDREN}", f"ServerLimit {CHILDREN}",
                 f"ThreadsPerChild {self.threads}", f"ThreadLimit {self.threads}",
                 f"MaxRequestWorkers {CHILDREN * self.threads}", "MinSpareThreads 1",
                 f"MaxSpareThreads {CHILDREN * self.threads}", "MaxConnectionsPerChild 0",
                 "KeepAlive On", "MaxKeepAliveRequests 0", "KeepAliveTimeout 60", "Timeout 60",
                 f'ErrorLog "{self.error_log}"', "LogLevel warn",
                 f'DocumentRoot "{root}/htdocs"',
                 "<Directory />", "  AllowOverride None", "  Options FollowSymLinks",
                 "</Directory>",
                 f'<Directory "{root}/htdocs">', "  Require all granted", "</Directory>"]
        if os.geteuid() == 0:
            lines += [f"User {USER}", f"Group {grp.getgrgid(pwd.getpwnam(USER).pw_gid).gr_name}"]
        lines += [self.config, f"LoadModule sc_bench_module {self.farm.bench_module}",
                  "<Location /bench>", "  SetHandler sc-bench", "</Location>"]
        if self.cluster:
            lines += ["<Location /sc-status>", "  SetHandler session-cluster-status",
                      "</Location>"]
        return "\n".join(lines) + "\n"

    def launch(self):
        conf = os.path.join(self.root, "httpd.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(self.text())
        with open(os.path.join(self.root, "console.log"), "ab") as console:
            self.proc = subprocess.Popen([HTTPD, "-DFOREGROUND", "-d", self.root, "-f", conf],
                                         stdin=subprocess.DEVNULL, stdout=console,
                                         stderr=console, start_new_session=True)

    def wait_ready(self, others=0, timeout=30.0):
        """Serving, and in a cluster: ready, with so many other nodes alive."""
        end = time.monotonic() + timeout
        while True:
            if self.proc.poll() is not None:
                raise Failure(f"{self.name} ended at start: {self.tail()}")
            if self.is_ready(others):
                return
            if time.monotonic() > end:
                raise Failure(f"{self.name} is not ready: {self.tail()}")
            time.sleep(0.05)

    def is_ready(self, others):
        if not self.cluster:
            with socket.socket() as s:
                s.settimeout(1)
                if s.connect_ex(("127.0.0.1", self.port)) != 0:
                    return False
            return len(self.processes()) == 1 + CHILDREN
        status = self.try_status()
        if not status or status["node"]["state"] != "ready":
            return False
        alive = [m for m in status["view"]["members"] if not m.get("self") and m["state"] == "alive"]
        self.engine = status["node"]["engine_pid"]
        deployer = status.get("deployer", {}).get("running", False)
        return len(alive) == others and len(self.processes()) == 2 + deployer + CHILDREN

    def start(self, others=0):
        self.launch()
        self.wait_ready(others)

    def tail(self):
        text = ""
        for name in ("console.log", "error.log"):
            try:
                with open(os.path.join(self.root, name), encoding="utf-8", errors="replace") as f:
                    text += "".join(f.readlines()[-8:])
            except OSError:
                pass
        return text.strip() or "no message"

    def processes(self):
        return tree(self.pid) if self.proc else []

    def kind_of(self, pid):
        return "engine" if pid == self.engine else "httpd"

    def stop(self):
        """Ends every process of this instance, by its pid."""
        if self.proc is None:
            return
        pids = self.processes()
        deadline = time.monotonic() + 8
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
        while time.monotonic() < deadline:
            gone = self.proc.poll() is not None
            if gone and not [p for p in pids if p != self.pid and self.is_mine(p)]:
                break
            time.sleep(0.02)
        else:
            for pid in [self.pid] + pids:
                if pid == self.pid and self.proc.poll() is not None:
                    continue
                if pid == self.pid or self.is_mine(pid):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
        self.proc.wait()
        self.proc = None

    def is_mine(self, pid):
        """Whether pid is (still) a process of this instance: started with its configuration."""
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                return os.fsencode(self.root) in f.read().split(b"\0")
        except OSError:
            return False

    # -- status page

    def status(self):
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            conn.request("GET", "/sc-status?json")
            reply = conn.getresponse()
            body = reply.read()
        finally:
            conn.close()
        if reply.status != 200:
            raise Failure(f"{self.name}: status page answers {reply.status}")
        return json.loads(body)

    def try_status(self):
        """None as long as it cannot be had."""
        if self.proc.poll() is not None:
            raise Failure(f"{self.name} has ended: {self.tail()}")
        try:
            return self.status()
        except (OSError, http.client.HTTPException, ValueError):
            return None

    def counters(self):
        return self.status()["counters"]

    def engine_pid(self):
        return self.status()["node"]["engine_pid"]

    def store(self):
        """Sessions, and the bytes of the store that are taken: cells in use with their share of
        everything else in it, index and access times."""
        status = self.status()
        s = status["store"]
        used = s["cells"] - s["cells_free"]
        return {"sessions": s["sessions"], "cells": used,
                "data": sum(c["bytes"] for c in status["contexts"]),
                "used": used * s["bytes"] / s["cells"]}


class Server:
    """Something else that runs and whose CPU time counts: a Redis, a memcached."""

    def __init__(self, farm, name, command):
        self.port = farm.free_port()
        self.name = name
        self.root = os.path.join(farm.root, name)
        self.command = [word.replace("{port}", str(self.port)) for word in command]
        self.proc = None
        os.makedirs(self.root)
        farm.instances.append(self)

    @property
    def pid(self):
        return self.proc.pid

    def launch(self):
        self.proc = subprocess.Popen(self.command, cwd=self.root, stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_ready(self, others=0, timeout=15.0):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            with socket.socket() as s:
                s.settimeout(1)
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise Failure(f"{self.name} does not listen")

    def processes(self):
        return [self.pid] if self.proc and self.proc.poll() is None else []

    def kind_of(self, pid):
        return self.name

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
        if self.proc:
            self.proc.wait()
        self.proc = None


class Farm:
    """All instances and what is compiled for them, in one temporary folder."""

    def __init__(self, root, module):
        self.root = root
        self.module = os.path.abspath(module) if module else None
        self.instances = []
        self.used = set()
        self.load = os.path.join(root, "load")
        self.bench_module = os.path.join(root, "mod_sc_bench.so")
        self.libexec = output(APXS, "-q", "LIBEXECDIR")[0]
        os.chmod(root, 0o755)

    def build(self):
        if self.module and not os.path.exists(self.module):
            raise Failure(f"{self.module} does not exist; build it first (SC_MODULE names it)")
        if not self.module:
            say("SC_MODULE is not set: only the other providers are measured")
        cc = os.environ.get("CC", "cc").split()
        include = output(APXS, "-q", "INCLUDEDIR")[0]
        flags = output("apr-1-config", "--cppflags", "--includes")
        flags += output("apu-1-config", "--includes")
        for command in (
                cc + ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-o", self.load,
                      os.path.join(HERE, "load.c")],
                cc + ["-std=gnu11", "-O2", "-Wall", "-shared", "-fPIC", "-o", self.bench_module,
                      os.path.join(HERE, "mod_sc_bench.c"), "-I" + include] + flags):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Failure(f"{' '.join(command)}: {done.stderr}")

    def load_line(self, name):
        path = os.path.join(self.libexec, f"mod_{name}.so")
        return f"<IfModule !mod_{name}.c>\n  LoadModule {name}_module {path}\n</IfModule>"

    def free_port(self):
        """Below the ephemeral range, so that no outgoing connection takes it meanwhile."""
        for _ in range(1000):
            port = random.randint(12000, 31000)
            if port in self.used:
                continue
            with socket.socket() as s:
                try:
                    s.bind(("127.0.0.1", port))
                except OSError:
                    continue
            self.used.add(port)
            return port
        raise Failure("no free port")

    def run_load(self, args, timeout=LOAD_TIMEOUT, cpu=None):
        with Load(self, args, cpu) as load:
            return load.result(timeout)

    def close(self, keep=False):
        for one in self.instances:
            one.stop()
        if keep:
            say(f"kept: {self.root}")
        else:
            shutil.rmtree(self.root, ignore_errors=True)
