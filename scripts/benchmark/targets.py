"""The figures' names and targets.  Most targets are ratios within one run, on two cores.

A busy machine may miss some by chance, so nothing fails because of them.
"""

from typing import List, NamedTuple, Optional


class Target(NamedTuple):
    """A bound: at most, or at least, ``number``."""

    at_most: bool
    number: float

    def is_met(self, value: float) -> bool:
        """True if ``value`` keeps to the bound."""
        return value <= self.number if self.at_most else value >= self.number

    def __str__(self) -> str:
        return "%s %g" % ("<=" if self.at_most else ">=", self.number)


def at_most(number: float) -> Target:
    """Less is better."""
    return Target(True, number)


def at_least(number: float) -> Target:
    """More is better."""
    return Target(False, number)


class Figure(NamedTuple):
    """One figure of a case.

    ``raw`` and ``asyncio`` are targets for the ratio of our figure to theirs; ``own`` is a target
    for our figure alone.
    """

    case: str
    key: str
    label: str
    unit: str
    raw: Optional[Target] = None
    asyncio: Optional[Target] = None
    own: Optional[Target] = None


class Unit(NamedTuple):
    """How a figure is printed."""

    factor: float
    shape: str


UNITS = {
    "us": Unit(1e6, "%.1f us"),
    "ms": Unit(1e3, "%.2f ms"),
    "s": Unit(1, "%.2f s"),
    "KiB": Unit(1, "%.1f KiB"),
    "MiB": Unit(1 / 1024, "%.1f MiB"),
    "/s": Unit(1, "%.0f/s"),
    "": Unit(1, "%.4g"),
}

FIGURES = [
    Figure("round-trip", "p50", "round trip: p50", "us", raw=at_most(1.25)),
    Figure("round-trip", "p99", "p99", "us"),
    Figure("round-trip", "cpu", "CPU a ping", "us", raw=at_most(1.4), asyncio=at_most(0.45)),
    Figure("round-trip", "two", "two pings in one segment", "us", asyncio=at_most(1.0)),
    Figure(
        "throughput",
        "1x128",
        "pings: 1 connection, 128 in flight",
        "/s",
        raw=at_least(0.35),
        asyncio=at_least(8),
    ),
    Figure(
        "throughput", "50x32", "50 connections, 32 in flight", "/s", at_least(0.35), at_least(6)
    ),
    Figure(
        "throughput", "50x1", "50 connections, 1 in flight", "/s", at_least(0.75), at_least(0.45)
    ),
    Figure(
        "handshakes", "in turn", "handshakes: in turn", "/s", at_least(0.65), at_least(1.1)
    ),
    Figure(
        "handshakes", "32 at once", "32 at once", "/s", raw=at_least(0.65), asyncio=at_least(0.5)
    ),
    Figure("handshakes", "failed", "failed", "", own=at_most(0)),
    Figure("held", "memory", "held: memory a connection", "KiB", raw=at_most(1.25)),
    Figure("held", "cpu", "CPU a ping, each pinged once a second", "us", raw=at_most(1.25)),
    Figure("held", "unanswered", "unanswered", "", own=at_most(0)),
    Figure("held", "threads", "threads a connection", "", own=at_most(1)),
    Figure("held", "threads left", "threads left afterwards", "", own=at_most(2)),
    Figure("pinging", "cpu", "pinging all once a second: CPU a ping", "us", asyncio=at_most(1.5)),
    Figure("pinging", "gap", "longest wait for a ping", "s", own=at_most(1.2)),
    Figure(
        "start-up", "time", "start: to the answer to hello", "ms", raw=at_most(2), asyncio=at_most(0.75)
    ),
    Figure("start-up", "memory", "memory then", "MiB", raw=at_most(1.35)),
    Figure("fairness", "p99", "beside a flood and 50 stalled: p99", "us", raw=at_most(3)),
    Figure("fairness", "p50", "p50", "us"),
    Figure("fairness", "answered", "polite pings answered", "/s", raw=at_least(0.85)),
    Figure("fairness", "lost", "lost", "", own=at_most(0)),
]


def figures(nodes: List[int]) -> List[Figure]:
    """Return all figures; those of discovery for each number of nodes."""
    return FIGURES + [figure for number in nodes for figure in of_discovery(number)]


def of_discovery(number: int) -> List[Figure]:
    """Return the figures of discovery by ``number`` nodes."""
    target = at_most(1.0) if number == 32 else None
    return [
        Figure("discovery", "%d" % number, "discovery: %d processes" % number, "s", asyncio=target),
        Figure("discovery", "%d after" % number, "after the last start", "s", own=at_most(0.5)),
    ]


def shown(value: float, unit: str) -> str:
    """Return ``value`` with its unit, for people."""
    return UNITS[unit].shape % (value * UNITS[unit].factor)
