#!/bin/sh
# A balancer and three nodes on loopback with a small shop, whose carts are replicated sessions.
#   sh build/demo.sh               start it, print how to use it, stop it with Ctrl-C
#   sh build/demo.sh --self-test   unattended: kill nodes under ten shoppers, fail if a cart is lost
# Installs what is missing (build/deps.sh), builds into $OUT (default out), leaves nothing behind.
set -eu

tree=$(cd "$(dirname "$0")/.." && pwd)
nodes="n1 n2 n3"
: "${OUT:=out}"

say() { printf '%s\n' "$*"; }
die() { printf 'demo.sh: %s\n' "$*" >&2; exit 1; }

case ${1:-} in
"") self_test= ;;
--self-test) self_test=yes ;;
*) die "usage: demo.sh [--self-test]" ;;
esac

# ---- build --------------------------------------------------------------------------------------

cd "$tree"
sh build/deps.sh demo
make -s -f Makefile.apxs OUT="$OUT" all
case $OUT in
/*) so=$OUT/mod_session_cluster.so ;;
*) so=$tree/$OUT/mod_session_cluster.so ;;
esac
httpd=$(command -v apache2 || command -v httpd || echo /usr/sbin/apache2)
apxs=$(command -v apxs || command -v apxs2) || die "apxs not found"
modules=$($apxs -q LIBEXECDIR)

# ---- a place for everything ---------------------------------------------------------------------

home=$(mktemp -d "${TMPDIR:-/tmp}/session-cluster-demo.XXXXXX")
chmod 755 "$home"
mkdir -p "$home/htdocs"
cp demo/common.conf demo/node.conf demo/balancer.conf demo/shop.lua "$home"
cp "$so" "$home/mod_session_cluster.so"
user=
[ "$(id -u)" -ne 0 ] || user=www-data

next_port=8080
free_port() { # the next port that nobody listens on, into $port
    while grep -qi "$(printf ': [0-9A-F]*:%04X [0-9A-F]*:[0-9A-F]* 0A ' "$next_port")" \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null; do
        next_port=$((next_port + 1))
    done
    port=$next_port
    next_port=$((next_port + 1))
}

get() { eval "printf '%s' \"\${$1_$2}\""; }

define() { # name kind: one httpd's folder and configuration
    mkdir -p "$home/$1"
    {
        say "Define DEMO_HOME \"$home\""
        say "Define DEMO_ROOT \"$home/$1\""
        say "Define DEMO_MODULES \"$modules\""
        say "Define DEMO_SO \"$home/mod_session_cluster.so\""
        say "Define DEMO_ROUTE $1"
        say "Define DEMO_PORT $(get http "$1")"
        say "Define DEMO_RECEIVER $(get receiver "$1")"
        [ -z "$user" ] || say "Define DEMO_USER $user"
        say "Include \"$home/$2.conf\""
    } >"$home/$1/httpd.conf"
}

for name in balancer $nodes; do
    free_port
    eval "http_$name=$port"
done
next_port=$((next_port + 100))
for name in balancer $nodes; do
    free_port
    eval "receiver_$name=$port"
done
say "SessionClusterMember 127.0.0.1:$(get receiver balancer)" >"$home/members.conf"
for name in $nodes; do
    say "SessionClusterMember 127.0.0.1:$(get receiver "$name") route=$name" >>"$home/members.conf"
    say "BalancerMember \"http://127.0.0.1:$(get http "$name")\" route=$name connectiontimeout=2 retry=2" \
        >>"$home/workers.conf"
    define "$name" node
done
define balancer balancer
cat >"$home/start" <<END
rm -f "$home/\$1/httpd.pid" # of one that was killed
exec "$httpd" -d "$home/\$1" -f "$home/\$1/httpd.conf" -k start
END

# ---- starting and stopping ----------------------------------------------------------------------

# Each httpd is the leader of a session (setsid); its children and its engine belong to it.
pid_of() { cat "$home/$1/httpd.pid" 2>/dev/null || true; }
lives() { # name
    pid=$(pid_of "$1")
    [ -n "$pid" ] && grep -qs "$home/$1/httpd.conf" "/proc/$pid/cmdline"
}
alive() { # session: whether any of its processes runs (a zombie does not)
    pgrep -r D,R,S,T -s "$1" >/dev/null
}
launch() {
    sh "$home/start" "$1" >>"$home/$1/console.log" 2>&1 ||
        { cat "$home/$1/console.log" "$home/$1/error.log" 2>/dev/null; die "$1 did not start"; }
}
kill_node() { # name: all its processes at once, as a power failure would
    pid=$(pid_of "$1")
    pkill -KILL -s "$pid" || true
    tries=0
    while alive "$pid" && [ $tries -lt 50 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
}
stop_all() {
    trap - EXIT INT TERM HUP
    sessions=
    for name in balancer $nodes; do
        if lives "$name"; then
            sessions="$sessions $pid"
            kill -TERM "$pid" 2>/dev/null || true
        fi
    done
    tries=0
    for pid in $sessions; do
        while alive "$pid" && [ $tries -lt 60 ]; do
            tries=$((tries + 1))
            sleep 0.1
        done
        pkill -KILL -s "$pid" 2>/dev/null || true
    done
    rm -rf "$home"
}
fetch() { curl -sS --max-time 15 "$@"; }
wait_for() { # what command...: until it succeeds
    what=$1
    shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 150 ] || { tail -n 20 "$home"/*/error.log; die "$what did not happen"; }
        sleep 0.1
    done
}
status_of() { fetch -f "http://127.0.0.1:$(get http "$1")/sc-status?json" | tr -d ' \n\t'; }
ready() { # name
    status_of "$1" | grep -q '"node":{[^}]*"state":"ready"'
}
sees() { # name number: it has that many live members, itself included
    [ "$(status_of "$1" | grep -o '"state":"alive"' | wc -l)" -eq "$2" ]
}

