"""A file system whose one file, `b`, never comes to an end of being read: FUSE, spoken by hand.

Mounts itself on the directory it is given, says `mounted`, and serves until it is killed. Everything is answered but READ.
"""

import ctypes
import os
import struct
import sys

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS = 1, 2, 3, 14, 15, 17
RELEASE, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = 18, 25, 26, 27, 28, 29, 36, 42
ENOENT, ENOSYS = 2, 38
ROOT, FILE = 1, 2
SIZE = 5


def attributes(node):
    mode, size = (0o40755, 0) if node == ROOT else (0o100644, SIZE)
    return struct.pack("<6Q10I", node, size, 1, 1, 1, 1, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def entry(ino, offset, kind, name):
    entry = struct.pack("<QQII", ino, offset, len(name), kind) + name
    return entry + b"\0" * (-len(entry) % 8)


def listing():
    return entry(ROOT, 1, 4, b".") + entry(ROOT, 2, 4, b"..") + entry(FILE, 3, 8, b"b")


def answer(opcode, node, body):
    """Bytes, an error number, or None when nothing is to be said."""
    if opcode == INIT:
        return struct.pack("<IIIIHHIIHHI7I", 7, 31, 0, 0, 8, 8, 4096, 1, 0, 0, 0, *[0] * 7)
    if opcode == GETATTR:
        return struct.pack("<QII", 0, 0, 0) + attributes(node)
    if opcode == LOOKUP:
        return struct.pack("<QQQQII", FILE, 0, 0, 0, 0, 0) + attributes(FILE) if body == b"b\0" else ENOENT
    if opcode in (OPEN, OPENDIR):
        return struct.pack("<QII", 0, 0, 0)
    if opcode == READDIR:
        return listing() if struct.unpack_from("<QQ", body)[1] == 0 else b""
    if opcode == STATFS:
        return b"\0" * 80
    if opcode in (RELEASE, RELEASEDIR, FLUSH):
        return b""
    return None if opcode in (READ, FORGET, BATCH_FORGET, INTERRUPT) else ENOSYS


def main(directory):
    device = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"hanging", directory.encode(), b"fuse.hanging", 0, options) != 0:
        sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
    print("mounted", flush=True)
    while True:
        request = os.read(device, 1 << 17)
        _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
        said = answer(opcode, node, request[40:])
        if said is None:
            continue
        error, said = (-said, b"") if isinstance(said, int) else (0, said)
        os.write(device, struct.pack("<IiQ", 16 + len(said), error, unique) + said)


main(sys.argv[1])
