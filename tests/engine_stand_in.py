"""Stand-ins for the engine's tests: a judge that Dask's workers can import, and a referee whose process can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":              # its process starts fast, without anything installed
    Referee: Any = object
else:
    from hpml.referee.client import Referee

POINTS = {"guess": 1.0, "double": 2.0, "top": 1.0, "total": 4.0, "frugal": 2.0}


def verdict(lab: str, name: str, source: str) -> dict[str, Any]:
    """Read off the source: wrong where it says so."""
    wrong = "# wrong" in source
    return {"lab": lab, "exercise": name, "outcome": "wrong" if wrong else "pass", "score": 0.0 if wrong else POINTS[name],
            "max_score": POINTS[name], "message": f"`{name}`.", "jail": "bubblewrap"}


def dies_once(text: str, unjailed: bool) -> str:
    """The first worker that gets the job of `# mortal` is killed; everything else is judged."""
    job = json.loads(text)
    flag = Path(os.environ["ENGINE_FLAG"])
    if any("# mortal" in source for source in job["answers"].values()) and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return json.dumps({"verdicts": [verdict(job["lab"], n, job["answers"][n]) for n in job["exercises"]]})


class Mortal(Referee):
    """A referee whose process kills itself at some requests: those whose number (from 1, counted in a file) is in `deaths`."""

    def __init__(self, counter: Path, deaths: frozenset[int] = frozenset()) -> None:
        super().__init__("grade")
        self.counter, self.deaths = counter, deaths

    def _connect(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-S", "-E", __file__, str(self.counter), json.dumps(sorted(self.deaths))],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self._to, self._from = self._process.stdin, self._process.stdout


def serve(counter: str, deaths: list[int]) -> None:
    for line in sys.stdin:
        request = json.loads(line)
        with open(counter, "a") as file:            # one byte a request, so that no two count alike
            file.write(".")
            file.flush()
            number = file.tell()
        if number in deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        print(json.dumps({"verdicts": [verdict(request["lab"], n, request["cells"][n]) for n in request["exercises"]]}), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))
