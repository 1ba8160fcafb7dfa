#!/bin/sh
# Installs what is missing, builds, and runs every test: unit, end to end, the demo's self-test.
set -eu
cd "$(dirname "$0")/.."
sh build/deps.sh
exec make -s -f Makefile.apxs check
