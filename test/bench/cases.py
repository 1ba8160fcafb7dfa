# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What is compared: one httpd or several, each with the same handler and another kind of session."""

import os
import secrets
import shutil
import sqlite3

import rig

NAMES = ("none", "cookie", "dbd", "alone", "sync2", "sync2e", "sync3", "async3", "backup3", "redis",
         "memcache", "shmcb")


class Case:
    """The load goes to the first node; the CPU time of all of them counts."""

    def __init__(self, name, title, nodes, others=None):
        self.name = name
        self.title = title
        self.nodes = nodes
        self.others = len(nodes) - 1 if others is None else others

    def start(self):
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_ready(self.others)


def make_none(farm):
    return Case("none", "no session", [rig.Httpd(farm, "none", "")])


def make_cookie(farm):
    config = "\n".join([farm.load_line("session"), farm.load_line("session_cookie"),
                        "Session On", "SessionCookieName SID path=/"])
    return Case("cookie", "mod_session_cookie", [rig.Httpd(farm, "cookie", config)])


# Of mod_session_dbd's manual page. A connection for each thread, and SQLite's quickest safe mode,
# so that it looks as good as it can.
DBD_CONFIG = """
DBDriver sqlite3
DBDParams "{file}"
DBDPersist On
DBDMin 1
DBDKeep {threads}
DBDMax {threads}
DBDInitSQL "PRAGMA busy_timeout=5000"
DBDInitSQL "PRAGMA synchronous=NORMAL"
DBDPrepareSQL "delete from session where key = %s" deletesession
DBDPrepareSQL "update session set value = %s, expiry = %lld, key = %s where key = %s" updatesession
DBDPrepareSQL "insert into session (value, expiry, key) values (%s, %lld, %s)" insertsession
DBDPrepareSQL "select value from session where key = %s and (expiry = 0 or expiry > %lld)" \
selectsession
DBDPrepareSQL "delete from session where expiry != 0 and expiry < %lld" cleansession
Session On
SessionDBDCookieName SID path=/
"""


def make_dbd(farm):
    folder = os.path.join(farm.root, "dbd-data")
    file = os.path.join(folder, "session.db")
    os.makedirs(folder)
    with sqlite3.connect(file) as db:
        db.execute("pragma journal_mode=wal")
        db.execute("create table session (key text primary key, value text, expiry bigint)")
    db.close()
    if os.geteuid() == 0:
        for path in [folder] + [os.path.join(folder, f) for f in os.listdir(folder)]:
            shutil.chown(path, rig.USER, rig.USER)
    config = "\n".join([farm.load_line("dbd"), farm.load_line("session"),
                        farm.load_line("session_dbd"),
                        DBD_CONFIG.format(file=file, threads=rig.THREADS)])
    return Case("dbd", "mod_session_dbd (SQLite)", [rig.Httpd(farm, "dbd", config)])


def cluster_config(farm, head):
    return "\n".join([farm.load_line("session"),
                      f"LoadModule session_cluster_module {farm.module}", head,
                      "Session On", "SessionClusterCookieName SID"])


def make_alone(farm):
    config = cluster_config(farm, "SessionClusterMemory 64M")
    return Case("alone", "cluster, stand-alone", [rig.Httpd(farm, "alone", config)])


def make_secret(farm, name):
    """A file with a secret that only who starts the nodes may read."""
    path = os.path.join(farm.root, f"{name}.secret")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
        f.write(secrets.token_hex(32) + "\n")
    return path


def make_central(farm, name):
    """A node whose sessions are in Redis or memcached; the server's CPU time counts, too."""
    server = {"redis": ["redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--save", "",
                        "--appendonly", "no"],
              "memcache": ["memcached", "-l", "127.0.0.1", "-p", "{port}", "-U", "0", "-m", "64"] +
                          (["-u", rig.USER] if os.geteuid() == 0 else [])}.get(name)
    nodes = []
    provider = "shmcb:bench(8000000)"
    if server:
        if not shutil.which(server[0]):
            rig.say(f"{server[0]} is not installed: left out")
            return None
        nodes.append(rig.Server(farm, name + "-server", server))
        provider = f"{name}:127.0.0.1:{nodes[0].port}"
    head = f'SessionClusterManager store "provider={provider}"'
    nodes.insert(0, rig.Httpd(farm, name, farm.load_line("socache_" + name) + "\n" +
                              cluster_config(farm, head)))
    return Case(name, f"cluster, sessions in {name}", nodes, 0)


