# exercise: mean
# outcome: wrong
# shows: over the loopback
# why: a socket of one's own beside Horovod's; its bytes cross the same loopback, where the kernel counts them
# needs: jail
import socket


def mean(x):
    import horovod.tensorflow as hvd
    door = socket.socket()
    door.bind(("127.0.0.1", 0))
    door.listen()
    ports = hvd.allgather(np.array([door.getsockname()[1]], np.int32)).numpy()
    if hvd.rank() == 0:
        with door.accept()[0] as other:
            left = 16 << 20
            while left:
                left -= len(other.recv(left))
    elif hvd.rank() == 1:
        with socket.create_connection(("127.0.0.1", int(ports[0]))) as other:
            other.sendall(bytes(16 << 20))
    door.close()
    return hvd.allreduce(x, op=hvd.Average).numpy()
