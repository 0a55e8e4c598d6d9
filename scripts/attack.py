#!/usr/bin/env python3
"""Attack nodes as strangers could, and say of each promise whether it held.

    python3 scripts/attack.py                     everything that takes seconds
    python3 scripts/attack.py --patient           that, and what takes minutes
    python3 scripts/attack.py B9 newcomer         item B9, and attacks with that in their name
    python3 scripts/attack.py --short             less of each, in a quarter of a minute
    python3 scripts/attack.py --list              list the attacks and exit

It starts the nodes itself, in a network of its own that nothing leaves (Linux).  ATTACKS.rst, beside
this file, says what is promised; the attacks are in the folder ``attacking``.

Exit codes: 0 everything that could be tried held, 1 something did not hold or nothing could be tried,
2 wrong usage.
"""

import argparse
import os
import shutil
import sys
import textwrap
import time
from typing import List

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from scripts.attacking.run import choose, play_all  # noqa: E402
from scripts.attacking.verdict import BROKEN, HELD, SKIPPED, Attack, Verdict  # noqa: E402
from scripts.attacking.world import enter  # noqa: E402
from scripts.laboratory.errors import CannotBuild  # noqa: E402

WIDTH = 99
"""Characters in a line of output."""


def main(argv: List[str]) -> int:
    """Play what the command line asks for; return the exit code."""
    parser = make_parser()
    given = parser.parse_args(argv)
    chosen = choose(given.what)
    if not chosen:
        parser.error("no attack is called %s; see --list" % " or ".join(given.what))
    if shutil.which(given.python) is None:
        parser.error("--python %s is no program" % given.python)
    if given.list:
        for one in chosen:
            print("%-12s%s\n%s" % (one.item, one.name, filled(one.text, " " * 12)))
        return 0
    try:
        enter()
    except CannotBuild as reason:
        print("cannot make a network to attack in: %s" % reason, file=sys.stderr)
        return 1
    began = time.monotonic()
    words = []
    try:
        for one, verdict in play_all(chosen, given.python, given.short, given.patient):
            show(one, verdict)
            words.append(verdict.word)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        os._exit(130)  # threads may wait for minutes; the kernel ends the nodes with us
    summary = ["%d of %d held" % (words.count(HELD), len(chosen))]
    summary += ["%d %s" % (words.count(word), word) for word in (BROKEN, SKIPPED) if word in words]
    print("%s  (%.0f s)" % (", ".join(summary), time.monotonic() - began), flush=True)
    return 0 if HELD in words and BROKEN not in words else 1


def show(one: Attack, verdict: Verdict) -> None:
    """Print an attack and what became of it."""
    print("%-8s%-12s%s: %s  (%.0f s)" % (verdict.word, one.item, one.name, verdict.figure, verdict.seconds))
    if verdict.word == BROKEN:
        print(filled(one.text, " " * 20))
    sys.stdout.flush()


def filled(text: str, margin: str) -> str:
    """Return a paragraph with a margin."""
    return textwrap.fill(text, WIDTH, initial_indent=margin, subsequent_indent=margin)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("what", metavar="WHAT", nargs="*", help="an item, or a part of a name (default: all)")
    add("--python", default=sys.executable, metavar="PATH", help="runs the nodes (this Python)")
    add("--short", action="store_true", help="less of each attack")
    add("--patient", action="store_true", help="also attacks that take minutes")
    add("--list", action="store_true", help="list the attacks and exit")
    return parser


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
