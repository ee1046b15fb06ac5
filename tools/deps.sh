#!/bin/sh
# Install the Debian packages a target needs, only those that are missing,
# saying which. As root, or through sudo. Usage: deps.sh build|check|bench|powercut
set -eu

build="gcc libc6-dev make pkg-config liburing-dev libinih-dev libbsd-dev
	liblmdb-dev libisal-dev libmicrohttpd-dev libjansson-dev libssl-dev"
check="perl redis-tools redis-server mandoc clang clang-format
	libclang-rt-14-dev curl prometheus iproute2 nftables"
bench="redis-server redis-tools etcd-server perl"
powercut="perl qemu-system-x86 busybox-static xfsprogs e2fsprogs"

case "${1:-build}" in
build) want=$build ;;
check) want="$build $check" ;;
bench) want="$build $bench" ;;
powercut) want="$build $powercut" ;;
*)
	echo "usage: deps.sh build|check|bench|powercut" >&2
	exit 64
	;;
esac

command -v dpkg-query >/dev/null || {
	echo "deps: no Debian: these packages, or their like, are needed:" \
	    $want >&2
	exit 0
}
missing=
for p in $want; do
	state=$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null || true)
	case "$state" in
	*" installed") ;;
	*) missing="$missing $p" ;;
	esac
done
[ -n "$missing" ] || exit 0

echo "deps: installing missing packages:$missing" >&2
as=
if [ "$(id -u)" != 0 ]; then
	as=sudo
	command -v sudo >/dev/null || {
		echo "deps: not root and no sudo: install these by hand" >&2
		exit 77
	}
fi
# A freshly installed server must not be started behind the admin's back.
policy=
if [ ! -e /usr/sbin/policy-rc.d ]; then
	policy=/usr/sbin/policy-rc.d
	printf '#!/bin/sh\nexit 101\n' | $as tee $policy >/dev/null
	$as chmod 755 $policy
fi
trap '[ -z "$policy" ] || $as rm -f $policy' EXIT
trap 'exit 130' INT TERM HUP
apt="$as env DEBIAN_FRONTEND=noninteractive apt-get"
$apt update -q >/dev/null || true
# shellcheck disable=SC2086
$apt install -y -q --no-install-recommends $missing >/dev/null
