"""Source of notebook cells → what a worker runs. Timing magics are dropped, shell lines refused, syntax checked by parsing."""

from __future__ import annotations

import ast
import contextlib
import re

TIMING = re.compile(r"^(\s*)%(?:time|prun|memit|mprun|lprun)\s+(.*)$")
DROPPED = re.compile(r"^\s*%(?:timeit|matplotlib|config|load_ext|autoreload|precision|pdb|xmode|who|whos)\b.*$")
CELL_DROPPED = re.compile(r"^\s*%%(?:time|timeit|capture|prun)\b.*$")
MAX_SOURCE = 200_000


class Refused(Exception):
    """The cell cannot be run; the message says what to change."""


def clean(source: str) -> str:
    """Plain Python with the same line numbers. Raises Refused for shell lines, unknown magics and syntax errors."""
    if len(source) > MAX_SOURCE:
        raise Refused(f"The cell is longer than {MAX_SOURCE // 1000} kB; keep only the answer in it.")
    try:
        source.encode()
    except UnicodeEncodeError:
        raise Refused("The cell holds a character that is not text; type that line afresh.") from None
    if "\0" in source:
        raise Refused("The cell holds a null character; type the answer afresh into the cell.")
    rows: list[str] = []
    begun = False
    in_strings: set[int] | None = None              # asked for once: a long text may have thousands of lines like that
    for number, row in enumerate(source.splitlines(), 1):
        kept = row
        if not begun and CELL_DROPPED.match(row):
            kept = ""
        elif match := TIMING.match(row):
            kept = match[1] + match[2]
        elif DROPPED.match(row):
            kept = re.match(r"\s*", row)[0] + "pass"              # type: ignore[index]
        rows.append(kept)
        begun = begun or bool(kept.strip())
        if kept == row and row.lstrip()[:1] in ("!", "%", "?"):
            in_strings = _lines_in_strings(source) if in_strings is None else in_strings
            if number in in_strings:
                continue
            what = "shell line" if row.lstrip().startswith("!") else "magic"
            raise Refused(f"Line {number}, `{row.strip()[:60]}`, is a {what}. Answers are plain Python: "
                          "move it into a cell of its own.")
    text = "\n".join(rows)
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
        line = getattr(e, "lineno", None)
        shown = rows[line - 1].strip()[:80] if line and line <= len(rows) else ""
        where = f" in line {line}, `{shown}`" if line else ""
        raise Refused(f"Python cannot read the cell: {getattr(e, 'msg', e)}{where}.") from None
    return text


def _lines_in_strings(source: str) -> set[int]:
    """Numbers of the lines that begin inside a multi-line string, where they are text."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    spans = {(n.lineno, n.end_lineno or 0) for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return {line for first, last in spans for line in range(first + 1, last + 1)}


def same(a: str, b: str) -> bool:
    """True if two sources are the same but for white space at the ends of lines and for comments."""
    try:
        return ast.dump(ast.parse(clean(a))) == ast.dump(ast.parse(clean(b)))
    except (Refused, RecursionError):
        return [r.rstrip() for r in a.strip().splitlines()] == [r.rstrip() for r in b.strip().splitlines()]


def defines(source: str, name: str) -> bool:
    """True if the source defines a function, class or variable `name` at its top level."""
    try:
        body = ast.parse(clean(source)).body
    except Refused:
        return bool(re.search(rf"^def {re.escape(name)}\b", source, re.M))
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return True
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return True
    return False


def assigns(source: str) -> set[str]:
    """Every name that a cell makes: assigned, defined or imported."""
    try:
        tree = ast.parse(clean(source))
    except Refused:
        return set()
    made = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    made |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    return made | {a.asname or a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names}


def predicts(source: str, name: str) -> bool:
    """True if the source calls `predict("name", …)`."""
    return bool(re.search(rf"predict\(\s*['\"]{re.escape(name)}['\"]", source))


def prediction(source: str, name: str) -> float | None:
    """The number of a cell that says `predict("name", NUMBER)` and nothing else; None where it has to be run to know."""
    with contextlib.suppress(SyntaxError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        call = ast.parse(source, mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "predict" and not call.keywords:
            said, value = (ast.literal_eval(a) for a in call.args)
            return float(value) if said == name and type(value) in (int, float) else None
    return None
