#!/bin/sh
# A real Podman in namespaces of its own: containers in each state, its socket at $1/socket, and $1/ready once all are there.
# It goes on until it is killed, and everything in it with it.
set -eu
bench=$1
# Whatever groups the machine has: crun takes the second version alone, or none.
umount -l -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t proc proc /proc
engine() {
  podman --root "$bench/storage" --runroot "$bench/run" --tmpdir "$bench/tmp" --storage-driver vfs \
    --cgroup-manager cgroupfs --runtime crun --events-backend file "$@"
}
run() {
  engine run --detach --network none --cgroups disabled --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 --name "$@" >/dev/null
}
mkdir "$bench/image"
cat >"$bench/probe.c" <<'C'
#include <stdlib.h>
#include <unistd.h>
/* Without an argument it stays; with one it ends soon, with that status. */
int main(int count, char **words) {
  if (count < 2) for (;;) pause();
  usleep(300000);
  return atoi(words[1]);
}
C
cc -static -o "$bench/image/probe" "$bench/probe.c"
tar --create --directory "$bench/image" . | engine import - localhost/orders:1 >/dev/null 2>&1
run orders localhost/orders:1 /probe
run ended localhost/orders:1 /probe 3
run loop --restart always localhost/orders:1 /probe 1
run well --health-cmd '["/probe","0"]' --health-interval disable localhost/orders:1 /probe
run ill --health-cmd '["/probe","1"]' --health-interval disable --health-retries 1 localhost/orders:1 /probe
run starting --health-cmd '["/probe","0"]' --health-interval disable localhost/orders:1 /probe
engine create --network none --name created localhost/orders:1 /probe >/dev/null
engine healthcheck run well
engine healthcheck run ill >/dev/null || true
engine system service --time 0 "unix://$bench/socket" 2>"$bench/service.log" &
until [ -S "$bench/socket" ]; do sleep 0.05; done
until [ "$(engine inspect --format '{{.RestartCount}}' loop)" -ge 2 ]; do sleep 0.1; done
engine image inspect --format '{{.Id}} {{.Digest}}' localhost/orders:1 >"$bench/digests"
touch "$bench/ready"
wait