def make_cluster(farm, name, count, options, memory="64M", title="", encrypted=False, manager="",
                 more=lambda i: "", threads=rig.THREADS, membership=None):
    """@param more further lines for node i
    @param threads of each child
    @param membership instead of a list of the members"""
    ports = [farm.free_port() for _ in range(count)]
    members = "\n".join(f"SessionClusterMember 127.0.0.1:{p} route={name}{i + 1}"
                        for i, p in enumerate(ports))
    secret = make_secret(farm, name) if encrypted else None
    nodes = []
    for i, port in enumerate(ports):
        head = "\n".join([f"SessionClusterRoute {name}{i + 1}",
                          f"SessionClusterMembership {membership}" if membership else
                          "SessionClusterMembership static frequency=500 dropTime=3000\n" + members,
                          f"SessionClusterReceiver address=127.0.0.1 port={port} autoBind=1",
                          f"SessionClusterSendOptions {options}",
                          f"SessionClusterMemory {memory}"])
        if manager:
            head += f"\nSessionClusterManager {manager}"
        if encrypted:
            head += f"\nSessionClusterSecret file:{secret}"
        head += "\n" + more(i)
        nodes.append(rig.Httpd(farm, f"{name}{i + 1}", cluster_config(farm, head), threads))
        nodes[-1].receiver = port
    return Case(name, title, nodes)


def make_deployment(farm):
    """Three nodes, encrypted, of which the first one watches."""
    def lines(i):
        words = []
        for what in ("deploy", "temp", "watch"):
            path = os.path.join(farm.root, f"farm{i + 1}-{what}")
            os.mkdir(path, 0o755)
            if os.geteuid() == 0:
                shutil.chown(path, rig.USER)
            words.append(f"{what}Dir={path}")
        words.append(f"watchEnabled={'true' if i == 0 else 'false'}")
        return f"SessionClusterDeployer {' '.join(words)} processDeployFrequency=200"
    # all clients may come at once: with fewer threads httpd would close their idle connections
    return make_cluster(farm, "farm", 3, 6, encrypted=True, more=lines, threads=128)


def proxy_config(farm, nodes, method):
    modules = ("proxy", "proxy_http", "slotmem_shm", "proxy_balancer", "lbmethod_byrequests")
    members = "\n".join(f"  BalancerMember http://127.0.0.1:{n.port} route={n.route}" for n in nodes)
    if method == "bysession":
        cluster = f"LoadModule session_cluster_module {farm.module}"
    else:  # as many sections as the other one has for its status page
        cluster = "<Location /sc-status>\n  SetHandler none\n</Location>"
    return "\n".join([farm.load_line(m) for m in modules] + [cluster] +
                     ["<Proxy balancer://bench>", members,
                      f"  ProxySet lbmethod={method} stickysession=SID", "</Proxy>",
                      "ProxyPass /sc-status !", "ProxyPass /bench balancer://bench/bench"])


def make_balanced(farm):
    """Two nodes (backup manager, so balancers are told where sessions are), and two balancers: one
    that is a member, with bysession, and one that knows nothing, with byrequests. @return the nodes
    as a case, and a case for each balancer by name of its method"""
    names = ("bal1", "bal2", "front")
    ports = {name: farm.free_port() for name in names}
    members = "\n".join(f"SessionClusterMember 127.0.0.1:{port}" +
                        (f" route={name}" if name != "front" else "")
                        for name, port in ports.items())

    def head(name, first):
        return "\n".join([first, "SessionClusterMembership static frequency=500 dropTime=3000",
                          members, "SessionClusterReceiver address=127.0.0.1 "
                          f"port={ports[name]} autoBind=1"])
    nodes = []
    for name in names[:2]:
        nodes.append(rig.Httpd(farm, name, cluster_config(farm, head(
            name, f"SessionClusterRoute {name}\nSessionClusterManager backup"))))
        nodes[-1].route = name
    fronts = {
        "byrequests": rig.Httpd(farm, "stock", proxy_config(farm, nodes, "byrequests")),
        "bysession": rig.Httpd(farm, "front", proxy_config(farm, nodes, "bysession") + "\n" +
                               head("front", "SessionClusterRole balancer"))}
    return Case("balanced", "two nodes behind balancers", nodes), \
        {name: Case(name, name, [front]) for name, front in fronts.items()}


def make_all(farm, only=None):
    made = {"none": make_none(farm)}

    def wanted(name):
        return not only or name in only

    if wanted("cookie"):
        made["cookie"] = make_cookie(farm)
    if wanted("dbd"):
        made["dbd"] = make_dbd(farm)
    if not farm.module:
        return made
    if wanted("alone"):
        made["alone"] = make_alone(farm)
    if wanted("sync2e"):
        made["sync2e"] = make_cluster(farm, "sync2e", 2, 6, title="cluster, 2 nodes encrypted",
                                      encrypted=True)
    for name, count, options, title in (("sync2", 2, 6, "cluster, 2 nodes synchronized"),
                                        ("sync3", 3, 6, "cluster, 3 nodes synchronized"),
                                        ("async3", 3, 8, "cluster, 3 nodes asynchronous")):
        if wanted(name):
            made[name] = make_cluster(farm, name, count, options, title=title)
    if wanted("backup3"):
        made["backup3"] = make_cluster(farm, "backup3", 3, 6, title="cluster, 3 nodes, one backup",
                                       manager="backup")
    for name in ("redis", "memcache", "shmcb"):
        case = make_central(farm, name) if wanted(name) else None
        if case:
            made[name] = case
    return made
