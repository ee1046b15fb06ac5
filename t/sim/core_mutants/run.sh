#!/bin/sh
# run.sh BUILD SECONDS NAME...: does core_sim find each mutant? TAP, and with
# each the seed and what was seen.
build=$1 seconds=$2
shift 2
echo "1..$#"
n=0 missed=0
for name; do
	n=$((n + 1))
	found=$(timeout "$seconds" "$build/mutant/core/$name/core_sim" -q \
	    100000000 2>&1)
	if [ $? -ne 0 ] && [ -n "$found" ]; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		missed=$((missed + 1))
	fi
	echo "$found" | sed -n '1s/^not ok 1 - /# /p; /assertion/s/^/# /p'
done
exit $((missed != 0))
