# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a secret costs the members, and what those who do not have it can do to them."""

import json
import os
import random
import subprocess
import sys

import cases
import rig
from measure import measure, median, median_interval

STRANGER = os.path.join(rig.HERE, "stranger.py")
# a second; what is counted of it by the members
STRANGERS = {"half-open": (500, "strangers"), "garbage": (500, "strangers"),
             "datagrams": (5000, "datagrams_forged")}


def section_encrypt(farm, opt, report):
    """CPU of all nodes per replicated write, with and without a secret. Each round has two runs of
    both, the one, the other, the other, the one; the ratio is taken within a round."""
    rig.say("writes, encrypted and plain")
    pair = {"plain": cases.make_cluster(farm, "plain", 2, 6),
            "encrypted": cases.make_cluster(farm, "sealed", 2, 6, encrypted=True)}
    try:
        for case in pair.values():
            case.start()
        runs = {name: [] for name in pair}
        ratios = []
        for number in range(opt.pair_rounds):
            turn = list(pair)[::1 if number % 2 else -1]
            got = {name: [] for name in pair}
            for name in turn + turn[::-1]:
                got[name].append(measure(farm, pair[name], "write", connections=opt.connections,
                                         seconds=opt.seconds, warmup=opt.warmup))
            for name, found in got.items():
                runs[name] += found
            ratios.append(sum(r["cpu_us"] for r in got["encrypted"]) /
                          sum(r["cpu_us"] for r in got["plain"]))
        counted = pair["encrypted"].nodes[0].counters()
        report.encrypt = {
            "ratio": median(ratios), "interval": median_interval(ratios), "rounds": len(ratios),
            "range": [min(ratios), max(ratios)], "degraded": counted["degraded"],
            "failed": sum(r["failed"] for found in runs.values() for r in found),
            "foreign": median([r["foreign"] for found in runs.values() for r in found]),
            **{name: {"cpu_us": median([r["cpu_us"] for r in found]),
                      "engines_us": median([r["cpu_by"]["engine"] for r in found]),
                      "rps": median([r["rps"] for r in found])} for name, found in runs.items()}}
        report.aim_encrypt()
    finally:
        for case in pair.values():
            for node in case.nodes:
                node.stop()


class Stranger(rig.Running):
    """A process that bothers whoever is at an address while the with statement lasts."""

    def __init__(self, *args):
        self.proc = subprocess.Popen([sys.executable, STRANGER] + [str(a) for a in args],
                                     stdout=subprocess.PIPE, text=True)

    def wait_ready(self):
        if self.proc.stdout.readline() != "ready\n":
            raise rig.Failure("the sink does not start")
        return self

    def result(self):
        out, _ = self.proc.communicate(timeout=60)
        if self.proc.returncode:
            raise rig.Failure("the stranger ended early")
        return json.loads(out)


def section_strangers(farm, opt, report):
    """Writes of clients at one rate while nobody bothers the members, while somebody does, and while
    the same is done to a process that has nothing to do with them: what it costs the machine to make
    so much noise is no fault of the members."""
    rig.say("writes while strangers knock")
    group = "239." + ".".join(str(random.randint(1, 250)) for _ in range(3))
    elsewhere = "239." + ".".join(str(random.randint(1, 250)) for _ in range(3))
    group_port, port = farm.free_port(), farm.free_port()
    case = cases.make_cluster(farm, "door", 2, 6, encrypted=True, membership=f"multicast "
                              f"address={group} port={group_port} bind=127.0.0.1")
    seconds = opt.stranger_seconds
    load = ["--port", case.nodes[0].port, "--path", "/bench/write", "--connections", 32, "--rate", 400,
            "--requests", 100000, "--prepare", "/bench/write", "--check", "write", "--warmup", 100,
            "--seconds", seconds, "--gate"]

    def run(kind, whom):
        """@return the load's result, and what the stranger did"""
        rate = STRANGERS[kind][0]
        address, at = {
            ("datagrams", "member"): (group, group_port), ("datagrams", "sink"): (elsewhere, port),
            }.get((kind, whom), ("127.0.0.1", case.nodes[0].receiver if whom == "member" else port))
        with rig.Load(farm, load) as writers:
            writers.wait_ready()
            if whom == "nobody":
                writers.go()
                return writers.result(), {"done": 0}
            with Stranger("sink", "udp" if kind == "datagrams" else "tcp",
                          elsewhere if kind == "datagrams" else "127.0.0.1", port, seconds + 2) as at_sink:
                at_sink.wait_ready()
                with Stranger(kind, address, at, rate, seconds) as stranger:
                    writers.go()
                    return writers.result(), stranger.result()

    try:
        case.start()
        report.strangers = {}
        for kind, (rate, counter) in STRANGERS.items():
            found = {whom: [] for whom in ("nobody", "sink", "member")}
            done = 0
            before = case.nodes[0].counters()
            for number in range(opt.stranger_rounds):
                for whom in list(found)[::1 if number % 2 else -1]:
                    result, did = run(kind, whom)
                    found[whom].append(result)
                    done += did["done"] if whom == "member" else 0
            after = case.nodes[0].counters()
            ratios = [m["p99_us"] / s["p99_us"] for m, s in zip(found["member"], found["sink"])]
            report.strangers[kind] = {
                "rate": rate, "done": done, "counted": after[counter] - before[counter],
                "ratio": median(ratios), "range": [min(ratios), max(ratios)], "rounds": len(ratios),
                "failed": sum(r["errors"] + r["wrong"] for rs in found.values() for r in rs),
                "degraded": after["degraded"] - before["degraded"],
                **{whom: {k: median([r[k] for r in rs]) for k in ("p50_us", "p99_us")}
                   for whom, rs in found.items()}}
        report.aim_strangers()
    finally:
        for node in case.nodes:
            node.stop()
