"""The rows of a network with known faults, for the tests of everything that judges or draws them."""

import itertools
import random
import uuid

from p2p_plain.common.outcomes import FAILURES
from p2p_plain.monitor.judge import Judgement
from p2p_plain.monitor.row_messages import Links
from p2p_plain.monitor.verdict import Kind
from p2p_plain.monitor.view import Direction, State

STALE = 180.0

HOSTILE = "\x1b]0;gone\x07\nfake line\r\u202e\x9b\ud83d"


class World:
    """A network in which everything is well until a test breaks something.

    The nodes are called ``n0``, ``n1``, ...; in each pair the one with the smaller number dialed.
    """

    def __init__(self, count, seed=0):
        rng = random.Random(seed)
        self.rng = rng
        self.ids = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(count)]
        self.name = {i: "n%d" % i for i in range(count)}
        self.age = {i: round(rng.uniform(0, 59), 1) for i in range(count)}
        self.lag = dict.fromkeys(range(count), 2.0)
        self.stale_after = dict.fromkeys(range(count), STALE)
        self.probe_interval = dict.fromkeys(range(count), 60.0)
        """Of both, ``None``: the node has the last version, whose rows do not say it."""
        self.up_s = 100.0
        """For how long all connections have stood."""
        self.dial = dict.fromkeys(itertools.permutations(range(count), 2), "ok")
        self.why = {}
        """What more is known of a failed dial."""
        self.dialed = dict.fromkeys(itertools.combinations(range(count), 2), True)
        self.rtt = {pair: round(rng.uniform(0.2, 0.9), 2) for pair in self.dialed}
        self.last = {}
        """The last round trip, where it differs from the median."""
        self.jitter = {}
        """The jitter, where it is not next to nothing."""
        self.lost = {}
        """More fields of a link, by source and target: those of ``losses``."""
        self.silent = set()
        """Nodes whose row nobody has."""
        self.dead = set()
        self.unmet = set()
        """Pairs of which the row of the first does not name the second."""
        self.sparse = False

    def __len__(self):
        return len(self.ids)

    def key(self, a, b):
        return (a, b) if (a, b) in self.dialed else (b, a)

    def disconnect(self, a, b):
        self.dialed.pop(self.key(a, b), None)

    def dialed_by(self, a, b):
        """The connection between the two was dialed by ``a``."""
        rtt = self.rtt.pop(self.key(a, b))
        self.disconnect(a, b)
        self.dialed[a, b] = True
        self.rtt[a, b] = rtt

    def never_met(self, a, b):
        """Neither reports on the other, and nobody knows why."""
        self.disconnect(a, b)
        self.unmet |= {(a, b), (b, a)}

    def be_older(self, x):
        """Node ``x`` has the last version."""
        self.stale_after[x] = self.probe_interval[x] = None

    def others(self, *nodes):
        return [i for i in range(len(self)) if i not in nodes]

    # -- faults ---------------------------------------------------------------------

    def kill(self, x, dial="timeout", since=240.0):
        """Node ``x`` is gone; its last row says that all was well."""
        self.age[x] = since
        self.dead.add(x)
        for y in self.others(x):
            self.dial[y, x] = dial

    def block_inbound(self, x, dial="timeout"):
        for y in self.others(x):
            self.dial[y, x] = dial
            if self.key(x, y) in self.dialed:
                self.dialed_by(x, y)

    def block_outbound(self, x, dial="timeout"):
        for y in self.others(x):
            self.dial[x, y] = dial
            if self.key(x, y) in self.dialed:
                self.dialed_by(y, x)

    def cut(self, left, right, dial="timeout"):
        for a, b in itertools.product(left, right):
            self.dial[a, b] = self.dial[b, a] = dial
            self.disconnect(a, b)

    def slow(self, x, rtt=80.0):
        for pair in self.rtt:
            if x in pair:
                self.rtt[pair] = rtt

    def lose(self, a, b, times=3, why="timeout", **more):
        """Both ends lost their connection so many times; ``more`` are other fields of ``losses``."""
        self.lost[a, b] = self.lost[b, a] = dict(more, lost=times, lost_why=why)

    # -- rows -----------------------------------------------------------------------

    def in_touch(self, a, b):
        """True if ``a`` knows ``b``.  Only in a sparse network not everyone knows everyone."""
        return (a, b) not in self.unmet and (self.key(a, b) in self.dialed or not self.sparse)

    def link(self, a, b):
        pair = self.key(a, b)
        stands = pair in self.dialed and (a in self.dead or b not in self.dead)
        rtt = self.rtt.get(pair) if stands else None
        why = {"why": self.why[a, b]} if (a, b) in self.why and a not in self.dead else {}
        return {
            **why,
            "nodeid": self.ids[b],
            "name": self.name[b],
            "address": "192.0.2.%d:6000" % (b % 250 + 1),
            "direction": ("outbound" if pair[0] == a else "inbound") if stands else "none",
            "rtt_ms": self.last.get(pair, rtt),
            "rtt_p50_ms": rtt,
            "rtt_max_ms": rtt,
            "jitter_ms": self.jitter.get(pair, 0.1),
            "dial": "ok" if a in self.dead else self.dial[a, b],
            "dial_ms": rtt,
            "up_s": self.up_s if stands else None,
            **self.lost.get((a, b), {}),
        }

    def row(self, a):
        return Links(
            nodeid=self.ids[a],
            links=tuple(self.link(a, b) for b in self.others(a) if self.in_touch(a, b)),
            name=self.name[a],
            age=self.age[a],
            lag_ms=self.lag[a],
            stale_after=self.stale_after[a],
            probe_interval=self.probe_interval[a],
        )

    def rows(self):
        """All rows in any order."""
        found = [self.row(a) for a in range(len(self)) if a not in self.silent]
        self.rng.shuffle(found)
        return found

    # -- what is made of them -------------------------------------------------------

    def judged(self, rows=None):
        return Judgement(self.rows() if rows is None else list(rows), STALE)

    def view(self, rows=None):
        return self.judged(rows).view

    def verdicts(self, rows=None):
        return self.judged(rows).verdicts

    def sentences(self, rows=None):
        return [verdict.text for verdict in self.verdicts(rows)]

    def kinds(self, rows=None):
        """The kind of each verdict, and the numbers of the nodes that it is about."""
        return [
            (verdict.kind, sorted(self.ids.index(nodeid) for nodeid in verdict.nodes))
            for verdict in self.verdicts(rows)
        ]

    def direction(self, a, b, rows=None):
        pair = self.ids[a], self.ids[b]
        return self.view(rows).directions.get(pair, Direction(*pair, state=State.UNKNOWN))

    def state(self, a, b, rows=None):
        return self.direction(a, b, rows).state

    def summary(self, rows=None):
        return self.judged(rows).summary


