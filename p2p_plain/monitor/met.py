"""What ``reach`` remembers of each node: where it may be, and what the last dial has shown.

No sockets, threads or clock.
"""

from ..common.address import Address
from ..common.outcomes import UNKNOWN
from ..common.typing import List, NamedTuple, Optional, Set
from ..node.hooks import DialEnd

MISSED_FOR = (300.0, 24 * 3600.0)
"""Seconds for which a peer is missed that is gone: as long as it was known, within these bounds.  A host
must not vanish from the matrix by crashing, but a program that came for a moment need not be remembered
for a day."""


class Probe(NamedTuple):
    """An address to dial, and the node that should be found there."""

    nodeid: str
    address: Address
    proven: bool
    """True if that node has been found before, there or elsewhere."""
    heard: bool = False
    """True if we have only heard of it, or miss it though no dial has ever found it."""


class Reachable(NamedTuple):
    """The last outcome for one node."""

    dial: str
    seconds: Optional[float] = None
    """The time that the TCP connect took, if the outcome is ``ok``."""
    address: Optional[Address] = None
    """Where the node was found or looked for, if there is a place to look."""
    name: str = ""
    why: str = ""
    """A key of ``outcomes.WHYS`` where more is known than the outcome."""


class Met:
    """One node that is or was a peer, or of which we have heard.

    All but the nodeid under the lock of ``Reach``.
    """

    def __init__(self, nodeid: str, name: str, now: float) -> None:
        self.nodeid = nodeid
        self.name = name
        self.met_at = now
        self.last_heard = float("-inf")
        """When it was surely alive last; infinitely long ago if it was never a peer."""
        self.addresses: List[Address] = []
        """Where it may be found, the best first."""
        self.claimed_at = now
        self.claims: Set[Address] = set()
        """Those of them that the node has claimed, and whose first probe has not ended."""
        self.elsewhere: Set[Address] = set()
        """Those of them where it was not found yet, on other hosts than it connects from.  What answers
        there is not reported: a stranger could learn from our row which ports of a host are open."""
        self.proven = False
        """True if it has been found anywhere, ever."""
        self.heard_at: Optional[float] = None
        """When others last said where it is, if we have only heard of it."""
        self.doubt: Optional[DialEnd] = None
        self.doubted_at = now
        """The first failure since it was found, and when, if we have only heard of it: it may have left,
        and those who know have not said so yet.  Until then its outcome is unknown."""
        self.missed_until: Optional[float] = None
        """Set if it was a peer and is gone without a goodbye: when it is left out of our row."""
        self.gone_at = now
        """When its connection was lost, if it was."""
        self.faded = False
        """True from then on, while it is still looked for where it was once found."""
        self.failures = 0
        """Failures in a row."""
        self.tried_again = False
        """True while one that timed out on a lossy way is tried again, before it counts."""
        self.dial = UNKNOWN
        self.why = ""
        self.seconds: Optional[float] = None
        self.ok_at = float("-inf")
        """When it was last found."""
        self.next_probe_at = now
        self.tried_at = float("-inf")
        # The round that is under way.
        self.probing: Optional[Address] = None
        self.round: List[Address] = []
        """The addresses still to be tried in it; empty between rounds."""
        self.found = False
        self.failure: Optional[DialEnd] = None
        """The first failure in it."""

    def miss(self, now: float) -> None:
        """Remember it for as long as it was known, from now on: it is gone, or lives and is no peer."""
        least, most = MISSED_FOR
        self.missed_until = now + min(max(now - self.met_at, least), most)
        self.faded = False

    def known_for(self, now: float) -> float:
        """Return for how many seconds it has been known, or was known when its connection was lost.

        0 if it was never a peer.
        """
        if self.last_heard == float("-inf"):
            return 0.0
        return max(0.1, (now if self.missed_until is None else self.gone_at) - self.met_at)
