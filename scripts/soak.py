#!/usr/bin/env python3
"""Let a network live through random trouble for as long as you like, and check that it recovers.

    python3 scripts/soak.py --seed 1 --for 600

Nodes in the laboratory (scripts/lab.py) are stopped, killed, started and frozen, cables are pulled,
switches separated, firewalls closed, lines narrowed.  Again and again all trouble ends, and then
all nodes must be a mesh within 40 s and stay one:

         0 s            40 s     60 s            100 s    120 s
    calm | unrest       | calm   | unrest        | calm   | ...

Two nodes live from start to end, and must not use more and more memory, threads or descriptors.
The reports of every node must add up, nothing may come on stderr, and every node that is not
killed must exit with 0.

The same arguments make the same plan, so a failed run can be repeated.  (The nodes' own dice and
the machine's speed are not part of the plan.)  scripts/FUZZING.rst says more; the work is done in
scripts/soaking.

Exit codes: 0; 1 something was wrong; 2 wrong usage; 3 the laboratory cannot be built here; 130
interrupted.
"""

import argparse
import os
import signal
import statistics
import sys
from collections import Counter
from typing import IO, Dict, List, NamedTuple, Optional

from laboratory.arguments import Parser
from laboratory.errors import DONE, INTERRUPTED, Failed, Problem, WrongUsage
from laboratory.lab import Lab
from laboratory.network import MAX_HOSTS
from laboratory.private_world import enter_private_world
from laboratory.steps import read_step, split_words
from soaking import resources
from soaking.ledger import Ledger
from soaking.plan import ANCHORS, CALM, LEAST_HOSTS, Action, hosts_at_first, make_plan
from soaking.resources import Reading

NODE_OPTIONS = "--ping-interval 5 --ping-timeout 3 --probe-interval 5"

PATIENCE = 40.0
"""Seconds until a calm network must be whole: the half minute that nodes promise after a cable is
back, and a round of pings in which they notice the connections that are dead."""

LAST_ACTIONS = 12
"""How many of them are shown after a failure."""


class Calm(NamedTuple):
    """What one calm showed."""

    seconds: float  # until the network was whole
    anchors: Dict[str, Reading]


class Run:
    """Follows a plan in a laboratory that has been started.

    In a calm the network must be whole within ``patience`` seconds, and stay so for ``lasting``
    seconds: a connection that broke while its cable was out is only noticed at its next ping.
    """

    def __init__(self, lab: Lab, ledger: Ledger, patience: float, lasting: float) -> None:
        self._lab = lab
        self._clock = lab.journal.clock
        self._ledger = ledger
        self._patience = patience
        self._lasting = lasting
        self._late = 0.0
        """Seconds by which the laboratory's clock is ahead of the plan's."""
        self.done: List[str] = []
        """The actions taken, with their times."""
        self._kinds: Dict[str, int] = Counter()
        self._calms: List[Calm] = []

    def follow(self, plan: List[Action]) -> List[str]:
        """Take all actions and stop all nodes, or end at the first problem; return all problems."""
        return self._follow(plan) + self._ledger.problems + self._judge()

    def _follow(self, plan: List[Action]) -> List[str]:
        try:
            for action in plan:
                self._wait_for(action)
                self._take(action)
                if self._ledger.problems:
                    return []
            running = [name for name, host in self._lab.hosts.items() if host.node is not None]
            self._ledger.expect(0, *running)
            return self._lab.end()
        except Failed as error:
            return [str(error)]

    def _wait_for(self, action: Action) -> None:
        """Wait until the action is due.  After a delay, the plan never hurries to catch up."""
        ahead = action.at + self._late - self._clock()
        if ahead > 0:
            self._lab.wait(ahead)
        else:
            self._late -= ahead

    def _take(self, action: Action) -> None:
        self.done.append("%8.3f  %s" % (self._clock(), action.text))
        self._kinds[action.kind] += 1
        if action.kind == CALM:
            self._calm()
            return
        say(self.done[-1])
        if action.kind in ("stop", "restart", "kill"):
            code = -signal.SIGKILL if action.kind == "kill" else 0
            self._ledger.expect(code, *action.arguments)
        read_step(split_words(action.text), list(self._lab.hosts)).take(self._lab)

    def _calm(self) -> None:
        self._lab.journal.change()
        seconds = self.wait_whole()
        anchors = {name: self._read(name) for name in ANCHORS}
        self._calms.append(Calm(seconds, anchors))
        nodes = sum(host.awake for host in self._lab.hosts.values())
        what = "calm       %d nodes are a mesh after %.3f s" % (nodes, seconds)
        used = ["%s %s" % (name, reading) for name, reading in anchors.items()]
        say("%8.3f  %s" % (self._clock(), "; ".join([what] + used)))

    def wait_whole(self) -> float:
        """Wait until all nodes are peers and stay so; return the seconds until they were.

        Raises ``Failed`` if that takes too long.
        """
        began = self._clock()
        while True:
            self._wait_mesh(began)
            changed_at = self._ledger.changed_at
            since = max(began, changed_at)
            self._lab.wait(max(0.0, since + self._lasting - self._clock()))
            self._wait_mesh(began)  # it may have come apart meanwhile
            if self._ledger.changed_at != changed_at:
                continue
            if since - began > self._patience:
                raise Failed("the mesh came apart again %.3f s into the calm" % (since - began))
            return since - began

    def _wait_mesh(self, began: float) -> None:
        self._lab.mesh(max(0.0, began + self._patience - self._clock()))

    def _read(self, name: str) -> Reading:
        node = self._lab.hosts[name].node
        assert node is not None, "an anchor is never stopped"
        try:
            return resources.read(node.process.pid, self._ledger.lives[name])
        except OSError:
            raise Failed("the node on %s is gone" % name) from None

    def _judge(self) -> List[str]:
        """Return what the anchors use too much of.  The calm before any trouble does not count."""
        problems = []
        for name in ANCHORS if len(self._calms) > 1 else ():
            problems += resources.judge(name, [calm.anchors[name] for calm in self._calms[1:]])
        return problems

    def summary(self) -> List[str]:
        """Return the run in a few lines, however far it came."""
        ledger = self._ledger
        actions = (sum(self._kinds.values()), _counted(self._kinds))
        lines = [
            "%.0f s, %d nodes started" % (self._clock(), ledger.started),
            "%d actions: %s" % actions,
        ]
        if self._calms:
            times = [calm.seconds for calm in self._calms]
            shown = (len(times), statistics.median(times), max(times))
            lines.append("%d calms, a mesh after %.1f s (median), %.1f s (longest)" % shown)
        for name in ANCHORS if len(self._calms) > 1 else ():
            readings = [calm.anchors[name] for calm in self._calms[1:]]
            first, last = readings[0], readings[-1]
            grown = last.memory_kib - first.memory_kib
            allowed = resources.allowed_kib(readings)
            lines.append("%s at first: %s" % (name, first))
            lines.append("%s at last:  %s; %+d KiB, %d allowed" % (name, last, grown, allowed))
        total = (ledger.ups, sum(ledger.downs.values()), _counted(ledger.downs) or "none")
        return lines + ["%d peer_up, %d peer_down: %s" % total]