def be_late(world, x, lag=250.0):
    """Node ``x`` runs late: its own measurements are bad, and so are those of its peers to it."""
    world.lag[x] = lag
    world.slow(x, lag)
    for y in world.others(x):
        world.dial[x, y] = "timeout"


def sparse(count, degree, seed):
    """A random graph: each node has dialed some others, and knows nothing of the rest."""
    world = World(count, seed)
    kept = set()
    for a in range(count):
        kept.update(world.key(a, b) for b in world.rng.sample(world.others(a), degree // 2))
    world.dialed = dict.fromkeys(kept, True)
    world.sparse = True
    return world


def random_world(seed):
    """A network with up to three independent faults, and the kinds of verdict to expect."""
    rng = random.Random(seed)
    world = World(rng.choice([8, 9, 12, 20, 30]), seed)
    free = world.others()
    rng.shuffle(free)
    expected = []
    faults = ["in", "out", "dead", "refused", "slow", "late", "pair", "one-way", "slow-pair"]
    for fault in rng.sample(faults, rng.randrange(0, 4)):
        x = free.pop()
        if fault == "in":
            world.block_inbound(x, rng.choice(["timeout", "refused"]))
            expected.append((Kind.INBOUND_BLOCKED, [x]))
        elif fault == "out":
            world.block_outbound(x, rng.choice(["timeout", "unreachable"]))
            expected.append((Kind.OUTBOUND_BLOCKED, [x]))
        elif fault in ("dead", "refused"):
            world.kill(x, "timeout" if fault == "dead" else "refused")
            expected.append((Kind.DOWN, [x]))
        elif fault == "slow":
            world.slow(x, rng.uniform(20, 300))
            expected.append((Kind.SLOW, [x]))
        elif fault == "late":
            be_late(world, x, rng.uniform(150, 900))
            expected.append((Kind.LATE, [x]))
        else:
            y = free.pop()
            if fault == "slow-pair":
                world.rtt[world.key(x, y)] = 100.0
                expected.append((Kind.SLOW_PAIR, sorted((x, y))))
            else:
                world.dial[x, y] = rng.choice(FAILURES)
                if fault == "pair":
                    world.dial[y, x] = rng.choice(FAILURES)
                    world.disconnect(x, y)
                expected.append((Kind.PAIR, sorted((x, y))))
    return world, sorted(expected)
