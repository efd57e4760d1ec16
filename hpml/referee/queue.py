"""The client's end of a hub's queue (hpml/hub/checks.py): a check that another machine measures.

`HPML_QUEUE` is the queue's address. It knows who asks by the token of their server, so it answers on a hub only.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
from collections.abc import Callable
from urllib.parse import urlsplit

from hpml.referee.client import RefereeError
from hpml.verdict import Verdict

PATH = "/check"
SILENCE = 60.0                  # seconds without a word, after which the queue counts as gone: it says something every few
MAX_LINE = 8 << 20
SAFE = "Your work is safe in this notebook."


def judge(lab: str, cells: dict[str, str], exercises: list[str], told: Callable[[str], None]) -> list[Verdict]:
    """Verdicts on the named exercises, in order, from a GPU node. `told` hears where the check stands, a sentence at a time.

    Whatever ends this before the verdicts, an interrupt too, takes the check out of the queue. Raises RefereeError.
    """
    address = urlsplit(os.environ.get("HPML_QUEUE", ""))
    if not address.hostname:
        raise RefereeError("There is no GPU queue here: nobody has set one up beside this server. "
                           "check(…) without `where` measures on this machine.")
    body = json.dumps({"lab": lab, "cells": cells, "exercises": exercises}).encode()
    door = http.client.HTTPConnection(address.hostname, address.port, timeout=SILENCE)
    with contextlib.closing(door):
        try:
            door.request("POST", PATH, body, {"Authorization": f"token {os.environ.get('JUPYTERHUB_API_TOKEN', '')}",
                                              "Content-Type": "application/json"})
            answer = door.getresponse()
            while line := answer.readline(MAX_LINE):
                said = json.loads(line)
                if "error" in said:
                    raise RefereeError(said["error"])
                if "verdicts" in said:
                    return [Verdict.model_validate(v) for v in said["verdicts"]]
                told(_where(said["before"], said["nodes"]))
        except (OSError, http.client.HTTPException) as e:
            raise RefereeError(f"The GPU queue does not answer ({e or type(e).__name__}). Tell your instructor. {SAFE}") from None
        except (ValueError, KeyError, TypeError):
            raise RefereeError(f"The GPU queue said what this copy of the course does not know. Tell your instructor. {SAFE}") from None
    raise RefereeError(f"The GPU queue ended in the middle of the check; run it again. {SAFE}")


def _where(before: int, nodes: bool) -> str:
    """The place in the queue in words."""
    if before:
        return "one check is before yours" if before == 1 else f"{before} checks are before yours"
    return "it is your turn, and it is being measured" if nodes else "you are next, waiting for a node"


__all__ = ["judge"]
