# Licensed under the Apache License, Version 2.0; see LICENSE.
"""One node without a cluster: what an application and a browser see of the provider."""

import http.server
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs

import pytest

from node import PROXY_MODULES, free_port, wait_until

ID = r"[0-9A-F]{32}"
UNKNOWN = "0123456789ABCDEF0123456789ABCDEF"


def locations(backend):
    return f"""
Session On
SessionClusterCookieName SID
SessionExclude /excluded
AddOutputFilter INCLUDES .shtml
AddType text/html .shtml
ErrorDocument 404 /t?inc=errors
<LocationMatch "^/(t|excluded|age|agepeek|update|idle|filtered|other|off|rotate|attrs|env)$">
  SetHandler sc-test
</LocationMatch>
<Location /age>
  SessionClusterCookieName AGE
  SessionMaxAge 2
</Location>
<Location /agepeek>
  SessionClusterCookieName AGE
  SessionClusterFilter ^/agepeek
</Location>
<Location /update>
  SessionClusterCookieName UPD
  SessionMaxAge 100
  SessionExpiryUpdateInterval 50
</Location>
<Location /idle>
  SessionClusterCookieName IDLE
  SessionClusterMaxInactive 2
</Location>
<Location /filtered>
  SessionClusterCookieName IDLE
  SessionClusterMaxInactive 2
  SessionClusterFilter ^/filtered
</Location>
<Location /other>
  SessionClusterCookieName OTHER
</Location>
<Location /off>
  Session Off
</Location>
<Location /rotate>
  SessionClusterCookieName ROT
  SessionClusterRotateId login
</Location>
<Location /attrs>
  SessionClusterCookieName ATTRS "Path=/attrs; SameSite=Strict"
</Location>
<Location /env>
  SessionEnv On
</Location>
ScriptAlias /cgi/ "${{SRVROOT}}/htdocs/"
<Location /cgi>
  SessionEnv On
  SessionHeader X-Replace-Session
</Location>
<Location /proxied>
  SessionEnv On
  SessionHeader X-Replace-Session
  RequestHeader unset X-Session
  RequestHeader set X-Session "%{{HTTP_SESSION}}e" env=HTTP_SESSION
  ProxyPass "http://127.0.0.1:{backend}/"
</Location>
"""


