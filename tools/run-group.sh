#!/bin/sh
# Start the demo group of `make run-group`: three nodes on this machine, founded
# once below ./run/group, then kept; says who is master whenever that changes.
# Ctrl-C stops all. Usage: run-group.sh BUILD_DIR [DIRECTORY [ADDRESS]]
set -eu
b=$(cd "${1:-build}" && pwd)
mkdir -p "${2:-run/group}"
top=$(cd "${2:-run/group}" && pwd)
addr=${3:-127.0.0.1}
members="1 2 3"

# The nth member has ports 73n7 of its own (73n7 clients, 73n8 members, 73n9 http).
port() { echo $((7300 + $1 * 10 + $2)); }

configure() {
	[ -e "$top/n$1.ini" ] && return
	cat <<INI
# Member n$1 of the group of \`make run-group\`. Every other key has its default:
# see nodelife.ini(5).
[node]
name = n$1
group = demo
data_dir = $top/n$1/data
run_dir = $top/n$1/run
[listen]
client = $addr:$(port "$1" 7)
peer = $addr:$(port "$1" 8)
http = $addr:$(port "$1" 9)
INI
	for other in $members; do
		[ "$other" = "$1" ] || printf '[peer n%s]\naddress = %s\n' \
		    "$other" "$addr:$(port "$other" 8)"
	done
}

pid_of() { cat "$top/n$1/run/nodelifed.pid" 2>/dev/null; }
alive() {
	pid=$(pid_of "$1") && kill -0 "$pid" 2>/dev/null
}

# In a session of its own: Ctrl-C is for this script, which then stops all.
begin() {
	setsid "$b/nodelifed" -f -c "$top/n$1.ini" >>"$top/n$1/log" 2>&1 &
}

stop_all() {
	trap '' INT TERM HUP
	echo 'stopping'
	for n in $members; do
		! alive "$n" || kill "$(pid_of "$n")" || true
	done
	wait
	exit 0
}

# The name of the master, as members say; of several the last.
master() {
	for n in $members; do
		! alive "$n" || "$b/nodelifestat" -r "$top/n$n/run" -j 2>/dev/null |
		    awk -v me="n$n" '
			/"role": "master"/ { is = 1 }
			/"can_write": true/ && is { print me; exit }'
	done | tail -n 1
}

help() {
	cat <<TEXT

  write        redis-cli -c -p $(port 1 7) SET k v     (a replica says who the master is)
  look         $b/nodelifestat -r $top/n1/run
  watch        $b/nodelifestat -W -r $top/n1/run
  kill the master, the whole node:
               kill -9 \$(cat $top/nN/run/nodelifed.pid)
  start it again:
               setsid $b/nodelifed -f -c $top/nN.ini >>$top/nN/log 2>&1 &
  Ctrl-C stops all.

TEXT
}

for n in $members; do
	mkdir -p "$top/n$n"
	text=$(configure "$n")
	[ -z "$text" ] || printf '%s\n' "$text" >"$top/n$n.ini"
	[ -e "$top/n$n/data/node" ] ||
	    "$b/nodelifed" --init --member -c "$top/n$n.ini"
done
trap stop_all INT TERM HUP
for n in $members; do
	alive "$n" || begin "$n"
done
for n in $members; do
	tries=0
	until alive "$n" && [ -S "$top/n$n/run/control.sock" ]; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] || {
			echo "n$n does not come up: see $top/n$n/log" >&2
			stop_all
		}
		sleep 0.05
	done
done
[ -e "$top/founded" ] || {
	"$b/nodelifectl" -r "$top/n1/run" found || stop_all
	: >"$top/founded"
}

said=none
down=
while :; do
	now=$(master)
	if [ "$now" != "$said" ]; then
		if [ -n "$now" ]; then
			echo "$now is master: clients at $addr:$(port "${now#n}" 7)"
		elif [ "$said" != none ]; then
			echo "no master"
		fi
		[ "$said" != none ] || [ -z "$now" ] || help
		[ "$said" = none ] && [ -z "$now" ] || said=$now
	fi
	for n in $members; do
		case "$down" in
		*" n$n "*)
			! alive "$n" || {
				echo "n$n runs again"
				down=$(echo "$down" | sed "s/ n$n //")
			}
			;;
		*)
			alive "$n" || {
				echo "n$n is down"
				down="$down n$n "
			}
			;;
		esac
	done
	sleep 0.2 &
	wait $! || true
done
