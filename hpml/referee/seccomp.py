"""A system-call filter for workers: no new processes, no timers that wake a frozen process, no reach into others.

Classic BPF through prctl(PR_SET_SECCOMP), which needs no privilege. A worker is one process with as many threads as it likes; so
the kernel's account of that process is the account of everything that its code did. Lies beside worker.py in the jail; standard
library only. Numbers are those of x86-64 (the only processor that the course supports).
"""

from __future__ import annotations

import ctypes
import errno
import struct

REFUSED = {
    "fork": 57, "vfork": 58, "execve": 59, "execveat": 322,                                 # other processes
    "timer_create": 222, "mq_notify": 244,                                                  # signals sent by the kernel itself
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_getfd": 438,   # other processes' memory
    "userfaultfd": 323, "memfd_create": 319, "memfd_secret": 447,                           # memory that limits do not see
    "shmget": 29, "semget": 64, "msgget": 68,
    "sched_setaffinity": 203, "sched_setscheduler": 144, "sched_setattr": 314, "setpriority": 141,
    "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "open_tree": 428,
    "bpf": 321, "perf_event_open": 298, "io_uring_setup": 425, "keyctl": 250, "add_key": 248, "request_key": 249,
    "open_by_handle_at": 304, "personality": 135, "quotactl": 179,
}
CLONE, CLONE3, FCNTL, PRCTL = 56, 435, 72, 157
CLONE_THREAD, F_SETSIG, PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 0x10000, 10, 1, 4
X86_64, X32 = 0xC000003E, 0x40000000
LOAD, EQUAL, GREATER_EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST, SECOND = 0, 4, 16, 24          # offsets in struct seccomp_data (low halves of arguments)
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def program() -> bytes:
    """The filter, as an array of struct sock_filter."""
    def step(code: int, value: int, then: int = 0, other: int = 0) -> bytes:
        return struct.pack("HBBI", code, then, other, value)

    refuse, missing, allow = step(RETURN, ERRNO | errno.EPERM), step(RETURN, ERRNO | errno.ENOSYS), step(RETURN, ALLOW)
    rows = [step(LOAD, ARCHITECTURE), step(EQUAL, X86_64, 1, 0), refuse,
            step(LOAD, NUMBER), step(GREATER_EQUAL, X32, 0, 1), refuse,
            step(EQUAL, CLONE3, 0, 1), missing,                                             # the C library then uses clone
            step(EQUAL, CLONE, 0, 4), step(LOAD, FIRST), step(ANY_BIT, CLONE_THREAD, 0, 1), allow, refuse,
            step(EQUAL, FCNTL, 0, 4), step(LOAD, SECOND), step(EQUAL, F_SETSIG, 0, 1), refuse, allow,
            step(EQUAL, PRCTL, 0, 5), step(LOAD, FIRST), step(EQUAL, PR_SET_DUMPABLE, 1, 0), step(EQUAL, PR_SET_PDEATHSIG, 0, 1),
            refuse, allow]
    for number in REFUSED.values():
        rows += [step(EQUAL, number, 0, 1), refuse]
    return b"".join([*rows, allow])


def install() -> None:
    """Filter this thread and those that it will start, for good. Needs PR_SET_NO_NEW_PRIVS. Raises OSError."""
    code = ctypes.create_string_buffer(program())
    pointer = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code.raw) // 8, ctypes.addressof(code)))
    if ctypes.CDLL(None, use_errno=True).prctl(22, 2, ctypes.c_void_p(ctypes.addressof(pointer)), 0, 0):   # PR_SET_SECCOMP, FILTER
        number = ctypes.get_errno()
        raise OSError(number, "the system-call filter could not be installed")
