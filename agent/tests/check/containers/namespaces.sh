# Whatever groups the machine has: crun takes the second version alone, or none.
umount -l -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t proc proc /proc
# An image of one program, as a tar. Without an argument it stays; else it ends soon, and the last argument is its status. It
# is the image's shell too: that is what health checks are given to.
image() {
  mkdir -p "$bench/image/bin"
  cat >"$bench/probe.c" <<'C'
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **words) {
  if (count < 2) for (;;) pause();
  usleep(300000);
  return atoi(words[count - 1]);
}
C
  cc -static -o "$bench/image/probe" "$bench/probe.c"
  ln -s /probe "$bench/image/bin/sh"
  tar --create --directory "$bench/image" .
}
all_are_there() {
  until [ "$(engine inspect --format '{{.RestartCount}}' loop)" -ge 2 ]; do sleep 0.1; done
  touch "$bench/ready"
}
