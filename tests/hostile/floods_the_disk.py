# why: writes as much as it can wherever it can
import os

for folder in (".", "/tmp", "/dev/shm", os.path.expanduser("~"), os.environ.get("TMPDIR", "/tmp")):
    try:
        with open(os.path.join(folder, "flood.bin"), "wb", buffering=0) as out:
            for _ in range(1024):
                out.write(bytes(1 << 20))
    except OSError as e:
        print(folder, e.strerror)
