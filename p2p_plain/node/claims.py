"""Addresses that peers claim as their own, each proven by one probe before it is advertised.

A peer that dialed us says in its hello on which port it listens, and perhaps in an ``addr`` where
else it can be found.  That may be wrong (a firewall, a router that translates addresses) or a lie,
so nobody else hears of such an address before a dial of ours has found that very node there.

Most honest claims answer at once, and lies may never.  So the first probe of a claim is a quick one.
If that times out it proves nothing yet: a packet may have been lost, or the way is long.  Then a second
one, with the usual patience, follows when no quick one waits.

``discovery`` notes claims and asks which probe is due.  No sockets and no threads; the clock and
the randomness are passed in.
"""

from collections import OrderedDict
from random import Random
from threading import Lock

from ..common.address import Address, site
from ..common.token_bucket import TokenBucket
from ..common.typing import Dict, Iterator, List, NamedTuple, Optional, Tuple
from .knocks import UNPROVEN_A_SECOND, UNPROVEN_AT_ONCE

CLAIMS_A_PEER = 4
"""Addresses that are probed because one peer claims them.  With more, a stranger could make us dial all
hosts of a subnet."""

CLAIM_AGAIN_AFTER = 15.0
"""A peer with four claims may replace its oldest one, once in so many seconds."""

AT_ONCE = 4
"""Claims that have their first probe at the same time.  The second ones must not keep newcomers waiting,
so they have places of their own."""

PATIENT_AT_ONCE = 3
"""Second probes at the same time, which may take 15 s each; a hundred peers behind firewalls must leave
threads for the dials that make peers."""

QUICK_TIMEOUT = 1.0
"""Seconds for the connect and the hello of a first probe.  With 5 s for the connect alone, 40 liars that
claimed four silent addresses each kept a newcomer waiting for 75 s."""

MAX_SERVED = 1024
"""Addresses remembered as those whose peers have had their turn, also after these have left."""

LEISURE = (0.5, 3.0)
"""Seconds, from and to, by which a probe that nobody waits for is delayed.  (Measured: of 32 nodes that
start at once each finds the others in 1.3 s instead of 1.9, as they do not all dial back meanwhile.)"""

NEVER = float("inf")


class Claim(NamedTuple):
    """An address that the peer ``nodeid`` says is its own."""

    nodeid: str
    address: Address
    host: str
    """The host that the peer connects from."""
    patient: bool = False
    """True for a second probe."""

    @property
    def timeout(self) -> Optional[float]:
        """Seconds for connect and hello; ``None`` for the usual ones."""
        return None if self.patient else QUICK_TIMEOUT


class Claimant:
    """One peer's claims; under the lock of ``Claims``."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.addresses: Dict[Address, float] = {}
        """At most ``CLAIMS_A_PEER``, the oldest first, and from when on each may be probed; never again
        (infinity) once it was."""
        self.late: Dict[Address, float] = {}
        """Those that are to have a second probe, and from when on."""
        self.claimed_at = float("-inf")
        self.served = 0
        """The number of the turn in which one of its claims was last probed."""


class Claims:
    """The claims of all peers of one node.  Any thread may call any method."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._lock = Lock()
        # Guarded by _lock.
        self._claimants: Dict[str, Claimant] = {}
        """By nodeid; a peer that is gone is forgotten."""
        self._under_way: Dict[Tuple[str, Address], Claim] = {}
        self._turns = 0
        self._served: OrderedDict[str, int] = OrderedDict()
        """The last turn of the peers of each ``site``, the latest last."""
        self._pace = TokenBucket(UNPROVEN_A_SECOND, UNPROVEN_AT_ONCE, float("-inf"))

    def note(self, claim: Claim, now: float, at_leisure: bool = False) -> None:
        """Have ``claim`` probed, soon or within a few seconds; ignore it if it is known."""
        with self._lock:
            claimant = self._claimants.setdefault(claim.nodeid, Claimant(claim.host))
            if claim.address in claimant.addresses:
                return
            if len(claimant.addresses) >= CLAIMS_A_PEER:
                if now - claimant.claimed_at < CLAIM_AGAIN_AFTER:
                    return
                oldest = next(iter(claimant.addresses))
                del claimant.addresses[oldest]
                claimant.late.pop(oldest, None)
            claimant.claimed_at = now
            delay = self._rng.uniform(*LEISURE) if at_leisure else 0.0
            claimant.addresses[claim.address] = now + delay

    def due(self, now: float) -> List[Claim]:
        """Return the claims to probe now, noted as begun.

        The addresses that peers connect from take turns, then the peers of one address, then the claims
        of a peer: a newcomer waits for no more than one claim of each other peer.
        """
        with self._lock:
            begun: List[Claim] = []
            while self._pace.spare(now) >= 1:
                ready = list(self._ready_locked(now))
                if not ready:
                    break
                _, _, _, _, claim = min(ready)
                self._pace.spend(1, now)
                self._begin_locked(claim)
                begun.append(claim)
            return begun

    def again_at(self, claim: Claim, at: float) -> None:
        """Have a claim that was due probed later instead."""
        with self._lock:
            self._under_way.pop((claim.nodeid, claim.address), None)
            claimant = self._claimants.get(claim.nodeid)
            if claimant is not None and claim.address in claimant.addresses:
                if claim.patient:
                    claimant.late[claim.address] = at
                else:
                    claimant.addresses[claim.address] = at

    def over(self, nodeid: str, address: Address, late: bool = False) -> None:
        """The probe of a claim has ended, if there was one; ``late`` if it was quick and timed out."""
        with self._lock:
            claim = self._under_way.pop((nodeid, address), None)
            claimant = self._claimants.get(nodeid)
            if late and claim is not None and claimant is not None and address in claimant.addresses:
                claimant.late[address] = float("-inf")

    def forget(self, nodeid: str) -> None:
        """The peer is gone, and its claims with it."""
        with self._lock:
            self._claimants.pop(nodeid, None)

    def _ready_locked(self, now: float) -> Iterator[Tuple[bool, int, int, float, Claim]]:
        """Generate what may be probed now; the smallest comes first."""
        patient = sum(claim.patient for claim in self._under_way.values())
        quick = len(self._under_way) - patient
        for nodeid, claimant in self._claimants.items():
            turn = self._served.get(site(claimant.host), 0)
            for address, at in claimant.addresses.items():
                if at <= now and quick < AT_ONCE:
                    claim = Claim(nodeid, address, claimant.host)
                    yield False, turn, claimant.served, at, claim
                    break
            for address, at in claimant.late.items():
                if at <= now and patient < PATIENT_AT_ONCE:
                    yield True, turn, claimant.served, at, Claim(nodeid, address, claimant.host, True)
                    break

    def _begin_locked(self, claim: Claim) -> None:
        self._under_way[claim.nodeid, claim.address] = claim
        claimant = self._claimants[claim.nodeid]
        claimant.addresses[claim.address] = NEVER
        claimant.late.pop(claim.address, None)
        self._turns += 1
        claimant.served = self._turns
        place = site(claim.host)
        self._served[place] = self._turns
        self._served.move_to_end(place)
        if len(self._served) > MAX_SERVED:
            self._served.popitem(last=False)
