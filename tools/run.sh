#!/bin/sh
# Start the demo node of `make run`: founded once below ./run, then kept.
# Usage: run.sh BUILD_DIR
set -eu
b=${1:-build}
top=$(pwd)/run
ini=$top/nodelife.ini

mkdir -p "$top"
[ -e "$ini" ] || cat >"$ini" <<INI
# The demo node of \`make run\`. Every other key has its default:
# see nodelife.ini(5), or \`nodelifed -n -c $ini\`.
[node]
name = n1
group = demo
data_dir = $top/data
run_dir = $top/node
INI
[ -e "$top/data/node" ] || "$b/nodelifed" --init -c "$ini"
exec "$b/nodelifed" -f -c "$ini"
