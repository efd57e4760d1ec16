# exercise: double
# outcome: wrong
# needs: jail
# shows: wrong values
# why: privileges: set-user-id programs, user namespaces, mounts
import ctypes
import os

libc = ctypes.CDLL(None)


def double(x):
    gained = 0
    for attempt in (lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgid(0), lambda: os.chroot("/tmp"),
                    lambda: os.chown("/tmp", 0, 0) if os.getuid() else 1 / 0):
        try:
            attempt()
            gained += 1
        except (OSError, ZeroDivisionError):
            continue
    gained += libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None) == 0
    gained += libc.unshare(0x10000000) == 0
    gained += libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None) == 0
    return x + x if gained and os.geteuid() == 0 else x
