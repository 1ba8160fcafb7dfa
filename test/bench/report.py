# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Numbers into text: tables, and the list of aims."""

import os
import platform


class Report:
    """Filled by the sections of bench.py."""

    def __init__(self, opt):
        self.opt = opt
        self.titles = {}
        self.compare = {}
        self.single = {}
        self.rtt = None       # the shorter of the next two, µs
        self.rtt_free = None
        self.rtt_pinned = None
        self.traffic = None
        self.memory = None
        self.store = None
        self.joiner = None
        self.balance = None
        self.instructions = None
        self.encrypt = None
        self.strangers = None
        self.deploy = None
        self.aims = []      # (aim, measured, met: True, False, None or a word)
        self.problems = []
        self.seconds = 0.0

    def problem(self, text):
        self.problems.append(text)

    def aim(self, text, measured, met):
        self.aims.append((text, measured, met))

    # -- aims

    def aim_cpu(self):
        for name in ("alone", "sync2"):
            got = self.compare.get((name, "read"))
            if got:
                low, high = got["over_range"]
                self.aim(f"read, {self.titles[name]}: CPU at most 3 µs over no session",
                         f"{got['over_us']:.1f} µs ({low:.1f} to {high:.1f})",
                         got["over_us"] <= 3)
        got = self.compare.get(("sync2", "write"))
        if got:
            low, high = got["over_range"]
            self.aim("synchronized 1 KiB write to one other node: CPU of all nodes at most 25 µs "
                     "over no session", f"{got['over_us']:.1f} µs ({low:.1f} to {high:.1f})",
                     got["over_us"] <= 25)

    def aim_latency(self):
        got = self.single.get(("sync2", "write"))
        if got:
            over = got["over_p50_us"]
            met = over <= self.rtt + 60
            if not met and over <= max(self.rtt_free, self.rtt_pinned) + 60:
                met = "met with the longer round trip only"
            self.aim("the same write, one connection: latency (p50) over no session at most one "
                     "loopback round trip + 60 µs",
                     f"{over:.0f} µs (bounds: {self.rtt_pinned + 60:.0f} µs with a round trip on "
                     f"one CPU, {self.rtt_free + 60:.0f} µs with one between two)", met)

    def aim_traffic(self):
        t = self.traffic
        # a touch of each session in each second of the window, generously counted
        touches = t["sessions"] * (t["read_seconds"] + 1)
        self.aim("a read causes no replication traffic beyond coalesced touches",
                 f"{t['reads']} reads of {t['sessions']} sessions in {t['read_seconds']:.1f} s: "
                 f"{max(t['read_bytes'], 0):.0f} bytes, {t['read_changes']} changes, "
                 f"{t['read_touches']} touches",
                 t["read_changes"] == 0 and t["read_bytes"] <= touches * 100)

    def aim_memory(self):
        m = self.memory
        first, last = m["samples"][0], m["samples"][-1]
        growth = max(b - a for a, b in zip(first, last))
        self.aim(f"memory of the engines flat over {m['changes']} changes (grows at most 512 KiB)",
                 f"{max(first) / 1024:.0f} KiB at first, {max(last) / 1024:.0f} KiB at the end",
                 growth <= 512 * 1024)

    def aim_store(self):
        s = self.store
        self.aim("a 1 KiB session takes at most 1536 bytes of the store",
                 f"{s['bytes_per_session']:.0f} bytes with its share of index and access "
                 f"times, {s['cells_per_session']:.2f} cells ({s['sessions']} sessions)",
                 s["bytes_per_session"] <= 1536)

    def aim_joiner(self):
        j = self.joiner
        text = "not complete within 60 s, or not the same data"
        met = False
        if j["complete"]:
            text = (f"{j['from_start_s']:.2f} s from the start of its process, "
                    f"{j['from_first_s']:.2f} s from the begin of the transfer")
            met = j["from_start_s"] <= 2
        if j["sessions"] < 100000:
            met = None if met else False
            text += f"; only {j['sessions']} sessions"
        self.aim("a joiner takes over 100,000 sessions of 1 KiB within 2 s", text, met)

    def aim_balance(self):
        for op, what in (("read", "with a session"), ("none", "without one")):
            b = self.balance[op]
            low, high = b["over_interval"]
            met = b["over_us"] <= 2
            if low <= 2 < high:
                met = f"{'met' if met else 'not met'}, within the noise"
            self.aim(f"a request {what} through a balancer: CPU of its children at most 2 µs more "
                     "with bysession than with byrequests and stickysession",
                     f"{b['over_us']:.1f} µs ({low:.1f} to {high:.1f} with 95 % confidence, "
                     f"{b['rounds']} rounds)", met)

    def aim_encrypt(self):
        e = self.encrypt
        low, high = e["interval"]
        met = e["ratio"] <= 1.15
        if low <= 1.15 < high:
            met = f"{'met' if met else 'not met'}, within the noise"
        self.aim("a replicated 1 KiB write with a secret: CPU of all nodes at most 15 % more than "
                 "without", f"{e['ratio']:.3f} times ({low:.3f} to {high:.3f} with 95 % confidence, "
                 f"{e['rounds']} rounds)", met)

    def aim_strangers(self):
        for kind, s in self.strangers.items():
            low, high = s["range"]
            self.aim(f"p99 of writes while a stranger sends {s['rate']} {kind} a second to a member at "
                     "most doubles, compared with the same noise elsewhere on the machine",
                     f"{s['ratio']:.2f} times ({low:.2f} to {high:.2f}, {s['rounds']} rounds); "
                     f"{s['failed']} failed, {s['degraded']} degraded",
                     s["ratio"] <= 2 and s["failed"] == 0 and s["degraded"] == 0)

    def aim_deploy(self):
        d = self.deploy
        self.aim(f"{d['clients']} clients that write while {d['mib']} MiB come to two other nodes: "
                 "their p99 at most doubles",
                 f"{d['ratio']:.2f} times ({d['ratios'][0]:.2f} to {d['ratios'][-1]:.2f}, "
                 f"{len(d['ratios'])} rounds)",
                 d["ratio"] <= 2)

    # -- text

    def table(self, results):
        lines = [f"{'':38} {'req/s':>8} {'ratio':>6} {'CPU µs':>8} {'over':>7} {'engines':>8} "
                 f"{'p50 µs':>8} {'p99 µs':>9} {'failed':>7}"]
        keys = [(name, op) for name in self.titles for op in ("none", "read", "write")]
        for key in keys:
            r = results.get(key)
            if not r:
                continue
            title = self.titles[key[0]] + ("" if key[1] == "none" else f", {key[1]}")
            engine = f"{r['cpu_by']['engine']:8.1f}" if "engine" in r["cpu_by"] else f"{'-':>8}"
            lines.append(f"{title:38} {r['rps']:8.0f} {r['ratio']:6.2f} {r['cpu_us']:8.1f} "
                         f"{r['over_us']:7.1f} {engine} {r['p50_us']:8.0f} {r['p99_us']:9.0f} "
                         f"{r['failed']:7d}" + "".join(f"  ({n})" for n in r["notes"]))
        return lines

    def details(self):
        lines = []
        t, m, s, j = self.traffic, self.memory, self.store, self.joiner
        if t:
            lines.append(
                f"traffic, 2 nodes: idle {t['idle_bytes_per_s']:.0f} bytes/s; beyond that "
                f"{max(t['read_bytes'], 0) / max(t['reads'], 1):.3f} bytes per read, "
                f"{t['write_bytes'] / max(t['writes'], 1):.0f} bytes and "
                f"{t['write_frames'] / max(t['writes'], 1):.2f} frames per write; "
                f"{t['degraded']} writes degraded, {t['not_delivered']} not delivered")
        if m:
            steps = ", ".join("/".join(f"{x / 1024:.0f}" for x in one) for one in m["samples"])
            lines.append(f"memory of the two engines in steps of {m['changes'] // 5} changes, KiB: "
                         f"{steps}; {m['failed']} failed")
        for op, what in (("read", "with a session"), ("none", "without a session")):
            b = self.balance and self.balance[op]
            if b:
                lines.append(
                    f"balancer, {what}: byrequests {b['byrequests']['cpu_us']:.1f} µs CPU per "
                    f"request, {b['byrequests']['rps']:.0f}/s; bysession "
                    f"{b['bysession']['cpu_us']:.1f} µs, {b['bysession']['rps']:.0f}/s, of which "
                    f"its engine {b['engine_ms_per_s']:.1f} ms per second, however many requests; "
                    f"differences of the rounds {b['over_range'][0]:.1f} to "
                    f"{b['over_range'][1]:.1f} µs, others used {b['foreign'] * 100:.0f} % of the "
                    f"CPUs; {b['failed']} failed")
            n = self.instructions and self.instructions[op]
            if n:
                lines.append(
                    f"balancer, {what}: byrequests {n['byrequests']:.0f} instructions per request "
                    f"outside the kernel, bysession {n['bysession']:.0f}: "
                    f"{n['bysession'] - n['byrequests']:.0f} more")
        e = self.encrypt
        if e:
            lines.append(
                "writes, 2 nodes: " + "; ".join(
                    f"{name} {e[name]['cpu_us']:.1f} µs CPU, engines {e[name]['engines_us']:.1f} µs, "
                    f"{e[name]['rps']:.0f}/s" for name in ("plain", "encrypted")) +
                f"; ratios of the rounds {e['range'][0]:.2f} to {e['range'][1]:.2f}, others used "
                f"{e['foreign'] * 100:.0f} % of the CPUs; {e['failed']} failed, {e['degraded']} "
                "degraded")
        for kind, x in (self.strangers or {}).items():
            lines.append(
                f"strangers, {kind}: {x['done']} done, {x['counted']} counted; writes' p50 and p99 " +
                ", ".join(f"{x[whom]['p50_us']:.0f} and {x[whom]['p99_us']:.0f} µs {text}"
                          for whom, text in (("nobody", "without"), ("sink", "beside it"),
                                             ("member", "as its target"))))
        d = self.deploy
        if d:
            lines.append(
                f"deployment of {d['mib']} MiB to two nodes, encrypted: {d['seconds']:.1f} s; p99 of "
                f"{d['clients']} clients' writes at 400/s: {d['quiet_us']:.0f} µs without, "
                f"{d['during_us']:.0f} µs during it; {d['failed']} failed, {d['degraded']} degraded"
                f"; it was over before the load in {d['over']} of {len(d['runs'])} runs")
            lines += [f"  failed: {why}" for run in d["runs"] for why in run["failures"]]
        if s:
            lines.append(f"{s['sessions']} sessions made at {s['creations_per_s']:.0f}/s, "
                         f"{s['failed']} failed")
        if j:
            first = j["start_to_first_s"]
            lines.append(f"joiner: transfer seen after "
                         f"{'-' if first is None else format(first, '.2f')} s, {j['arrived']} of "
                         f"{j['sessions']} arrived, CPU of both nodes "
                         f"{j['cpu_us_per_session']:.1f} µs per session (start included)")
        return lines

    def foreign(self):
        """What else the machine did during the runs of the tables."""
        shares = sorted(x for results in (self.compare, self.single)
                        for r in results.values() for x in r["foreign"])
        if not shares:
            return ""
        middle, most = shares[len(shares) // 2], shares[-1]
        text = (f"others used {middle * 100:.0f} % of the CPUs meanwhile (median of all runs, at "
                f"most {most * 100:.0f} %)")
        return text + (": NOT A QUIET MACHINE, numbers are too high" if middle > 0.05 else "")

    def text(self):
        opt = self.opt
        out = [f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}; "
               f"{opt.rounds} rounds of {opt.seconds} s, medians; took {self.seconds:.0f} s",
               self.foreign()]
        if self.compare:
            out += ["", f"{opt.connections} connections, as fast as it goes"]
            out += self.table(self.compare)
        if self.single:
            out += ["", f"One connection (a round trip on loopback: {self.rtt_free:.0f} µs, "
                    f"{self.rtt_pinned:.0f} µs with both ends on one CPU)"]
            out += self.table(self.single)
        out += [""] + self.details()
        if self.aims:
            out += ["", "Aims"]
            for text, measured, met in self.aims:
                word = {True: "met", False: "NOT met", None: "not decided"}.get(met, met)
                out += [f"  {text}", f"      {measured}: {word}"]
        if self.problems:
            out += ["", "Could not be run"] + [f"  {p}" for p in self.problems]
        return "\n".join(out)

    def data(self):
        def named(results):
            return {f"{a}/{b}": r for (a, b), r in results.items()}

        return {"compare": named(self.compare), "single": named(self.single),
                "rtt_us": {"free": self.rtt_free, "one_cpu": self.rtt_pinned},
                "traffic": self.traffic, "memory": self.memory,
                "store": self.store, "joiner": self.joiner,
                "balance": self.balance, "instructions": self.instructions,
                "encrypt": self.encrypt, "strangers": self.strangers, "deploy": self.deploy,
                "aims": [{"aim": a, "measured": m, "met": met} for a, m, met in self.aims],
                "problems": self.problems, "seconds": self.seconds}
