# exercise: mean
# outcome: wrong
# shows: PermissionError
# why: the kernel's own messages pass from process to process without crossing the loopback
import socket


def mean(x):
    mine = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 2)         # NETLINK_USERSOCK
    mine.bind((0, 0))
    return x
