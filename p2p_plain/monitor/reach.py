"""Whether each node that we have met can be dialed now: what the probes found.

A standing connection does not say that.  If the other end dialed it, it stands right across a
firewall that would drop every dial of ours, and nobody would know before it breaks.  So each
node is dialed again and again, beside the connection and long after it: a fresh connection,
hello each way, the end.  What comes of it is one word, the *outcome* (``common.outcomes``).

A node may claim several addresses (the one it connects from, the one it advertises).  They are
tried in turn, a *round*; one ``ok`` is enough, and else the first one's verdict counts.

What goes wrong on our own side (no descriptor left) is no verdict: the one before stays.

``overlay`` asks what to probe, and tells what came of it.  No sockets and no threads; clock and
dice are passed in.
"""

import random
from threading import Lock
from typing import Dict, FrozenSet, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..common.address import Address
from ..common.config import (
    DIAL_TIMEOUT,
    MAX_PROBES,
    SCOUT_AGAIN_AFTER,
    SCOUT_INTERVAL,
    UNPROVEN_A_SECOND,
    UNPROVEN_AT_ONCE,
)
from ..common.events import Emit
from ..common.outcomes import OK, TIMEOUT, UNKNOWN
from ..common.token_bucket import TokenBucket

CLAIMS_PROBED = 4
"""Addresses that we try on the word of the node which claims them for itself.  More, and a
stranger could make us knock at a whole street."""

CLAIM_AGAIN_AFTER = 15.0
"""Seconds after which such a node may claim another one, in place of the last of them: it may
have moved for the fifth time."""

LEISURE = (0.5, 3.0)
"""Seconds, from and to, in which a claim that can wait is looked at.  Where 32 nodes start at once
on two cores they find each other in 1.3 s and not in 1.9 if not everyone dials everyone back
meanwhile (Python 3.13)."""

PATIENT_WITH = 3
"""Failures in a row from which on it makes no difference any more whose turn it is."""


class Probe(NamedTuple):
    """What to dial, and whom to find there; whether that node has been found before."""

    nodeid: str
    address: Address
    proven: bool


class Reachable(NamedTuple):
    """The last verdict on one node; ``seconds`` is how long the TCP connect took, if it was ok.

    ``address`` is where it was found or looked for, if there is a place to look.
    """

    dial: str
    seconds: Optional[float] = None
    address: Optional[Address] = None
    name: str = ""


class Met:
    """One node that is or was a peer.  Everything but the nodeid under ``Reach``'s lock."""

    __slots__ = (
        "addresses",
        "claimed_at",
        "dial",
        "failure",
        "failures",
        "found",
        "name",
        "next_probe_at",
        "nodeid",
        "ok_at",
        "probing",
        "proven",
        "round",
        "seconds",
        "tried_at",
        "untried",
    )

    def __init__(self, nodeid: str, name: str, now: float) -> None:
        self.nodeid = nodeid
        self.name = name
        self.addresses: List[Address] = []
        """Where it may be found, the best first."""
        self.untried: Set[Address] = set()
        """Which of them nobody has tried yet."""
        self.claimed_at = now
        self.proven = False
        """Whether it has been found anywhere, ever."""
        self.failures = 0
        """In a row."""
        self.dial = UNKNOWN
        self.seconds: Optional[float] = None
        self.ok_at = float("-inf")
        """When it was last found."""
        self.next_probe_at = now
        self.tried_at = float("-inf")
        # The round that is under way.
        self.probing: Optional[Address] = None
        self.round: List[Address] = []
        """What is still to be tried in it; empty between rounds."""
        self.found = False
        self.failure: Optional[Tuple[Address, str]] = None
        """The first one."""


