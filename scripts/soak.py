#!/usr/bin/env python3
r"""A long rough day: nodes join, leave, crash and are cut off at random, and must come together.

What a test of one behaviour cannot show is what piles up: a thread that stays after each broken
connection, a table that keeps everyone it ever met, a backoff that two halves of a network talk
each other into.  So this program lets a network in the laboratory (``lab.py``) live for minutes
or hours while one thing after another happens to it, all of them drawn from one integer::

    python3 scripts/soak.py --seed 1 --for 600

Unrest and calm take turns.  In an unrest nodes are stopped, killed and started again, hosts are
added, cables pulled, switches parted, firewalls closed, processes frozen, lines narrowed.  Then
comes a calm: every cable is in, every firewall open, every process awake, and now all nodes must
find each other within 40 s and stay together.  Who is stopped just then is away, as in life.

         0 s            40 s     60 s            100 s    120 s
    calm | unrest       | calm   | unrest        | calm   | ...

Two nodes, the anchors, live from start to end.  In each calm it is noted what they take of the
machine; at the end that must be no more than at the first calm, but for what a node is known to
remember (see ``FLAT_KIB`` and ``EVENT_KIB``).  All the while each node's ``peer_up`` and
``peer_down`` must alternate for each peer and count right, nobody may write on stderr, and who is
not killed must end with exit code 0.

The plan is made before anything happens and depends on nothing but the arguments, so a run that
failed can be repeated: the same things will be done at the same times.  (What nodes then do also
depends on their own dice and on the machine.)

Exit codes: 0; 1 something was not as it should be; 2 wrong usage; 3 the laboratory cannot be
built here; 130 interrupted.
"""

import argparse
import heapq
import json
import os
import random
import signal
import statistics
import sys
import time
from collections import Counter
from typing import IO, Dict, List, NamedTuple, Optional, Set, Tuple

from laboratory.arguments import Parser
from laboratory.errors import DONE, INTERRUPTED, Failed, Problem, WrongUsage
from laboratory.events import Record
from laboratory.lab import Lab
from laboratory.network import MAX_HOSTS
from laboratory.private_world import enter_private_world

ANCHORS = ("h1", "h3")
"""Nodes that are never stopped.  The first is one of the two that everybody is started with,
the second is not; the other one of those two, h2, comes and goes like everyone else."""

LEAST_AWAKE = 3
"""Nodes that run and are not frozen, at any moment."""

LEAST_HOSTS = 4
DEFAULT_HOSTS = 12

ROUND = 60.0
"""Seconds of an unrest and the calm after it, about: the time asked for is divided evenly."""

UNREST = 2 / 3
"""Which part of a round is unrest."""

GAP = (0.3, 2.7)
"""Seconds from one trouble to the next, at least and at most."""

DENSE_ROUND = 20.0
"""In a round shorter than this, troubles follow each other faster in proportion: a short run
should not be a dull one."""

PATIENCE = 40.0
"""Seconds until a calm network must be whole.  Nodes promise half a minute after the return of a
cable; this adds one round of pings, in which a connection that is dead is found out."""

NODE_OPTIONS = "--ping-interval 5 --ping-timeout 3 --probe-interval 5"

FLAT_KIB = 3584
"""By how much an anchor's resident memory may grow between two calms for no stated reason.

A node that forgets what it should is not flat to the page.  Every connection has a thread; the
C library gives threads arenas of their own, up to eight for each core, and each arena grows to the
most that was ever needed in it at once and hardly shrinks.  What was asked of addresses lately is
kept (1.0 MiB once that is full), and the rows of who died.  Measured on two cores: 3.1 MiB in eleven
minutes, the last three of them flat; more cores, more arenas.  What is lost by mistake adds up
beyond this: in ten minutes a node has some hundred and fifty connections and two thousand probes,
so 2 KiB for each probe is found, and 24 KiB for each connection; in an hour, a sixth of that."""

EVENT_KIB = 1.0
"""What an event takes: a dict of some six fields with the strings in it.  A node remembers the
last ``REMEMBERED_EVENTS``, so until it has told so many, its memory grows by each.  (Measured: by
1.1 KiB, all else that fills in the same minutes included.)"""

REMEMBERED_EVENTS = 1000

PEER_KIB = 96
"""What one peer more may take: the touched part of its thread's stack, its buffers, and its last
120 round trips (4 KiB)."""

OWN_THREADS = 5
"""Threads that a node has without any peer: main, events, listener, pinger, and one to spare."""

POOL_THREADS = 16
"""Threads that dial: started as they are needed, and kept.  So a node may well have more of them
at the end than at the first calm, but never more than this."""

