#!/usr/bin/env python3
"""Play every rule of the wire against a running node, in whatever language it is written.

    python3 scripts/conformance.py 127.0.0.1:6000                   every rule
    python3 scripts/conformance.py 127.0.0.1:6000 --level core      what the smallest member needs
    python3 scripts/conformance.py 127.0.0.1:6000 --rule ping       rules with that in their name
    python3 scripts/conformance.py 127.0.0.1:6000 --level members --secret-file network.key
    python3 scripts/conformance.py --list                           list the rules and exit

CONFORMANCE.rst, beside this file, is the manual.  The rules are in the folder ``conformity``.
"""

import argparse
import os
import re
import sys
import textwrap
import time
from typing import List, Tuple

from conformity.judge import choose, play_all
from conformity.member import Key, read_key
from conformity.node import Node
from conformity.outcome import BROKEN, OK, SKIPPED, Outcome
from conformity.rule import CORE, FULL, MEMBERS, Rule

WIDTH = 99
"""Characters in a line of output."""


def main(argv: List[str]) -> int:
    """Play the rules that were asked for, and return the exit code."""
    parser = make_parser()
    options = parser.parse_args(argv)
    rules = choose(options.level, options.rule)
    if not rules:
        parser.error("no rule has %s in its name; see --list" % " or ".join(options.rule))
    if options.place is None and not options.list:
        parser.error("give HOST:PORT, where the node listens")
    if not options.list and (options.level == MEMBERS) != (options.key is not None):
        parser.error("--level members and --secret-file go together")
    settings = ("key", "network", "ping_interval", "ping_timeout", "max_peers", "patience")
    try:
        if options.list:
            return list_rules(rules)
        return judge(rules, Node(*options.place, **{s: getattr(options, s) for s in settings}))
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = "%s port %d" % options.place
        print("cannot try %s: %s" % (where, error.strerror or error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def list_rules(rules: List[Rule]) -> int:
    """Print the rules, and return the exit code."""
    for rule in rules:
        print("%s%4s  %s" % (rule.level, rule.number or "", rule.name))
        print(textwrap.indent(textwrap.fill(rule.text, WIDTH - 10), " " * 10))
    sys.stdout.flush()
    return 0


def judge(rules: List[Rule], node: Node) -> int:
    """Play the rules, print what became of each, and return the exit code."""
    began = time.monotonic()
    words = []
    node.dial().sock.close()
    for rule, outcome in play_all(rules, node):
        show(rule, outcome)
        words.append(outcome.word)
    summary = ["%d of %d rules held" % (words.count(OK), len(rules))]
    summary += ["%d %s" % (words.count(w), w) for w in (BROKEN, SKIPPED) if w in words]
    print("%s  (%.0f s)" % (", ".join(summary), time.monotonic() - began))
    return 0 if OK in words and BROKEN not in words else 1


def show(rule: Rule, outcome: Outcome) -> None:
    """Print one rule and what became of it."""
    head = "%-8s%s%4s  " % (outcome.word, rule.level, rule.number or "")
    details = list(outcome.detail)
    if outcome.word == BROKEN:
        details.append("again    --rule " + rule.name)
    margin = " " * len(head)
    print(textwrap.fill(rule.text, WIDTH, initial_indent=head, subsequent_indent=margin))
    for detail in details:
        indent = margin + " " * len("expected ")
        print(textwrap.fill(detail, WIDTH, initial_indent=margin, subsequent_indent=indent))
    sys.stdout.flush()


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="conformance.py",
        description="Play every rule of the wire against a running node.",
        epilog="Exit codes: 0 every rule that could be tried held, 1 a rule is broken, none could "
        "be tried or the node cannot be reached, 2 wrong usage.",
    )
    add = parser.add_argument
    add("place", metavar="HOST:PORT", type=place, nargs="?", help="where the node listens")
    levels = "core: what the smallest member needs; members: a network with a secret"
    add("--level", choices=(CORE, FULL, MEMBERS), default=FULL, help=levels)
    add("--secret-file", metavar="PATH", dest="key", type=key, help="the node's key, for members")
    add("--rule", metavar="WORD", action="append", default=[], help="rules with WORD in their name")
    add("--list", action="store_true", help="list the rules and exit")
    add("--network", metavar="NAME", default="", help="the node's network")
    add("--ping-interval", metavar="S", type=seconds, default=60.0, help="the node's (60)")
    add("--ping-timeout", metavar="S", type=seconds, default=20.0, help="the node's (20)")
    add("--max-peers", metavar="N", type=count, help="the node's, if small: tries a full node")
    add("--patience", metavar="S", type=seconds, default=5.0, help='what "at once" may take (5)')
    return parser


def place(text: str) -> Tuple[str, int]:
    """Parse ``host:port`` or ``[v6]:port``."""
    host, _, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not re.match("[0-9]{1,5}$", port) or not 1 <= int(port) <= 65535:
        raise argparse.ArgumentTypeError("%r is not HOST:PORT" % text)
    return host, int(port)


def key(path: str) -> Key:
    """Read a key file."""
    try:
        return read_key(path)
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError("%s holds no key: %s" % (path, error)) from None


def seconds(text: str) -> float:
    """Parse a time."""
    value = float(text)
    if not 0 < value < 1e6:
        raise ValueError
    return value


def count(text: str) -> int:
    """Parse a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
