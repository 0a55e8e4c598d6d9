"""Whom to tell of an address that has just been proven.

Where many nodes start at once, everybody is news to everybody.  Told of each other without thought,
two would dial each other at the same moment (a tie, and a connection for nothing), and everyone would
hear of everyone again and again.  So nobody is told of whom it knows; and of two that have not met
only one is told of the other, or neither, if one knows the other already: it dials.  Of 32 nodes that
start together with the same bootstrap node, 0 to 3 of 496 pairs tie where 20 to 90 did.

Perhaps the one that knows cannot dial: a firewall may let connections through in one direction only.
So the other one is told as well when a dial would have failed by now, unless we have heard meanwhile
that it knows.  That costs lines, 10 for a pair in the first 12 s instead of 8, but when nobody waits.

Asked and told by ``overlay``.  No sockets and no threads; times are seconds of the clock that is
passed in.
"""

import random
from collections import OrderedDict, deque
from threading import Lock
from typing import Deque, Iterable, List, NamedTuple, Set, Tuple

from ..common.address import Address
from ..common.config import DIAL_TIMEOUT, MAX_ADDRESSES, TELL_PEERS
from .peer_table import Peer

NEW_FOR = 30.0
"""Seconds for which we remember who knows a newcomer and whom it knows: until its address is proven
and told, twice."""

AGAIN_TOGETHER = 3.0
"""Seconds for which what is to be told once more waits for more of it.  Of 24 nodes that start together
(simulated) a pair costs 10 lines in the first 12 s; without this it would be 13."""

ACQUAINTANCES = 256
"""Nodes of which we remember that a newcomer knows them: it may name any number of them."""


class News(NamedTuple):
    """``nodeid`` lives at ``address``; ``again`` if it has had the time to dial whom it knows."""

    address: Address
    nodeid: str
    again: bool = False


class Newcomer:
    """What we know of the acquaintances of a peer that we have met lately."""

    __slots__ = ("known_to", "knows", "met_at")

    def __init__(self, now: float) -> None:
        self.met_at = now
        self.knows: Set[str] = set()
        self.known_to: Set[str] = set()


class Gossip:
    """News, and who has it.  Any thread may call any method."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._lock = Lock()
        # Guarded by _lock.
        self._newcomers: OrderedDict[str, Newcomer] = OrderedDict()
        """By nodeid, in the order in which we met them."""
        self._news: List[News] = []
        self._told = False
        """Whether some was told since the last beat; the next has to wait for the next one."""
        self._again: Deque[Tuple[float, News]] = deque()
        """What is to be told once more, and from when on."""

    def met(self, nodeid: str, now: float) -> None:
        """There is a new peer."""
        with self._lock:
            self._newcomers.setdefault(nodeid, Newcomer(now))

    def gone(self, nodeid: str) -> None:
        """It is a peer no more: when it comes back it is news again."""
        with self._lock:
            self._newcomers.pop(nodeid, None)

    def knows(self, nodeid: str, others: Iterable[str]) -> None:
        """Peer ``nodeid`` has told us of these nodes, or has been told of them by us."""
        with self._lock:
            if self._newcomers:
                self._knows_locked(nodeid, others)

    def _knows_locked(self, nodeid: str, others: Iterable[str]) -> None:
        newcomer = self._newcomers.get(nodeid)
        for other in others:
            if newcomer is not None and len(newcomer.knows) < ACQUAINTANCES:
                newcomer.knows.add(other)
            if other in self._newcomers:
                self._newcomers[other].known_to.add(nodeid)

    def add(self, nodeid: str, addresses: Iterable[Address]) -> bool:
        """Peer ``nodeid`` has turned out to live there; whether to ``tell`` it now.

        If not, the next beat will: what is found out within one beat is told together.
        """
        with self._lock:
            self._news += [News(address, nodeid) for address in addresses]
            first, self._told = not self._told, True
            return first

    def beat(self, now: float) -> bool:
        """Whether there is something to ``tell``.  The pinger's thread."""
        with self._lock:
            while self._newcomers:
                nodeid, oldest = next(iter(self._newcomers.items()))
                if now - oldest.met_at < NEW_FOR:
                    break
                del self._newcomers[nodeid]
            if self._again and self._again[0][0] + AGAIN_TOGETHER <= now:
                while self._again and self._again[0][0] <= now:
                    self._news.append(self._again.popleft()[1])
            self._told = bool(self._news)
            return self._told

    def tell(
        self, peers: List[Peer], everyone: bool, now: float
    ) -> List[Tuple[Peer, List[News]]]:
        """Which of ``peers`` to tell what now: ``everyone``, or a few at random."""
        here = {peer.nodeid for peer in peers}
        with self._lock:
            news, self._news = [one for one in self._news if one.nodeid in here], []
            later = [News(one.address, one.nodeid, True) for one in news if not one.again]
            self._again.extend((now + DIAL_TIMEOUT, one) for one in later)
            found: List[Tuple[Peer, List[News]]] = []
            for peer in self._rng.sample(peers, len(peers)):
                theirs = [one for one in news if self._is_for_locked(peer.nodeid, one)]
                if len(theirs) > MAX_ADDRESSES:  # who is left out may still be told of this one
                    theirs = self._rng.sample(theirs, MAX_ADDRESSES)
                if theirs:
                    self._knows_locked(peer.nodeid, [one.nodeid for one in theirs])
                    found.append((peer, theirs))
                    if len(found) == TELL_PEERS and not everyone:
                        break
            return found

    def _is_for_locked(self, nodeid: str, news: News) -> bool:
        """Whether peer ``nodeid`` should hear that."""
        if nodeid == news.nodeid:
            return False
        hearer, about = self._newcomers.get(nodeid), self._newcomers.get(news.nodeid)
        if hearer is not None and news.nodeid in hearer.knows:
            return False
        if about is None:
            return True
        return nodeid not in about.known_to and (news.again or nodeid not in about.knows)