OWN_DESCRIPTORS = 12
"""Descriptors that a node has without any peer: three standard ones, its listening sockets, and
those by which its threads are woken."""

PASSING = 3
"""Threads or descriptors of probes that come and go.  Of several readings the least counts, but
two probes may overlap."""

READINGS = 8
READ_EVERY = 0.05
"""How often the resources are read in one calm, and seconds between."""

LAST_ACTIONS = 12
"""How many of them are told when a run fails."""


def complain(text: str) -> None:
    """One line on stderr."""
    print("soak: " + text, file=sys.stderr, flush=True)


def say(text: str) -> None:
    """One line on stdout.  Where nobody reads any more (``soak.py ... | head``), the run ends."""
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise KeyboardInterrupt


# -- the plan ---------------------------------------------------------------------------


class Trouble(NamedTuple):
    """Something that can happen: how often beside others, and what ends it after how long."""

    weight: int
    end: str = ""  # the action that ends it, if it does not end by itself
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
"""Long enough, some of them, for pings to fail; short enough, some of them, that nobody notices."""

LASTING = "start"
"""The only end that a calm does not bring: who has left is away until its time."""

RATES = ["32kbit", "128kbit", "1mbit"]

CALM = "calm"


class Action(NamedTuple):
    """One thing to do: a method of ``Lab`` and its arguments, or a calm."""

    at: float  # seconds on the plan's clock
    kind: str
    arguments: Tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As a step of ``lab.py``, all but a calm: a comment says who, where a step does not."""
        words = self.arguments
        if self.kind in ("add", "heal"):
            return "%s  # %s" % (self.kind, ",".join(words))
        if self.kind in ("drop", "reject") and len(words) > 1:
            return "%s %s from %s" % (self.kind, words[0], ",".join(words[1:]))
        between = " " if self.kind == "narrow" else ","
        return " ".join(filter(None, [self.kind, between.join(words)]))

    def take(self, laboratory: Lab) -> None:
        """Do it.  A calm is more than this."""
        if self.kind == "add":
            added = laboratory.add()
            assert added == self.arguments[0], "the plan is wrong"
        elif self.kind == "heal":
            laboratory.heal()
        else:
            getattr(laboratory, self.kind)(*self.arguments)


def make_plan(seed: int, seconds: float, hosts: int) -> List[Action]:
    """What will happen, in order; begins and ends with a calm."""
    return Planner(seed, hosts).plan(seconds)


def hosts_at_first(hosts: int) -> int:
    """How many hosts there are before the first is added."""
    return max(LEAST_HOSTS, hosts // 2)


class Planner:
    """Draws a plan, keeping account of who would be in which trouble.

    Nothing of ``random.Random`` is used but ``random()``, whose numbers are the same in every
    version of Python.
    """

    def __init__(self, seed: int, hosts: int) -> None:
        self._random = random.Random(seed).random
        self._most = hosts
        self._hosts = ["h%d" % number for number in range(1, hosts_at_first(hosts) + 1)]
        self._waiting: Dict[str, Set[str]] = {t.end: set() for t in TROUBLES.values() if t.end}
        """By what ends a trouble, the hosts that are in it."""
        self._ends: List[Action] = []
        """A heap: what ends each of them, and when."""
        self._plan: List[Action] = []

    def plan(self, seconds: float) -> List[Action]:
        """The whole of it."""
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
        """End all troubles, except that who left stays away."""
        for end in sorted(self._ends):
            if end.kind != LASTING:
                self._do(now, end.kind, *end.arguments)
        self._ends = [end for end in self._ends if end.kind == LASTING]
        heapq.heapify(self._ends)
        self._do(now, CALM)

    def _trouble(self, now: float) -> None:
        """One of those that are possible now; none, if everyone is in every trouble already."""
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
        """The hosts that it can happen to now, in order; nobody, if not at all."""
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

    # -- dice -----------------------------------------------------------------------

    def _between(self, least: float, most: float) -> float:
        return least + (most - least) * self._random()

    def _one_of(self, items: List[str]) -> str:
        return items[int(self._random() * len(items))]

    def _some_of(self, items: List[str], most: int) -> List[str]:
        """At least one and at most ``most`` of them, in their order."""
        wanted = 1 + int(self._random() * most)
        chosen: Set[str] = set()
        while len(chosen) < min(wanted, len(items)):
            chosen.add(self._one_of(items))
        return [item for item in items if item in chosen]


# -- what nodes tell --------------------------------------------------------------------


class Life:
    """One node, from start to end: its peers by what it told, and how much it told."""

    def __init__(self) -> None:
        self.up: Set[str] = set()
        self.events = 0


class Ledger:
    """Keeps account of what the nodes tell, and says where it does not add up.

    ``hear`` is called under the laboratory's lock, by the nodes' reader threads; it alone writes,
    but for ``expect``.  The main thread reads: sizes, and lists that only grow.
    """

    def __init__(self, events: Optional[IO[str]] = None) -> None:
        self.problems: List[str] = []
        self.lives: Dict[str, Life] = {}
        """By host, the node that was last started there."""
        self.changed_at = 0.0
        """When a node last told of a peer that came or went, on the laboratory's clock."""
        self.started = 0
        self.ups = 0
        self.downs: Dict[str, int] = Counter()
        """``peer_down`` by reason."""
        self._events = events
        self._expected: Dict[str, int] = {}
        """By host, the exit code of the node that is about to end."""

    def expect(self, code: int, *hosts: str) -> None:
        """The nodes there are about to be ended, and with this exit code."""
        for host in hosts:
            self._expected[host] = code

    def hear(self, record: Record) -> None:
        """Take one record."""
        if self._events is not None:
            self._events.write(json.dumps(record) + "\n")
        if "host" not in record:
            return  # the laboratory's own word
        if "stderr" in record:
            self._problem(record, "wrote on stderr: %s" % record["stderr"])
        elif "ended" in record:
            self._ended(record)
        else:
            self._event(record)

    def _problem(self, record: Record, text: str) -> None:
        self.problems.append("%s %s (at %.3f)" % (record["host"], text, record["at"]))

    def _ended(self, record: Record) -> None:
        expected = self._expected.pop(record["host"], None)
        if expected is None:
            self._problem(record, "ended by itself, exit code %d" % record["ended"])
        elif expected != record["ended"]:
            self._problem(record, "ended with exit code %d" % record["ended"])

    def _event(self, record: Record) -> None:
        event, host = record["event"], record["host"]
        if event == "listening":
            self.lives[host] = Life()
            self.started += 1
        life = self.lives[host]
        life.events += 1
        if event not in ("peer_up", "peer_down"):
            return
        self.changed_at = record["at"]
        is_up = record["nodeid"] in life.up
        if is_up == (event == "peer_up"):
            self._problem(record, "told %s of %s twice in a row" % (event, record["name"]))
        if event == "peer_up":
            self.ups += 1
            life.up.add(record["nodeid"])
        else:
            self.downs[record["reason"]] += 1
            life.up.discard(record["nodeid"])
        if record["peers"] != len(life.up):
            said = (record["peers"], len(life.up), event, record["name"])
            self._problem(record, "counts %d peers and told of %d (%s of %s)" % said)


