# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Compares mod_session_cluster with no session, mod_session_cookie and mod_session_dbd, and measures
what the project aims at. README.md says how and what the columns mean.

Nothing is asserted: the exit code is 0 unless something failed to run."""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
import traceback

import cases
import instructions
import rig
import secured
from measure import measure, median, median_interval
from report import Report


class Options:
    """What --quick and --full change."""

    def __init__(self, args):
        quick, full = args.quick, args.full
        self.rounds = args.rounds or (1 if quick else 21 if full else 9)
        self.seconds = args.seconds or (0.4 if quick else 1.0 if full else 0.5)
        # short ones, and many: see section_balance
        self.balance_rounds = 3 * self.rounds
        self.pair_rounds = 2 * self.rounds
        self.stranger_rounds = 1 if quick else 9 if full else 5
        self.stranger_seconds = 2 if quick else 5
        self.balance_seconds = min(self.seconds, 0.3)
        self.counted = 500 if quick else 2000
        self.connections = args.connections
        self.warmup = 200 if quick else 1000
        self.joiner = 5000 if quick else 100000
        self.changes = 1000000 if args.million or full else 20000 if quick else 200000
        self.rtt = 5000 if quick else 50000
        self.deployments = args.deployments or (1 if quick else 9 if full else 3)
        self.deploy_seconds = 2 if quick else 10
        self.file = 20 if quick else 100
        self.clients = 50 if quick else 200
        self.only = args.cases.split(",") if args.cases else None
        self.sections = args.sections.split(",")


def combine(runs):
    """Medians of several runs of one kind."""
    out = {k: median([r[k] for r in runs])
           for k in ("rps", "cpu_us", "over_us", "ratio", "p50_us", "p99_us")}
    out["max_us"] = max(r["max_us"] for r in runs)
    out["over_range"] = [min(r["over_us"] for r in runs), max(r["over_us"] for r in runs)]
    out["failed"] = sum(r["failed"] for r in runs)
    out["requests"] = sum(r["count"] for r in runs)
    out["cpu_by"] = {k: median([r["cpu_by"].get(k, 0.0) for r in runs])
                     for k in sorted({k for r in runs for k in r["cpu_by"]})}
    out["foreign"] = [r["foreign"] for r in runs]
    out["notes"] = sorted({r["note"] for r in runs if "note" in r})
    return out


def alternate(farm, all_cases, plan, opt, connections, seconds, warmup):
    """All of plan, round by round, each round with the base case before and after it."""
    runs = {}
    base_case = all_cases["none"]

    def run(case, op):
        return measure(farm, case, op, connections=connections, seconds=seconds, warmup=warmup)

    for number in range(opt.rounds):
        order = plan if number % 2 == 0 else plan[::-1]
        bases = [run(base_case, "none")]
        got = []
        for i, (name, op) in enumerate(order):
            got.append(((name, op), run(all_cases[name], op)))
            if i == len(order) // 2 or i == len(order) - 1:
                bases.append(run(base_case, "none"))
        base = {k: median([b[k] for b in bases]) for k in ("rps", "cpu_us", "p50_us")}
        for key, result in got + [(("none", "none"), b) for b in bases]:
            result["over_us"] = result["cpu_us"] - base["cpu_us"]
            result["ratio"] = result["rps"] / base["rps"] if base["rps"] else 0
            result["over_p50_us"] = result["p50_us"] - base["p50_us"]
            runs.setdefault(key, []).append(result)
        rig.say(f"  round {number + 1} of {opt.rounds}")
    return {key: combine(r) | {"over_p50_us": median([x["over_p50_us"] for x in r])}
            for key, r in runs.items()}


# ---- sections ------------------------------------------------------------------------------------

def section_compare(farm, all_cases, opt, report):
    plan = [(name, op) for name in all_cases if name != "none" for op in ("read", "write")]
    rig.say(f"comparing at {opt.connections} connections")
    report.compare = alternate(farm, all_cases, plan, opt, opt.connections, opt.seconds,
                               opt.warmup)
    report.aim_cpu()


def section_latency(farm, all_cases, opt, report):
    rig.say("comparing at one connection")
    # both ends where the scheduler puts them, and both on one CPU: the shorter one counts
    apart, together = [], []
    cpu = max(os.sched_getaffinity(0))
    for _ in range(3):
        apart.append(farm.run_load(["--rtt", opt.rtt])["p50_us"])
        together.append(farm.run_load(["--rtt", opt.rtt], cpu=cpu)["p50_us"])
    report.rtt_free, report.rtt_pinned = median(apart), median(together)
    report.rtt = min(report.rtt_free, report.rtt_pinned)
    plan = [(name, op) for name in all_cases if name != "none" for op in ("read", "write")
            if name not in ("dbd", "cookie")]
    report.single = alternate(farm, all_cases, plan, opt, 1, opt.seconds / 2, opt.warmup // 10)
    report.aim_latency()


def section_traffic(farm, all_cases, opt, report):
    case = all_cases.get("sync2")
    if not case:
        return
    rig.say("replication traffic")
    node = case.nodes[0]

    def window(action):
        before, begin = node.counters(), time.monotonic()
        result = action()
        time.sleep(1.5)  # longer than the interval at which accesses are sent
        after = node.counters()
        return result, {k: after[k] - before[k] for k in after}, time.monotonic() - begin

    def load(op):
        args = ["--port", node.port, "--path", f"/bench/{op}", "--connections", opt.connections,
                "--requests", 1000000, "--seconds", max(opt.seconds, 1), "--gate",
                "--prepare", "/bench/write"]
        with rig.Load(farm, args) as run:
            run.wait_ready()
            time.sleep(1.5)
            return window(lambda: (run.go(), run.result())[1])

    _, idle, idle_seconds = window(lambda: time.sleep(max(opt.seconds, 1)))
    reads, during_reads, read_seconds = load("read")
    writes, during_writes, write_seconds = load("write")
    rate = idle["bytes_out"] / idle_seconds
    report.traffic = {
        "idle_bytes_per_s": rate,
        "reads": reads["count"], "read_seconds": read_seconds,
        "read_bytes": during_reads["bytes_out"] - rate * read_seconds,
        "read_frames": during_reads["frames_out"],
        "read_touches": during_reads["touches"],
        "read_changes": during_reads["changed"] + during_reads["created"],
        "sessions": opt.connections,
        "writes": writes["count"],
        "write_bytes": during_writes["bytes_out"] - rate * write_seconds,
        "write_frames": during_writes["frames_out"],
        "degraded": during_writes["degraded"], "not_delivered": during_writes["failed"],
        "failed": reads["errors"] + writes["errors"],
    }
    report.aim_traffic()


def section_memory(farm, all_cases, opt, report):
    case = all_cases.get("sync2")
    if not case:
        return
    rig.say(f"memory of the engines over {opt.changes} changes")

    def changes(n):
        result = farm.run_load(["--port", case.nodes[0].port, "--path", "/bench/write",
                                "--connections", opt.connections, "--requests", n, "--check",
                                "write"])
        rig.settle(case.nodes)
        return result

    def sizes():
        return [rig.anonymous_memory(n.engine_pid()) for n in case.nodes]

    failed = changes(max(opt.changes // 10, 1000))["errors"]
    samples = [sizes()]
    done = 0
    for _ in range(5):
        result = changes(opt.changes // 5)
        done += result["count"]
        failed += result["errors"] + result["wrong"]
        samples.append(sizes())
    report.memory = {"changes": done, "failed": failed, "samples": samples}
    report.aim_memory()


def section_joiner(farm, opt, report):
    rig.say(f"a joiner and {opt.joiner} sessions")
    case = cases.make_cluster(farm, "join", 2, 6, memory="512M")
    old, new = case.nodes
    try:
        old.start()
        empty = old.store()
        fill = farm.run_load(["--port", old.port, "--path", "/bench/write", "--connections", 32,
                              "--requests", opt.joiner, "--check", "write", "--fresh-cookies"],
                             timeout=300)
        full = old.store()
        sessions = full["sessions"]
        report.store = {
            "sessions": sessions, "failed": fill["errors"] + fill["wrong"],
            "creations_per_s": fill["rps"],
            "bytes_per_session": (full["used"] - empty["used"]) / max(sessions, 1),
            "cells_per_session": (full["cells"] - empty["cells"]) / max(sessions, 1),
        }
        report.aim_store()
        before = rig.Cpu([old])
        began = time.monotonic()
        new.launch()
        first = joined = None
        end = began + 60
        while not joined and time.monotonic() < end:
            status = new.try_status()
            now = time.monotonic()
            if status:
                have = status["store"]["sessions"]
                if first is None and (have or status["transfer"]["running"]):
                    first = now
                if status["node"]["state"] == "ready" and have >= sessions:
                    joined = now
            time.sleep(0.01)
        rig.settle(case.nodes)
        arrived = new.store()
        cpu = rig.Cpu([old]).since(before).ns + sum(rig.Cpu([new]).by_pid.values())
        report.joiner = {
            "sessions": sessions, "arrived": arrived["sessions"],
            "complete": bool(joined) and arrived["data"] == full["data"],
            "from_start_s": joined - began if joined else None,
            "from_first_s": joined - first if joined else None,
            "start_to_first_s": first - began if first else None,
            "cpu_us_per_session": cpu / 1e3 / max(sessions, 1),
        }
        report.aim_joiner()
    finally:
        for node in case.nodes:
            node.stop()


def section_balance(farm, opt, report):
    """What a balancer spends on a request with bysession, and with byrequests and stickysession.
    Only the balancers' own CPU counts. Many short runs, since others disturb: what happens to a run
    happens to its neighbours, too, and differences are taken between these. The balancers have a CPU
    of their own, so that what it costs to wake a thread does not depend on where it happens to be."""
    rig.say("balancers: bysession and byrequests")
    behind, fronts = cases.make_balanced(farm)
    cpus = os.sched_getaffinity(0)
    own = {max(cpus)} if len(cpus) > 1 else cpus
    try:
        for node in behind.nodes:
            node.launch()
        for case in fronts.values():
            case.nodes[0].launch()
        for node in behind.nodes:
            node.wait_ready(2)
        fronts["bysession"].nodes[0].wait_ready(2)
        fronts["byrequests"].nodes[0].wait_ready()
        for case in fronts.values():
            rig.pin(case.nodes[0].processes(), own)
        for node in behind.nodes:
            rig.pin(node.processes(), cpus - own or cpus)
        os.sched_setaffinity(0, cpus - own or cpus)  # the load generators', too
        runs = {(name, op): [] for name in fronts for op in ("read", "none")}
        over = {op: [] for op in ("read", "none")}
        for number in range(opt.balance_rounds):
            for op in over:
                turn = ["bysession", "byrequests"][::1 if number % 2 else -1]
                got = {name: [] for name in fronts}
                for name in turn + turn[::-1]:
                    got[name].append(measure(
                        farm, fronts[name], op, connections=opt.connections,
                        seconds=opt.balance_seconds, warmup=100))
                for name, pair in got.items():
                    runs[name, op] += pair
                over[op].append(sum(r["cpu_by"]["httpd"] for r in got["bysession"]) / 2 -
                                sum(r["cpu_by"]["httpd"] for r in got["byrequests"]) / 2)
        report.balance = {}
        for op, found in over.items():
            report.balance[op] = {
                "over_us": median(found), "over_interval": median_interval(found),
                "over_range": [min(found), max(found)], "rounds": len(found),
                "engine_ms_per_s": median([r["cpu_by"]["engine"] * r["rps"] / 1e3
                                           for r in runs["bysession", op]]),
                "foreign": median([r["foreign"] for name in fronts for r in runs[name, op]]),
                "failed": sum(r["failed"] for name in fronts for r in runs[name, op]),
                **{name: {k: median([r[k] for r in runs[name, op]])
                          for k in ("cpu_us", "rps", "p50_us")} for name in fronts}}
        report.aim_balance()
    finally:
        os.sched_setaffinity(0, cpus)
        for node in [c.nodes[0] for c in fronts.values()] + behind.nodes:
            node.stop()


def section_instructions(farm, opt, report):
    """The same pairs by another measure."""
    if instructions.VALGRIND is None:
        report.problem("instructions: valgrind is not there")
        return
    rig.say("balancers: instructions")
    behind, fronts = cases.make_balanced(farm)
    try:
        for node in behind.nodes:
            node.launch()
        report.instructions = {
            op: {name: instructions.count(farm, case.nodes[0], op, opt.counted)
                 for name, case in fronts.items()} for op in ("read", "none")}
    finally:
        for node in [c.nodes[0] for c in fronts.values()] + behind.nodes:
            node.stop()


def deploy(farm, case, number, size):
    """Put a file of that size, unlike the last one, into watchDir. Returns when the other nodes have
    begun to fetch it, with a function that waits for its end."""
    new = os.path.join(farm.root, "new")
    with open(new, "wb") as f:
        block = os.urandom(1 << 20)
        for i in range(size >> 20):
            f.write(number.to_bytes(4, "big") + i.to_bytes(4, "big") + block[8:])
    os.chmod(new, 0o644)
    os.rename(new, os.path.join(farm.root, "farm1-watch", "big"))
    want = size * (number + 1)

    def received(node):
        return node.counters()["deploy_bytes_in"]

    def wait_for(bytes_in, timeout=120):
        end = time.monotonic() + timeout
        while any(received(n) < bytes_in for n in case.nodes[1:]):
            if time.monotonic() > end:
                raise rig.Failure("the file does not arrive")
            time.sleep(0.2)

    wait_for(size * number + 1)
    return lambda: wait_for(want)


def section_deploy(farm, opt, report):
    """Writes of many clients with and without a file on its way to the other nodes, at one rate."""
    size = opt.file << 20
    rig.say(f"writes while {opt.file} MiB are deployed")
    case = cases.make_deployment(farm)
    load = ["--port", case.nodes[0].port, "--path", "/bench/write", "--connections", opt.clients,
            "--rate", 400, "--requests", 100000, "--prepare", "/bench/write", "--check", "write",
            "--warmup", 200]
    quiet = load + ["--seconds", opt.deploy_seconds]
    # long enough for the whole deployment: its end, too, is to be measured
    long = load + ["--seconds", 2.5 * opt.deploy_seconds, "--gate"]
    runs = []
    try:
        for node in case.nodes:
            node.launch()
        for node in case.nodes:
            node.wait_ready(2)
        for number in range(opt.deployments):
            before = farm.run_load(quiet)
            with rig.Load(farm, long) as writers:
                writers.wait_ready()  # sessions made, and warm
                began = time.monotonic()
                arrive = deploy(farm, case, number, size)
                ended = []
                waiting = threading.Thread(target=lambda a=arrive, e=ended:
                                           (a(), e.append(time.monotonic())), daemon=True)
                waiting.start()
                writers.go()
                during = writers.result()
            over = bool(ended)
            waiting.join()
            if not ended:
                raise rig.Failure("the file did not arrive")
            took = ended[0] - began
            after = farm.run_load(quiet)
            runs.append({"quiet": [before["p99_us"], after["p99_us"]], "during": during["p99_us"],
                         "p50": [before["p50_us"], during["p50_us"]],
                         "over": over, "seconds": took,
                         "failures": [r["failure"] for r in (before, during, after)
                                      if r["failure"]],
                         "errors": sum(r["errors"] for r in (before, during, after)),
                         "wrong": sum(r["wrong"] for r in (before, during, after))})
            time.sleep(1)
        ratios = sorted(r["during"] / statistics.mean(r["quiet"]) for r in runs)
        report.deploy = {
            "mib": opt.file, "clients": opt.clients, "runs": runs, "ratio": median(ratios),
            "ratios": ratios, "quiet_us": median([x for r in runs for x in r["quiet"]]),
            "during_us": median([r["during"] for r in runs]),
            "seconds": median([r["seconds"] for r in runs]),
            "over": sum(r["over"] for r in runs),
            "failed": sum(r["errors"] + r["wrong"] for r in runs),
            "degraded": case.nodes[0].counters()["degraded"]}
        report.aim_deploy()
    finally:
        for node in case.nodes:
            node.stop()


# ---- all of it -----------------------------------------------------------------------------------

def run_section(report, name, function, *args):
    """One section; what goes wrong in it is reported and does not stop the others."""
    try:
        function(*args)
    except (OSError, ValueError, KeyError, rig.Failure) as e:
        report.problem(f"{name}: {type(e).__name__}: {e}")
        if os.environ.get("SC_DEBUG"):
            traceback.print_exc()


def run_all(farm, opt, report):
    all_cases = cases.make_all(farm, opt.only)
    started = {}
    for name, case in all_cases.items():
        try:
            case.start()
            started[name] = case
        except rig.Failure as e:
            report.problem(f"{case.title}: {e}")
    if "none" not in started:
        return
    report.titles = {name: case.title for name, case in started.items()}
    for name in opt.sections:
        if name == "compare":
            run_section(report, name, section_compare, farm, started, opt, report)
        elif name == "latency":
            run_section(report, name, section_latency, farm, started, opt, report)
        elif name == "traffic":
            run_section(report, name, section_traffic, farm, started, opt, report)
        elif name == "memory":
            run_section(report, name, section_memory, farm, started, opt, report)
    for case in started.values():
        for node in case.nodes:
            node.stop()
    if "balance" in opt.sections and farm.module:
        run_section(report, "balance", section_balance, farm, opt, report)
    if "instructions" in opt.sections and farm.module:
        run_section(report, "instructions", section_instructions, farm, opt, report)
    if "encrypt" in opt.sections and farm.module:
        run_section(report, "encrypt", secured.section_encrypt, farm, opt, report)
    if "strangers" in opt.sections and farm.module:
        run_section(report, "strangers", secured.section_strangers, farm, opt, report)
    if "deploy" in opt.sections and farm.module:
        run_section(report, "deploy", section_deploy, farm, opt, report)
    if "joiner" in opt.sections and farm.module:
        run_section(report, "joiner", section_joiner, farm, opt, report)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small counts, half a minute")
    parser.add_argument("--full", action="store_true", help="long runs, a million changes")
    parser.add_argument("--million", action="store_true", help="memory over a million changes")
    parser.add_argument("--json", metavar="FILE", help="write all numbers there")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="length of one run")
    parser.add_argument("--deployments", type=int, help="how often a file is deployed")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--cases", help="comma-separated: " + ",".join(cases.NAMES))
    parser.add_argument("--sections", default="compare,latency,traffic,memory,balance,"
                        "instructions,encrypt,strangers,deploy,joiner")
    parser.add_argument("--keep", action="store_true", help="keep configurations and logs")
    args = parser.parse_args()
    if not 1 <= args.connections <= 64:
        parser.error("--connections must be 1 to 64")

    def interrupted(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)
    opt = Options(args)
    report = Report(opt)
    began = time.monotonic()
    root = tempfile.mkdtemp(prefix="sc-bench-")
    farm = rig.Farm(root, os.environ.get("SC_MODULE"))
    try:
        farm.build()
        run_all(farm, opt, report)
    except rig.Failure as e:
        report.problem(str(e))
    except KeyboardInterrupt:
        report.problem("interrupted")
    finally:
        farm.close(args.keep)
    report.seconds = time.monotonic() - began
    print(report.text())
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(report.data(), f, indent=1)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
