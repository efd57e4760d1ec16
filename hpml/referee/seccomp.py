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
WHISPERS = {"inotify_init": 253, "inotify_init1": 294, "fanotify_init": 300}         # who opens a file that all ranks can read
CLONE, CLONE3, FCNTL, PRCTL, FLOCK, SOCKET = 56, 435, 72, 157, 73, 41
CLONE_THREAD, F_SETSIG, PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 0x10000, 10, 1, 4
# fcntl: locks of both kinds, leases, notices and hints: all are seen by everyone who has the same file open
F_WHISPERS = (6, 7, 37, 38, 1024, 1026, 1036, 1038)
AF_INET, AF_INET6, AF_NETLINK, NETLINK_ROUTE = 2, 10, 16, 0
X86_64, X32 = 0xC000003E, 0x40000000
LOAD, EQUAL, GREATER_EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST, SECOND, THIRD = 0, 4, 16, 24, 32         # offsets in struct seccomp_data (low halves of arguments)
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def program(rank: bool = False) -> bytes:
    """The filter, as an array of struct sock_filter.

    One for a `rank` also closes the ways on which ranks in different jails could talk past the referee (locks on system files that
    all can read), and past the loopback's counters: of sockets, only those of the internet's kind, and what lists the interfaces.
    """
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
    if rank:
        locks = [row for command in F_WHISPERS for row in (step(EQUAL, command, 0, 1), refuse)]
        fcntl = rows.index(step(EQUAL, FCNTL, 0, 4))
        rows[fcntl:fcntl + 5] = [step(EQUAL, FCNTL, 0, 4 + len(locks)), *rows[fcntl + 1:fcntl + 4], *locks, allow]
        rows += [step(EQUAL, FLOCK, 0, 1), missing,                                         # HDF5 then does without
                 step(EQUAL, SOCKET, 0, 8), step(LOAD, FIRST), step(EQUAL, AF_INET, 4, 0), step(EQUAL, AF_INET6, 3, 0),
                 step(EQUAL, AF_NETLINK, 0, 3), step(LOAD, THIRD), step(EQUAL, NETLINK_ROUTE, 0, 1), allow, refuse]
    for number in (REFUSED | WHISPERS if rank else REFUSED).values():
        rows += [step(EQUAL, number, 0, 1), refuse]
    return b"".join([*rows, allow])


def install(rank: bool = False) -> None:
    """Filter this thread and those that it will start, for good. Needs PR_SET_NO_NEW_PRIVS. Raises OSError."""
    code = ctypes.create_string_buffer(program(rank))
    pointer = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code.raw) // 8, ctypes.addressof(code)))
    if ctypes.CDLL(None, use_errno=True).prctl(22, 2, ctypes.c_void_p(ctypes.addressof(pointer)), 0, 0):   # PR_SET_SECCOMP, FILTER
        number = ctypes.get_errno()
        raise OSError(number, "the system-call filter could not be installed")
