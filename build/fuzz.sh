#!/bin/sh
# Runs fuzz targets one after the other. Called by make fuzz, fuzz-check and fuzz-merge:
#   fuzz.sh FOLDER SECONDS TARGET...   replay the corpus, then fuzz each target for so long
#   fuzz.sh FOLDER merge TARGET...     make test/fuzz/corpus anew, of what is in it and what was found
# New inputs that show something are kept in FOLDER/new/TARGET, findings in FOLDER/found/TARGET.
set -eu
out=$1
seconds=$2
shift 2

# a small quarantine, kept by the process: new memory for each input is what takes longest here
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:quarantine_size_mb=8:malloc_context_size=10:\
allocator_release_to_os_interval_ms=-1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
export SC_VECTORS=test/vectors

length_of() { # target
    for pair in $FUZZ_LENGTHS; do
        case $pair in "$1":*) echo "${pair#*:}" ;; esac
    done
}

# A parser that takes seconds, or much memory at once, has a finding; whole nodes may take more.
bounds_of() { # target
    case $1 in
        chain | deployer | dns | foreign | front | link_server | manager_* | multicast | restore | snapshot | static | store | tomcat_group | wire)
            echo "-timeout=20 -malloc_limit_mb=256"
            ;;
        *) echo "-timeout=5 -malloc_limit_mb=64" ;;
    esac
}

# What the corpus must execute: lines "file.c function" in corpus/TARGET.must. Inputs that have come to
# mean something else, or are lost, are noticed so.
missing_in() { # target, log of a replay
    must=test/fuzz/corpus/$1.must
    [ -f "$must" ] || return 0
    awk 'FNR == NR { if ($1 == "COVERED_FUNC:") { file = $NF; sub(/:[0-9]+$/, "", file); sub(/.*\//, "", file)
                                                 covered[file " " $(NF - 1)] = 1 }
                     next }
         NF > 0 && $1 !~ /^#/ && !(($1 " " $2) in covered) { print $1 " " $2 }' "$2" "$must"
}

finding() { # target, log
    tail -n 60 "$2"
    echo "fuzz: $1: FINDING, see $2; the input is in $found"
    failed="$failed $1"
}

failed=
for target in "$@"; do
    bin=$out/bin/$target
    corpus=test/fuzz/corpus/$target
    new=$out/new/$target
    found=$out/found/$target/
    log=$out/$target.log
    if [ -z "$(ls "$corpus" 2>/dev/null)" ]; then
        echo "fuzz: $target: there is nothing in $corpus; a new target begins with one input there"
        failed="$failed $target"
        continue
    fi
    mkdir -p "$new" "$found"
    # shellcheck disable=SC2046
    set -- -max_len="$(length_of "$target")" $(bounds_of "$target") -rss_limit_mb=1024 -print_funcs=0 \
        -len_control=10 -artifact_prefix="$found"
    [ ! -f "test/fuzz/corpus/$target.dict" ] || set -- "$@" -dict="test/fuzz/corpus/$target.dict"
    if [ "$seconds" = merge ]; then
        echo "fuzz: $target: $(${PYTHON:-/usr/bin/python3} test/fuzz/merge.py "$bin" "$corpus" "$new" -- "$@")"
        continue
    fi
    # the whole corpus first, however long that takes
    begun=$(date +%s)
    if ! "$bin" "$@" -runs=0 -print_coverage=1 "$corpus" >"$log" 2>&1; then
        finding "$target" "$log"
        continue
    fi
    missing=$(missing_in "$target" "$log")
    if [ -n "$missing" ]; then
        echo "$missing"
        echo "fuzz: $target: its corpus does not reach these functions (test/fuzz/corpus/$target.must)"
        failed="$failed $target"
        continue
    fi
    if [ -n "$(ls "$new")" ] && ! "$bin" "$@" -runs=0 "$new" >"$log" 2>&1; then
        finding "$target" "$log"
        continue
    fi
    # a run replays both folders again, within its time, and stops at the first finding
    time=$((seconds + $(date +%s) - begun))
    if "$bin" "$@" -max_total_time="$time" -print_final_stats=1 "$new" "$corpus" >"$log" 2>&1; then
        echo "fuzz: $target: $(sed -n 's/^Done \([0-9]*\) runs in.*/\1 runs/p' "$log"), no finding"
    else
        finding "$target" "$log"
    fi
done
if [ -n "$failed" ]; then
    echo "fuzz: failed:$failed"
    exit 1
fi
