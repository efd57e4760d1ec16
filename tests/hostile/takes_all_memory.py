# why: as much memory as it can get
held = []
while True:
    held.append(bytearray(64 << 20))
    held[-1][:: 4096] = b"x" * len(held[-1][:: 4096])
