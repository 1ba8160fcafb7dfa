#!/bin/sh
# Unit tests and real nodes, under the sanitizers and under valgrind. Called by make memcheck with the
# build folder; MODULE, ASAN_MODULE, the two unit runners and the peers of the interop tests are built
# already.
set -eu
out=$1
python=${PYTHON:-/usr/bin/python3}
here=$PWD
case $out in /*) ;; *) out=$here/$out ;; esac

# nodes run as another user: what they report goes where everybody may write
reports=$(mktemp -d)
chmod 1777 "$reports"
trap 'rm -rf "$reports"' EXIT
export SC_VECTORS=test/vectors

echo "memcheck: unit tests, address and undefined behaviour"
ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1 "$out/asan/unit"
echo "memcheck: the channel against Apache Tribes, address and undefined behaviour"
ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1 SC_INTEROP=$out/asan/interop \
    "$python" -m pytest -p no:cacheprovider -q test/interop
echo "memcheck: unit tests, valgrind"
valgrind -q --error-exitcode=9 --child-silent-after-fork=yes --leak-check=full \
    --errors-for-leak-kinds=definite "$out/unit"
echo "memcheck: nodes, address and undefined behaviour"
SC_PRELOAD=$(gcc -print-file-name=libasan.so) \
    ASAN_OPTIONS=detect_leaks=0:log_path=$reports/asan \
    UBSAN_OPTIONS=print_stacktrace=1:log_path=$reports/ubsan \
    SC_MODULE=$out/asan/mod_session_cluster.so \
    "$python" -m pytest -p no:cacheprovider -q test/e2e/test_standalone.py test/e2e/test_cluster.py \
    test/e2e/test_store.py
echo "memcheck: nodes, valgrind (filling a store takes it too long for the clients)"
SC_WRAP="valgrind -q --log-file=$reports/valgrind.%p" SC_MODULE=$out/mod_session_cluster.so \
    "$python" -m pytest -p no:cacheprovider -q -k "not full_store" test/e2e/test_standalone.py

if [ -n "$(find "$reports" -type f -size +0)" ]; then
    find "$reports" -type f -size +0 -exec cat {} + | head -n 200
    exit 1
fi
echo "memcheck: clean"
