# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The status page: what it says in its three forms, what it looks like, and what can be done with
it."""

import os
import re
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from browser import CHROMIUM, DESK, PHONE, Browser
from client import Load, pipeline
from node import free_port, wait_until
from test_announce import announce, announcement, take_members
from tribes import Tomcat

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = "/sc-status"
ACTIONS = f"<Location {PAGE}>\n  SessionClusterStatusActions On\n</Location>\n"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ROOMY = {"threads": 100, "max_children": 3}


# ---- helpers -------------------------------------------------------------------------------------

def nonce(node):
    return node.status()["actions"]["nonce"]


def post(node, headers=None, page=PAGE + "?json", **fields):
    """One POST as a program sends it."""
    return node.client().post(page, urlencode(fields), headers={**FORM, **(headers or {})})


def act(node, action, **fields):
    """An action that is carried out; its result."""
    reply = post(node, action=action, nonce=nonce(node), **fields)
    assert reply.status == 200, reply
    return reply.json()["result"]


def html(node):
    return node.client().get(PAGE).body.decode()


def prometheus(node):
    """(name, frozenset of labels) -> value; checked for the format's rules on the way."""
    reply = node.client().get(PAGE + "?prometheus")
    assert reply.status == 200
    assert reply.header("Content-Type").startswith("text/plain; version=0.0.4")
    found, types, family, seen = {}, {}, None, set()
    for line in reply.body.decode("utf-8").splitlines():
        kind = re.fullmatch(r"# (HELP|TYPE) ([a-z_]+) (.+)", line)
        if kind:
            if kind.group(1) == "TYPE":
                family = kind.group(2)
                assert family not in seen, f"{family} stands in two places"
                seen.add(family)
                types[family] = kind.group(3)
                assert types[family] in ("gauge", "counter")
            continue
        parts = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (-?[0-9.]+)", line)
        assert parts, line
        assert parts.group(1) == family, line
        labels = re.findall(r'([a-z_]+)="((?:[^"\\]|\\[\\n"])*)"(?:,|$)', parts.group(2) or "")
        text = ",".join(f'{k}="{v}"' for k, v in labels)
        assert text == (parts.group(2) or ""), line
        key = (family, frozenset((k, v.replace('\\"', '"').replace("\\\\", "\\"))
                                 for k, v in labels))
        assert key not in found, line
        found[key] = float(parts.group(3))
    for name, kind in types.items():
        assert (kind == "counter") == name.endswith("_total"), name
        assert name.startswith("session_cluster_")
    return found


def value(metrics, name, **labels):
    return metrics[("session_cluster_" + name, frozenset(labels.items()))]


