"""The plan: what happens when.  It depends on the seed, the duration and the number of hosts alone.

Unrest and calm take turns.  In an unrest, one trouble after another begins and ends.  A calm ends
all of them, except that nodes which were stopped or killed stay away until their time has come.
"""

import heapq
import random
from typing import Dict, List, NamedTuple, Set, Tuple

ANCHORS = ("h1", "h3")
"""Nodes that are never stopped, so that their resources can be compared.  All nodes are started
with the addresses of h1 and h2, so one anchor is a bootstrap node and the other is not."""

LEAST_AWAKE = 3
"""Nodes that run and are not frozen, at any moment."""

LEAST_HOSTS = 4

ROUND = 60.0
"""Seconds of an unrest and its calm, about: the whole duration is divided evenly."""

UNREST = 2 / 3
"""The part of a round that is unrest."""

GAP = (0.3, 2.7)
"""Least and most seconds from one trouble to the next."""

DENSE_ROUND = 20.0
"""Seconds.  In a shorter round the gaps are shorter in proportion, so that enough happens."""

CALM = "calm"
RATES = ["32kbit", "128kbit", "1mbit"]


class Trouble(NamedTuple):
    """How often a trouble is drawn, and which action ends it after how many seconds."""

    weight: int
    end: str = ""  # empty if it ends by itself
    shortest: float = 0.0
    longest: float = 0.0


TROUBLES = {
    "add": Trouble(2),
    "restart": Trouble(2),
    "stop": Trouble(3, "start", 3.0, 30.0),
    "kill": Trouble(3, "start", 3.0, 30.0),
    "split": Trouble(3, "heal", 5.0, 30.0),
    "unplug": Trouble(3, "plug", 1.0, 20.0),
    "freeze": Trouble(2, "thaw", 1.0, 8.0),
    "drop": Trouble(2, "open", 5.0, 30.0),
    "reject": Trouble(1, "open", 5.0, 30.0),
    "narrow": Trouble(2, "wide", 5.0, 20.0),
}
"""Some last long enough for pings to fail, and some are too short for anyone to notice."""

LASTING = "start"
"""The one end that a calm does not bring forward."""


class Action(NamedTuple):
    """A step of the laboratory, or a calm."""

    at: float  # seconds on the plan's clock
    kind: str
    arguments: Tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Return the step as ``lab.py`` reads it, with a comment where a step names no host."""
        words = self.arguments
        if self.kind in ("add", "heal"):
            return "%s  # %s" % (self.kind, ",".join(words))
        if self.kind in ("drop", "reject") and len(words) > 1:
            return "%s %s from %s" % (self.kind, words[0], ",".join(words[1:]))
        between = " " if self.kind == "narrow" else ","
        return " ".join(filter(None, [self.kind, between.join(words)]))


def make_plan(seed: int, seconds: float, hosts: int) -> List[Action]:
    """Return all actions in order, at least three calms among them: first, last and between."""
    return _Planner(seed, hosts).plan(seconds)


def hosts_at_first(hosts: int) -> int:
    """Return how many of the hosts exist before the first is added."""
    return max(LEAST_HOSTS, hosts // 2)


class _Planner:
    """Draws a plan, and keeps account of which host is in which trouble.

    It uses nothing of ``random.Random`` but ``random()``, which returns the same numbers in every
    version of Python.
    """

    def __init__(self, seed: int, hosts: int) -> None:
        self._random = random.Random(seed).random
        self._most = hosts
        self._hosts = ["h%d" % number for number in range(1, hosts_at_first(hosts) + 1)]
        self._waiting: Dict[str, Set[str]] = {t.end: set() for t in TROUBLES.values() if t.end}
        """For each end, the hosts in a trouble that it ends."""
        self._ends: List[Action] = []
        """A heap of the ends to come."""
        self._plan: List[Action] = []

    def plan(self, seconds: float) -> List[Action]:
        rounds = max(2, int(seconds / ROUND + 0.5))
        length = seconds / rounds
        self._do(0.0, CALM)
        for number in range(rounds):
            calm = length * (number + UNREST)
            self._unrest(length * number, calm, min(1.0, length / DENSE_ROUND))
            self._calm(calm)
        return self._plan

    def _unrest(self, now: float, until: float, pace: float) -> None:
        while True:
            now += pace * self._between(*GAP)
            while self._ends and self._ends[0].at <= min(now, until):
                end = heapq.heappop(self._ends)
                self._do(max(end.at, self._plan[-1].at), end.kind, *end.arguments)
            if now >= until:
                return
            self._trouble(now)

    def _calm(self, now: float) -> None:
        for end in sorted(self._ends):
            if end.kind != LASTING:
                self._do(now, end.kind, *end.arguments)
        self._ends = [end for end in self._ends if end.kind == LASTING]
        heapq.heapify(self._ends)
        self._do(now, CALM)

    def _trouble(self, now: float) -> None:
        """Begin one of the troubles that are possible now, if there is one."""
        possible = {kind: self._choices(kind) for kind in TROUBLES}
        weighted = [kind for kind in TROUBLES for _ in range(TROUBLES[kind].weight)]
        weighted = [kind for kind in weighted if possible[kind]]
        if not weighted:
            return
        kind = self._one_of(weighted)
        trouble = TROUBLES[kind]
        names = [self._one_of(possible[kind])]
        if kind == "split":
            names = self._some_of(possible[kind], len(possible[kind]) // 2)
        more = []
        if kind in ("drop", "reject") and self._random() < 0.5:
            more = self._some_of([name for name in self._hosts if name not in names], 3)
        elif kind == "narrow":
            more = [self._one_of(RATES)]
        self._do(now, kind, *(names + more))
        if trouble.end:
            self._waiting[trouble.end].update(names)
            at = now + self._between(trouble.shortest, trouble.longest)
            heapq.heappush(self._ends, Action(at, trouble.end, tuple(names)))

    def _choices(self, kind: str) -> List[str]:
        """Return the hosts to which this can happen now, in order."""
        running = [name for name in self._hosts if name not in self._waiting["start"]]
        awake = [name for name in running if name not in self._waiting["thaw"]]
        if kind == "add":
            new = "h%d" % (len(self._hosts) + 1)
            return [new] if len(self._hosts) < self._most else []
        if kind in ("stop", "kill", "restart", "freeze"):
            spare = awake if len(awake) > LEAST_AWAKE else []
            return [name for name in spare if kind == "freeze" or name not in ANCHORS]
        if kind == "split":
            return running if not self._waiting["heal"] else []
        return [name for name in running if name not in self._waiting[TROUBLES[kind].end]]

    def _do(self, at: float, kind: str, *arguments: str) -> None:
        self._plan.append(Action(at, kind, arguments))
        if kind == "add":
            self._hosts.append(arguments[0])
        elif kind in self._waiting:
            self._waiting[kind].difference_update(arguments)

    def _between(self, least: float, most: float) -> float:
        return least + (most - least) * self._random()

    def _one_of(self, items: List[str]) -> str:
        return items[int(self._random() * len(items))]

    def _some_of(self, items: List[str], most: int) -> List[str]:
        """Return 1 to ``most`` of the items, in their order."""
        wanted = 1 + int(self._random() * most)
        chosen: Set[str] = set()
        while len(chosen) < min(wanted, len(items)):
            chosen.add(self._one_of(items))
        return [item for item in items if item in chosen]
