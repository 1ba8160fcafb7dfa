# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Instructions that a balancer executes for a request, counted by valgrind: the same on a busy machine
as on a quiet one. Neither the kernel's are among them nor what waiting for memory costs."""

import grp
import os
import pwd
import shutil
import socket
import subprocess
import time

import rig

VALGRIND = shutil.which("valgrind")


def give_away(folder):
    """To the user of the children: valgrind writes its file with their rights."""
    for path, _, files in os.walk(folder):
        for name in [path] + [os.path.join(path, f) for f in files]:
            shutil.chown(name, rig.USER, rig.USER)


def launch(node):
    """In one process, under valgrind. @return where it writes the count at its end"""
    conf = os.path.join(node.root, "httpd.conf")
    with open(conf, "w", encoding="utf-8") as f:
        f.write(node.text())
    become = {}
    if os.geteuid() == 0:
        user = pwd.getpwnam(rig.USER)
        become = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        give_away(node.root)
    with open(os.path.join(node.root, "console.log"), "ab") as console:
        node.proc = subprocess.Popen(
            [VALGRIND, "--tool=callgrind", f"--callgrind-out-file={node.root}/count.%p",
             # what the threads do for connections, and nothing else
             "--toggle-collect=ap_run_process_connection",
             rig.HTTPD, "-X", "-d", node.root, "-f", conf],
            stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
            **become)
    return os.path.join(node.root, f"count.{node.pid}")


def is_ready(node):
    if node.cluster:
        status = node.try_status()
        return bool(status) and status["node"]["state"] == "ready"
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", node.port)) == 0


def read_count(path):
    with open(path, encoding="latin-1") as f:
        for line in f:
            if line.startswith(("totals:", "summary:")):
                return int(line.split()[1])
    raise rig.Failure(f"valgrind has counted nothing: {path}")


def count(farm, node, op, requests):
    """Instructions per request of one connection. The node is started for it, and stopped."""
    path = launch(node)
    end = time.monotonic() + 120
    while not is_ready(node):
        if node.proc.poll() is not None or time.monotonic() > end:
            raise rig.Failure(f"{node.name} is not ready under valgrind: {node.tail()}")
        time.sleep(0.2)
    args = ["--port", node.port, "--path", f"/bench/{op}", "--connections", 1, "--requests",
            requests, "--seconds", 100]
    if op != "none":
        args += ["--prepare", "/bench/write", "--check", op]
    result = farm.run_load(args)
    if result["count"] != requests or result["errors"] + result["wrong"]:
        raise rig.Failure(f"under valgrind: {result}")
    node.proc.terminate()
    node.proc.wait(60)
    node.proc = None
    return read_count(path) / requests