def main(argv: List[str]) -> int:
    """Run what the command line asks for; return the exit code."""
    try:
        options = read_arguments(argv[1:])
        plan = make_plan(options.seed, options.seconds, options.hosts)
        if options.plan:
            for action in plan:
                say("%8.3f  %s" % (action.at, action.text))
            return DONE
        enter_private_world()
        return soak(options, plan)
    except Problem as problem:
        complain(str(problem))
        return problem.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


def read_arguments(argv: List[str]) -> argparse.Namespace:
    """Return the checked command line.  Raises ``WrongUsage``."""
    instead = "instead of: " + NODE_OPTIONS
    parser = Parser(NODE_OPTIONS, instead, prog="soak.py", description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, required=True, metavar="N", help="decides the plan")
    add("--for", dest="seconds", type=float, required=True, metavar="SECONDS", help="how long")
    add("--hosts", type=int, default=12, metavar="H", help="most hosts (12)")
    add("--patience", type=float, default=PATIENCE, metavar="SECONDS", help="for a mesh (40)")
    add("--events", metavar="PATH", help="file for all reports, as JSON lines")
    add("--plan", action="store_true", help="only show what would happen")
    options = parser.read(argv)
    if not LEAST_HOSTS <= options.hosts <= MAX_HOSTS:
        raise WrongUsage("--hosts %d: give %d to %d" % (options.hosts, LEAST_HOSTS, MAX_HOSTS))
    if not 1 <= options.seconds <= 1e7:
        raise WrongUsage("--for %g: give 1 second to some months" % options.seconds)
    if not 0 <= options.patience <= 1e7:
        raise WrongUsage("--patience %g: give seconds, at least 0" % options.patience)
    return options


def soak(options: argparse.Namespace, plan: List[Action]) -> int:
    """Follow the plan inside the private world; return the exit code."""
    ledger = Ledger(open_events(options.events))
    hosts = hosts_at_first(options.hosts)
    lab_options = {"node_options": options.node, "pythons": options.python, "folders": options.folder}
    with Lab(hosts, show=ledger.take, **lab_options) as lab:
        run = Run(lab, ledger, options.patience, lasting(options.node))
        try:
            problems = run.follow(plan)
        finally:
            say("seed %d: %s" % (options.seed, "\n    ".join(run.summary())))
    for problem in dict.fromkeys(problems):
        complain(problem)
    if not problems:
        return DONE
    complain("the last actions were:")
    for line in run.done[-LAST_ACTIONS:]:
        complain(line)
    complain("to repeat it, give the same arguments, with --seed %d" % options.seed)
    return Failed.exit_code


def open_events(path: Optional[str]) -> Optional[IO[str]]:
    """Return the file of ``--events``, if it is given."""
    try:
        return None if path is None else open(path, "w", encoding="utf-8")
    except OSError as error:
        raise WrongUsage("--events %s: %s" % (path, error.strerror)) from None


def lasting(words: List[str]) -> float:
    """Return the seconds after which a node with these options has noticed each dead connection.

    That is the longest time between two pings, the timeout of the second, and half a second.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--ping-interval", type=float, default=60.0)
    parser.add_argument("--ping-timeout", type=float, default=20.0)
    options, _ = parser.parse_known_args(words)
    return float(1.1 * options.ping_interval + options.ping_timeout + 0.5)


def say(text: str) -> None:
    """Print one line.  If nobody reads stdout any more (``| head``), the run is interrupted."""
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise KeyboardInterrupt from None


def complain(text: str) -> None:
    """Print one line on stderr."""
    print("soak: " + text, file=sys.stderr, flush=True)


def _counted(counts: Dict[str, int]) -> str:
    """Return ``closed 12, timeout 3``."""
    return ", ".join("%s %d" % item for item in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
