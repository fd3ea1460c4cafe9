#!/bin/sh
# A real Docker in namespaces of its own, with a registry to push to, since only that gives an image its digest: containers in
# each state, its socket at $1/socket, and $1/ready once all are there. It goes on until it is killed, and everything in it.
set -eu
bench=$1
here=$(dirname "$0")
. "$here/namespaces.sh"
# Docker and containerd keep sockets and states there, whatever they are told.
mount -t tmpfs tmpfs /run
ip link set lo up
cat >"$bench/registry.yml" <<YML
version: 0.1
storage: {filesystem: {rootdirectory: $bench/registry}}
http: {addr: "127.0.0.1:5000"}
YML
docker-registry serve "$bench/registry.yml" >"$bench/registry.log" 2>&1 &
dockerd --host "unix://$bench/socket" --data-root "$bench/data" --exec-root "$bench/exec" --pidfile "$bench/pid" \
  --storage-driver vfs --bridge none --iptables=false --ip6tables=false >"$bench/dockerd.log" 2>&1 &
engine() { docker --host "unix://$bench/socket" "$@"; }
run() { engine run --detach --network none --name "$@" >/dev/null; }
until engine info >/dev/null 2>&1; do sleep 0.1; done
image | engine import - localhost/orders:1 >/dev/null
engine tag localhost/orders:1 127.0.0.1:5000/orders:1
until engine push --quiet 127.0.0.1:5000/orders:1 >/dev/null 2>&1; do sleep 0.1; done
# Docker asks by itself, the first time after one interval.
asked='--health-interval 300ms'
later='--health-interval 1h'
. "$here/states.sh"
until [ "$(engine inspect --format '{{.State.Health.Status}}' well)" = healthy ]; do sleep 0.1; done
until [ "$(engine inspect --format '{{.State.Health.Status}}' ill)" = unhealthy ]; do sleep 0.1; done
run paused localhost/orders:1 /probe
engine pause paused >/dev/null
engine image inspect --format '{{.Id}} {{index .RepoDigests 0}}' localhost/orders:1 | sed 's/ .*@/ /' >"$bench/digests"
all_are_there
wait