# -- what a node takes ------------------------------------------------------------------


class Reading(NamedTuple):
    """What one process takes of the machine, beside what explains it."""

    memory_kib: int
    threads: int
    descriptors: int
    peers: int
    events: int  # told since its start

    def __str__(self) -> str:
        fields = (self.memory_kib, self.threads, self.descriptors, self.peers)
        return "%d KiB, %d threads, %d descriptors, %d peers" % fields


def read_memory(pid: int) -> int:
    """Resident memory in KiB."""
    with open("/proc/%d/status" % pid) as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def read_resources(pid: int, life: Life) -> Reading:
    """Some readings in a row: what passes is not in the least of them."""
    threads, descriptors = [], []
    for _ in range(READINGS):
        threads.append(len(os.listdir("/proc/%d/task" % pid)))
        descriptors.append(len(os.listdir("/proc/%d/fd" % pid)))
        time.sleep(READ_EVERY)
    memory = read_memory(pid)
    return Reading(memory, min(threads), min(descriptors), len(life.up), life.events)


def allowed_kib(first: Reading, last: Reading) -> float:
    """By how much the memory may have grown from the first reading to the last."""
    events = min(last.events, REMEMBERED_EVENTS) - min(first.events, REMEMBERED_EVENTS)
    return FLAT_KIB + EVENT_KIB * events + PEER_KIB * max(0, last.peers - first.peers)


def judge(name: str, readings: List[Reading]) -> List[str]:
    """What one anchor takes too much of; ``readings`` from its first calm to the last."""
    first, last = readings[0], readings[-1]
    problems = []
    grown, allowed = last.memory_kib - first.memory_kib, allowed_kib(first, last)
    if grown > allowed:
        problems.append("memory grew by %d KiB, allowed are %d" % (grown, allowed))
    for reading in readings:
        bound = reading.peers + OWN_THREADS + POOL_THREADS + PASSING
        if reading.threads > bound:
            problems.append("%d threads, allowed are %d" % (reading.threads, bound))
        bound = reading.peers + OWN_DESCRIPTORS + PASSING
        if reading.descriptors > bound:
            problems.append("%d descriptors, allowed are %d" % (reading.descriptors, bound))
    more = (last.descriptors - last.peers) - (first.descriptors - first.peers)
    if more > PASSING:
        problems.append("%d descriptors more than peers explain" % more)
    return ["%s: %s" % (name, problem) for problem in problems]


