# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Fixtures: `ring` opens peers for one test and ends them."""

import os
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
from rig import BUILT, TRIBES, Jvm, NoNamespaces, Ring, enter_namespace  # noqa: E402


@pytest.fixture(scope="session")
def workspace():
    for path in (os.path.join(BUILT, "peer"), os.path.join(BUILT, "Peer.class"),
                 TRIBES.split(":", maxsplit=1)[0]):
        if not os.path.exists(path):
            pytest.exit(f"{path} does not exist; make -f Makefile.apxs interop builds the peers, "
                        "build/deps.sh installs Tribes", 2)
    path = tempfile.mkdtemp(prefix="sc-interop-")
    try:
        enter_namespace()
    except NoNamespaces as e:
        if os.environ.get("SC_NO_NETNS") != "1":
            pytest.exit("these tests make a network namespace of their own, and that cannot be "
                        "done here; run them as root with iproute2 and CAP_SYS_ADMIN, or with "
                        f"SC_NO_NETNS=1 on this machine's loopback: {e}", 2)
    yield path
    if not os.environ.get("SC_KEEP"):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_jvm(workspace):  # pylint: disable=redefined-outer-name
    """One Java machine for all tests that do not kill it; a new one when it has ended."""
    made = []

    def get():
        if not made or made[-1].child.poll() is not None:
            made.append(Jvm(os.path.join(workspace, "jvm.log")))
        return made[-1]
    yield get
    for jvm in made:
        jvm.end()


@pytest.fixture
def ring(request, workspace, shared_jvm):  # pylint: disable=redefined-outer-name
    made = Ring(tempfile.mkdtemp(dir=workspace), shared_jvm, os.path.join(workspace, "jvm.log"))
    request.node.sc_ring = made
    yield made
    made.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failed test shows what its peers said."""
    outcome = yield
    report = outcome.get_result()
    made = getattr(item, "sc_ring", None)  # also when something was wrong at its end
    if report.failed and made is not None:
        report.sections.append(("peers", made.report()))
