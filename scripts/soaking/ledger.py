"""The ledger: keeps account of what all nodes report, and notes where it does not add up."""

import json
from collections import Counter
from typing import IO, Any, Dict, List, Optional, Set

Record = Dict[str, Any]
"""What the laboratory shows: an event of a node on ``host``, its end, or a line on its stderr."""


class Life:
    """One node from its start to its end."""

    def __init__(self) -> None:
        self.up: Set[str] = set()
        """Its peers by nodeid, as its events have it."""
        self.events = 0


class Ledger:
    """Fed by ``take``, which the laboratory calls from its reader threads under its lock.

    Only ``expect`` is called from the main thread, which otherwise reads numbers and lists that
    only grow.
    """

    def __init__(self, events: Optional[IO[str]] = None) -> None:
        self.problems: List[str] = []
        self.lives: Dict[str, Life] = {}
        """For each host, the node that was started there last."""
        self.changed_at = 0.0
        """When a node last reported a peer that came or went, on the laboratory's clock."""
        self.started = 0
        self.ups = 0
        self.downs: Dict[str, int] = Counter()
        """``peer_down`` by reason."""
        self._events = events
        self._expected: Dict[str, int] = {}
        """For each host, the exit code of the node that is about to end."""

    def expect(self, code: int, *hosts: str) -> None:
        """Expect the nodes on these hosts to end with this exit code."""
        for host in hosts:
            self._expected[host] = code

    def take(self, record: Record) -> None:
        """Take one record of the laboratory's."""
        if self._events is not None:
            self._events.write(json.dumps(record) + "\n")
        if "host" not in record:
            return  # reported by the laboratory itself
        if "stderr" in record:
            self._problem(record, "wrote on stderr: %s" % record["stderr"])
        elif "ended" in record:
            expected = self._expected.pop(record["host"], None)
            if expected is None:
                self._problem(record, "ended by itself, exit code %d" % record["ended"])
            elif expected != record["ended"]:
                self._problem(record, "ended with exit code %d" % record["ended"])
        else:
            self._event(record)

    def _problem(self, record: Record, text: str) -> None:
        self.problems.append("%s %s (at %.3f)" % (record["host"], text, record["at"]))

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
        nodeid, name = record["nodeid"], record["name"]
        if (nodeid in life.up) == (event == "peer_up"):
            self._problem(record, "reported %s of %s twice in a row" % (event, name))
        if event == "peer_up":
            self.ups += 1
            life.up.add(nodeid)
        else:
            self.downs[record["reason"]] += 1
            if record["reason"] == "protocol":
                self._problem(record, "dropped %s for bad input, and all nodes are good ones" % name)
            life.up.discard(nodeid)
        if record["peers"] != len(life.up):
            counts = (record["peers"], event, name, len(life.up))
            self._problem(record, "counts %d peers in %s of %s, its events %d" % counts)