# -- the run ----------------------------------------------------------------------------


class Calm(NamedTuple):
    """One calm: how long it took until the network was whole, and what the anchors took."""

    seconds: float
    anchors: Dict[str, Reading]


class Run:
    """One run of a plan in a laboratory that has been started."""

    def __init__(
        self, laboratory: Lab, ledger: Ledger, patience: float, lasting: float
    ) -> None:
        self._lab = laboratory
        self._ledger = ledger
        self._patience = patience
        self._lasting = lasting
        self._late = 0.0
        """How far behind the plan's clock we are, in seconds."""
        self.done: List[str] = []
        """The actions taken, with their times."""
        self.kinds: Dict[str, int] = Counter()
        self.calms: List[Calm] = []

    def follow(self, plan: List[Action]) -> List[str]:
        """Take all actions and stop all nodes; what was not as it should be."""
        try:
            for action in plan:
                self._wait_for(action)
                self._take(action)
                if self._ledger.problems:
                    return []  # the ledger will be asked by who called us
            running = [name for name, host in self._lab.hosts.items() if host.node is not None]
            self._ledger.expect(0, *running)
            return self._lab.end()
        except Failed as error:
            return [str(error)]

    def _wait_for(self, action: Action) -> None:
        """Let the plan's clock reach the action.  It never goes faster to make up for a delay."""
        ahead = action.at + self._late - self._lab.journal.clock()
        if ahead > 0:
            self._lab.wait(ahead)
        else:
            self._late -= ahead

    def _take(self, action: Action) -> None:
        self.done.append("%8.3f  %s" % (self._lab.journal.clock(), action.text))
        self.kinds[action.kind] += 1
        if action.kind == CALM:
            self._calm()
            return
        say(self.done[-1])
        if action.kind in ("stop", "restart", "kill"):
            code = -signal.SIGKILL if action.kind == "kill" else 0
            self._ledger.expect(code, *action.arguments)
        action.take(self._lab)

    def _calm(self) -> None:
        self._lab.journal.change()
        seconds = self._whole()
        anchors = {name: self._read(name) for name in ANCHORS}
        self.calms.append(Calm(seconds, anchors))
        nodes = sum(host.awake for host in self._lab.hosts.values())
        what = "calm       %d nodes are a mesh after %.3f s" % (nodes, seconds)
        took = ["%s %s" % (name, reading) for name, reading in anchors.items()]
        say("%8.3f  %s" % (self._lab.journal.clock(), "; ".join([what] + took)))

    def _whole(self) -> float:
        """Wait until all are peers of all and stay so; the seconds until the last change.

        ``Failed`` if it takes too long.  That they are peers is not enough: a connection that
        broke while its cable was out is found out by a ping, so wait as long as that may take.
        """
        began = self._lab.journal.clock()
        while True:
            self._lab.mesh(self._left(began))
            changed_at = self._ledger.changed_at
            since = max(began, changed_at)
            self._lab.wait(max(0.0, since + self._lasting - self._lab.journal.clock()))
            self._lab.mesh(self._left(began))  # it may have broken before we looked at the time
            if self._ledger.changed_at != changed_at:
                continue
            if since - began > self._patience:
                raise Failed("the mesh came apart again %.3f s into the calm" % (since - began))
            return since - began

    def _left(self, began: float) -> float:
        """Seconds of patience that are left."""
        return max(0.0, began + self._patience - self._lab.journal.clock())

    def _read(self, name: str) -> Reading:
        node = self._lab.hosts[name].node
        assert node is not None, "an anchor is never stopped"
        try:
            return read_resources(node.process.pid, self._ledger.lives[name])
        except OSError:
            raise Failed("%s is gone" % name)

    def judge(self) -> List[str]:
        """Whether the anchors took too much.  The calm before the first unrest is no measure."""
        problems = []
        for name in ANCHORS:
            readings = [calm.anchors[name] for calm in self.calms[1:]]
            problems += judge(name, readings) if readings else []
        return problems

    def summary(self) -> List[str]:
        """The run in a few lines, however far it came."""
        taken = {kind: self.kinds[kind] for kind in sorted(self.kinds)}
        actions = "%d actions: %s" % (sum(taken.values()), counted(taken))
        lines = [
            "%.0f s, %d nodes started" % (self._lab.journal.clock(), self._ledger.started),
            actions,
        ]
        if self.calms:
            times = [calm.seconds for calm in self.calms]
            fields = (len(times), statistics.median(times), max(times))
            lines.append("%d calms, a mesh after %.1f s in the median, %.1f s at worst" % fields)
        for name in ANCHORS if len(self.calms) > 1 else ():
            first, last = self.calms[1].anchors[name], self.calms[-1].anchors[name]
            grown = (last.memory_kib - first.memory_kib, allowed_kib(first, last))
            lines.append("%s at first: %s" % (name, first))
            lines.append("%s at last:  %s; %+d KiB, %d allowed" % ((name, last) + grown))
        downs = {reason: self._ledger.downs[reason] for reason in sorted(self._ledger.downs)}
        total = (self._ledger.ups, sum(downs.values()), counted(downs) or "none")
        return lines + ["%d peer_up, %d peer_down: %s" % total]