class Reach:
    """The nodes that one node has met, by nodeid.  Any thread may call any method."""

    def __init__(self, probe_interval: float, rng: random.Random, emit: Emit) -> None:
        self._probe_interval = probe_interval
        self._rng = rng
        # Called while _lock is held, on purpose: it never blocks, and so changes are told in
        # the order in which they happened.
        self._emit = emit
        self._lock = Lock()
        # Guarded by _lock.
        self._met: Dict[str, Met] = {}
        """Who is a peer now, or was one and has a proven address: bounded by ``max_peers`` and
        by the address book."""
        self._claims = TokenBucket(UNPROVEN_A_SECOND, UNPROVEN_AT_ONCE, float("-inf"))
        """For what a newcomer claims."""
        self._changes = 0
        """Of verdicts."""
        self._under_way: List[Probe] = []
        """Probes begun whose outcome has not been told, also of nodes forgotten meanwhile."""
        self._scout_at = float("-inf")
        """When the next one that is missing may be looked for out of turn."""

    # -- who there is -------------------------------------------------------------

    def met(self, nodeid: str, name: str, now: float) -> None:
        """``nodeid`` is connected."""
        with self._lock:
            met = self._met.get(nodeid)
            if met is None:
                self._met[nodeid] = Met(nodeid, name, now)
            else:
                met.name = name

    def claimed(self, nodeid: str, address: Address, now: float, leisurely: bool = False) -> bool:
        """It says that it can be dialed at ``address``; whether a probe is due now.

        If ``leisurely`` it is due in a few seconds: others are finding out as well.
        """
        with self._lock:
            met = self._met.get(nodeid)
            if met is None or address in met.addresses:
                return False
            if len(met.addresses) >= CLAIMS_PROBED:
                if now - met.claimed_at < CLAIM_AGAIN_AFTER:
                    return False
                dropped = met.addresses.pop()  # it has moved
                met.untried.discard(dropped)
                met.round = [other for other in met.round if other != dropped]
            met.claimed_at = now
            met.addresses.insert(1, address)  # behind the best one
            met.untried.add(address)
            if met.probing is not None or met.round:
                met.round.append(address)  # it takes part in what is under way
            delay = self._rng.uniform(*LEISURE) if leisurely else 0.0
            met.next_probe_at = now + min(delay, self._probe_interval)
            return met.probing is None and not delay

    def lost(self, nodeid: str, proven: Sequence[Address], now: float) -> None:
        """It is not connected any more: look for it at once where it was found, if it ever was.

        What the last probe said, perhaps a minute ago, is no longer to be believed.
        """
        with self._lock:
            met = self._met.get(nodeid)
            if met is not None and proven:
                # The best one stays first: False sorts before True.
                met.addresses = sorted(proven, key=lambda a: a not in met.addresses[:1])
                del met.addresses[CLAIMS_PROBED:]
                met.untried.clear()
                met.round = [address for address in met.round if address in met.addresses]
                met.next_probe_at = now
            elif met is not None:
                del self._met[nodeid]

    def forget(self, nodeid: str) -> None:
        """It has left for good, or nobody knows any more where it might be."""
        with self._lock:
            self._met.pop(nodeid, None)

    # -- rounds -----------------------------------------------------------------------

    def due(self, now: float, connected: FrozenSet[str]) -> List[Probe]:
        """What to probe now, noted as begun: as many as there is room for.

        Besides the round that each node has once an interval, those that are missing are
        looked for one after the other (*scouted*): when a cable is back, the first one that answers
        knows where the others are.  Who has never been found has half of the places, and who has
        failed before waits for who has not: a crowd of claims where nobody answers keeps nobody
        else from being looked for.
        """
        with self._lock:
            idle = [met for met in self._met.values() if met.probing is None and met.addresses]
            waiting = [met for met in idle if met.next_probe_at <= now]
            waiting.sort(key=lambda met: (min(met.failures, PATIENT_WITH), met.next_probe_at))
            if now >= self._scout_at:
                missing = [
                    met
                    for met in idle
                    if met.nodeid not in connected
                    and met.proven
                    and now - met.tried_at >= SCOUT_AGAIN_AFTER
                ]
                if missing:
                    scouted = min(missing, key=lambda met: met.tried_at)
                    waiting = [scouted] + [met for met in waiting if met is not scouted]
                    self._scout_at = now + SCOUT_INTERVAL
            begun: List[Probe] = []
            for met in waiting:
                if len(self._under_way) >= MAX_PROBES:
                    break
                claims = sum(not probe.proven for probe in self._under_way)
                if not met.proven and claims >= MAX_PROBES // 2:
                    continue
                if not met.round:
                    met.round, met.found, met.failure = list(met.addresses), False, None
                if met.round[0] in met.untried:
                    if not self._claims.spare(now):
                        continue
                    self._claims.spend(1, now)
                met.probing = address = met.round.pop(0)
                met.untried.discard(address)
                self._tried_locked(met, now)
                begun.append(Probe(met.nodeid, address, met.proven))
                self._under_way.append(begun[-1])
            return begun

    def outcome(
        self,
        nodeid: str,
        address: Address,
        dial: Optional[str],
        seconds: Optional[float],
        now: float,
    ) -> None:
        """What came of a probe (``None``: nothing that tells).  To be called once for each.

        ``seconds`` is the time that the TCP connect took.
        """
        with self._lock:
            for probe in self._under_way:
                if (probe.nodeid, probe.address) == (nodeid, address):
                    self._under_way.remove(probe)
                    break
            met = self._met.get(nodeid)
            if met is None or met.probing != address:
                return  # forgotten meanwhile
            met.probing = None
            first = dial == OK and not met.proven
            if dial == OK:
                met.found = met.proven = True
                met.ok_at = now
                met.failures = 0
                self._judge_locked(met, address, OK, seconds)
                _put_first(met, address)
                # One is enough, but what has just been claimed is still to be proven.
                met.round = [address for address in met.round if address in met.untried]
            elif dial is not None and not _is_outdated(met, dial, now):
                met.failures += 1
                met.failure = met.failure or (address, dial)
            self._tried_locked(met, now, first)
            if met.round:
                met.next_probe_at = now  # go on with it as soon as there is room
            elif met.failure is not None and not met.found:
                self._judge_locked(met, met.failure[0], met.failure[1], None)

    def seen(
        self,
        nodeid: str,
        address: Address,
        dial: Optional[str],
        seconds: Optional[float],
        now: float,
    ) -> None:
        """What a dial that was to make a peer of ``nodeid`` has shown: as good as a probe."""
        with self._lock:
            met = self._met.get(nodeid)
            if met is None or dial is None:
                return
            if dial != OK and (met.addresses != [address] or _is_outdated(met, dial, now)):
                return  # it may be found elsewhere: a round will tell
            met.untried.discard(address)
            first = dial == OK and not met.proven
            if dial == OK:
                _put_first(met, address)
                met.proven = True
                met.ok_at = now
                met.failures = 0
            self._judge_locked(met, address, dial, seconds)
            self._tried_locked(met, now, first)

    # -- questions ----------------------------------------------------------------------

    def verdicts(self) -> Dict[str, Reachable]:
        """The last verdict on each node met, by nodeid."""
        with self._lock:
            return {
                met.nodeid: Reachable(
                    met.dial, met.seconds, met.addresses[0] if met.addresses else None, met.name
                )
                for met in self._met.values()
            }

    def changes(self) -> int:
        """A number that grows whenever a verdict has changed."""
        with self._lock:
            return self._changes

    # -- inside; the caller holds _lock -----------------------------------------------

    def _tried_locked(self, met: Met, now: float, for_the_first_time: bool = False) -> None:
        """The next time is in an interval, or a little earlier by chance: not all are to go in step.

        After the first time any moment of the interval will do.  Who have met in the same second
        would else go on to probe each other in the same few seconds: among 100, 9,900 times.
        """
        met.tried_at = now
        least = 0.1 if for_the_first_time else 0.9
        met.next_probe_at = now + self._probe_interval * self._rng.uniform(least, 1.0)

    def _judge_locked(
        self, met: Met, address: Address, dial: str, seconds: Optional[float]
    ) -> None:
        """Note a verdict, and tell it if it changed.  That all is well at first is no news."""
        was, met.dial, met.seconds = met.dial, dial, seconds
        self._changes += dial != was
        if dial != was and (was, dial) != (UNKNOWN, OK):
            self._emit(
                "reach", nodeid=met.nodeid, name=met.name, address=str(address), dial=dial, was=was
            )


def _put_first(met: Met, address: Address) -> None:
    """It has been found there, so that is tried first from now on.  ``Reach``'s lock is held.

    It may have been dropped meanwhile, for another claim.
    """
    met.addresses = [address] + [other for other in met.addresses if other != address]
    for dropped in met.addresses[CLAIMS_PROBED:]:
        met.untried.discard(dropped)
        met.round = [other for other in met.round if other != dropped]
    del met.addresses[CLAIMS_PROBED:]


def _is_outdated(met: Met, dial: str, now: float) -> bool:
    """Whether a dial that timed out now was begun before another one got through."""
    return dial == TIMEOUT and now - met.ok_at < DIAL_TIMEOUT
