#!/bin/sh
# build.sh PATCH DIRECTORY COMPILE...: each file that the patch changes, copied,
# patched and compiled into a copy of its room's archive. The archives that the
# patch leaves alone become links, so DIRECTORY holds all that are given in
# $ARCHIVES.
set -e
patch=$1 dir=$2
shift 2
rm -rf "$dir"
mkdir -p "$dir"
for archive in $ARCHIVES; do
	ln -s "$(realpath "$archive")" "$dir/$(basename "$archive")"
done
files=$(sed -n 's,^+++ b/,,p' "$patch")
for file in $files; do
	mkdir -p "$dir/$(dirname "$file")"
	cp "$file" "$dir/$file"
done
patch -s -p1 --no-backup-if-mismatch -d "$dir" <"$patch"
for file in $files; do
	object=$dir/$(basename "$file" .c).o
	archive=$dir/$(dirname "$file" | tr / _).a
	"$@" -c -o "$object" "$dir/$file"
	if [ -L "$archive" ]; then
		real=$(realpath "$archive")
		rm "$archive"
		cp "$real" "$archive"
	fi
	ar r "$archive" "$object"
done
