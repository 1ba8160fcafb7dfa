# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Too few nodes: who is refused, how, and where balancers send people meanwhile."""

import re
from urllib.parse import urlencode

import pytest

from node import wait_until
from test_cluster import login_config
from test_failover import sticky_to

LOGIN = urlencode({"httpd_username": "joe", "httpd_password": "secret"})
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def minority(shared_farm):
    """A node that is the last of three, and a browser that logged in before the others died."""
    cluster = shared_farm.cluster(3, options="SessionClusterQuorum On\n", children=1,
                                  session=login_config(shared_farm.root), modules=["auth_form"])
    cluster.start()
    node = cluster[0]
    browser = node.client()
    browser.op("set=cart:1")
    assert browser.post("/login", LOGIN, headers=FORM).status == 302
    assert browser.get("/private").json()["user"] == "joe"
    cluster[1].kill9()
    cluster[2].kill9()
    wait_until(lambda: node.state() == "minority", 10, "minority")
    return node, dict(browser.cookies)


@pytest.mark.parametrize("method,path", [
    ("GET", "/t"), ("GET", "/t?set=a:1"), ("GET", "/private"), ("GET", "/static.html"),
    ("GET", "/nothere"), ("GET", "/logout"), ("HEAD", "/t"), ("POST", "/login")])
def test_a_session_is_refused(minority, method, path):
    """Whatever the request is for; also where mod_auth_form would send somebody to log in, since
    nobody can say that this one has not."""
    node, cookies = minority
    refused = node.count("refused_quorum")
    browser = node.client(cookies=cookies)
    reply = browser.request(path, method=method, body=LOGIN if method == "POST" else None,
                            headers=FORM if method == "POST" else None)
    assert reply.status == 503
    assert reply.header("Retry-After").isdigit()
    assert reply.header("Location") is None
    assert browser.cookies == cookies, "the cookie is good still"
    assert node.count("refused_quorum") > refused


@pytest.mark.parametrize("path,status", [
    ("/static.html", 200), ("/t", 200), ("/nothere", 404), ("/private", 302)])
def test_without_a_session_nothing_is_refused(minority, path, status):
    node, _ = minority
    reply = node.client().request(path)
    assert reply.status == status
    assert not reply.set_cookies


@pytest.mark.parametrize("method,path", [("GET", "/t?set=a:1"), ("POST", "/login")])
def test_no_session_begins(minority, method, path):
    node, _ = minority
    before = node.sessions()
    reply = node.client().request(path, method=method, body=LOGIN if method == "POST" else None,
                                  headers=FORM if method == "POST" else None)
    assert reply.status == 503 and reply.header("Retry-After").isdigit()
    assert not reply.set_cookies
    assert node.sessions() == before


def test_status_says_why(minority):
    node, _ = minority
    status = node.status()["node"]
    assert status["state"] == "minority"
    assert status["quorum"] == 2 and status["quorum_lost"] is True
    assert sorted(node.view().values()) == ["gone", "gone"]


def test_balancer_goes_elsewhere(farm):
    """One node asks for more company than the others do, so only it has too few."""
    cluster = farm.cluster(3, children=1, balancers=1)
    cluster[0].directives += "SessionClusterQuorum 3\n"
    front = cluster.balancer
    front.extra += 'Header set X-Choice "%{SESSION_CLUSTER_CHOICE}e"\n'
    cluster.start()
    one = sticky_to(cluster, "n1")
    cluster[2].kill9()
    wait_until(lambda: cluster[0].state() == "minority", 10, "minority")

    def moved():
        reply = one.request("/t?set=b:1")
        return reply.status == 200 and reply
    reply = wait_until(moved, 5, "another node")
    assert reply.json()["route"] == "n2" and one.route == "n2"
    assert reply.header("X-Choice") == "placement"
    assert one.op().header("X-Choice") == "route"
    assert re.search("SC0702: .*member n1 sees too few others", front.log())
    for _ in range(6):
        assert front.client().op("set=a:1").json()["route"] == "n2"

    # nobody left who serves: better the refusal of a node than none
    cluster[1].kill9()
    wait_until(lambda: front.lost("n2") and front.lost("n3"), 10, "n2 gone")
    reply = wait_until(lambda: [r for r in [one.request("/t")] if r.header("Retry-After")], 5,
                       "asked all the same")[0]
    assert reply.status == 503

    # and back: it gets requests again
    cluster[1].start()
    cluster[2].start()
    wait_until(lambda: cluster[0].state() == "ready", 10, "enough of them")

    def served():
        reply = front.client().request("/t?set=a:1")
        return reply.status == 200 and reply.json()["route"] == "n1"
    wait_until(served, 10, "n1 gets requests")
    assert one.values() == {"a": "1", "b": "1"}
