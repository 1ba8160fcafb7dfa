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
CONTROL = shutil.which("callgrind_control")


def give_away(folder):
    """To the user of the children: valgrind writes its file with their rights."""
    for path, _, files in os.walk(folder):
        for name in [path] + [os.path.join(path, f) for f in files]:
            shutil.chown(name, rig.USER, rig.USER)


def launch(node):
    """In one process, under valgrind. @return where it writes the count at its end, and as whom"""
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
    return os.path.join(node.root, f"count.{node.pid}"), become


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


def forget(node, become):
    """What has been counted so far: how often a node was asked whether it is ready depends on the
    machine."""
    done = subprocess.run([CONTROL, "--zero", str(node.pid)], capture_output=True, text=True,
                          check=False, timeout=60, **become)
    if done.returncode != 0 or "OK" not in done.stdout:
        raise rig.Failure(f"callgrind_control: {done.stdout}{done.stderr}")


def count(farm, node, op, requests):
    """Instructions per request of one connection. The node is started for it, and stopped."""
    path, become = launch(node)
    end = time.monotonic() + 120
    while not is_ready(node):
        if node.proc.poll() is not None or time.monotonic() > end:
            raise rig.Failure(f"{node.name} is not ready under valgrind: {node.tail()}")
        time.sleep(0.2)
    forget(node, become)
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
