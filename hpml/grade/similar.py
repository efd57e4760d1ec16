"""Which answers of a class are near-identical: a hint for a person, never a proof.

Winnowing (Schleimer, Wilkerson & Aiken, "Winnowing: local algorithms for document fingerprinting", SIGMOD 2003) over tokens: names a
student chose, comments, strings and layout do not count, so renaming and reformatting change nothing. What the release itself holds,
and what a large part of the class wrote, is left out: a short exercise has few right answers. What is left weighs the more the fewer
have it.
"""

from __future__ import annotations

import builtins
import collections
import hashlib
import io
import itertools
import keyword
import math
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

GRAM, WINDOW = 8, 4                     # a copied run of GRAM + WINDOW - 1 = 11 tokens is always noticed
ALIKE = 0.8                             # of the weight of the smaller one of two sets of fingerprints
ENOUGH = 6.0                            # that weight, at least; rarer is heavier, and less than this happens by chance
COMMON = 0.1                            # of the class, or 10 students: what more have says nothing about two of them
KEPT = frozenset(dir(builtins)) | frozenset(keyword.kwlist)

Print = tuple[str, int]                 # (exercise, hash)


@dataclass(frozen=True)
class Pair:
    """Two students whose answers are alike: `share` of the smaller one's rare fingerprints, mostly in `exercises`."""

    one: str
    other: str
    share: float
    exercises: tuple[str, ...]


def code(source: str) -> list[str]:
    """Tokens of Python; a chosen name becomes `_`, an attribute keeps its own, a number its value. Cut off where it stops being Python."""
    found: list[str] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME:
                own = token.string in KEPT or (found and found[-1] == ".")
                found.append(token.string if own else "_")
            elif token.type in (tokenize.OP, tokenize.NUMBER):
                found.append(token.string)
    except (tokenize.TokenError, SyntaxError):
        pass
    return found


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def prints(tokens: list[str], gram: int = GRAM, window: int = WINDOW) -> set[int]:
    """The smallest hash of every window over the hashes of every `gram` tokens."""
    hashes = [int.from_bytes(hashlib.blake2b("\0".join(tokens[i:i + gram]).encode("utf-8", "replace"), digest_size=8).digest())
              for i in range(len(tokens) - gram + 1)]
    return {min(hashes[i:i + window]) for i in range(max(1, len(hashes) - window + 1))} if hashes else set()


def of(answers: Mapping[str, str], texts: Iterable[str] = ()) -> set[Print]:
    """Fingerprints of one student's answers; those named in `texts` are prose."""
    prose = set(texts)
    return {(name, h) for name, source in answers.items()
            for h in (prints(words(source), 5) if name in prose else prints(code(source)))}


def pairs(classroom: Mapping[str, set[Print]], given: set[int]) -> list[Pair]:
    """The most alike first. `given`: fingerprints of the release, whatever the cell."""
    own = {student: {p for p in found if p[1] not in given} for student, found in classroom.items()}
    count = collections.Counter(p for found in own.values() for p in found)
    most = max(10, COMMON * len(own))
    weight = {p: math.log((len(own) + 1) / n) for p, n in count.items() if n <= most}
    total = {student: math.fsum(weight.get(p, 0.0) for p in found) for student, found in own.items()}
    holders: dict[Print, list[str]] = collections.defaultdict(list)
    for student, found in sorted(own.items()):
        for p in found:
            if p in weight and count[p] > 1:
                holders[p].append(student)
    shared: dict[tuple[str, str], dict[str, float]] = {}
    for p, students in holders.items():
        for two in itertools.combinations(students, 2):
            by = shared.setdefault(two, collections.defaultdict(float))
            by[p[0]] += weight[p]
    found_pairs = []
    for (one, other), by in shared.items():
        mass, smaller = math.fsum(by.values()), min(total[one], total[other])
        if mass >= ENOUGH and mass >= ALIKE * smaller:
            where = tuple(name for name in sorted(by, key=lambda e: -by[e]) if by[name] >= 0.1 * mass)
            found_pairs.append(Pair(one, other, min(1.0, mass / smaller), where))
    return sorted(found_pairs, key=lambda p: (-p.share, p.one, p.other))
