"""A fuzzing run: a calm time to compare with, the conversations, and calm again."""

import time
from typing import Dict, Iterable, List, Optional, Tuple

from .loop import Loop, Options
from .node import Node, Vitals
from .polite import percentile
from .target import Target
from .wire import POLITE_IDS

CALM = 0.5
"""Seconds in which the polite peers measure a node that nobody disturbs."""

SETTLE = 30.0
"""Seconds in which descriptors, threads and peers must be back where they were."""

POOL_THREADS = 16
"""The node's threads that dial.  It starts them when they are first needed, and keeps them."""


class Run:
    """One run.  ``report`` works however far ``run`` came."""

    def __init__(self, target: Target, options: Options) -> None:
        self._target = target
        self._options = options
        self._loop: Optional[Loop] = None
        self._seconds = 0.0
        self._vitals: List[Vitals] = []
        self._round_trips: List[Tuple[str, List[float]]] = []

    def run(self) -> None:
        """Do all of it; the target collects the failures."""
        polite = self._target.start(every=0.01)
        if polite is None:
            return
        polite.take()
        time.sleep(CALM)
        self._round_trips.append(("before", polite.take()))
        first = self._target.vitals()
        self._loop = Loop(self._target, self._options)
        began = time.monotonic()
        try:
            self._loop.run()
        finally:
            self._seconds = time.monotonic() - began
            self._round_trips.append(("during", polite.take()))
        if self._target.node is not None:
            self._settle(self._target.node, first)

    def _settle(self, node: Node, first: Optional[Vitals]) -> None:
        """Wait until the node is back where it was before the first conversation."""
        deadline = time.monotonic() + SETTLE
        while not self._target.over():
            now = self._target.vitals()
            self._vitals = [vitals for vitals in (first, now) if vitals is not None]
            problem = left_behind(first, now, node.up)
            if problem is None:
                return
            if time.monotonic() > deadline:
                self._target.complain("%g s after the last connection: %s" % (SETTLE, problem))
            time.sleep(0.02)

    def report(self) -> None:
        """Print what was done and measured."""
        loop, node = self._loop, self._target.node
        if loop is not None:
            rate = loop.lines / self._seconds if self._seconds else 0
            print("lines sent     %d in %.1f s, %.0f a second" % (loop.lines, self._seconds, rate))
            print("connections    %d dialed, %d accepted" % (loop.dialed, loop.accepted))
            print("ended by       %s" % _counted(loop.ends))
            print("bye protocol   %s" % _counted(loop.details))
        for when, took in self._round_trips:
            form = "polite %s  %d round trips: p50 %.2f ms, p99 %.2f ms, slowest %.2f ms"
            print(form % ((when, len(took)) + tuple(percentile(took, p) for p in (0.5, 0.99, 1))))
        if len(self._vitals) == 2:
            first, last = self._vitals
            memory = (first.rss_kib / 1024, self._target.peak_kib / 1024, last.rss_kib / 1024)
            print("processor      %.1f s of the node's" % (last.cpu - first.cpu))
            print("descriptors    %d before, %d after" % (first.fds, last.fds))
            print("threads        %d before, %d after" % (first.threads, last.threads))
            print("memory         %.1f MiB before, %.1f at most, %.1f after" % memory)
        if node is not None:
            print("events         %s" % _counted(node.events))
            print("stopped in     %.2f s" % node.stopped_in)


def left_behind(
    first: Optional[Vitals], now: Optional[Vitals], up: Iterable[str]
) -> Optional[str]:
    """Return what the node has now and should not have, or ``None``."""
    if first is not None and now is not None:
        if now.fds > first.fds:
            return "%d descriptors, before the first %d" % (now.fds, first.fds)
        if now.threads > first.threads + POOL_THREADS:
            return "%d threads, before the first %d" % (now.threads, first.threads)
    if sorted(up) != sorted(POLITE_IDS):
        return "its peers are %s" % (", ".join(sorted(up)) or "none")
    return None


def _counted(counts: Dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join("%s %d" % item for item in ordered) or "nothing"
