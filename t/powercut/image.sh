#!/bin/sh
# The guest of make powercut: Debian's kernel, unpacked and not installed, and
# an initramfs of busybox, this build's programs with their libraries, and the
# few modules that a disk, a network and XFS need.
#
#	image.sh BUILD DIR	makes DIR/vmlinuz and DIR/initramfs
#
# Exit: 77 and a reason if something is not to be had here.
set -eu

build=$1
dir=$2
here=$(dirname "$0")
modules="virtio_pci virtio_blk virtio_net xfs"
root=$dir/root

skip() {
	echo "skipped: $*"
	exit 77
}

busybox=$(command -v busybox) || skip "no busybox (busybox-static)"
if ldd "$busybox" >/dev/null 2>&1; then
	skip "$busybox is no static one (busybox-static)"
fi

# The package that the metapackage stands for, once.
kernel_get() {
	package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
	    sed -n 's/^ *Depends: //p' | head -n 1)
	[ -n "$package" ] || skip "apt knows no linux-image-cloud-amd64"
	rm -rf "$dir/kernel" "$dir/kernel.new"
	mkdir -p "$dir/kernel.new"
	# As root apt would fetch as a user who may not write here, and say so.
	(cd "$dir/kernel.new" &&
	    apt-get -q -o APT::Sandbox::User=root download "$package") \
	    >"$dir/kernel.log" 2>&1 ||
	    skip "cannot download $package: $(tail -n 1 "$dir/kernel.log")"
	dpkg -x "$dir"/kernel.new/*.deb "$dir/kernel.new"
	rm "$dir"/kernel.new/*.deb
	mv "$dir/kernel.new" "$dir/kernel"
}

# Files of these modules and of what they need, that first.
module_files() {
	for m in $modules; do
		sed -n "s,^\(.*/$m\.ko\):,\1,p" "$tree/modules.dep" |
		    tr ' ' '\n' | sed '/^$/d' | tac
	done | awk '!seen[$0]++'
}

mkdir -p "$dir"
[ -d "$dir/kernel" ] || kernel_get
tree=$(echo "$dir"/kernel/lib/modules/*)
[ -e "$tree/modules.dep" ] ||
    busybox depmod -b "$dir/kernel" "$(basename "$tree")"
cp "$dir"/kernel/boot/vmlinuz-* "$dir/vmlinuz"

rm -rf "$root"
mkdir -p "$root/bin" "$root/modules" "$root/dev" "$root/proc" "$root/sys" \
    "$root/run" "$root/disk" "$root/tmp"
cp "$busybox" "$root/bin/busybox"
install -m 755 "$here/init" "$root/init"
n=10
for f in $(module_files); do
	cp "$tree/$f" "$root/modules/$n-$(basename "$f")"
	n=$((n + 1))
done
for p in nodelifed nodelifestat; do
	cp "$build/$p" "$root/bin/"
	strip "$root/bin/$p"
done
ldd "$root/bin/nodelifed" "$root/bin/nodelifestat" |
    sed -n 's,.*[[:space:]]\(/[^ ]*\) (0x.*,\1,p' | sort -u |
    while read -r lib; do
	mkdir -p "$root$(dirname "$lib")"
	cp -L "$lib" "$root$lib"
done
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) |
    gzip -1 >"$dir/initramfs.new"
mv "$dir/initramfs.new" "$dir/initramfs"
rm -rf "$root"
