# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The README's table of directives against the module: which there are, where they may stand, what
holds without them."""

import os
import re
import subprocess

import pytest

from conftest import TREE
from node import HTTPD, free_port


def read(*path):
    with open(os.path.join(TREE, *path), encoding="utf-8") as f:
        return f.read()


def table():
    """name -> (context, default, example)"""
    rows = re.findall(r"^\| (SessionCluster\w+) \| (.+?) \| (.+?) \| `(.+)` \|$", read("README.md"),
                      re.M)
    return {name: (context, default, example.replace("\\|", "|"))
            for name, context, default, example in rows}


TABLE = table()


@pytest.fixture(scope="module")
def listed(shared_farm):
    """name -> what `apache2 -L` says about its contexts."""
    one = shared_farm.node("listed")
    one.write()
    said = subprocess.run([HTTPD, "-L", "-d", one.root, "-f", one.conf], capture_output=True,
                          text=True, timeout=30, check=True, env=one.environment()).stdout
    found = re.findall(r"^(SessionCluster\w+) \(mod_session_cluster\.c\)\n((?:\t.*\n)+)", said, re.M)
    assert len(found) > 20
    return {name: re.sub(r"\s+", " ", text[text.index("Allowed in"):]) for name, text in found}


def test_which(listed):
    assert set(TABLE) == set(listed)


def test_contexts(listed, shared_farm):
    one = shared_farm.node("contexts")
    for name, (context, _, example) in TABLE.items():
        assert (".htaccess" in listed[name]) == (context == "everywhere"), name
        for section in ("<VirtualHost *:1>\n{}\n</VirtualHost>", '<Directory "/">\n{}\n</Directory>',
                        '<Location "/">\n{}\n</Location>', '<Files "x">\n{}\n</Files>'):
            one.extra = section.format(example) + "\n"
            _, said = one.configtest()
            refused = "cannot occur within" in said or "not allowed" in said
            assert refused == (context == "server"), (name, section, said)


def test_examples():
    """Each is a line of the commented configuration, whose lines test_config.py loads one by one."""
    lines = re.findall(r"^#(SessionCluster.*)$", read("conf", "session_cluster.conf"), re.M)
    for name, (_, _, example) in TABLE.items():
        assert example.split()[0] == name
        assert example in lines, example


# The chain is one whole or nothing; the others are not the engine's.
ELSEWHERE = {"SessionClusterInterceptor", "SessionClusterBalancerMethod"}
OTHER = {"SessionClusterManager": "delta tombstoneTime=601", "SessionClusterReceiver": "maxFrame=15M",
         "SessionClusterSender": "timeout=2999", "SessionClusterSendOptions": "6 timeout=999",
         "SessionClusterMaxSessionSize": "63K", "SessionClusterQuorum": "1"}


def test_defaults(farm):
    """A restart with a default written out finds the engine's configuration unchanged, and one with
    another value does not. So the table has what the code has."""
    node = farm.node()
    base = ("SessionClusterRoute n1\nSessionClusterMembership static\n"
            f"SessionClusterMember 127.0.0.1:{free_port()}\n")
    node.directives = base
    node.start()
    engine = node.engine_pid()

    def changed(line):
        nonlocal engine
        node.directives = base + line + "\n"
        node.restart()
        node.wait_ready()
        before, engine = engine, node.engine_pid()
        return before != engine

    checked = 0
    for name, (context, default, _) in TABLE.items():
        value = default.strip("`")
        if context != "server" or name in ELSEWHERE or value.startswith("–"):
            continue
        assert not changed(f"{name} {value}"), (name, value)
        checked += 1
        if name in OTHER:
            assert changed(f"{name} {OTHER[name]}"), name
            assert changed(""), name
    assert checked >= 8
    assert "SC0609" not in node.log()  # SessionClusterMemory
    node.directives = base + "SessionClusterMemory 65M\n"
    node.restart()
    assert "SC0609" in node.log()


def test_defaults_of_places():
    code = read("src", "httpd", "session_save.c")
    assert TABLE["SessionClusterMaxInactive"][1] == "`%s`" % re.search(
        r"#define DEFAULT_IDLE_S (\d+)", code).group(1)