def counted(counts: Dict[str, int]) -> str:
    """``closed 12, timeout 3``."""
    return ", ".join("%s %d" % item for item in counts.items())


# -- the command line -------------------------------------------------------------------


def read_arguments(argv: List[str]) -> argparse.Namespace:
    """What the command line asks for, checked."""
    parser = Parser(NODE_OPTIONS, "instead of: " + NODE_OPTIONS, prog="soak.py", description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, required=True, metavar="N", help="the plan is drawn from this")
    add("--for", dest="seconds", type=float, required=True, metavar="SECONDS", help="how long")
    add("--hosts", type=int, default=DEFAULT_HOSTS, metavar="H", help="hosts at the most (12)")
    add("--patience", type=float, default=PATIENCE, metavar="SECONDS", help="for a mesh (40)")
    add("--events", metavar="PATH", help="write down all that the nodes tell, as JSON lines")
    add("--plan", action="store_true", help="only show what would happen")
    options = parser.read(argv)
    if not LEAST_HOSTS <= options.hosts <= MAX_HOSTS:
        raise WrongUsage("--hosts: from %d to %d" % (LEAST_HOSTS, MAX_HOSTS))
    if not 1 <= options.seconds <= 1e7:
        raise WrongUsage("--for: from one second to some months")
    if not 0 <= options.patience <= 1e7:
        raise WrongUsage("--patience: seconds, at least 0")
    return options


def lasting(words: List[str]) -> float:
    """Seconds after which every dead connection has been found out, by the nodes' own options."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--ping-interval", type=float, default=60.0)
    parser.add_argument("--ping-timeout", type=float, default=20.0)
    options, _ = parser.parse_known_args(words)
    return float(options.ping_interval + options.ping_timeout + 1.0)


def open_events(path: Optional[str]) -> Optional[IO[str]]:
    """The file for ``--events``, if there is to be one."""
    try:
        return None if path is None else open(path, "w", encoding="utf-8")
    except OSError as error:
        raise WrongUsage("--events %s: %s" % (path, error.strerror))


def main(argv: List[str]) -> int:
    """Plan, build, live through it, judge; the exit code."""
    try:
        options = read_arguments(argv[1:])
        plan = make_plan(options.seed, options.seconds, options.hosts)
        if options.plan:
            for action in plan:
                say("%8.3f  %s" % (action.at, action.text))
            return DONE
        enter_private_world()
        return soak(options, plan)
    except Failed as failed:
        complain("%s (seed %d)" % (failed, options.seed))
        return failed.exit_code
    except Problem as problem:
        complain(str(problem))
        return problem.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


def soak(options: argparse.Namespace, plan: List[Action]) -> int:
    """Run the plan, inside the private world."""
    ledger = Ledger(open_events(options.events))
    with Lab(
        hosts_at_first(options.hosts),
        node_options=options.node,
        python=options.python,
        show=ledger.hear,
    ) as laboratory:
        run = Run(laboratory, ledger, options.patience, lasting(options.node))
        problems: List[str] = []
        try:
            problems = run.follow(plan)
        finally:
            say("seed %d: %s" % (options.seed, "\n    ".join(run.summary())))
    problems += ledger.problems + run.judge()
    if problems:
        tell_failure(problems, run.done, options.seed)
    return Failed.exit_code if problems else DONE


def tell_failure(problems: List[str], done: List[str], seed: int) -> None:
    """What was wrong, what had been done before, and how to do it again."""
    for problem in dict.fromkeys(problems):
        complain(problem)
    complain("the last actions were:")
    for action in done[-LAST_ACTIONS:]:
        complain(action)
    complain("to repeat it: the same arguments, with --seed %d" % seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
