#!/bin/sh
# Installs what building, testing and the demo need and what is not there yet (Debian 12).
#   sh build/deps.sh          build and test
#   sh build/deps.sh demo     only what the demo needs
set -eu

want="gcc make apache2 apache2-dev libapr1-dev libaprutil1-dev libssl-dev zlib1g-dev python3 curl procps"
if [ "${1:-test}" != demo ]; then
    want="$want libcunit1-dev python3-pytest iproute2 faketime valgrind apache2-utils libaprutil1-dbd-sqlite3
        clang libclang-rt-14-dev llvm chromium"
    # Apache Tribes, for make interop, and Tomcat, for the tests of balancers in front of it
    want="$want default-jdk-headless libtomcat10-java"
    # for make deb
    want="$want debhelper dpkg-dev fakeroot"
fi

missing=
for package in $want; do
    case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true) in
    "install ok installed") ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "deps.sh: missing packages:$missing; run as root or install sudo" >&2
        exit 1
    }
    sudo=sudo
fi

# apache2's package would start a server on port 80; this tree starts its own ones.
policy=/usr/sbin/policy-rc.d
made_policy=
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
    $sudo chmod +x $policy
    made_policy=yes
fi
echo "deps.sh: installing$missing"
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
[ -z "$made_policy" ] || $sudo rm -f $policy
