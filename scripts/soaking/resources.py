"""What a node uses of the machine, and how much of it is explained by what the node does."""

import os
import time
from typing import List, NamedTuple

from .ledger import Life

FLAT_KIB = 3584
"""KiB by which a node's resident memory may grow between two calms without a cause.

A healthy node is not flat to the page.  Each connection has a thread; the C library gives threads
arenas, up to eight for each core, and an arena keeps the most that it ever needed.  The node also
keeps its last dials of each address (1 MiB in all) and the rows of nodes that died.  On two cores
a healthy node grew by 3.1 MiB in eleven minutes, and by nothing in the last three of them.

A leak shows beyond that: in ten minutes a node has 150 connections and 2,000 probes, so 24 KiB
lost for each connection are found, and 2 KiB for each probe; in an hour a sixth of that."""

LATE_KIB = 1024
"""KiB by which memory may grow without a cause in the second half of an hour or more.  By then arenas and
books have the size that they ever need.  Of each node that has come and gone 2 KiB lost are found."""

LONG_RUN = 55
"""Readings from which on the second half is looked at; there is one in each minute."""

SPREAD = 5
"""Readings of which the least counts, at both ends of the second half."""

EVENT_KIB = 1.0
"""KiB that one remembered event takes: a dict of about six fields and their strings."""

REMEMBERED_EVENTS = 1000
"""Events that a node remembers.  Until it has reported so many, its memory grows by each."""

THREAD_KIB = 96
"""KiB that one more thread may take: the used part of its stack; for a peer's also buffers and 120 round
trips.  What a thread has used stays with the process when it ends."""

OWN_THREADS = 5
"""Threads of a node without peers: main, events, listener, pinger, and one to spare."""

POOL_THREADS = 16
"""Threads that dial.  A node starts them when they are first needed, and keeps them."""

OWN_DESCRIPTORS = 12
"""Descriptors of a node without peers: standard ones, listening sockets, and wake-up pipes."""

PASSING = 3
"""Threads or descriptors of probes, which come and go.  The least of several readings counts, but
two probes may overlap."""

READINGS = 8
READ_EVERY = 0.05
"""How often a calm reads threads and descriptors, and the seconds between."""


class Reading(NamedTuple):
    """What one node uses, beside what explains it."""

    memory_kib: int
    threads: int
    descriptors: int
    peers: int
    events: int  # since its start

    def __str__(self) -> str:
        return "%d KiB, %d threads, %d descriptors, %d peers" % self[:4]


def read(pid: int, life: Life) -> Reading:
    """Return what the process uses now; ``OSError`` if it is gone."""
    threads, descriptors = [], []
    for _ in range(READINGS):
        threads.append(len(os.listdir("/proc/%d/task" % pid)))
        descriptors.append(len(os.listdir("/proc/%d/fd" % pid)))
        time.sleep(READ_EVERY)
    with open("/proc/%d/status" % pid) as file:
        memory = next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
    return Reading(memory, min(threads), min(descriptors), len(life.up), life.events)


def allowed_kib(readings: List[Reading]) -> float:
    """Return the KiB by which memory may have grown from the first reading to the last."""
    first, last = readings[0], readings[-1]
    events = min(last.events, REMEMBERED_EVENTS) - min(first.events, REMEMBERED_EVENTS)
    threads = max(reading.threads for reading in readings) - first.threads
    return FLAT_KIB + EVENT_KIB * events + THREAD_KIB * threads


def judge(name: str, readings: List[Reading]) -> List[str]:
    """Return what the node ``name`` uses too much of; ``readings`` are in order, at least one."""
    first, last = readings[0], readings[-1]
    problems = []
    grown, allowed = last.memory_kib - first.memory_kib, allowed_kib(readings)
    if grown > allowed:
        problems.append("memory grew by %d KiB; %d are allowed" % (grown, allowed))
    if len(readings) >= LONG_RUN:
        late = [r.memory_kib - THREAD_KIB * r.peers for r in readings[len(readings) // 2 :]]
        grown = min(late[-SPREAD:]) - min(late[:SPREAD])
        if grown > LATE_KIB:
            problems.append(
                "memory grew by %d KiB in the second half; %d are allowed" % (grown, LATE_KIB)
            )
    for reading in readings:
        bound = reading.peers + OWN_THREADS + POOL_THREADS + PASSING
        if reading.threads > bound:
            problems.append("%d threads; %d are allowed" % (reading.threads, bound))
        bound = reading.peers + OWN_DESCRIPTORS + PASSING
        if reading.descriptors > bound:
            problems.append("%d descriptors; %d are allowed" % (reading.descriptors, bound))
    more = (last.descriptors - last.peers) - (first.descriptors - first.peers)
    if more > PASSING:
        problems.append("%d more descriptors than its peers explain" % more)
    return ["%s: %s" % (name, problem) for problem in problems]
