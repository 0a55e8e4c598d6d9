"""Runs a case with all contestants in turns, compares their figures, and prints them."""

import json
import math
import statistics
from typing import Any, Dict, List, Optional

from .cases import CASES, Measured, Settings
from .processes import ASYNCIO, CONTESTANTS, OURS, RAW
from .targets import Figure, Target, shown

WITHOUT_RAW = ("pinging", "discovery")
"""Cases in which the contestant has to dial or ping, which ``raw`` does not."""

BUSY = 0.9
"""Share of a core above which the load itself may be the limit."""


def measure(case: str, settings: Settings, rounds: int) -> Dict[str, List[Measured]]:
    """Return the figures of each contestant in each round.  Each round begins with another one."""
    kinds = [kind for kind in CONTESTANTS if not (kind == RAW and case in WITHOUT_RAW)]
    found: Dict[str, List[Measured]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        for place in range(len(kinds)):
            kind = kinds[(number + place) % len(kinds)]
            found[kind].append(CASES[case](kind, settings))
    return found


def compare(figure: Figure, found: Dict[str, List[Measured]]) -> List[Dict[str, Any]]:
    """Return a figure's comparison with each baseline that has it, or the figure alone."""
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
    """Print a line for each comparison; the first one has our figure."""
    for number, result in enumerate(compared):
        unit = result["unit"]
        line = "%-38s %10s " % ("", "")
        if number == 0:
            line = "%-38s %10s " % (result["label"], shown(result["p2p_plain"], unit))
        if result["against"]:
            baseline = shown(result["baseline"], unit)
            line += "%10s %-7s %6.2fx" % (baseline, result["against"], result["ratio"])
            line += " %14s" % ("%.2f..%.2f" % (result["least"], result["most"]))
        else:
            line += " " * 41
        if result["target"]:
            line += "  %-8s %s" % (result["target"], "met" if result["met"] else "NOT MET")
        print(line.rstrip(), flush=True)


def as_json(result: Dict[str, Any], where: str) -> str:
    """Return a comparison as JSON.  Infinity (a mesh that never formed) becomes null."""
    infinite = [k for k, v in result.items() if isinstance(v, float) and not math.isfinite(v)]
    return json.dumps(dict(result, machine=where, **dict.fromkeys(infinite)))


def report_if_busy(case: str, found: Dict[str, List[Measured]]) -> None:
    """Report where the load took nearly a core: the contestant may be able to do more."""
    for kind, rounds in found.items():
        for key in sorted(rounds[0]):
            if key.endswith(" busy"):
                busy = statistics.median(one[key] for one in rounds)
                if busy > BUSY:
                    where = (case, key[: -len(" busy")], 100 * busy, kind)
                    print("  (%s, %s: the load took %.0f %% of a core beside %s)" % where)
