"""`hpml COMMAND`: what students, instructors and authors type. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpml import course
from hpml.course import CourseError

COMMANDS: dict[str, tuple[str, str]] = {
    "lab": ("open JupyterLab on the course, at one lab if named", "hpml lab 04-conv-gemm"),
    "test": ("run the tests of the course", "hpml test --all"),
    "build": ("make notebooks, solutions and decks from labs/*/lab.py", "hpml build --check"),
    "check": ("send every exercise of one notebook to the referee", "hpml check 04-conv-gemm --solution"),
    "grade": ("grade a class", "hpml grade 04-conv-gemm --course ~/course"),
    "report": ("one lab of a class, for its instructor", "hpml report 04-conv-gemm --course ~/course --html report.html"),
    "export": ("grades for Canvas, Moodle and other programs", "hpml export all --course ~/course --format canvas --to canvas.csv"),
    "due": ("when a lab is due, and who may have longer", "hpml due 04-conv-gemm --course ~/course --extend ada=2d"),
    "watch": ("grade what is submitted as it comes", "hpml watch 04-conv-gemm --course ~/course"),
    "demo": ("make a small class and grade it, to see the whole circle", "hpml demo"),
    "hub": ("run a JupyterHub with a class on this machine, for a try-out", "hpml hub --lab 04-conv-gemm"),
    "release": ("make the students' distribution, without solutions", "hpml release --to ~/release"),
    "site": ("build the website of the course", "hpml site --to ~/site"),
    "launch": ("run a script on several ranks of one Horovod world", "hpml launch -np 2 train.py --epochs 3"),
    "machine": ("measure this machine: the machine card", "hpml machine --json"),
    "data": ("list, fetch and verify data sets", "hpml data fetch cifar10"),
    "doctor": ("what is missing on this machine, and how to get it", "hpml doctor"),
    "bench": ("the course's own performance figures", "hpml bench 04-conv-gemm --json"),
    "replay": ("run a verdict again from its evidence, with the same seed", "hpml replay graded/04-conv-gemm/ada/conv_gemm.json"),
    "referee": ("run the referee as a service for a hub", "hpml referee --socket /run/hpml/referee.sock"),
}


def _parser(name: str) -> argparse.ArgumentParser:
    what, example = COMMANDS[name]
    return argparse.ArgumentParser(prog=f"hpml {name}", description=what[0].upper() + what[1:] + ".", epilog=f"Example: {example}")


def lab(argv: list[str]) -> int:
    parser = _parser("lab")
    parser.add_argument("name", nargs="?", help="a lab, such as 04-conv-gemm; default: the folder of all notebooks")
    options, further = parser.parse_known_args(argv)
    target = course.ROOT / "notebooks"
    if options.name:
        name = course.load().lab(options.name).lab
        target = target / name / f"{name}.ipynb"
    if not target.exists():
        raise CourseError(f"{target} is not there; make it with: hpml build")
    if sys.platform != "win32" and os.getuid() == 0 and "--allow-root" not in further:
        further.append("--allow-root")
    place = target.relative_to(course.ROOT / "notebooks").as_posix()
    print("JupyterLab opens in your browser. If not, copy an address with token= from below. To stop it: Ctrl-C, twice.", flush=True)
    # ours: no question about news over the first notebook, and a saved widget that shows again before its cell has run
    settings = os.pathsep.join(filter(None, [str(Path(__file__).with_name("jupyter")), os.environ.get("JUPYTER_CONFIG_PATH")]))
    return subprocess.call([sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={course.ROOT / 'notebooks'}",
                            f"--LabApp.default_url=/lab{'' if place == '.' else '/tree/' + place}", "--log-level=WARN", *further],
                           env={**os.environ, "JUPYTER_CONFIG_PATH": settings})


def test(argv: list[str]) -> int:
    parser = _parser("test")
    parser.add_argument("--all", action="store_true", help="also the slow tests; every further argument goes to pytest")
    options, further = parser.parse_known_args(argv)
    if not (course.ROOT / "tests").is_dir():
        raise CourseError("there are no tests here: the students' distribution comes without")
    if not any(a == "-m" for a in further):
        further += [] if options.all else ["-m", "not slow"]
    return subprocess.call([sys.executable, "-m", "pytest", *further], cwd=course.ROOT)


def read_answers(path: Path, lab: course.Lab) -> dict[str, str]:
    """Exercise → source from a notebook file; by nbgrader's grade_id, else by what a cell defines."""
    from hpml.referee import cells as text
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = [(c.get("metadata", {}).get("nbgrader", {}).get("grade_id"), "".join(c["source"]))
                 for c in notebook["cells"] if c["cell_type"] == "code"]
    except FileNotFoundError:
        raise CourseError(f"there is no notebook {path}") from None
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise CourseError(f"{path} is not a notebook that can be read (it should be JSON with a list of cells)") from None
    found: dict[str, str] = {}
    for name, entry in lab.exercises.items():
        for grade_id, source in cells:
            if grade_id == name or (entry.kind == "code" and text.defines(source, name)) \
                    or (entry.kind == "predict" and text.predicts(source, name)):
                found.setdefault(name, source)
            if grade_id == name:
                found[name] = source
    return found


