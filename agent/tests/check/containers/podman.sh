#!/bin/sh
# A real Podman in namespaces of its own: containers in each state, its socket at $1/socket, and $1/ready once all are there.
# It goes on until it is killed, and everything in it with it.
set -eu
bench=$1
here=$(dirname "$0")
. "$here/namespaces.sh"
engine() {
  podman --root "$bench/storage" --runroot "$bench/run" --tmpdir "$bench/tmp" --storage-driver vfs \
    --cgroup-manager cgroupfs --runtime crun --events-backend file "$@"
}
run() {
  engine run --detach --network none --cgroups disabled --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 --name "$@" >/dev/null
}
image | engine import - localhost/orders:1 >/dev/null 2>&1
asked='--health-interval disable'
. "$here/states.sh"
engine healthcheck run well
engine healthcheck run ill >/dev/null || true
engine system service --time 0 "unix://$bench/socket" 2>"$bench/service.log" &
until [ -S "$bench/socket" ]; do sleep 0.05; done
engine image inspect --format '{{.Id}} {{.Digest}}' localhost/orders:1 >"$bench/digests"
all_are_there
wait
