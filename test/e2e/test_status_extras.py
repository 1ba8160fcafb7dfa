# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The status page's sections about the central store and the deployer, and what mod_status says of
them."""

import html as markup
import os
import re

import pytest

from browser import DESK, PHONE
from node import wait_until
from stores import Redis
from test_deployer import BLOCK, LONG, Deployment, content
from test_status import ACTIONS, OVERFLOW, PAGE, ROOT, act, html, prometheus, value, window
from test_store import MODULES, manager

assert window  # a fixture
BAD_FILE = "a&b/<script>alert(1)</script>\"'%22.html"
SERVER_STATUS = ("<Location /server-status>\n  SetHandler server-status\n  Session Off\n"
                 "</Location>\n")


@pytest.fixture
def redis():
    one = Redis()
    try:
        yield one.start()
    finally:
        one.close()


def auto(node):
    lines = node.client().get("/server-status?auto").text.splitlines()
    return {name: text for name, text in (line.split(": ", 1) for line in lines if ": " in line)
            if name.startswith("Cluster")}


def visible(page):
    """What is between tags."""
    return markup.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page)))


def row(page, what):
    """The second cell of the row that begins so."""
    found = re.search(rf"<th[^>]*>{re.escape(what)}[^<]*</th><td[^>]*>(.*?)</td>", page)
    return found and re.sub(r"<[^>]*>", "", found.group(1))


def fact(page, name):
    """Value and small print of a fact."""
    found = re.search(rf"<dt>{name}</dt><dd>(.*?)<small>(.*?)</small></dd>", page, re.S)
    return tuple(re.sub(r"<[^>]*>", "", text) for text in found.groups())


def section(page, title):
    return re.search(rf"<section><h2[^>]*>{title}</h2>.*?</section>", page, re.S).group(0)


# ---- the central store ---------------------------------------------------------------------------

def test_central_store(farm, redis):
    node = farm.node(modules=MODULES + ["status"], extra=SERVER_STATUS + ACTIONS,
                     directives=manager(redis.provider, "timeout=3000")).start()
    central = node.status()["central"]
    assert central["on"] and central["answers"] and central["silent_s"] is None
    assert central["takes_us"] == 0 and central["provider"] == redis.provider
    assert fact(html(node), "Store")[0] == "not asked yet"
    browser = node.client()
    assert browser.values("set=a:1") == {"a": "1"}
    for _ in range(3):  # right after a write, so none of these is written
        assert browser.values() == {"a": "1"}
    page = section(html(node), "Central store")
    counters = node.status()["counters"]
    assert counters["central_coalesced"] >= 3
    assert fact(page, "Store") == ("answers", "waited for 3000 ms at most")
    assert re.fullmatch(r"[0-9.]+ (ms|&micro;s)", fact(page, "Answers in")[0])
    assert fact(page, "Sessions read")[0] == str(counters["central_reads"])
    assert fact(page, "Values written")[0] == str(counters["central_writes"])
    assert row(page, "Accesses not written, within 30 s") == str(counters["central_coalesced"])
    assert row(page, "Conflicts") == "0" and row(page, "Requests refused with 503") == "none"
    for word in (redis.provider, "scsession", "127.0.0.1"):
        assert word in visible(page), word
    for part in ("One session", "session space is known", "Bytes sent"):
        assert part not in html(node)
    assert "<code>central_reads</code>" in html(node)
    for action in ("lookup", "expire"):  # it is there, only not here: nobody is told "no"
        result = act(node, action, id=browser.cookies["SID"])
        assert not result["done"] and "in the central store" in result["message"]
    metrics = prometheus(node)
    assert value(metrics, "central_answers") == 1 and value(metrics, "central_takes_seconds") > 0
    assert auto(node)["ClusterStoreAnswers"] == "1" and "ClusterDeployerFiles" not in auto(node)
    assert f"{redis.provider} answers" in visible(node.client().get("/server-status").text)

    redis.freeze()
    assert browser.op("", status=503)
    wait_until(lambda: node.status()["central"]["silent_s"] is not None, 20, "it is silent")
    page = html(node)
    assert node.status()["central"]["answers"] is False
    assert "The central store has not answered for" in page and "refused with 503" in page
    assert fact(page, "Store")[0] == "does not answer" and fact(page, "Store")[1].startswith("for ")
    assert int(row(page, "Requests refused with 503")) >= 1
    assert value(prometheus(node), "central_answers") == 0
    said = auto(node)
    assert said["ClusterStoreAnswers"] == "0" and int(said["ClusterStoreUnreachable"]) >= 1
    assert f"{redis.provider} does not answer, for" in \
        visible(node.client().get("/server-status").text)
    redis.thaw()

    def answers():
        browser.get("/t")
        return node.status()["central"]["answers"]
    wait_until(answers, 20, "it answers again")
    assert fact(html(node), "Store")[0] == "answers"
    assert "has not answered" not in html(node)


def test_hostile_provider(farm):
    """Names from the configuration are escaped; what may be a password is not shown."""
    node = farm.node(modules=MODULES, directives=manager("dbm:/tmp/nowhere/<b>user:word@x&y")
                     .replace("timeout=10000", "prefix=a-b_c"))
    node.directives = node.directives.replace("/tmp/nowhere/", node.root + "/")
    node.start()
    assert node.client().values("set=a:1") == {"a": "1"}
    page = html(node)
    assert "<bdi>dbm:...@x&amp;y</bdi>" in page and "word" not in section(page, "Central store")
    assert node.status()["central"]["provider"] == "dbm:...@x&y"
    assert fact(page, "Store") == ("answers", "in this machine")


# ---- the deployer --------------------------------------------------------------------------------

def test_deployer(farm):
    made = Deployment(farm, n=2, start=False, maxRate="64K", blockSize="16K")
    for node in made.nodes:
        node.modules = [*node.modules, "status"]
        node.extra = SERVER_STATUS
    for node, command in zip(made.nodes, ("/bin/true", "/bin/sh -c 'exit 3'")):
        node.directives = node.directives.replace(
            "SessionClusterDeployer ", f'SessionClusterDeployer "command={command}" ')
    made.cluster.start()
    giver, taker = made.nodes
    wait_until(lambda: giver.status()["deployer"]["watching"], LONG, "it watches")
    assert fact(html(giver), "Deployer")[0] == "watches"
    assert fact(html(taker), "Deployer")[0] == "receives"
    assert fact(html(giver), "Still to come") == ("none", "no batch yet")
    size = 200 * BLOCK  # minutes at that rate
    made.places[0].put(BAD_FILE, content(size))

    def way(node, direction):
        found = node.status()["deployer"][direction]
        return found["file"] == BAD_FILE and found["done"] > 0 and found
    wait_until(lambda: way(taker, "receiving") and way(giver, "sending"), LONG, "it is on its way")
    received, given = way(taker, "receiving"), way(giver, "sending")
    assert received and given, "minutes are over"
    assert received["size"] == given["size"] == size and received["done"] < size
    assert received["member"].startswith("n1 (") and given["member"].startswith("n2 (")
    for node, between in ((taker, "from n1"), (giver, "to n2")):
        page = html(node)
        assert "<script" not in page and BAD_FILE not in page
        part = section(page, "Farm deployment")
        assert "<bdi>a&amp;b/&lt;script&gt;alert(1)&lt;/script&gt;" in part
        assert f"{between} (" in visible(part) and " of 12.5 MiB" in visible(part)
        assert re.search(r'<progress max="1000" value="[1-9]\d{0,2}"', part)
    assert fact(html(taker), "Still to come")[0] == "1"
    assert int(auto(taker)["ClusterDeployerWaiting"]) == 1
    assert "files here, 1 still to come" in visible(taker.client().get("/server-status").text)
    # it begins anew without what has come
    made.places[0].remove(BAD_FILE)
    made.places[0].put("small", b"1\n")
    made.all_have({"small": b"1\n"})
    wait_until(lambda: {n.status()["deployer"]["command"] for n in made.nodes} == {"done", "exit"},
               LONG, "commands")
    wait_until(lambda: not any(n.status()["deployer"][d]["file"] for n in made.nodes
                               for d in ("receiving", "sending")), LONG, "nothing is on its way")
    wait_until(lambda: len({n.status()["deployer"]["version"] for n in made.nodes} - {""}) == 1,
               LONG, "the same version")
    after = taker.status()["deployer"]
    assert after["command_code"] == 3 and after["batch_s_ago"] is not None
    assert re.fullmatch("[0-9a-f]{8}", after["version"])
    page = html(taker)
    assert fact(page, "Last command")[0] == "exit code 3" and " ago" in fact(page, "Last command")[1]
    assert fact(page, "Version")[0] == after["version"]
    assert "<progress" not in page and "On its way" not in page
    assert "deployed files has failed" in page and "deployed files has failed" not in html(giver)
    assert row(page, "Commands that failed") == "1" and row(page, "Files placed") == "1"
    assert fact(html(giver), "Last command")[0] == "good"
    assert value(prometheus(taker), "deployer_command_failed") == 1
    assert value(prometheus(giver), "deployer_command_failed") == 0
    # directories, as they are configured
    dirs = made.places[0].dirs
    assert f"{dirs['watch']} is watched, files come to {dirs['deploy']} ." in visible(html(giver))
    assert dirs["watch"] not in html(taker)
    # what an engine has told stays when another one comes
    engine = taker.kill_engine()
    taker.wait_new_engine(engine)
    wait_until(lambda: taker.status()["deployer"]["running"], LONG, "the deployer runs again")
    assert taker.status()["deployer"]["command"] == "exit"
    # a directory that is gone
    os.rename(dirs["watch"], dirs["watch"] + ".away")
    wait_until(lambda: giver.status()["deployer"]["blind"], LONG, "it is told")
    assert fact(html(giver), "Deployer")[0] == "cannot look"
    assert "watchDir cannot be read" in html(giver)


def test_shown_only_when_configured(farm):
    node = farm.node(modules=["status"], extra=SERVER_STATUS).start()
    page = html(node)
    assert "Central store" not in page and "Farm deployment" not in page
    assert "central_reads" not in page
    assert not [n for n in auto(node) if "Store" in n or "Deployer" in n]
    assert node.status()["central"] == {"on": False, "provider": "", "prefix": "",
                                        "answers": False, "silent_s": None, "takes_us": 0}
    assert "entral store" not in node.client().get("/server-status").text


# ---- both, in a browser --------------------------------------------------------------------------

def photograph(window, name):  # pylint: disable=redefined-outer-name
    """For people to look at, into the folder that SC_PICTURES names: the page, and the sections."""
    folder = os.environ.get("SC_PICTURES")
    if not folder:
        return
    window.screenshot(os.path.join(folder, name + ".png"))
    for part in ("store", "deployer"):
        box = window.run(f"(r => [r.y + scrollY, r.height])(document.getElementById('{part}')"
                         ".parentElement.getBoundingClientRect())")
        window.screenshot(os.path.join(folder, f"{name}-{part}.png"), box)


def test_in_a_browser(farm, redis, window):  # pylint: disable=redefined-outer-name
    """The longest of everything, on a phone and at a desk; and the names of mod_status' lines are
    those of the README."""
    made = Deployment(farm, n=2, start=False, maxRate="64K", blockSize="16K")
    for node in made.nodes:
        node.modules = [*node.modules, *MODULES, "status"]
        node.extra = SERVER_STATUS
        node.directives += manager(redis.provider, "timeout=3000")
        node.directives = node.directives.replace(
            "SessionClusterDeployer ", "SessionClusterDeployer command=/bin/false ")
    made.cluster.start()
    giver, taker = made.nodes
    name = "/".join(["d" * 60, "e" * 80, "<i>" + "f" * 90 + "&.html"])
    made.places[0].put("first", b"1\n")
    made.all_have({"first": b"1\n"})
    wait_until(lambda: taker.status()["deployer"]["command"] == "exit", LONG, "a command")
    made.places[0].put(name, content(200 * BLOCK))
    browser = taker.client()
    browser.op("set=a:1")
    browser.values()
    wait_until(lambda: taker.status()["deployer"]["receiving"]["file"] == name, LONG, "on its way")
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        assert set(auto(taker)) == set(re.findall(r"`(Cluster\w+)`", f.read()))
    redis.freeze()
    assert browser.op("", status=503)
    for size in (PHONE, (320, 640), DESK):
        for dark in (False, True):
            window.look(size, dark)
            for node in (taker, giver):
                window.go(f"http://127.0.0.1:{node.port}{PAGE}")
                wide = window.run(OVERFLOW)
                assert wide[0] <= wide[1] and not wide[2:], wide
                assert not window.errors, window.errors
                photograph(window, f"{node.name}-{size[0]}-{'dark' if dark else 'light'}")
    window.go(f"http://127.0.0.1:{taker.port}{PAGE}")
    text = window.text()
    for word in ("Central store", "does not answer", "Farm deployment", "exit code 1", "<i>fff",
                 "from n1", "Still to come"):
        assert word in text, word
    assert window.run("[...document.querySelectorAll('table')].every(t => t.caption && "
                      "t.querySelector('th[scope=col]') && t.querySelector('th[scope=row]'))")
    assert window.run("[...document.querySelectorAll('progress')].every(e => "
                      "e.getAttribute('aria-label'))")
    redis.thaw()
