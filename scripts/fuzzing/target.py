"""The target of a run: the node, the polite peers who watch it, and the list of failures."""

from typing import List, Optional, Tuple

from .node import Node, Vitals
from .polite import PolitePeers

MAX_FAILURES = 10
"""After so many, a run ends."""

NODEID_UNKNOWN = "11111111-1111-4111-8111-111111111111"
"""Stands for the nodeid of a node that somebody else started."""


class Target:
    """A node of ours, or ``against`` (host, port) one that runs already, and polite peers of it."""

    def __init__(self, seed: int, python: str, against: Optional[Tuple[str, int]]) -> None:
        self.seed = seed
        self.failures: List[str] = []
        self.node: Optional[Node] = None
        self.polite: Optional[PolitePeers] = None
        self.address = against or ("", 0)
        self.nodeid = NODEID_UNKNOWN
        self.peak_kib = 0
        self._python = python

    def complain(self, text: str) -> None:
        """Note a failure, and print the first few at once.  Any thread."""
        self.failures.append(text)
        if len(self.failures) <= MAX_FAILURES:
            print("FAILED (seed %d): %s" % (self.seed, text), flush=True)

    def start(self, every: float) -> Optional[PolitePeers]:
        """Start both processes; return the polite peers when they are peers of the node.

        They ping every ``every`` seconds.  Returns ``None`` after a failure.
        """
        if not self.address[1]:
            self.node = Node(self._python, self.complain)
            listening = self.node.wait_listening()
            if listening is None:
                self.complain("the node does not start")
                return None
            host, _, port = listening["addresses"][0].rpartition(":")
            self.address, self.nodeid = (host, int(port)), listening["nodeid"]
        self.polite = PolitePeers(self.address, every, self.complain)
        return self.polite if self.polite.wait_ready() else None

    def stop(self) -> None:
        """Stop both processes."""
        if self.polite is not None:
            self.polite.stop()
        if self.node is not None:
            self.node.stop()

    def over(self) -> bool:
        """Return True if there is no point in going on."""
        failed = self.polite is not None and self.polite.failed
        return failed or self.node_died() or len(self.failures) >= MAX_FAILURES

    def node_died(self, grace: float = 0.0) -> bool:
        """Return True if the node's process has ended, or ends within ``grace`` seconds."""
        return self.node is not None and self.node.died(grace)

    def vitals(self) -> Optional[Vitals]:
        """Return what the node's process uses now, and remember the most memory."""
        vitals = self.node.vitals() if self.node is not None else None
        if vitals is not None:
            self.peak_kib = max(self.peak_kib, vitals.rss_kib)
        return vitals
