"""Source of notebook cells → what a worker runs. Timing magics are dropped, shell lines refused, syntax checked by parsing."""

from __future__ import annotations

import ast
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
    for number, row in enumerate(source.splitlines(), 1):
        kept = row
        if CELL_DROPPED.match(row) and not any(r.strip() for r in rows):
            kept = ""
        elif match := TIMING.match(row):
            kept = match[1] + match[2]
        elif DROPPED.match(row):
            kept = re.match(r"\s*", row)[0] + "pass"              # type: ignore[index]
        rows.append(kept)
        if kept == row and row.lstrip()[:1] in ("!", "%", "?") and not _inside_string(source, number):
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


def _inside_string(source: str, number: int) -> bool:
    """True if line `number` lies inside a multi-line string, where it is text."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(n, ast.Constant) and isinstance(n.value, str) and n.lineno < number <= (n.end_lineno or 0)
               for n in ast.walk(tree))


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
