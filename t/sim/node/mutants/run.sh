#!/bin/sh
# run.sh BUILD SECONDS NAME...: does the simulator find each mutant? TAP, and
# with each the seed, how many seeds and seconds it took, and what was seen.
build=$1 seconds=$2
shift 2
echo "1..$#"
n=0 missed=0
for name; do
	n=$((n + 1))
	if found=$("$build/mutant/$name/node_sim" -fq -t "$seconds"); then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		missed=$((missed + 1))
	fi
	echo "$found" | tail -n 1
done
exit $((missed != 0))
