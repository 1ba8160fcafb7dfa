# Licensed under the Apache License, Version 2.0; see LICENSE.

"""Documentation and code name the same directives, environment, counters and status fields."""

import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def text(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def sources():
    found = ""
    for folder, _, files in os.walk(os.path.join(ROOT, "src")):
        found += "".join(text(folder, name) for name in files if name.endswith(".c"))
    return found


README = text("README.md")
CONF = text("conf", "session_cluster.conf")
CODE = sources()
DIRECTIVES = set(re.findall(r'AP_INIT_\w+\(\s*"(SessionCluster\w+)"', CODE))


def test_every_directive_is_documented():
    assert len(DIRECTIVES) > 15
    for name in DIRECTIVES:
        assert re.search(rf"^\| `{name}`", README, re.M), f"{name} has no row in the README"
        assert re.search(rf"^#{name} ", CONF, re.M), f"{name} has no line in conf/session_cluster.conf"


def test_no_directive_is_invented():
    # named in the README as a thing of another version would be wrong, too: it says so in words
    for name in set(re.findall(r"SessionCluster[A-Z]\w+", README + CONF)):
        assert name in DIRECTIVES, name


def test_counters_and_fields():
    for name in re.findall(r"^ +X\((\w+)\)", text("include", "sc_board.h"), re.M):
        assert re.search(rf"^\| {name} \| \S", README, re.M), name
    # fields and metrics: test_status.py compares the tables with what is written


def test_environment():
    # SESSION_CLUSTER_OUT is the name of an output filter
    for name in set(re.findall(r'"(SESSION_CLUSTER_[A-Z_]+)"', CODE)) - {"SESSION_CLUSTER_OUT"}:
        assert name in README, name