class Backend(http.server.BaseHTTPRequestHandler):
    """An application server behind the node: tells what it got, answers as its query says."""

    def do_GET(self):
        query = self.path.partition("?")[2]
        body = json.dumps({k.lower(): v for k, v in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "public, max-age=1000")
        if query:
            self.send_header("X-Replace-Session", query)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def node(shared_farm):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    one = shared_farm.node("solo", session="", modules=PROXY_MODULES[:2],
                           directives="SessionClusterMaxSessionSize 8192\n")
    one.extra = f'Define SRVROOT "{one.root}"\n' + locations(server.server_address[1])
    yield one.start()
    server.shutdown()


@pytest.fixture
def browser(node):
    return node.client()


# ---- the session itself --------------------------------------------------------------------------

def test_two_lines_are_enough(farm):
    one = farm.node("tiny", session="Session On\nSessionClusterCookieName JSESSIONID\n"
                    "<Location /t>\n SetHandler sc-test\n</Location>\n").start()
    browser = one.client()
    browser.op("set=a:1")
    assert browser.values() == {"a": "1"}


def test_no_session_without_a_value(browser):
    reply = browser.op()
    assert reply.values == {}
    assert not reply.set_cookies


def test_set_get_change_remove(browser):
    assert browser.op("set=a:1&set=b:2").set_cookies["SID"]
    first = browser.id
    assert browser.values() == {"a": "1", "b": "2"}
    browser.op("set=a:3&del=b&set=c:")
    assert browser.values() == {"a": "3", "c": ""}
    assert browser.id == first


def test_names_ignore_case(browser):
    browser.op("set=Name:1")
    browser.op("set=nAmE:2")
    assert {k.lower(): v for k, v in browser.values().items()} == {"name": "2"}


@pytest.mark.parametrize("value", ["a%3Db%26c", "%25%2B+", "%C3%A9%E2%82%AC", "%0A%0D%09",
                                   pytest.param("x" * 2000, id="long")])
def test_values_travel_whole(browser, value):
    browser.op(f"set=v:{value}")
    before = browser.op("set=v:" + value).values["v"]
    assert browser.values()["v"] == before
    assert len(before) > 0


def test_cookie_format(browser):
    value, attrs = browser.op("set=a:1").set_cookies["SID"]
    assert re.fullmatch(ID + r"(\.[\w-]*)?", value)
    assert "path=/" in attrs and "httponly" in attrs and "samesite=lax" in attrs
    assert "secure" not in attrs  # no TLS here
    # it is not sent again with every answer
    assert not browser.op().set_cookies
    assert not browser.op("set=a:2").set_cookies


def test_cookie_attributes_as_configured(browser):
    _, attrs = browser.op("set=a:1", path="/attrs").set_cookies["ATTRS"]
    assert "path=/attrs" in attrs and "samesite=strict" in attrs


def test_ids_are_not_alike(node):
    ids = set()
    for _ in range(20):
        one = node.client()
        one.op("set=a:1")
        ids.add(one.id)
    assert len(ids) == 20
    assert len({i[:8] for i in ids}) == 20


def test_many_attributes(browser):
    steps = "&".join(f"set=k{i}:{i}" for i in range(200))
    browser.op(steps)
    browser.op("set=k7:seven&del=k8")
    want = {f"k{i}": str(i) for i in range(200)}
    want["k7"] = "seven"
    del want["k8"]
    assert browser.values() == want


# ---- ids that are not ours -----------------------------------------------------------------------

def test_unknown_id_is_never_adopted(node):
    victim = node.client(cookies={"SID": UNKNOWN})
    assert victim.op().values == {}
    victim.cookies = {"SID": UNKNOWN + ".n1"}
    victim.op("set=a:1")
    assert re.match(ID, victim.id) and victim.id != UNKNOWN
    assert node.client(cookies={"SID": UNKNOWN}).values() == {}


def test_hostile_cookies(node):
    owner = node.client()
    owner.op("set=secret:1")
    sid = owner.id
    bad = ["", "x", sid[:-1], sid + "0", sid.lower(), " " + sid[1:], sid[:31] + "g", "0x" + sid[2:],
           "-" + sid[1:], sid[:16] + "." + sid[16:], "%00" * 20, "../" * 20, "'or 1=1--", "\"" * 40,
           sid[:31] + "\xff", "A" * 7000, "." * 500, sid.replace(sid[0], "%4" + sid[0], 1)]
    for cookie in bad:
        reply = node.client().op("", cookies=f"SID={cookie}")
        assert reply.values == {}, cookie
        fresh = node.client()
        reply = fresh.op("set=a:1", cookies=f"SID={cookie}")
        assert reply.values == {"a": "1"}, cookie
        assert re.match(ID, fresh.id) and fresh.id != sid
    for line in ["SID", "SID;SID=;", ";;;=;", "=x", "SID==" + sid, "$Version=1; SID"]:
        assert node.client().op("", cookies=line).status == 200
    assert owner.values() == {"secret": "1"}


def test_route_is_no_part_of_the_key(node, browser):
    browser.op("set=a:1")
    for route in ["", ".", ".n9", "." + "x" * 63, "." + "x" * 200, "..", ".n1.n2"]:
        reply = node.client().op("", cookies=f"SID={browser.id}{route}")
        assert reply.values == {"a": "1"}, route


def test_second_cookie_of_the_name_counts_when_the_first_is_not_ours(node, browser):
    browser.op("set=a:1")
    line = f"SID=garbage; x=1; SID={browser.id}"
    assert node.client().op("", cookies=line).values == {"a": "1"}


# ---- at the same time ----------------------------------------------------------------------------

def test_parallel_requests_keep_each_others_attributes(node, browser):
    browser.op("set=base:1")
    line = f"SID={browser.cookies['SID']}"
    with ThreadPoolExecutor(12) as pool:
        done = list(pool.map(lambda i: node.client().op(f"sleep=300&set=p{i}:{i}&sleep=50",
                                                         cookies=line), range(12)))
    # they really overlapped: none saw all the others
    assert any(len(r.values) < 13 for r in done)
    assert browser.values() == dict({f"p{i}": str(i) for i in range(12)}, base="1")


def test_an_unchanged_request_writes_nothing_back(node, browser):
    browser.op("set=a:old")
    line = f"SID={browser.cookies['SID']}"
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(lambda: node.client().op("set=b:1&sleep=600", cookies=line))
        time.sleep(0.2)  # let it load the session; what follows is in its middle
        browser.op("set=a:new")
        slow.result()
    assert browser.values() == {"a": "new", "b": "1"}


# ---- limits --------------------------------------------------------------------------------------

def test_too_large_save_keeps_the_old_state(node, browser):
    browser.op("set=a:1")
    refused = node.count("refused_size")
    browser.request("/t?big=b:9000&set=a:2")
    assert browser.values() == {"a": "1"}
    assert node.count("refused_size") == refused + 1
    node.wait_log(r"(?i)(too large|larger|exceeds|over).*")
    browser.op("big=b:6000")
    assert browser.values()["b"] == "#6000"
    # together too large
    browser.request("/t?big=c:6000")
    assert set(browser.values()) == {"a", "b"}
    # a new session that is too large is none
    fresh = node.client()
    fresh.request("/t?big=b:9000")
    assert fresh.values() == {}


def test_full_store(farm):
    one = farm.node("full", directives="SessionClusterMemory 1M\n").start()
    kept, refused = [], 0
    for i in range(600):
        browser = one.client(keep=True)
        reply = browser.request(f"/t?big=x:4000&set=i:{i}")
        assert reply.status in (200, 503)
        if "SID" in browser.cookies:
            kept.append((i, browser))
        else:
            refused += 1
        browser.close()
        if refused == 60:
            break
    assert refused == 60, f"{len(kept)} sessions fit into 1M"
    assert len(kept) >= 100
    assert one.count("refused_full") >= 60
    lines = [x for x in one.log().splitlines() if re.search(r"(?i)full", x)]
    assert 1 <= len(lines) <= 10, "one line per interval, not per refusal"
    # those that were there work: reading, changing, and nobody was pushed out
    for i, browser in kept:
        assert browser.values() == {"x": "#4000", "i": str(i)}
    browser = kept[0][1]
    browser.op("set=i:changed")
    assert browser.values()["i"] == "changed"
    # what is freed can be used again
    for _, browser in kept[1:20]:
        browser.op("clear=1")
    fresh = one.client()
    wait_until(lambda: fresh.op("big=x:4000").set_cookies, 5, "room for a new session")
    assert fresh.values() == {"x": "#4000"}
    assert one.status()["store"]["bytes"] <= 1024 * 1024


# ---- time ----------------------------------------------------------------------------------------

def test_idle_session_expires(node):
    """And its memory is given back without anybody asking for it."""
    expired = node.count("expired")
    before = node.sessions()
    for _ in range(10):
        node.client().op("set=a:1", path="/idle")
    assert node.sessions() >= before + 10
    wait_until(lambda: node.count("expired") >= expired + 10, 8, "expiry")
    assert node.sessions() <= before


def test_reading_keeps_a_session_alive(node):
    browser = node.client()
    browser.op("set=a:1", path="/idle")
    end = time.monotonic() + 4.5
    while time.monotonic() < end:
        assert browser.values(path="/idle") == {"a": "1"}
        time.sleep(0.3)  # the pace of the reader, well under the limit of 2 s


def test_filtered_requests_keep_nothing_alive(node):
    browser = node.client()
    browser.op("set=a:1", path="/idle")
    seen = []

    def gone():
        seen.append(browser.values(path="/filtered"))
        return seen[-1] == {}
    wait_until(gone, 8, "expiry under filtered requests", pause=0.2)
    assert seen[0] == {"a": "1"}


def peek(node, cookie):
    """Look at a session of /age without keeping it alive."""
    return node.client(cookies={"AGE": cookie}).values(path="/agepeek")


def test_session_max_age(node):
    browser = node.client()
    _, attrs = browser.op("set=a:1", path="/age").set_cookies["AGE"]
    assert "max-age=2" in attrs
    cookie = browser.cookies["AGE"]
    assert browser.values(path="/age") == {"a": "1"}
    wait_until(lambda: peek(node, cookie) == {}, 8, "SessionMaxAge")
    # a browser that ignores Max-Age gains nothing
    assert node.client(cookies={"AGE": cookie}).values(path="/age") == {}


def test_write_with_the_cookie_of_an_expired_session(node):
    """What a login page does; mod_session alone would lose the values."""
    browser = node.client()
    browser.op("set=a:1", path="/age")
    cookie = browser.cookies["AGE"]
    wait_until(lambda: peek(node, cookie) == {}, 8, "SessionMaxAge")
    again = node.client(cookies={"AGE": cookie})
    again.op("set=b:2", path="/age")
    assert again.cookies["AGE"] != cookie
    assert again.values(path="/age") == {"b": "2"}


def test_expiry_update_interval(node):
    browser = node.client()
    assert browser.op("set=a:1", path="/update").set_cookies
    for _ in range(5):
        assert not browser.op(path="/update").set_cookies
    assert browser.values(path="/update") == {"a": "1"}


def test_unchanged_requests_are_no_changes(node, browser):
    browser.op("set=a:1")
    before = node.count("changed")
    for _ in range(10):
        browser.op()
        browser.op("set=a:1")  # the same value
    assert node.count("changed") == before


# ---- where a session is and where not ------------------------------------------------------------

def test_session_off_and_excluded(node, browser):
    browser.op("set=a:1")
    assert not browser.op(path="/off").json()["values"]
    reply = browser.op("set=b:1", path="/excluded")
    assert not reply.set_cookies
    assert browser.values() == {"a": "1"}


def test_internal_redirect(browser):
    browser.op("set=a:1")
    reply = browser.op("set=before:1&redirect=/t?set%3Dafter:1")
    assert reply.json()["uri"] == "/t"
    assert reply.values == {"a": "1", "before": "1", "after": "1"}
    assert browser.values() == {"a": "1", "before": "1", "after": "1"}


def test_new_session_in_an_internal_redirect(browser):
    browser.op("set=before:1&redirect=/t?set%3Dafter:1")
    assert browser.values() == {"before": "1", "after": "1"}


def test_error_document(browser):
    browser.op("set=a:1")
    reply = browser.op(path="/missing", status=404)
    assert reply.values == {"a": "1", "errors": "1"}
    assert browser.values() == {"a": "1", "errors": "1"}


def test_handler_that_ends_in_an_error(browser):
    browser.op("set=a:1")
    browser.op("set=a:2&status=500", status=500)
    assert browser.values() == {"a": "2"}


def test_subrequest(browser):
    browser.op("set=a:1")
    included = browser.op(path="/page.shtml")
    assert json.loads(included.body)["values"] == {"a": "1", "sub": "1"}
    assert browser.values() == {"a": "1", "sub": "1"}


def test_head(browser):
    assert browser.op("set=a:1", method="HEAD").set_cookies
    assert browser.op("set=b:1", method="HEAD").body == b""
    assert browser.values() == {"a": "1", "b": "1"}


def test_not_modified(browser):
    browser.op("set=a:1")
    browser.op("set=b:1&status=304", status=304)
    page = browser.op(path="/static.html")
    reply = browser.request("/static.html", headers={"If-None-Match": page.header("ETag")})
    assert reply.status == 304
    assert browser.values() == {"a": "1", "b": "1"}


# ---- CGI and backends ----------------------------------------------------------------------------

def lines(reply):
    return dict(x.partition("=")[::2] for x in reply.text.splitlines() if "=" in x)


def test_cgi_reads_and_writes(browser):
    browser.op("set=a:1&set=b:x%26y")
    seen = lines(browser.op(path="/cgi/show.cgi"))
    session = parse_qs(seen["session"])
    assert session["a"] == ["1"] and session["b"] == ["x&y"]
    reply = browser.op("a=2&c=3", path="/cgi/show.cgi")
    assert reply.header("X-Replace-Session") is None
    assert browser.values() == {"a": "2", "b": "x&y", "c": "3"}
    browser.op("c=", path="/cgi/show.cgi")
    assert browser.values().get("c", "") == ""


def test_cgi_makes_a_session(browser):
    assert browser.op("a=2", path="/cgi/show.cgi").set_cookies["SID"]
    assert browser.values() == {"a": "2"}


def test_session_request_header_reaches_nobody(browser):
    evil = {"Session": "admin=1", "X-Replace-Session": "admin=1"}
    seen = lines(browser.op(path="/cgi/show.cgi", headers=evil))
    assert "admin" not in seen["session"]
    assert browser.op(path="/env", headers=evil).json()["session_header"] is None
    assert browser.values() == {}


def test_session_env_tells_no_id(browser):
    browser.op("set=a:1")
    seen = browser.op(path="/env").json()
    assert parse_qs(seen["http_session"])["a"] == ["1"]
    assert browser.id not in seen["http_session"]


def test_backend_reads_and_writes(browser):
    browser.op("set=a:1")
    reply = browser.op("a=2&b=3", path="/proxied")
    seen = reply.json()
    assert parse_qs(seen["x-session"])["a"] == ["1"]
    assert reply.header("X-Replace-Session") is None
    assert browser.values() == {"a": "2", "b": "3"}


def test_backend_makes_a_session_and_no_cache_keeps_it(browser):
    reply = browser.op("b=3", path="/proxied")
    assert re.match(ID, reply.set_cookies["SID"][0])
    caching = reply.header("Cache-Control").lower()
    assert "private" in caching or "no-store" in caching
    assert "no-cache" in caching or "no-store" in caching
    assert browser.values() == {"b": "3"}


# ---- cookies stay between browser and node -------------------------------------------------------

@pytest.mark.parametrize("path", ["/t", "/t?redirect=/t", "/t?redirect=/missing",
                                  "/missing", "/page.shtml", "/excluded?redirect=/t"])
def test_cookie_is_taken_out(browser, path):
    browser.op("set=a:1")
    line = f"first=1; SID={browser.cookies['SID']}; last=2; SID=twice"
    reply = browser.request(path, cookies=line)
    seen = json.loads(reply.body)
    assert seen["values"]["a"] == "1"
    assert browser.id not in (seen["cookie"] or "")
    assert "first=1" in seen["cookie"] and "last=2" in seen["cookie"]


def test_cookie_is_taken_out_for_cgi_and_backend(browser):
    browser.op("set=a:1")
    line = f"first=1; SID={browser.cookies['SID']}"
    assert lines(browser.op(path="/cgi/show.cgi", cookies=line))["cookie"] == "first=1"
    assert browser.op(path="/proxied", cookies=line).json()["cookie"] == "first=1"


def test_cookie_of_the_redirects_target_is_taken_out(node, browser):
    """The place that a request is redirected to has a cookie of its own (CVE-2026-47360)."""
    browser.op("set=a:1")
    browser.op("set=o:1", path="/other")
    seen = browser.op("redirect=/other").json()
    assert seen["values"] == {"o": "1"}
    assert browser.cookies["OTHER"].split(".")[0] not in (seen["cookie"] or "")
    assert browser.id not in (seen["cookie"] or "")
    assert node.client(cookies=browser.cookies).values() == {"a": "1"}


def test_answers_with_a_cookie_are_private(browser):
    caching = browser.op("set=a:1").header("Cache-Control").lower()
    assert "private" in caching or "no-store" in caching


# ---- the end of a session ------------------------------------------------------------------------

def test_emptied_session_is_removed(node, browser):
    browser.op("set=a:1&set=b:1")
    cookie = browser.cookies["SID"]
    before = node.count("invalidated")
    value, attrs = browser.op("clear=1").set_cookies["SID"]
    assert value == "" or "max-age=0" in attrs
    assert node.count("invalidated") == before + 1
    # the id stays dead, whoever presents it
    again = node.client(cookies={"SID": cookie})
    assert again.values() == {}
    again.cookies = {"SID": cookie}
    again.op("set=a:1")
    assert again.id != cookie.split(".")[0]


def test_late_change_does_not_resurrect(node, browser):
    """A request that began before the logout ends after it."""
    browser.op("set=a:1")
    cookie = browser.cookies["SID"]
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(lambda: node.client(cookies={"SID": cookie}).op("set=late:1&sleep=600"))
        time.sleep(0.2)  # it has loaded the session by now
        browser.op("clear=1")
        late.result()
    assert node.client(cookies={"SID": cookie}).values() == {}


def test_id_changes_with_the_watched_attribute(node):
    browser = node.client()
    browser.op("set=a:1", path="/rotate")
    before = browser.cookies["ROT"]
    browser.op("set=b:1", path="/rotate")
    assert browser.cookies["ROT"] == before
    assert "ROT" in browser.op("set=login:joe", path="/rotate").set_cookies
    after = browser.cookies["ROT"]
    assert after.split(".")[0] != before.split(".")[0]
    assert browser.values(path="/rotate") == {"a": "1", "b": "1", "login": "joe"}
    # whoever planted the old id is not logged in
    assert "login" not in node.client(cookies={"ROT": before}).values(path="/rotate")
    browser.op("set=c:1", path="/rotate")
    assert browser.cookies["ROT"] == after


# ---- what the administrator sees -----------------------------------------------------------------

def test_status_page(node, browser):
    before = node.status()
    browser.op("set=a:1")
    after = node.status()
    assert after["node"]["state"] == "ready"
    assert after["counters"]["created"] == before["counters"]["created"] + 1
    assert node.sessions() >= 1
    assert 0 < after["store"]["cells_free"] < after["store"]["cells"]
    assert 0 < after["contexts"][0]["bytes"] < after["store"]["bytes"]
    assert after["contexts"][0]["name"] == "localhost"
    html = browser.get("/sc-status")
    assert html.status == 200 and "<html" in html.text.lower()
    assert browser.id not in html.text and browser.id not in json.dumps(after)
    assert browser.request("/sc-status?json", method="PUT").status == 405


def test_ids_are_masked_in_the_log(node, browser):
    browser.op("set=a:1")
    browser.op("clear=1", cookies=f"SID={browser.cookies['SID']}")
    assert not re.search(ID, node.log())
