# Licensed under the Apache License, Version 2.0; see LICENSE.
"""One measured run, and what is made of many."""

import math
import statistics

import rig


def median(values):
    return statistics.median(values) if values else float("nan")


def median_interval(values, tail=0.025):
    """Of the median, with 95 % confidence, whatever the distribution: values between which it lies
    unless so many of them happen to be on one side of it (binomial)."""
    values = sorted(values)
    n, k, below = len(values), 0, 0.0
    while k < n // 2:
        below += math.comb(n, k) / 2.0 ** n
        if below > tail:
            break
        k += 1
    return [values[max(k - 1, 0)], values[min(n - k, n - 1)]]


def measure(farm, case, op, *, connections, seconds, warmup):
    """Load one path; numbers of the load generator and CPU of all processes of the case."""
    args = ["--port", case.nodes[0].port, "--path", f"/bench/{op}", "--connections", connections,
            "--seconds", seconds, "--requests", 1000000, "--warmup", warmup, "--gate"]
    if op != "none":
        args += ["--prepare", "/bench/write", "--check", op]
    with rig.Load(farm, args) as load:
        load.wait_ready()
        rig.settle(case.nodes)
        before = rig.Cpu(case.nodes)
        foreign = rig.Foreign(load)
        load.go()
        result = load.result()
        share = foreign.share(rig.Cpu(case.nodes).since(before).ns)
        rig.settle(case.nodes)
        cpu = rig.Cpu(case.nodes).since(before)
    result["foreign"] = share
    result["failed"] = result["errors"] + result["wrong"] + result["warmup_errors"]
    result["cpu_us"] = cpu.ns / 1e3 / max(result["count"], 1)
    result["cpu_by"] = {k: v / 1e3 / max(result["count"], 1) for k, v in cpu.by.items()}
    if cpu.changed:
        result["note"] = "processes came or went during the run"
    return result
