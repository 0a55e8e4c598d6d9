"""Addresses that peers claim as their own, each proven by one probe before it is advertised.

A peer that dialed us says in its hello on which port it listens, and perhaps in an ``addr`` where
else it can be found.  That may be wrong (a firewall, a router that translates addresses) or a lie,
so nobody else hears of such an address before a dial of ours has found that very node there.

``discovery`` notes claims and asks which probe is due.  No sockets and no threads; the clock and
the randomness are passed in.
"""

from random import Random
from threading import Lock

from ..common.address import Address
from ..common.token_bucket import TokenBucket
from ..common.typing import Dict, List, NamedTuple, Set
from .address_book import UNPROVEN_A_SECOND, UNPROVEN_AT_ONCE

CLAIMS_A_PEER = 4
"""Addresses that are probed because one peer claims them.  With more, a stranger could make us
knock at a whole street."""

CLAIM_AGAIN_AFTER = 15.0
"""A peer with four claims may replace its oldest one, once in so many seconds."""

AT_ONCE = 4
"""Claims that are probed at the same time.  Each may take ``DIAL_TIMEOUT`` where a firewall drops
packets; a hundred peers behind firewalls must leave threads for the dials that make peers."""

LEISURE = (0.5, 3.0)
"""Seconds, from and to, by which a probe that nobody waits for is delayed.  (Measured: of 32 nodes that
start at once each finds the others in 1.3 s instead of 1.9, as they do not all dial back meanwhile.)"""


class Claim(NamedTuple):
    """An address that the peer ``nodeid`` says is its own."""

    nodeid: str
    address: Address


class Claimant:
    """One peer's claims; under the lock of ``Claims``."""

    def __init__(self) -> None:
        self.addresses: Dict[Address, float] = {}
        """At most ``CLAIMS_A_PEER``, the oldest first, and from when on each may be probed; never again
        (infinity) once it was."""
        self.claimed_at = float("-inf")


class Claims:
    """The claims of all peers of one node.  Any thread may call any method."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._lock = Lock()
        # Guarded by _lock.
        self._claimants: Dict[str, Claimant] = {}
        """By nodeid; a peer that is gone is forgotten."""
        self._under_way: Set[Claim] = set()
        self._pace = TokenBucket(UNPROVEN_A_SECOND, UNPROVEN_AT_ONCE, float("-inf"))

    def note(self, claim: Claim, now: float, at_leisure: bool = False) -> None:
        """Have ``claim`` probed, soon or within a few seconds; ignore it if it is known."""
        with self._lock:
            claimant = self._claimants.setdefault(claim.nodeid, Claimant())
            if claim.address in claimant.addresses:
                return
            if len(claimant.addresses) >= CLAIMS_A_PEER:
                if now - claimant.claimed_at < CLAIM_AGAIN_AFTER:
                    return
                del claimant.addresses[next(iter(claimant.addresses))]
            claimant.claimed_at = now
            delay = self._rng.uniform(*LEISURE) if at_leisure else 0.0
            claimant.addresses[claim.address] = now + delay

    def due(self, now: float) -> List[Claim]:
        """Return the claims to probe now, noted as begun: a peer's first claim before second ones."""
        with self._lock:
            ready = [
                (number, at, Claim(nodeid, address))
                for nodeid, claimant in self._claimants.items()
                for number, (address, at) in enumerate(claimant.addresses.items())
                if at <= now
            ]
            room = min(AT_ONCE - len(self._under_way), self._pace.spare(now))
            begun = [claim for _, _, claim in sorted(ready)[: max(0, room)]]
            self._pace.spend(len(begun), now)
            for claim in begun:
                self._claimants[claim.nodeid].addresses[claim.address] = float("inf")
                self._under_way.add(claim)
            return begun

    def over(self, claim: Claim) -> None:
        """The probe of ``claim`` has ended, if there was one."""
        with self._lock:
            self._under_way.discard(claim)

    def forget(self, nodeid: str) -> None:
        """The peer is gone, and its claims with it."""
        with self._lock:
            self._claimants.pop(nodeid, None)
