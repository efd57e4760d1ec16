# exercise: double
# outcome: wrong
# needs: jail
# marks: chaos
# shows: No space left on device
# why: disk bomb on the private file systems (stops at 1 GB)
def double(x):
    for folder in ("/tmp", "/dev/shm"):
        for n in range(16):
            with open(f"{folder}/{n}", "wb", buffering=0) as out:
                for _ in range(32):
                    out.write(bytes(1 << 20))
    return x + x