def check(argv: list[str]) -> int:
    parser = _parser("check")
    parser.add_argument("lab")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("notebook", nargs="?", type=Path, help="a notebook with answers; default: the student notebook of this checkout")
    which.add_argument("--solution", action="store_true", help="the course's own answers")
    which.add_argument("--student", action="store_true", help="the untouched student notebook")
    which.add_argument("--wrong", action="store_true", help="every file of wrong/ must fail exactly its named check")
    parser.add_argument("--exercise", action="append", help="only this exercise; may be repeated")
    parser.add_argument("--where", choices=("gpu",), help="gpu: on a GPU node, through the queue of the hub that this is typed on")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    if options.where and options.wrong:
        parser.error("--wrong is checked on this machine")
    found = course.load().lab(options.lab)
    from hpml import report
    from hpml.referee import queue
    from hpml.referee.client import Referee
    with Referee(purpose="grade") as referee:
        if options.wrong:
            from hpml.wrong import check_wrong
            return check_wrong(found, referee, options.json)
        if options.solution or options.student:
            from hpml import source
            answers = source.read(found).answers if options.solution else source.read(found).stubs
        else:
            answers = read_answers(options.notebook or course.ROOT / "notebooks" / found.lab / f"{found.lab}.ipynb", found)
        if options.where:
            wanted = options.exercise or [n for n, e in found.exercises.items() if e.kind != "manual"]
            verdicts = queue.judge(found.lab, answers, wanted, lambda stands: print(f"hpml check: {stands} …", file=sys.stderr, flush=True))
        else:
            verdicts = referee.judge(found.lab, answers, options.exercise)
    if options.json:
        print(json.dumps([v.summary() for v in verdicts], indent=1))
    else:
        from rich.console import Console
        Console().print(report.table(verdicts))
    full = all(v.score >= v.max_score for v in verdicts)
    return 0 if full or (options.student and not any(v.score for v in verdicts)) else 1


