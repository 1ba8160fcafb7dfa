# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The balancer's choice among workers, recorded holders, racks and states, checked without a server
(mod_sc_test/place_test.c)."""

import glob
import os
import subprocess

from conftest import APXS, HERE, TREE, output


def test_place(workspace):
    out = os.path.join(workspace, "place_test")
    sources = glob.glob(os.path.join(TREE, "src", "store", "*.c"))
    sources += glob.glob(os.path.join(TREE, "src", "base", "*.c"))
    sources += [os.path.join(TREE, "src", "httpd", "balancer_place.c"),
                os.path.join(HERE, "mod_sc_test", "place_test.c")]
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror",
                    "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
                    "-o", out, *sources, "-I" + os.path.join(TREE, "include"),
                    "-I" + os.path.join(TREE, "src", "httpd"),
                    "-I" + output(APXS, "-q", "INCLUDEDIR")[0],
                    *output("apr-1-config", "--cppflags", "--includes"),
                    *output("apu-1-config", "--includes"),
                    *output("apu-1-config", "--link-ld"), *output("apr-1-config", "--link-ld")],
                   check=True)
    environment = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "SC_PRELOAD")}
    done = subprocess.run([out], capture_output=True, text=True, timeout=60, env=environment,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
