# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Fixtures: `farm` for one test, `shared_farm` for all tests of a file."""

import os
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
from netns import Lab, NoNamespaces  # noqa: E402
from node import APXS, HERE, Farm  # noqa: E402

TREE = os.path.dirname(os.path.dirname(HERE))


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture(scope="session")
def workspace():
    """A folder that the server's user may enter too."""
    path = tempfile.mkdtemp(prefix="sc-e2e-")
    os.chmod(path, 0o755)
    yield path
    if not os.environ.get("SC_KEEP"):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def module_path():
    path = os.environ.get("SC_MODULE", os.path.join(TREE, "out", "mod_session_cluster.so"))
    if not os.path.exists(path):
        pytest.exit(f"{path} does not exist; build it first or set SC_MODULE", 2)
    return os.path.abspath(path)


def compile_module(workspace, name, *flags):  # pylint: disable=redefined-outer-name
    out = os.path.join(workspace, f"{name}.so")
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O2", "-Wall", "-Werror", *flags,
                    "-o", out, os.path.join(HERE, name, f"{name}.c"),
                    "-I" + output(APXS, "-q", "INCLUDEDIR")[0],
                    *output("apr-1-config", "--cppflags", "--includes"),
                    *output("apu-1-config", "--includes")], check=True)
    return out


@pytest.fixture(scope="session")
def test_module(workspace):  # pylint: disable=redefined-outer-name
    """The test's application, compiled."""
    return compile_module(workspace, "mod_sc_test")


@pytest.fixture(scope="session")
def listener_module(workspace):  # pylint: disable=redefined-outer-name
    """The example of a module that listens, compiled with the public header and nothing else."""
    only = os.path.join(workspace, "include")
    os.makedirs(only, exist_ok=True)
    shutil.copy(os.path.join(TREE, "include", "mod_session_cluster.h"), only)
    return compile_module(workspace, "mod_sc_listener", "-Wextra", "-I" + only)


def make_farm(request, workspace, module_path, test_module):  # pylint: disable=redefined-outer-name
    root = tempfile.mkdtemp(prefix="farm-", dir=workspace)
    farm = Farm(root, module_path, test_module)
    request.node.sc_farms = getattr(request.node, "sc_farms", []) + [farm]
    return farm


@pytest.fixture
def farm(request, workspace, module_path, test_module):  # pylint: disable=redefined-outer-name
    made = make_farm(request, workspace, module_path, test_module)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_farm(request, workspace, module_path, test_module):  # pylint: disable=redefined-outer-name
    made = make_farm(request, workspace, module_path, test_module)
    yield made
    made.close()


@pytest.fixture
def lab(farm):  # pylint: disable=redefined-outer-name
    """Networks that can be cut. The test and what it starts are in its hub; servers end first."""
    try:
        made = Lab()
    except NoNamespaces as e:
        if os.environ.get("SC_NO_NETNS") == "1":
            pytest.skip(f"no network namespaces here (SC_NO_NETNS=1): {e}")
        pytest.fail("this test needs network namespaces, and they cannot be made here; run it as "
                    "root with iproute2 and CAP_SYS_ADMIN, or leave these tests out with "
                    f"SC_NO_NETNS=1: {e}", pytrace=False)
    with made:
        yield made
        farm.close()


@pytest.fixture(params=["delta", "backup"])
def manager(request):
    """Directives for a cluster: each test that takes this runs with either manager."""
    return f"SessionClusterManager {request.param}\n"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the logs of its servers."""
    outcome = yield
    report = outcome.get_result()
    if call.when in ("setup", "call") and report.failed:
        farms = getattr(item, "sc_farms", []) + getattr(item.parent, "sc_farms", [])
        text = "\n".join(f.tails() for f in farms)
        if text:
            report.sections.append(("error logs", text))
