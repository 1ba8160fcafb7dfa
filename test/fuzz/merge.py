#!/usr/bin/env python3
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Makes the corpus of a fuzz target from what there is and what a fuzzer found: few small inputs that
together reach what all of them reach.

    merge.py PROGRAM CORPUS NEW... [-- options of the program]

The program tells which edges each input reaches, and about how often (libFuzzer's merge control file).
Inputs are chosen greedily, the one that adds most first: at most LIMIT of them for their edges; then, of
a program that has few edges, up to FEW for how often they reach them. A file of the corpus whose name is
no hash was put there by hand and stays.
"""
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile

LIMIT = 200
FEW = 60
FEATURES_OF_EDGE = 8


def coverage(program, folders, options):
    """Reached features by file."""
    with tempfile.TemporaryDirectory() as scratch:
        control = os.path.join(scratch, "control")
        empty = os.path.join(scratch, "empty")
        os.mkdir(empty)
        run = subprocess.run([program, "-set_cover_merge=1", "-merge_control_file=" + control,
                              *options, empty, *folders], capture_output=True, text=True)
        if run.returncode != 0:
            sys.exit(run.stderr[-4000:])
        with open(control) as f:
            lines = f.read().splitlines()
    count = int(lines[0])
    names = lines[2:2 + count]
    reached = {name: set() for name in names}
    for line in lines[2 + count:]:
        words = line.split()
        if words[0] == "FT":
            reached[names[int(words[1])]].update(int(w) for w in words[2:])
    return reached


def choose(reached, kept, limit, by_size=False):
    """Files that add most (for their size) to what others reach, at most so many with those that are kept."""
    covered = set()
    for name in kept:
        covered |= reached.get(name, set())
    size = {n: os.path.getsize(n) for n in reached}
    chosen = []
    left = {n: e for n, e in reached.items() if n not in kept}
    while left and len(chosen) + len(kept) < limit:
        gain = {n: len(f - covered) / (256 + size[n] if by_size else 1) for n, f in left.items()}
        best = max(left, key=lambda n: (gain[n], -size[n], n))
        if not left[best] - covered:
            break
        covered |= left.pop(best)
        chosen.append(best)
    return chosen


def main():
    args, options = sys.argv[1:], []
    if "--" in args:
        cut = args.index("--")
        args, options = args[:cut], args[cut + 1:]
    program, corpus, *new = args
    reached = coverage(program, [corpus, *new], options)
    by_hand = [os.path.join(corpus, f) for f in sorted(os.listdir(corpus))
               if not re.fullmatch("[0-9a-f]{40}", f)]
    edges = {name: {f // FEATURES_OF_EDGE for f in features} for name, features in reached.items()}
    chosen = choose(edges, by_hand, LIMIT)
    chosen += choose(reached, by_hand + chosen, FEW, by_size=True)
    inputs = [open(name, "rb").read() for name in chosen]
    for f in os.listdir(corpus):
        if re.fullmatch("[0-9a-f]{40}", f):
            os.unlink(os.path.join(corpus, f))
    for data in inputs:
        with open(os.path.join(corpus, hashlib.sha1(data).hexdigest()), "wb") as f:
            f.write(data)
    size = sum(os.path.getsize(os.path.join(corpus, f)) for f in os.listdir(corpus))
    print("%d inputs, %d bytes" % (len(os.listdir(corpus)), size))


if __name__ == "__main__":
    main()
