"""The jail for an ordinary user: its whole contract again, as another uid, where this test itself runs as root."""

import os
import shutil
import subprocess
import sys

import pytest

from hpml import course
from hpml.referee import jail

USER = 1000
SEE = f"""
set -e
scratch=$(mktemp -d)
for folder in "$@"; do mkdir -p "$scratch$folder"; mount --bind "$folder" "$scratch$folder"; done
mkdir -p "$scratch/root"
mount --rbind "$scratch/root" /root                         # other people's homes are closed; what Python needs is below one of them
mkdir -p /tmp/home && mount -t tmpfs -o uid={USER} tmpfs /tmp/home
export HOME=/tmp/home HPML_CACHE=/tmp/home/cache
exec setpriv --reuid {USER} --regid {USER} --clear-groups --inh-caps=-all --bounding-set=-all \\
    {sys.executable} -m pytest -q -rs -p no:cacheprovider tests/test_jail.py
"""


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="already an ordinary user: the other tests are this one")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (Debian: apt install util-linux)")
def test_the_jail_holds_for_an_ordinary_user() -> None:
    if problem := jail.bubblewrap_problem():
        pytest.skip(problem)
    roots = [path for path in jail._interpreter_roots() if path.startswith("/root/")]
    done = subprocess.run(["unshare", "-m", "bash", "-c", SEE, "see", *roots], cwd=course.ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert " passed" in done.stdout and "user namespaces" not in done.stdout
