#!/usr/bin/env bash
# What building and running containers needs, from Debian's or Ubuntu's packages. As root. Nothing to do when it is there.
set -eu
missing=()
for package in podman buildah runc fuse-overlayfs mmdebstrap netavark aardvark-dns iptables catatonit; do
  dpkg-query --show --showformat='${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
[ "$(id -u)" = 0 ] || { echo "as root: apt-get install ${missing[*]}" >&2; exit 2; }
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
