# exercise: double
# outcome: wrong
# needs: jail
# shows: wrong values
# why: network: asks a helper outside, on the loopback, or on an abstract socket
import socket


def double(x):
    doors = [(socket.AF_INET, ("127.0.0.1", port)) for port in (22, 80, 443, 8000, 8080, 8888)]
    doors += [(socket.AF_INET, ("192.0.2.1", 80)), (socket.AF_UNIX, "\0hpml"), (socket.AF_UNIX, "/run/docker.sock"), (socket.AF_UNIX, "/run/hpml/referee.sock")]
    for family, address in doors:
        with socket.socket(family) as door:
            door.settimeout(0.05)
            try:
                door.connect(address)
                return x + x
            except OSError:
                continue
    return x