def bench(argv: list[str]) -> int:
    parser = _parser("bench")
    parser.add_argument("name", nargs="?", help="a lab (default: all); `referee`: is the grade fair? `grading`: a class, beside stock "
                        "nbgrader; `notebooks`: time and memory of the solutions; `scaling`: what communication costs; "
                        "`allreduce`: is that cost foreseen?")
    parser.add_argument("--json", action="store_true")
    options, further = parser.parse_known_args(argv)
    if options.name == "referee":
        from hpml.referee.bench import main as fair
        return fair([*further, *(["--json"] if options.json else [])])
    if options.name == "grading":
        from hpml.grade.bench import main as grading
        return grading([*further, *(["--json"] if options.json else [])])
    if options.name == "notebooks":
        from hpml.grade.bench.notebooks import main as notebooks
        return notebooks([*further, *(["--json"] if options.json else [])])
    if options.name == "scaling":
        from hpml.distributed.bench import main as scaling
        return scaling([*further, *(["--json"] if options.json else [])])
    if options.name == "allreduce":
        from hpml.distributed.allreduce import main as allreduce
        return allreduce([*further, *(["--json"] if options.json else [])])
    if further:
        parser.error(f"unknown arguments: {' '.join(further)}")
    from hpml import source
    from hpml.referee.client import Referee
    rows: list[dict[str, Any]] = []
    with Referee(purpose="grade") as referee:
        for found in [course.load().lab(options.name)] if options.name else course.load().ready():
            for v in referee.judge(found.lab, source.read(found).answers, [n for n, e in found.exercises.items() if e.shape]):
                for m in v.measured:
                    rows.append({"name": f"{found.lab} {v.exercise} {m.target} ({m.versus})", "value": m.ratio, "low": m.low,
                                 "high": m.high, "unit": "×", "goal": m.full, "met": m.low >= m.full})
                if "peak_bytes" in v.counters:
                    value, goal = v.counters["peak_bytes"] / 1e6, v.budgets["peak_bytes"] / 1e6
                    rows.append({"name": f"{found.lab} {v.exercise} peak memory", "value": value, "low": value, "high": value,
                                 "unit": "MB", "goal": goal, "met": value <= goal})
                if v.roofline:
                    value = 100 * v.roofline.fraction_of_peak
                    rows.append({"name": f"{found.lab} {v.exercise} of the GEMM peak", "value": value, "low": value, "high": value,
                                 "unit": "%", "goal": None, "met": None})
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        from rich.console import Console
        from rich.table import Table
        table = Table("figure", "value", "interval", "goal", "met")
        for r in rows:
            table.add_row(r["name"], f"{r['value']:.3g} {r['unit']}", f"{r['low']:.3g} … {r['high']:.3g}",
                          "" if r["goal"] is None else f"{r['goal']:g}", {True: "yes", False: "NO", None: ""}[r["met"]])
        Console().print(table)
    return 0 if all(r["met"] is not False for r in rows) else 1


def _elsewhere(module: str) -> Callable[[list[str]], int]:
    def run(argv: list[str]) -> int:
        import importlib
        return int(importlib.import_module(module).main(argv))
    return run


RUN: dict[str, Callable[[list[str]], int]] = {
    "lab": lab, "test": test, "check": check, "bench": bench,
    "build": _elsewhere("hpml.build"), "release": _elsewhere("hpml.build.release"), "grade": _elsewhere("hpml.grade"),
    "hub": _elsewhere("hpml.hub"),
    "report": _elsewhere("hpml.grade.classroom"), "export": _elsewhere("hpml.grade.exports"), "due": _elsewhere("hpml.grade.due"),
    "watch": _elsewhere("hpml.grade.watch"),
    "demo": _elsewhere("hpml.grade.demo"), "machine": _elsewhere("hpml.machine"), "data": _elsewhere("hpml.data"),
    "launch": _elsewhere("hpml.distributed.launcher"), "site": _elsewhere("hpml.site"),
    "doctor": _elsewhere("hpml.doctor"), "referee": _elsewhere("hpml.referee.server"),
    "replay": _elsewhere("hpml.referee.evidence"),
}


def main(argv: list[str] | None = None) -> int:
    """Entry point of `hpml`. Returns the exit status: 0 well, 1 something is not as it should be, 2 misused."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print("High Performance Machine Learning: a course that runs.\n\n"
              "hpml COMMAND [--help], which is ./course COMMAND in the course's folder\n")
        for name, (what, _) in COMMANDS.items():
            print(f"  {name:9}{what}")
        print("\nA newcomer starts with: ./course lab 04-conv-gemm")
        return 0
    if argv[0] in ("-V", "--version"):
        from hpml import __version__
        print(f"hpml {__version__}")
        return 0
    if argv[0] not in RUN:
        print(f"hpml: there is no command {argv[0]!r}{course.nearest(argv[0], list(RUN))}. See: hpml --help", file=sys.stderr)
        return 2
    from hpml.referee.client import RefereeError
    # where it is installed, jsonschema builds a grammar of web addresses when it is imported: a second of each command, for a format
    # that no notebook has
    sys.modules.setdefault("rfc3987_syntax", None)          # type: ignore[arg-type]
    try:
        return RUN[argv[0]](argv[1:])
    except (CourseError, RefereeError) as e:
        print(f"hpml {argv[0]}: {e}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as e:
        if not (e.name or "").startswith("hpml"):
            raise
        print(f"hpml {argv[0]}: this needs the author's checkout; the students' distribution has no {e.name}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nhpml {argv[0]}: interrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