trap 'code=$?; stop_all; exit $code' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

for name in balancer $nodes; do
    launch "$name"
done
for name in balancer $nodes; do
    wait_for "$name ready" ready "$name"
    wait_for "$name with three others" sees "$name" 4
done
url=http://127.0.0.1:$(get http balancer)/

# ---- by hand ------------------------------------------------------------------------------------

if [ -z "$self_test" ]; then
    say ""
    say "The shop:           $url"
    say "What members see:   ${url}sc-status"
    say ""
    for name in $nodes; do
        say "Node $name, pid $(pid_of "$name"): http://127.0.0.1:$(get http "$name")/sc-status"
        say "    kill it:        pkill -KILL -s \$(cat $home/$name/httpd.pid)"
        say "    start it again: sh $home/start $name"
    done
    say ""
    say "Logs are in $home/*/error.log."
    say "Ctrl-C stops everything."
    while :; do
        sleep 3600 &
        sleeper=$!
        trap 'kill $sleeper 2>/dev/null; exit 130' INT
        wait $sleeper
    done
fi

# ---- unattended ---------------------------------------------------------------------------------

shoppers="1 2 3 4 5 6 7 8 9 10"
lost=0

buy() { # shopper article
    code=$(fetch -o /dev/null -w '%{http_code}' -b "$home/jar$1" -c "$home/jar$1" -d "add=$2" "$url") ||
        code=none
    if [ "$code" != 303 ]; then
        say "  shopper $1: buying $2 was answered with $code"
        lost=$((lost + 1))
    fi
}
check() { # the cart that every shopper must have
    answered=
    for shopper in $shoppers; do
        got=$(fetch -b "$home/jar$shopper" -c "$home/jar$shopper" "$url?plain" || true)
        cart=$(say "$got" | grep -v '^node=' | grep -v '=0$' | tr '\n' ' ')
        answered="$answered $(say "$got" | sed -n 's/^node=//p')"
        if [ "$cart" != "$1 " ]; then
            say "  shopper $shopper: has \"$cart\", should have \"$1\""
            lost=$((lost + 1))
        fi
    done
    say "  carts: $1; answered by:$answered"
}
route_of() { sed -n 's/.*CART[[:space:]]*[0-9A-F]*\.\(.*\)/\1/p' "$home/jar$1"; }

say "Ten shoppers fill their carts at $url"
for shopper in $shoppers; do
    buy "$shopper" apple
    buy "$shopper" bread
    buy "$shopper" bread
done
check "apple=1 bread=2"

first=$(route_of 1)
[ -n "$first" ] || die "shopper 1 has no session"
say "kill -9 of $first, which holds the cart of shopper 1; they go on shopping at once"
kill_node "$first"
for shopper in $shoppers; do
    buy "$shopper" cheese
done
check "apple=1 bread=2 cheese=1"

say "$first starts again and takes over the sessions"
launch "$first"
wait_for "$first ready" ready "$first"
wait_for "$first with three others" sees "$first" 4

for name in $nodes; do
    if [ "$name" != "$first" ]; then
        say "kill -9 of $name"
        kill_node "$name"
    fi
done
for shopper in $shoppers; do
    buy "$shopper" coffee
done
check "apple=1 bread=2 cheese=1 coffee=1"
now=$(route_of 1)
[ "$now" = "$first" ] || { say "  shopper 1 is on $now, not on $first"; lost=$((lost + 1)); }

if [ $lost -ne 0 ]; then
    tail -n 30 "$home"/*/error.log
    die "$lost things were lost"
fi
say "Nothing was lost."