def tables():
    """The README's tables of the section about the status page: heading of the first column ->
    names in it."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        text = f.read()
    section = text[text.index("\n## Status page"):]
    section = section[:section.index("\n## ", 5)]
    found = {}
    for table in re.findall(r"(?:^\|.*\n)+", section, re.M):
        rows = [line.split("|")[1].strip() for line in table.splitlines()]
        assert rows[0] not in found, rows[0]
        found[rows[0]] = rows[2:]
    return found


def documented_fields(counters):
    """The names of all fields of the JSON, as the README has them."""
    fields, base = set(), ""
    for row in tables()["field"]:
        if row == "counters.*":
            fields |= {f"counters.{name}" for name in counters}
            continue
        inner = row.startswith("...")
        names = (row[3:] if inner else row).split(", ")
        if not inner:
            prefix = names[0].rpartition(".")[0]
            names = [names[0]] + [f"{prefix}.{n}" for n in names[1:]]
            if len(names) == 1 and row.endswith("[]"):
                base = row
        for name in names:
            name = f"{base}.{name}" if inner else name
            if name != base:
                assert name not in fields, name
                fields.add(name)
    return fields


def paths(data, at=""):
    """The names of all fields that are there; lists of objects end in []."""
    found = set()
    if isinstance(data, dict):
        for name, one in data.items():
            found |= paths(one, f"{at}.{name}" if at else name)
    elif isinstance(data, list) and any(isinstance(x, dict) for x in data):
        for one in data:
            found |= paths(one, at + "[]")
    elif isinstance(data, list):
        found |= {at + "[]"} if data else set()
    else:
        found.add(at)
    return found


def make(farm, nodes=3, balancers=0, options="", **kw):
    cluster = farm.cluster(nodes, options=options, balancers=balancers, **ROOMY, **kw)
    for one in cluster.nodes:
        one.extra = ACTIONS
    cluster.start()
    cluster.wait_settled()
    return cluster


def make_sessions(node, count):
    replies = pipeline(node.port, [("set=a:1", None)] * count)
    return [r.set_cookies["SID"][0] for r in replies]


def primaries(node):
    return sum(c["primaries"] for c in node.status()["contexts"])


def events(node):
    return [(e["kind"], e["member"]) for e in node.status()["events"]]


# ---- what it says --------------------------------------------------------------------------------

def test_names_are_those_of_the_readme(farm):
    """Fields, counters, metrics and kinds of events: exactly those that are documented."""
    cluster = farm.cluster(2, options="SessionClusterManager backup\n", balancers=1)
    for one in cluster.nodes:
        announce(one)
        one.extra = ACTIONS
    take_members(cluster.balancer)
    cluster.start()
    cluster.wait_settled()
    node = cluster[0]
    cookie = make_sessions(node, 1)[0]
    documented = tables()
    counters = set(node.status()["counters"])
    assert counters == set(documented["counter"])
    fields = paths(node.status()) | paths(cluster.balancer.status())
    fields |= paths(post(node, action="lookup", id=cookie, nonce=nonce(node)).json())
    assert fields == documented_fields(counters)
    metrics = {name for name, _ in prometheus(node)}
    assert metrics == set(documented["metric"]) | {f"session_cluster_{c}_total" for c in counters}
    with open(os.path.join(ROOT, "include", "sc_notice.h"), encoding="utf-8") as f:
        kinds = re.findall(r"^ +X\((\w+)\)", f.read(), re.M)
    assert kinds == documented["kind of event"]
    assert {kind for kind, _ in events(node)} <= set(kinds)
    assert "Requests balanced" in html(cluster.balancer) and "Requests balanced" not in html(node)


def test_forms_agree(farm, manager):
    cluster = make(farm, 3, options=manager)
    for one in cluster.nodes:
        make_sessions(one, 20)
    cluster.wait_settled()
    cluster[2].kill9()
    wait_until(lambda: cluster[0].lost("n3"), 20, "n3 is gone")
    cluster.wait_settled()

    def agree():
        """None of them changes while the others are read: else once more."""
        node = cluster[0]
        before, metrics, page, after = (node.status(), prometheus(node), html(node),
                                        node.status())
        if before["counters"] != after["counters"] or before["store"] != after["store"]:
            # heartbeats are counted all the time; compare what stands still
            pass
        for name in ("created", "changed", "invalidated", "refused_full", "transfers"):
            if before["counters"][name] == after["counters"][name]:
                assert value(metrics, f"{name}_total") == before["counters"][name]
                assert re.search(rf"<code>{name}</code></th><td[^>]*>"
                                 rf"{before['counters'][name]:,}</td>", page), name
        for name in ("sessions", "proxies", "tombstones"):
            assert value(metrics, name) == before["store"][name]
        assert value(metrics, "store_bytes") == before["store"]["bytes"]
        for c in before["contexts"]:
            for field in ("sessions", "primaries", "backups", "proxies", "tombstones", "bytes"):
                assert value(metrics, f"context_{field}", context=c["name"]) == c[field]
            cells = re.search(rf"<bdi>{c['name']}</bdi></th>(.*)</tr>", page).group(1)
            assert re.findall(r">([^<>]+)</td>", cells)[:4] == [
                f"{n:,}" for n in (c["sessions"], c["primaries"], c["replicas"], c["proxies"])]
        for m in before["view"]["members"]:
            labels = {"member": m["route"], "role": m["role"],
                      "address": f"{m['host']}:{m['port']}"}
            assert value(metrics, "member_alive", **labels) == (m["state"] == "alive")
            assert value(metrics, "member_lagging", **labels) == m["lagging"]
            row = re.search(rf"<bdi>{m['route']}</bdi>.*</tr>", page).group(0)
            assert ("gone" in row) == (m["state"] == "gone")
        states = {m["route"]: m["state"] for m in before["view"]["members"]}
        assert states == {"n1": "alive", "n2": "alive", "n3": "gone"}
        assert value(metrics, "nodes_alive") == 2
        assert value(metrics, "state", state="ready") == 1
        assert sum(v for (n, _), v in metrics.items() if n == "session_cluster_state") == 1
        assert "2 of 3" in page
        for e in before["events"][-5:]:
            assert e["time"][11:19] + " UTC" in page
    agree()


def test_events_and_lag(farm):
    """What happens to a member is told, in order; one that hangs owes its acknowledgements."""
    cluster = make(farm, 3)
    watcher, other = cluster[0], cluster[1]
    for what in (("ready", ""), ("joined", "n2"), ("joined", "n3")):
        wait_until(lambda w=what: w in events(watcher), 20, what)
    wait_until(lambda: all(m["leased"] for m in watcher.status()["view"]["members"]
                           if not m["self"]), 20, "all are leased")
    cluster[2].freeze()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: watcher.client().op("set=a:1"))
        wait_until(lambda: any(m["lag_ms"] > 200 for m in watcher.status()["view"]["members"]
                               if m["route"] == "n3"), 15, "a lag", pause=0.02)
        writing.result()
    wait_until(lambda: ("gone", "n3") in events(watcher), 20, "n3 is gone")
    said = list(reversed(events(watcher)))
    assert said.index(("lagging", "n3")) < said.index(("gone", "n3"))
    assert ("suspected", "n3") in said
    cluster[2].thaw()
    wait_until(lambda: watcher.sees("n2", "n3"), 20, "n3 is back")
    other.stop()
    wait_until(lambda: events(watcher)[:3].count(("left", "n2")), 20, "n2 has left")
    sequence = [e["seq"] for e in watcher.status()["events"]]
    assert sequence == sorted(sequence, reverse=True)
    # they outlive the engine
    engine = watcher.kill_engine()
    watcher.wait_new_engine(engine)
    assert ("left", "n2") in events(watcher) and ("engine_started", "") in events(watcher)


def test_rates(farm):
    cluster = make(farm, 2)
    with Load(cluster[0].port, clients=20, rate=100) as load:
        load.run_for(4)
        wait_until(lambda: cluster[0].status()["rates"]["changed"] > 10, 15, "a rate")
    rates = cluster[0].status()["rates"]
    assert rates["bytes_out"] > 1000 and rates["seconds"] <= 12
    wait_until(lambda: cluster[0].status()["rates"]["changed"] == 0, 30, "it is quiet again")


def test_without_an_engine(farm):
    httpd = farm.httpd("plain").start()
    page = httpd.client().get(PAGE)
    assert page.status == 503 and "no engine" in page.text
    assert "error" in httpd.client().get(PAGE + "?json").json()
    metrics = httpd.client().get(PAGE + "?prometheus")
    assert metrics.status == 503 and "\nsession_cluster_up 0\n" in metrics.text
    assert post(httpd, action="drain").status == 403


def test_alone(farm):
    """No cluster, nothing to drain."""
    node = farm.node(extra=ACTIONS).start()
    assert "Drain this node" not in html(node)
    result = act(node, "drain")
    assert not result["done"] and node.status()["node"]["state"] == "ready"
    cookie = make_sessions(node, 1)[0]
    found = act(node, "lookup", id=cookie)["sessions"]
    assert [f["role"] for f in found] == ["primary"]


def test_mod_status(farm):
    node = farm.node(modules=["status"], extra="<Location /server-status>\n"
                     "  SetHandler server-status\n  Session Off\n</Location>\n").start()
    make_sessions(node, 3)
    auto = dict(line.split(": ", 1) for line in
                node.client().get("/server-status?auto").text.splitlines() if ": " in line)
    assert auto["ClusterState"] == "ready" and auto["ClusterSessions"] == "3"
    ours = {name for name in auto if name.startswith("Cluster")}
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        documented = set(re.findall(r"`(Cluster\w+)`", f.read()))
    assert ours == {n for n in documented if not re.match("Cluster(Store|Deployer)", n)}
    page = node.client().get("/server-status").text
    assert "<h2>Session cluster</h2>" in page and "3 sessions here" in page


def test_headers_and_refresh(farm):
    node = farm.node().start()
    for query in ("", "?json", "?prometheus"):
        reply = node.client().get(PAGE + query)
        assert reply.header("Cache-Control") == "no-store"
        assert reply.header("X-Content-Type-Options") == "nosniff"
        assert node.client().request(PAGE + query, method="HEAD").body == b""
    policies = {node.client().get(PAGE).header("Content-Security-Policy") for _ in range(3)}
    assert len(policies) == 3, "a nonce is used once"
    for policy in policies:
        assert re.fullmatch(r"default-src 'none'; style-src 'nonce-[0-9a-f]{32}'; img-src data:; "
                            r"form-action 'self'; base-uri 'none'; frame-ancestors 'none'", policy)
    for asked, given in (("5", "5"), ("1", "2"), ("99999", "3600"), ("0", None), ("-3", None),
                         ("5;url=http://evil.example/", "5"), ("x", None), ('5"><b>', None)):
        page = node.client().get(f"{PAGE}?refresh={asked.replace('>', '%3E').replace('<', '%3C')}"
                                 ).text
        found = re.findall(r'http-equiv="refresh" content="([^"]*)"', page)
        assert found == ([given] if given else []), asked
        assert "evil.example" not in page
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        reply = node.client().request(PAGE, method=method)
        assert reply.status == 405, method
    assert "<script" not in html(node) and "javascript:" not in html(node)


# ---- hostile names -------------------------------------------------------------------------------

BAD_CONTEXT = "a&<b>\\\"'</script>%22"
BAD_ROUTE = b"\"><script>alert(1)</script>\\"


def test_hostile_names(farm):
    """Names from the configuration, and of a stranger on a group without a secret."""
    group = f"multicast address=239.255.77.79 port={free_port()} bind=127.0.0.1 " \
            "frequency=200 dropTime=1500"
    cluster = farm.cluster(1, membership=group, options="SessionClusterSecret none\n")
    node = cluster[0]
    escaped = BAD_CONTEXT.replace("\\", "\\\\").replace('"', '\\"')
    node.extra = f'SessionClusterContext "{escaped}"\n' + ACTIONS
    cluster.start()
    cookie = make_sessions(node, 1)[0]
    assert [c["name"] for c in node.status()["contexts"]] == [BAD_CONTEXT]
    stranger = Tomcat()
    port = int(re.search(r"port=(\d+)", group).group(1))
    begin = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))

        def beat():
            s.sendto(announcement(("127.0.0.1", stranger.port), BAD_ROUTE,
                                  f"http://127.0.0.1:{stranger.port}/<i>&\"'".encode(),
                                  uid=stranger.uid,
                                  alive=int((time.monotonic() - begin) * 1000) + 5),
                     ("239.255.77.79", port))
            return ("joined", BAD_ROUTE.decode()) in events(node)
        wait_until(beat, 20, "the stranger joined", pause=0.2)
        beat()
        status, page, metrics = node.status(), html(node), prometheus(node)
    stranger.close()
    assert BAD_ROUTE.decode() in {m["route"] for m in status["view"]["members"]}
    assert any(("member", BAD_ROUTE.decode()) in labels for _, labels in metrics)
    assert value(metrics, "context_sessions", context=BAD_CONTEXT) == 1
    looked = act(node, "lookup", id=cookie, context=BAD_CONTEXT)
    assert looked["sessions"][0]["context"] == BAD_CONTEXT
    answer = post(node, page=PAGE, action="lookup", id=cookie, nonce=nonce(node)).body.decode()
    for text in (page, answer):
        assert "<script" not in text and "<b>" not in text and "<i>" not in text
        assert BAD_CONTEXT not in text and BAD_ROUTE.decode() not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert "a&amp;&lt;b&gt;" in text


# ---- one session ---------------------------------------------------------------------------------

def test_lookup(farm, manager):
    cluster = make(farm, 3, options=manager)
    browser = cluster[0].client()
    browser.op("set=secret_name:secret_value")
    cookie, ident = browser.cookies["SID"], browser.id
    for node in cluster.nodes:
        wait_until(lambda n=node: act(n, "lookup", id=cookie)["done"], 10, "it is known")
    roles = Counter()
    for node in cluster.nodes:
        for text in (cookie, browser.id, f' "{cookie}" '):
            result = act(node, "lookup", id=text)
            assert result["done"] and len(result["sessions"]) == 1, (node.name, text)
        one = result["sessions"][0]
        roles[one["role"]] += 1
        assert one["context"] == "localhost" and one["primary"] == "n1"
        assert one["id"] == browser.id[:4] + "..."
        if one["state"] == "live":
            assert 20 < one["bytes"] < 200 and one["age_s"] < 120 and 1600 < one["left_s"] <= 1800
        page = post(node, page=PAGE, action="lookup", id=cookie, nonce=nonce(node)).body.decode()
        assert f"<code>{browser.id[:4]}...</code>" in page
        for text in (page, str(result)):
            assert browser.id not in text and cookie not in text and "secret" not in text
    assert roles == ({"primary": 1, "backup": 1, "proxy": 1} if "backup" in manager
                     else {"primary": 1, "replica": 2})
    browser.op("clear=1")
    assert act(cluster[1], "lookup", id=cookie)["sessions"][0]["state"] == "ended"
    assert act(cluster[1], "lookup", id="A" * 32)["sessions"] == []
    assert not any(ident in one.log() for one in cluster.nodes), "an id in the log"


@pytest.mark.parametrize("text", ["", "x", "0" * 31, "0" * 33, "<script>", "a" * 32, "%00", "0" * 2000,
                                  "'; DROP TABLE", "0" * 32 + "\n" + "1" * 32 + "x" * 200])
def test_what_is_no_id(shared_farm, text):
    node = shared_farm.instances[0] if shared_farm.instances else \
        shared_farm.node(extra=ACTIONS).start()
    for action in ("lookup", "expire"):
        reply = post(node, action=action, id=text, nonce=nonce(node))
        assert reply.status == 200 and reply.json()["result"]["sessions"] == []
        assert not reply.json()["result"]["done"]
        page = post(node, page=PAGE, action=action, id=text, nonce=nonce(node)).text
        assert len(text) < 3 or text not in page
    assert node.state() == "ready"


def test_expire(farm, manager):
    """Whoever had the session is logged out, on all nodes, and others are not."""
    cluster = make(farm, 3, options=manager)
    browser, other = cluster[0].client(), cluster[0].client()
    browser.op("set=user:ann")
    other.op("set=user:bob")
    cluster.wait_settled()
    before = cluster[2].count("status_actions")
    result = act(cluster[2], "expire", id=browser.cookies["SID"])
    assert result["done"], result
    for node in cluster.nodes:
        assert node.client(cookies=browser.cookies).values() == {}, node.name
        assert node.client(cookies=other.cookies).values() == {"user": "bob"}
    assert not act(cluster[1], "expire", id=browser.cookies["SID"])["done"], "it has ended"
    assert not act(cluster[1], "expire", id=other.cookies["SID"], context="no such")["done"]
    assert cluster[2].count("status_actions") == before + 1
    line = cluster[2].wait_log(r".*SC1104.*to be ended.*").group(0)
    assert browser.id not in line and browser.id[:4] in line


# ---- draining ------------------------------------------------------------------------------------

def test_drain_under_load(farm, manager):
    """Nobody notices: no request fails, what was under way ends where it began, new requests go
    elsewhere; and it all ends with undrain."""
    cluster = make(farm, 3, balancers=2, options=manager)
    front, node = cluster.balancer, cluster[1]
    long, mover = make_sessions(node, 2)
    make_sessions(node, 200)
    cluster.wait_settled()

    def where():
        return front.client().op("set=a:1").json()["route"]
    with Load(front.port, clients=60, rate=150) as load, ThreadPoolExecutor(1) as pool:
        load.run_for(2)
        running = pool.submit(lambda: front.client(cookies={"SID": long}).op("sleep=2500&set=b:1"))
        load.run_for(0.5)
        assert act(node, "drain")["done"]
        for one in cluster.balancers:
            wait_until(lambda o=one: [m["node_state"] for m in o.status()["view"]["members"]
                                      if m["route"] == "n2"] == ["draining"], 10, "told")
        drained = time.monotonic()
        load.run_for(3)
        assert running.result().json()["route"] == "n2"
        ended = time.monotonic()
        assert not [r for r in load.records if r.start > drained + 0.5 and
                    r.extra.get("route") == "n2"]
        assert {where() for _ in range(12)} <= {"n1", "n3"}
        if "backup" in manager:
            wait_until(lambda: primaries(node) == 0, 20, "all given away")
        browser = front.client(cookies={"SID": mover})
        moved = browser.op("set=b:1").json()["route"]
        assert moved in ("n1", "n3")
        wait_until(lambda: browser.op("") and browser.route == moved, 10, "the cookie says so")
        assert act(node, "undrain")["done"]
        wait_until(lambda: where() == "n2", 20, "it serves again")
    assert not load.failures(), load.failures()[:5]
    assert load.check_counters() > 200
    assert load.check_ids() == 60
    served = Counter(r.extra["route"] for r in load.records if drained < r.start < ended)
    assert served["n1"] and served["n3"], served
    assert {k for k, _ in events(cluster[0])} >= {"draining"}
    reply = browser.op("")
    assert reply.json()["route"] == moved and reply.values == {"a": "1", "b": "1"}, "it stays there"
    assert front.client(cookies={"SID": long}).values() == {"a": "1", "b": "1"}


def test_drained_and_stopped(farm, manager):
    """That is what it is for: nothing is lost when it stops, whoever served it before."""
    cluster = make(farm, 3, balancers=1, options=manager)
    node, front = cluster[1], cluster.balancer
    cookies = make_sessions(node, 100)
    cluster.wait_settled()
    assert act(node, "drain")["done"]
    if "backup" in manager:
        wait_until(lambda: primaries(node) == 0, 20, "all given away")
    with Load(front.port, clients=20, rate=60) as load:
        load.run_for(1)
        assert node.stop()
        load.run_for(1)
    assert not load.failures(), load.failures()[:5]
    replies = pipeline(front.port, [("", c) for c in cookies])
    assert all(r.status == 200 and r.values == {"a": "1"} for r in replies)


def test_drained_over_restarts(farm, manager):
    """It outlives the engine and restarts of httpd, not a stop."""
    cluster = make(farm, 2, options=manager)
    node = cluster[0]
    before = nonce(node)
    assert act(node, "drain")["done"]

    def drains():
        return node.state() == "draining" and [
            m["node_state"] for m in cluster[1].status()["view"]["members"]
            if m["route"] == "n1" and m["state"] == "alive"] == ["draining"]
    wait_until(drains, 10, "it drains")
    node.restart()
    wait_until(drains, 20, "after a graceful restart")
    assert nonce(node) == before, "pages that are open still work"
    engine = node.engine_pid()
    node.kill_engine()
    wait_until(lambda: node.engine_pid() != engine and drains(), 20, "another engine")
    import signal  # pylint: disable=import-outside-toplevel
    node.restart(signal.SIGHUP)
    wait_until(drains, 20, "after a hard restart")
    assert node.stop()
    node.start()
    assert node.state() == "ready" and not node.status()["node"]["draining"]
    assert nonce(node) != before


def test_all_drain(farm):
    """There is nobody else: they serve."""
    cluster = make(farm, 2, balancers=1)
    for node in cluster.nodes:
        assert act(node, "drain")["done"]
    wait_until(lambda: Counter(m["node_state"] for m in cluster.balancer.status()["view"]["members"]
                               if m["role"] == "node") == {"draining": 2}, 10, "told")
    browser = cluster.balancer.client()
    for i in range(6):
        browser.op(f"set=a:{i}")
    assert browser.values() == {"a": "5"}


# ---- what is refused -----------------------------------------------------------------------------

def refusals(node):
    return node.count("status_refused")


WANTED = [("drain", {}), ("undrain", {}), ("expire", {"id": "0" * 32}), ("lookup", {"id": "0" * 32})]


@pytest.mark.parametrize("action,fields", WANTED, ids=[w[0] for w in WANTED])
def test_actions_are_guarded(farm, action, fields):
    cluster = make(farm, 2)
    node = cluster[0]
    good = nonce(node)
    here = f"127.0.0.1:{node.port}"
    count = refusals(node)

    def refused(status, headers=None, body=None, **more):
        nonlocal count
        sent = {"action": action, **fields, "nonce": good, **more}
        sent = {k: v for k, v in sent.items() if v is not None}
        reply = node.client().post(PAGE, urlencode(sent) if body is None else body,
                                   headers={**FORM, **(headers or {})})
        assert reply.status == status, (headers, more, reply)
        count += 1
        assert refusals(node) == count
        assert node.state() == "ready"
    # the nonce
    refused(403, nonce=None)
    refused(403, nonce="")
    refused(403, nonce=good[:-1])
    refused(403, nonce=good + "0")
    refused(403, nonce=good.upper() if good.upper() != good else "0" * 32)
    refused(403, nonce=nonce(cluster[1]))
    # where it comes from
    for url in ("http://evil.example", "null", f"http://{here}.evil.example",
                f"http://evil.example/{here}", "", f"ftp://{here}", f"http://user@{here}",
                "http://127.0.0.1:1"):
        refused(403, {"Origin": url})
    refused(403, {"Referer": "http://evil.example/" + PAGE})
    refused(403, {"Referer": f"http://evil.example/?http://{here}/"})
    for site in ("cross-site", "same-site", "none", ""):
        refused(403, {"Sec-Fetch-Site": site})
    refused(403, {"Origin": f"http://{here}", "Sec-Fetch-Site": "cross-site"})
    # what it is
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/json", "",
                 "application/x-www-form-urlencodedx"):
        refused(415, {"Content-Type": kind})
    refused(413, junk="x" * 5000)
    # what is in it
    for body in ("", "&&&", "action", "=", f"nonce={good}", f"nonce={good}&action=",
                 f"nonce={good}&action=reboot", f"nonce={good}&nonce={good}&action={action}",
                 f"nonce={good}&action={action}&action={action}&id={'0' * 32}",
                 f"nonce={good}&action={action}&id={'0' * 32}&what=1",
                 f"nonce={good}&action={action}%00&id={'0' * 32}", f"nonce={good}&action=%zz",
                 "\0" * 10):
        if body == f"nonce={good}" or "nonce" in body:
            refused(400, body=body)
        else:
            refused(403 if body in ("", "&&&") else 400, body=body)
    # and as it should be: a browser's headers, another spelling of the type
    reply = post(node, {"Origin": f"http://{here}", "Referer": f"http://{here}{PAGE}?refresh=5",
                        "Sec-Fetch-Site": "same-origin",
                        "Content-Type": "Application/X-WWW-Form-Urlencoded; charset=utf-8"},
                 action=action, nonce=good, **fields)
    assert reply.status == 200, reply
    assert refusals(node) == count
    lines = re.findall(r"SC1103", node.log())
    assert 1 <= len(lines) < count, "a flood writes a line in a while"


def test_chunked_bodies(farm):
    """Without a length they are bounded, too."""
    node = farm.node(extra=ACTIONS).start()
    for size, status in ((100, 400), (4096, 400), (4097, 413), (1 << 20, 413)):
        with socket.create_connection(("127.0.0.1", node.port), timeout=20) as s:
            s.sendall(f"POST {PAGE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                      "Content-Type: application/x-www-form-urlencoded\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n".encode())
            try:
                for at in range(0, size, 4096):
                    n = min(4096, size - at)
                    s.sendall(f"{n:x}\r\n".encode() + b"x" * n + b"\r\n")
                s.sendall(b"0\r\n\r\n")
            except OSError:
                pass  # it has said enough
            assert s.makefile("rb").readline().split()[1] == str(status).encode(), size
    assert node.state() == "ready"


def test_nothing_is_allowed_by_default(farm):
    """Only the look-up is there, and buttons for nothing else."""
    cluster = farm.cluster(2).start()
    node = cluster[0]
    browser = node.client()
    browser.op("set=a:1")
    page = html(node)
    assert 'value="lookup"' in page
    assert 'value="drain"' not in page and 'value="expire"' not in page
    assert node.status()["actions"]["enabled"] is False
    for action, fields in (("drain", {}), ("undrain", {}), ("expire", {"id": browser.id})):
        assert post(node, action=action, nonce=nonce(node), **fields).status == 403
    assert refusals(node) == 3 and node.count("status_actions") == 0
    assert act(node, "lookup", id=browser.id)["done"]
    assert node.state() == "ready" and browser.values() == {"a": "1"}
    # where it is allowed, Require says to whom
    node.extra = (f"<Location {PAGE}>\n  SessionClusterStatusActions On\n"
                  "  <RequireAll>\n    Require all granted\n    Require not method POST\n"
                  "  </RequireAll>\n</Location>\n")
    node.restart()
    assert node.status()["actions"]["enabled"] is True
    assert post(node, action="drain", nonce=nonce(node)).status == 403
    assert node.state() == "ready"


# ---- in a browser --------------------------------------------------------------------------------

OVERFLOW = ("[document.documentElement.scrollWidth, innerWidth, "
            "...[...document.querySelectorAll('body *')].filter(e => e.clientWidth && "
            "!(e.closest('table.cards thead') && innerWidth < 700) && "
            "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))]")


@pytest.fixture
def window(workspace):
    assert CHROMIUM, "no Chromium: sh build/deps.sh installs it"
    opened = Browser(workspace)
    yield opened
    opened.close()


def test_in_a_browser(farm, window):
    """At a desk and on a phone, light and dark: nothing sticks out, nothing is complained about;
    and its forms do what they say."""
    long = "s" * 127
    cluster = farm.cluster(3, options="SessionClusterManager backup\n", balancers=1, **ROOMY)
    for one in cluster.nodes:
        one.extra = ACTIONS + f"<Location /t/long>\n  SessionClusterContext {long}\n</Location>\n"
        announce(one, f"http://*:{one.port}/{'p' * 60}")
    cluster.start()
    cluster.wait_settled()
    node = cluster[0]
    browser = node.client()
    browser.op("set=a:1")
    browser.op("set=a:1", path="/t/long")
    cluster[2].kill9()
    wait_until(lambda: node.lost("n3"), 20, "n3 is gone")
    home = f"http://127.0.0.1:{node.port}{PAGE}"

    def fine():
        wide = window.run(OVERFLOW)
        assert wide[0] <= wide[1] and not wide[2:], wide
        assert not window.errors, window.errors
    for size in (PHONE, (320, 640), DESK):
        for dark in (False, True):
            window.look(size, dark)
            for url in (home, f"http://127.0.0.1:{cluster.balancer.port}{PAGE}"):
                window.go(url)
                window.run("document.querySelectorAll('details').forEach(d => d.open = true)")
                fine()
                background = window.run("getComputedStyle(document.body).backgroundColor")
                assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == dark
    window.look(DESK)
    window.go(home)
    text = window.text()
    for word in ("n1", "ready", "Member n3 is gone", "2 of 3", "Recent events", "Degraded"):
        assert word in text, word
    # what screen readers go by
    assert window.run("[...document.querySelectorAll('table')].every(t => t.caption && "
                      "t.querySelector('th[scope=col]') && t.querySelector('th[scope=row]'))")
    assert window.run("[...document.querySelectorAll('input:not([type=hidden]),select')]"
                      ".every(e => e.labels.length === 1)")
    # numbers stand under their headings
    assert window.run("[...document.querySelectorAll('td.n')].every(e => "
                      "getComputedStyle(e).textAlign === 'right')")
    window.run(f"document.querySelector('input[name=id]').value = {browser.cookies['SID']!r}")
    window.click("button[value=lookup]")
    fine()
    assert "This is what this node knows" in window.text()
    assert browser.id not in window.run("document.documentElement.outerHTML")
    assert browser.id not in window.run("location.href")
    window.run(f"document.querySelector('input[name=id]').value = {browser.id!r}")
    window.click("button[value=expire]")
    assert "The session is ended" in window.text()
    assert browser.values() == {}
    window.click("button[value=drain]")
    fine()
    assert "This node drains" in window.text()
    assert node.state() == "draining"
    window.go(home)
    window.click("button[value=undrain]")
    assert "takes new sessions again" in window.text()
    assert node.state() == "ready" and refusals(node) == 0


def test_another_site_in_a_browser(farm, window):
    """A page of somebody else has learned the nonce, somehow, and posts a form with it."""
    cluster = make(farm, 2)
    node, evil = cluster[0], cluster[1]
    form = (f"<form method=post action='http://127.0.0.1:{node.port}{PAGE}'>"
            f"<input name=action value=drain><input name=nonce value={nonce(node)}>"
            "<button>win</button></form>")
    with open(os.path.join(evil.htdocs, "evil.html"), "w", encoding="utf-8") as f:
        f.write(form)
    window.go(f"http://127.0.0.1:{evil.port}/evil.html")
    window.click("button")
    assert "Forbidden" in window.text()
    assert refusals(node) == 1 and node.state() == "ready"
