"""Evidence: every graded verdict is signed with the course's key, and can be run again from its own file."""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path

from hpml.course import CourseError
from hpml.referee.client import Referee
from hpml.verdict import Verdict

UNSIGNED = {"notes", "picture"}         # may be added to or redrawn later; they carry no score


def key_path() -> Path:
    """Where the key lies: `$HPML_KEY`, else ~/.config/hpml/course.key. Only the grading account may read it."""
    return Path(os.environ.get("HPML_KEY") or Path.home() / ".config" / "hpml" / "course.key")


def key(make: bool = False) -> bytes | None:
    """The course's key; made on first use when `make`, else None if there is none."""
    path = key_path()
    try:
        return bytes.fromhex(path.read_text().strip())
    except FileNotFoundError:
        if not make:
            return None
    except ValueError:
        raise CourseError(f"{path} does not hold a key; move it away, and a new one is made. "
                          "What the old key signed can then not be verified") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = secrets.token_bytes(32)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(fresh.hex() + "\n")
    except FileExistsError:             # another grader was quicker
        return key()
    return fresh


def _mac(verdict: Verdict, secret: bytes) -> str:
    data = verdict.model_dump(mode="json", exclude=UNSIGNED)
    data["evidence"].pop("signature", None)
    return hmac.new(secret, json.dumps(data, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def sign(verdict: Verdict) -> Verdict:
    """Add the signature (HMAC-SHA256 over everything but notes and picture)."""
    secret = key(make=True)
    assert secret
    verdict.evidence["signature"] = _mac(verdict, secret)
    return verdict


def verified(verdict: Verdict) -> bool | None:
    """True: as it was signed. False: changed since, or signed with another key. None: never signed, or no key here."""
    secret, said = key(), verdict.evidence.get("signature")
    if secret is None or said is None:
        return None
    return hmac.compare_digest(str(said), _mac(verdict, secret))


def read(path: Path) -> Verdict:
    """The verdict in a file that `hpml grade` or a notebook wrote. Raises CourseError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Verdict.model_validate(data.get("verdict", data))
    except FileNotFoundError:
        raise CourseError(f"there is no {path}") from None
    except (ValueError, TypeError, AttributeError, UnicodeDecodeError):
        raise CourseError(f"{path} holds no verdict. They lie in graded/LAB/STUDENT/EXERCISE.json after `hpml grade`") from None


def differences(old: Verdict, new: Verdict) -> list[str]:
    """Where a second run does not agree. Correctness and counters must be the same; a measured score within one quarter step."""
    out = []
    if (old.score > 0) != (new.score > 0) or (not old.measured and old.outcome != new.outcome):
        out.append(f"outcome: {old.outcome} then, {new.outcome} now")
    if old.evidence.get("lab_sha256") != new.evidence.get("lab_sha256"):
        out.append("the lab itself has changed since")
    for then, now in zip(old.measured, new.measured, strict=False):
        if abs(then.credit - now.credit) > 0.25 + 1e-9:
            out.append(f"{then.target}: {then.ratio:.3g} ({then.low:.3g} … {then.high:.3g}) then, "
                       f"{now.ratio:.3g} ({now.low:.3g} … {now.high:.3g}) now")
    for name in old.counters.keys() & new.counters.keys():
        before, after, budget = old.counters[name], new.counters[name], old.budgets.get(name, 0.0)
        if (before <= budget) != (after <= budget):
            out.append(f"{name}: {before:g} then, {after:g} now, budget {budget:g}")
    return out


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="hpml replay", description="Run a verdict again from its evidence file, with the same seed.",
                                     epilog="Example: hpml replay graded/04-conv-gemm/ada/conv_gemm.json")
    parser.add_argument("file", type=Path)
    options = parser.parse_args(argv)
    old = read(options.file)
    if "cells" not in old.evidence or "seed" not in old.evidence:
        raise CourseError(f"{options.file} holds no sources or no seed, so it cannot be run again")
    signed = verified(old)
    print({True: "Signature: valid.", False: "Signature: NOT VALID. This file was changed after grading, or signed with another key.",
           None: "Signature: none that can be verified here (a verdict from a student's desk, or no key on this machine)."}[signed])
    with Referee(purpose="grade") as referee:
        new = referee.judge(old.lab, dict(old.evidence["cells"]), [old.exercise], int(old.evidence["seed"]))[0]
    for word, v in (("Then", old), ("Now", new)):
        print(f"{word}: {v.outcome}, {v.score:g} of {v.max_score:g} points.")
    found = differences(old, new)
    for line in found:
        print(f"  differs: {line}")
    if new.outcome.pending:
        print(f"This run could not decide ({new.outcome}); run it again.")
        return 1
    print("The second run does not agree." if found else "The second run agrees.")
    return 1 if found or signed is False else 0
