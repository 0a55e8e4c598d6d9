#!/usr/bin/env python3
"""Measure what a node costs, as ratios within one run: machines differ and are noisy.

    python3 scripts/bench.py                       nearly every case, in three minutes
    python3 scripts/bench.py round-trip start-up   only these
    python3 scripts/bench.py siege                 how long a good peer waits beside attackers

Two baselines do the same in the same minute: ``raw``, a thread for each connection that answers
fixed bytes (the floor), and ``asyncio``, the same small node as most people would write it today.
Both are short files in ``scripts/benchmark``.

Cases:

``round-trip``   one connection, one ping at a time; two pings in one segment (an answer that waits
                 for a TCP acknowledgement would take 40 ms)
``throughput``   pings answered per second: one connection with 128 unanswered at any moment, 50
                 with 32 each, 50 with one each; with --max-rate 0, because a node answers 200 a
                 second by default
``handshakes``   connections per second that exchange hellos and end; in turn, and 32 at once
``held``         1,000 connections, each of which pings once a second
``pinging``      1,000 connections, each pinged by the node once a second (--ping-interval 1)
``start-up``     from the start of the process to its answer to hello
``discovery``    8, 16 and 32 processes that start with the address of one, until each has all
``fairness``     a polite peer beside one that floods and fifty that never read
``accuracy``     how near a node's round trips are to the network's own, idle and with all
                 processors busy: against ICMP on a virtual cable (five minutes; Linux)
``secret``       what a secret costs: a node with --secret-file against one without (a minute)
``siege``        a good peer's round trip beside six kinds of attack, against a quiet node

The contestants take turns, a fresh process each time.  A line shows the medians of the rounds, and
the median, least and greatest ratio.  ``met`` compares with ``scripts/benchmark/targets.py``.  A
missed target is no failure (exit code 0), because a busy machine can cause it.

Everything talks to 127.0.0.1.
"""

import argparse
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from typing import Any, Callable, List, Optional

from benchmark.accuracy import accuracy
from benchmark.cases import CASES, Settings
from benchmark.load import connect
from benchmark.processes import OURS, allow_descriptors
from benchmark.results import as_json, compare, measure, report_if_busy, show
from benchmark.secret import secret
from benchmark.siege import siege
from benchmark.targets import figures
from conformity.member import Member, read_key
from laboratory.errors import CannotBuild
from laboratory.private_world import enter_private_world
from laboratory.programs import ip


BY_NAME = ("accuracy", "secret", "siege")
"""Cases that run only if they are named."""


def main(argv: List[str]) -> int:
    """Run the cases that are named, or all but those of ``BY_NAME``.  Returns the exit code."""
    options = parse(argv)
    settings = Settings(options.python, options.seconds, options.peers, options.nodes)
    began = time.monotonic()
    try:
        where = machine(options.python)
    except (OSError, subprocess.CalledProcessError) as error:
        print("bench: %s does not run: %s" % (options.python, error), file=sys.stderr)
        return 2
    if not options.json:
        print(where)
        print("%-38s %10s %18s %7s %14s  %s" % ("", OURS, "baseline", "ratio", "", "target"))
    for case in options.cases or CASES:
        if case == "siege":
            siege(settings, options.rounds)
            continue
        if case == "secret":
            secret(settings, options.rounds, join)
            continue
        if case == "accuracy":
            in_private_world(accuracy, settings, options.json, ip)
            continue
        found = measure(case, settings, options.rounds)
        for figure in figures(options.nodes):
            compared = compare(figure, found) if figure.case == case else []
            if options.json:
                for one in compared:
                    print(as_json(one, where), flush=True)
            else:
                show(compared)
        if not options.json:
            report_if_busy(case, found)
    if not options.json:
        print("%.0f s" % (time.monotonic() - began))
    return 0


def parse(argv: List[str]) -> argparse.Namespace:
    """Return the command line, checked; exits with 2 and one line if it is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", metavar="CASE", nargs="*", help="default: all but %s" % ", ".join(BY_NAME))
    parser.add_argument("--python", default=sys.executable, help="the contestants' interpreter")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each measurement (3)")
    parser.add_argument("--seconds", type=float, default=0.6, help="the unit of time (0.6)")
    parser.add_argument("--peers", type=int, default=1000, help="of held and pinging (1000)")
    parser.add_argument("--nodes", default="8,16,32", help="processes in discovery (8,16,32)")
    parser.add_argument("--json", action="store_true", help="one object for each comparison")
    options = parser.parse_args(argv)
    wrong = [case for case in options.cases if case not in CASES and case not in BY_NAME]
    if wrong:
        parser.error("no case is called %s; see --help" % wrong[0])
    if options.rounds < 1 or not 0.04 <= options.seconds <= 60:
        parser.error("--rounds must be at least 1, and --seconds from 0.04 to 60")
    try:
        options.nodes = [int(word) for word in options.nodes.split(",")]
    except ValueError:
        parser.error("--nodes must be numbers separated by commas")
    if not 1 <= options.peers <= 4000 or not all(2 <= number <= 100 for number in options.nodes):
        parser.error("--peers must be from 1 to 4000, and each of --nodes from 2 to 100")
    if not allow_descriptors(options.peers):
        parser.error("too few descriptors for --peers %d: see ulimit -n" % options.peers)
    return options


def join(port: int, path: Optional[str]) -> Member:
    """Return a connection to a node as its peer, with the key in ``path`` if there is one."""
    peer = Member(connect(port), 10.0, "bench")
    if path is not None:
        peer.key = read_key(path)
        peer.authenticate()
    peer.send_hello()
    peer.expect("ping")
    return peer


def in_private_world(function: Callable[..., None], *args: Any) -> None:
    """Run a case in network namespaces of its own, or print why it is skipped or has failed."""
    inside = multiprocessing.Process(target=_enter, args=(function, *args))
    inside.start()
    inside.join()


def _enter(function: Callable[..., None], *args: Any) -> None:
    try:
        enter_private_world()
        function(*args)
    except CannotBuild as reason:
        print("skipped: %s" % reason)
    except (OSError, EOFError, RuntimeError, subprocess.SubprocessError) as error:
        print("failed: %s" % (str(error) or type(error).__name__))


def machine(python: str) -> str:
    """Return a description of this machine and of the interpreter."""
    name = platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            models = [line.partition(":")[2].strip() for line in file if "model name" in line]
        name = models[0] if models else name
    except OSError:
        pass
    version = subprocess.check_output([python, "-V"], stderr=subprocess.STDOUT).decode().strip()
    where = (name, os.cpu_count() or 1, platform.system(), platform.release(), version)
    load = ", load average %.1f" % os.getloadavg()[0] if hasattr(os, "getloadavg") else ""
    return "%s, %d cores, %s %s, %s" % where + load


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
