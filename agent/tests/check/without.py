"""Runs a program as on a kernel that lacks some system calls: `without.py ENOSYS openat2,statx PROGRAM ARGUMENT…`."""

import ctypes
import errno
import os
import struct
import sys

# The same on every architecture since Linux 5.1; statx is older.
NUMBERS = {"openat2": 437, "statx": {"x86_64": 332, "aarch64": 291}[os.uname().machine]}
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
ERRNO, ALLOW = 0x00050000, 0x7FFF0000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


def main(error, names, *program):
    code = [(LOAD, 0, 0, 0)]
    for name in names.split(","):
        code += [(JUMP_EQUAL, 0, 1, NUMBERS[name]), (RETURN, 0, 0, ERRNO | getattr(errno, error))]
    code.append((RETURN, 0, 0, ALLOW))
    filter = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in code))
    program_of_filter = struct.pack("<H6xQ", len(code), ctypes.addressof(filter))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program_of_filter, 0, 0):
        sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")
    os.execv(program[0], program)


main(*sys.argv[1:])
