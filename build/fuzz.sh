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

failed=
for target in "$@"; do
    bin=$out/bin/$target
    corpus=test/fuzz/corpus/$target
    new=$out/new/$target
    found=$out/found/$target/
    log=$out/$target.log
    mkdir -p "$corpus" "$new" "$found"
    set -- -max_len="$(length_of "$target")" -timeout=20 -rss_limit_mb=1024 -print_funcs=0 -len_control=10 \
        -artifact_prefix="$found"
    [ ! -f "test/fuzz/corpus/$target.dict" ] || set -- "$@" -dict="test/fuzz/corpus/$target.dict"
    if [ "$seconds" = merge ]; then
        echo "fuzz: $target: $(${PYTHON:-/usr/bin/python3} test/fuzz/merge.py "$bin" "$corpus" "$new" -- "$@")"
        continue
    fi
    # a run replays both folders first, and stops at the first finding
    if "$bin" "$@" -max_total_time="$seconds" -print_final_stats=1 "$new" "$corpus" >"$log" 2>&1; then
        echo "fuzz: $target: $(sed -n 's/^Done \([0-9]*\) runs in.*/\1 runs/p' "$log"), no finding"
    else
        tail -n 60 "$log"
        echo "fuzz: $target: FINDING, see $log; the input is in $found"
        failed="$failed $target"
    fi
done
if [ -n "$failed" ]; then
    echo "fuzz: findings in$failed"
    exit 1
fi
