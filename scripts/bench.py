#!/usr/bin/env python3
"""What it costs, measured: ratios within one run, because machines are noisy and differ.

    python3 scripts/bench.py                       every case but siege, under three minutes
    python3 scripts/bench.py round-trip start-up   only these
    python3 scripts/bench.py siege                 how long a good peer waits while others attack

Beside ``p2p_plain`` two others do the same in the same minute, which makes the figures comparable:
``raw``, a bare thread for each connection that answers fixed bytes (the floor), and ``asyncio``,
the same small node as most would write it today.  Both are in ``scripts/benchmark``, short enough
to be read.

Cases:

``round-trip``   one connection, one ping at a time; two pings in one segment (where an answer that
                 waits for an acknowledgement takes 40 ms)
``throughput``   pings answered a second: one connection with 128 unanswered at any moment, 50 with
                 32 each, 50 with one each.  The node is told --max-rate 0, or it would answer 200
                 a second, as it should
``handshakes``   connections a second that say hello, are let in, and end; in turn and 32 at once
``held``         1,000 connections, each pinged by its other end once a second
``pinging``      the same, pinged by the node (--ping-interval 1), each wait until the next noted
``start-up``     from the start of the process to its answer to hello
``discovery``    8, 16 and 32 processes started with the address of one, until each has all others
``fairness``     a polite peer beside one that floods and fifty that ask and never read
``siege``        the round trip of a good peer beside six kinds of attack, against a quiet node

The contestants take turns, round after round, each time as a fresh process.  Told are the medians,
and of the ratios of the rounds the median, least and most.  ``met`` says whether that is as good as
it should be: ``scripts/benchmark/targets.py`` has the figures.  A miss is not a failure (exit code
0): on a machine that is busy with other things it may be chance.

Nothing leaves this machine: everything talks to 127.0.0.1.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from typing import Any, Dict, List, Optional

from benchmark import cases, processes, targets
from benchmark.cases import Measured, Settings
from benchmark.processes import ASYNCIO, OURS, RAW
from benchmark.siege import siege
from benchmark.targets import Figure, Target, shown

WITHOUT_RAW = ("pinging", "discovery")
"""Cases in which somebody has to begin a conversation, which ``raw`` never does."""

BUSY = 0.9
"""The part of a core from which on the load itself may be what is measured."""


def measure(case: str, settings: Settings, rounds: int) -> Dict[str, List[Measured]]:
    """What each contestant did in each round, in turns that begin with another one each time."""
    kinds = [kind for kind in processes.CONTESTANTS if not (kind == RAW and case in WITHOUT_RAW)]
    found: Dict[str, List[Measured]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        for place in range(len(kinds)):
            kind = kinds[(number + place) % len(kinds)]
            found[kind].append(cases.CASES[case](kind, settings))
    return found


def results(figure: Figure, found: Dict[str, List[Measured]]) -> List[Dict[str, Any]]:
    """One figure: against each baseline that has it, or alone."""
    values = {kind: [one[figure.key] for one in rounds] for kind, rounds in found.items()}
    ours = values[OURS]
    common: Dict[str, Any] = {
        "case": figure.case,
        "figure": figure.key,
        "label": figure.label,
        "unit": figure.unit,
        "p2p_plain": statistics.median(ours),
    }
    compared = []
    for kind, target in ((RAW, figure.raw), (ASYNCIO, figure.asyncio)):
        theirs = values.get(kind, [])
        result = dict(common, against=kind, target=None, met=None)
        if theirs and figure.own is None:
            ratios = [a / b if b else float("inf") for a, b in zip(ours, theirs)]
            result["baseline"] = statistics.median(theirs)
            result["ratio"] = statistics.median(ratios)
            result["least"], result["most"] = min(ratios), max(ratios)
            _judge(result, target, result["ratio"])
            compared.append(result)
    if not compared:
        result = dict(common, against=None, target=None, met=None)
        _judge(result, figure.own, common["p2p_plain"])
        compared.append(result)
    return compared


def _judge(result: Dict[str, Any], target: Optional[Target], value: float) -> None:
    if target is not None:
        result["target"] = str(target)
        result["met"] = target.is_met(value)


def show(compared: List[Dict[str, Any]]) -> None:
    """A line for each comparison; what is ours stands in the first of them."""
    for number, result in enumerate(compared):
        unit = result["unit"]
        line = "%-38s %10s " % ("", "")
        if number == 0:
            line = "%-38s %10s " % (result["label"], shown(result["p2p_plain"], unit))
        if result["against"]:
            line += "%10s %-7s %6.2fx" % (
                shown(result["baseline"], unit),
                result["against"],
                result["ratio"],
            )
            line += " %14s" % ("%.2f..%.2f" % (result["least"], result["most"]))
        else:
            line += " " * 41
        if result["target"]:
            line += "  %-8s %s" % (result["target"], "met" if result["met"] else "NOT MET")
        print(line.rstrip(), flush=True)


def as_json(result: Dict[str, Any], where: str) -> str:
    """One comparison for machines; what is infinite (a mesh that never was one) is null."""
    told = dict(result, machine=where)
    for key, value in result.items():
        if isinstance(value, float) and not math.isfinite(value):
            told[key] = None
    return json.dumps(told)


def tell_if_busy(case: str, found: Dict[str, List[Measured]]) -> None:
    """Say where the load took nearly a whole core: then the contestant may be able to do more."""
    for kind, rounds in found.items():
        for key in sorted(rounds[0]):
            if key.endswith(" busy"):
                busy = statistics.median(one[key] for one in rounds)
                if busy > BUSY:
                    told = (case, key[: -len(" busy")], 100 * busy, kind)
                    print("  (%s, %s: the load took %.0f %% of a core beside %s)" % told)


def machine(python: str) -> str:
    """Where this was measured."""
    name = platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            models = [line.partition(":")[2].strip() for line in file if "model name" in line]
        name = models[0] if models else name
    except OSError:
        pass
    version = subprocess.check_output([python, "-V"], stderr=subprocess.STDOUT).decode().strip()
    told = "%s, %d cores, %s %s, %s" % (
        name,
        os.cpu_count() or 1,
        platform.system(),
        platform.release(),
        version,
    )
    if hasattr(os, "getloadavg"):
        told += ", load average %.1f" % os.getloadavg()[0]
    return told


def parse(argv: List[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", metavar="CASE", nargs="*", help="default: all but siege")
    parser.add_argument("--python", default=sys.executable, help="the contestants' interpreter")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement (3)")
    parser.add_argument("--seconds", type=float, default=0.6, help="the unit of time (0.6)")
    parser.add_argument("--peers", type=int, default=1000, help="in held and pinging (1000)")
    parser.add_argument("--nodes", default="8,16,32", help="in discovery (8,16,32)")
    parser.add_argument("--json", action="store_true", help="one object for each comparison")
    options = parser.parse_args(argv)
    wrong = [case for case in options.cases if case not in cases.CASES and case != "siege"]
    if wrong:
        parser.error("there is no case %s" % wrong[0])
    if options.rounds < 1 or not 0.05 <= options.seconds <= 60:
        parser.error("--rounds is at least 1, --seconds from 0.05 to 60")
    try:
        options.nodes = [int(word) for word in options.nodes.split(",")]
    except ValueError:
        parser.error("--nodes is numbers with commas between them")
    if not 1 <= options.peers <= 4000 or not all(2 <= number <= 100 for number in options.nodes):
        parser.error("--peers is from 1 to 4000, --nodes from 2 to 100 each")
    if not processes.allow_descriptors(options.peers):
        parser.error("this system allows too few descriptors for %d --peers" % options.peers)
    return options


def main(argv: List[str]) -> int:
    """Run the cases that are named, or all."""
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
    figures = targets.figures(options.nodes)
    for case in options.cases or cases.CASES:
        if case == "siege":
            siege(settings, options.rounds)
            continue
        found = measure(case, settings, options.rounds)
        for figure in figures:
            if figure.case == case:
                compared = results(figure, found)
                if options.json:
                    for result in compared:
                        print(as_json(result, where), flush=True)
                else:
                    show(compared)
        if not options.json:
            tell_if_busy(case, found)
    if not options.json:
        print("%.0f s" % (time.monotonic() - began))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
