#!/usr/bin/env python3
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Deliberate breakages of the code, one at a time, each of which the simulator must catch.

The list is mutants.txt: blocks of

    == name
    file src/...                 the file that is changed
    args --profile freeze ...    options of the simulator (may be left out)
    seeds 100                    how many to try (default 60)
    start 1000                   the first one (default 1): where one is known that shows it
    unit backup                  instead of these: the suite of unit tests that catches it, since
                                 other rules hide it from clients, which is all the simulator sees
    - old line                   exact text, which must occur once
    + new line

The changed file is compiled into OUT/mutants/NAME and linked with the other objects as they are. A
mutant is caught when a seed fails that passes without it. MISSED ones, and ones whose text does not
apply any more, make the run fail.
"""
import argparse
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor


class Mutant:
    def __init__(self, name):
        self.name, self.file, self.args, self.seeds, self.start = name, "", [], 60, 1
        self.unit = None
        self.old, self.new = [], []


def read_list(path):
    mutants = []
    for line in open(path):
        line = line.rstrip("\n")
        if line.startswith("== "):
            mutants.append(Mutant(line[3:].strip()))
        elif not mutants or not line or line.startswith("#"):
            continue
        elif line[0] in "-+":
            (mutants[-1].old if line[0] == "-" else mutants[-1].new).append(line[2:])
        else:
            word, _, rest = line.partition(" ")
            m = mutants[-1]
            if word == "file":
                m.file = rest.strip()
            elif word == "args":
                m.args = rest.split()
            elif word == "seeds":
                m.seeds = int(rest)
            elif word == "start":
                m.start = int(rest)
            elif word == "unit":
                m.unit = rest.strip()
            else:
                sys.exit("%s: %s: what is \"%s\"?" % (path, m.name, word))
    return mutants


def run(binary, args, start, count, timeout):
    """Seeds of this range that fail, and the rule that each violates."""
    try:
        p = subprocess.run([binary, "--start", str(start), "--seeds", str(count)] + args,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {start: "does not end"}
    out = p.stdout.decode(errors="replace")
    failed = {int(m.group(1)): m.group(2)
              for m in re.finditer(r"^seed (\d+) \(.*?\) FAILED: (.*?):", out, re.M)}
    if p.returncode not in (0, 1) and not failed:
        failed[start] = "ended with %d" % p.returncode
    return failed


class Baseline:
    """What fails without any breakage."""

    def __init__(self, binary):
        self.binary, self.known = binary, {}

    def fails(self, args, seed, timeout):
        key = (tuple(args), seed)
        if key not in self.known:
            self.known[key] = bool(run(self.binary, args, seed, 1, timeout))
        return self.known[key]


def build(m, opts):
    folder = os.path.join(opts.out, "mutants", m.name)
    os.makedirs(os.path.join(folder, os.path.dirname(m.file)), exist_ok=True)
    text = open(m.file).read()
    old, new = "\n".join(m.old), "\n".join(m.new)
    if text.count(old) != 1:
        return None, "its text occurs %d times in %s" % (text.count(old), m.file)
    source = os.path.join(folder, m.file)
    open(source, "w").write(text.replace(old, new))
    obj = source[:-2] + ".o"
    flags = [f for f in shlex.split(opts.cflags) if f != "-Werror"]
    cmd = shlex.split(opts.cc) + flags + ["-w", "-I" + os.path.dirname(m.file), "-c", "-o", obj,
                                         source]
    p = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode:
        return None, "does not compile: " + p.stdout.decode(errors="replace")[-400:]
    original = os.path.join(opts.out, m.file[:-2] + ".o")
    objs = []
    rooms = sorted(os.path.join("src", f) for f in os.listdir("src") if f != "httpd")
    for top in rooms + ["test/unit" if m.unit else "test/sim"]:
        for f in sorted(os.listdir(top)):
            if f.endswith(".c"):
                o = os.path.join(opts.out, top, f[:-2] + ".o")
                objs.append(obj if o == original else o)
    binary = os.path.join(folder, "unit" if m.unit else "sim")
    libs = opts.unit_libs if m.unit else opts.libs
    p = subprocess.run(shlex.split(opts.cc) + ["-o", binary] + objs + shlex.split(libs),
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode:
        return None, "does not link: " + p.stdout.decode(errors="replace")[-400:]
    return binary, ""


def hunt(m, binary, baseline, timeout):
    """@return (seed, rule) of the first seed that only fails with the mutant"""
    start, end = m.start, m.start + m.seeds
    while start < end:
        count = min(5, end - start)
        for seed, rule in sorted(run(binary, m.args, start, count, timeout).items()):
            if not baseline.fails(m.args, seed, timeout):
                return seed, rule
        start += count
    return None


def test(suite, binary, timeout):
    """@return the first assertion of the suite that fails"""
    try:
        p = subprocess.run([binary, suite], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=10 * timeout)
    except subprocess.TimeoutExpired:
        return "unit", "does not end"
    failed = re.search(r"^ +1\. (\S+) ", p.stdout.decode(errors="replace"), re.M)
    if failed:
        return "unit", failed.group(1)
    return ("unit", "ended with %d" % p.returncode) if p.returncode < 0 else None


def check_suites(mutants, opts):
    """A suite that fails without any breakage shows nothing."""
    for suite in sorted({m.unit for m in mutants if m.unit}):
        failed = test(suite, os.path.join(opts.out, "unit"), opts.timeout)
        if failed:
            sys.exit("suite %s fails without any breakage: %s" % (suite, failed[1]))


def check(m, opts, baseline):
    """@return 1 if it was not caught"""
    binary, why = build(m, opts)
    if binary is None:
        print("BROKEN  %-28s %s" % (m.name, why), flush=True)
        return 1
    if m.unit:
        caught = test(m.unit, binary, opts.timeout)
    else:
        caught = hunt(m, binary, baseline, opts.timeout)
    os.remove(binary)
    if not caught:
        print("MISSED  %-28s in %s" % (m.name, m.unit or "%d seeds" % m.seeds), flush=True)
        return 1
    by = "suite %s: %s" % (m.unit, caught[1]) if m.unit else "seed %s: %s" % caught
    print("caught  %-28s %s" % (m.name, by), flush=True)
    return 0


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", default="out")
    ap.add_argument("--cc", default="cc")
    ap.add_argument("--cflags", default="")
    ap.add_argument("--libs", default="")
    ap.add_argument("--unit-libs", default="")
    ap.add_argument("--list", default="test/sim/mutants.txt")
    ap.add_argument("--only", default="", help="those whose names match")
    ap.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at a time")
    ap.add_argument("--timeout", type=int, default=60, help="seconds for five seeds")
    opts = ap.parse_args()
    baseline = Baseline(os.path.join(opts.out, "sim"))
    mutants = [m for m in read_list(opts.list) if re.search(opts.only, m.name)]
    check_suites(mutants, opts)
    with ThreadPoolExecutor(opts.jobs) as pool:
        bad = sum(pool.map(lambda m: check(m, opts, baseline), mutants))
    print("%d mutants, %d not caught" % (len(mutants), bad))
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
