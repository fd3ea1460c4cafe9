#!/bin/sh
# A real systemd on an overlay of this machine, in namespaces of its own: nothing of it is left, and nothing is seen of it.
# BENCH holds units/; UNIT is what is booted. Each SOURCE is to be seen at PLACE, as BENCH is at its own, and outlives the machine.
# usage: systemd.sh BENCH UNIT [SOURCE PLACE]…
set -eu
bench=$1 unit=$2
shift 2
mkdir -p "$bench/layers" "$bench/root"
mount --make-rprivate /
mount -t tmpfs none "$bench/layers"
mkdir "$bench/layers/upper" "$bench/layers/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$bench/layers/upper,workdir=$bench/layers/work" "$bench/root"
cd "$bench/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for fresh in run tmp dev; do mount -t tmpfs none "$fresh"; done
for device in null zero full random urandom tty; do
  touch "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
set -- "$bench" "$bench" "$@"
while [ $# -gt 0 ]; do
  if [ -d "$1" ]; then mkdir -p "./$2"; else touch "./$2"; fi
  mount --bind "$1" "./$2"
  shift 2
done
rm -rf etc/systemd/system
cp -a "$bench/units" etc/systemd/system
exec chroot . /usr/bin/env -i container=unshare PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system "--unit=$unit" --log-target=null
