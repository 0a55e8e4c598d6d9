"""The rows of a network with known faults, for whatever judges or draws them."""

import itertools
import random
import uuid

from p2p_plain.monitor.judge import lines, verdicts
from p2p_plain.monitor.view import directions, summary
from p2p_plain.node.messages import Links

STALE = 180.0


HOSTILE = "\x1b]0;gone\x07\nfake line\r\u202e\x9b\ud83d"


class World:
    """A network in which everything is well, until a test breaks something.

    The names of the nodes are ``n0``, ``n1``, ...; of each pair the one with the smaller number
    dialed the connection.
    """

    def __init__(self, count, seed=0):
        rng = random.Random(seed)
        self.rng = rng
        self.ids = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(count)]
        self.name = {i: "n%d" % i for i in range(count)}
        self.age = {i: round(rng.uniform(0, 59), 1) for i in range(count)}
        self.lag = dict.fromkeys(range(count), 2.0)
        self.dial = dict.fromkeys(itertools.permutations(range(count), 2), "ok")
        self.dialed = dict.fromkeys(itertools.combinations(range(count), 2), True)
        self.rtt = {pair: round(rng.uniform(0.2, 0.9), 2) for pair in self.dialed}
        self.last = {}
        """The last round trip, where it is not like the others."""
        self.jitter = {}
        """By how much they differ, where that is not next to nothing."""
        self.silent = set()
        """Whose row nobody has."""
        self.dead = set()

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

    def others(self, *nodes):
        return [i for i in range(len(self)) if i not in nodes]

    # -- faults ---------------------------------------------------------------------

    def kill(self, x, dial="timeout", since=240.0):
        """It is gone; its last row says that all was well."""
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

    # -- rows -----------------------------------------------------------------------

    def link(self, a, b):
        pair = self.key(a, b)
        stands = pair in self.dialed and (a in self.dead or b not in self.dead)
        rtt = self.rtt.get(pair) if stands else None
        return {
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
            "up_s": 100.0 if stands else None,
        }

    def row(self, a):
        return Links(
            nodeid=self.ids[a],
            links=tuple(self.link(a, b) for b in self.others(a)),
            name=self.name[a],
            age=self.age[a],
            lag_ms=self.lag[a],
        )

    def rows(self):
        found = [self.row(a) for a in range(len(self)) if a not in self.silent]
        self.rng.shuffle(found)
        return found

    def told(self):
        return lines(verdicts(self.rows(), STALE))

    def kinds(self):
        return [(verdict.kind, self.numbers(verdict.nodes)) for verdict in self.verdicts()]

    def verdicts(self):
        return verdicts(self.rows(), STALE)

    def numbers(self, nodes):
        return sorted(self.ids.index(nodeid) for nodeid in nodes)

    def state(self, a, b):
        found = directions(self.rows(), STALE).get((self.ids[a], self.ids[b]))
        return "unknown" if found is None else found.state

    def summary(self):
        return summary(self.rows(), STALE)


def be_late(world, x, lag=250.0):
    """Its own samples are bad, and so are those of whoever waits for its answer."""
    world.lag[x] = lag
    world.slow(x, lag)
    for y in world.others(x):
        world.dial[x, y] = "timeout"
