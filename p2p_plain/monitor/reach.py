"""Whether each node that we know of can be dialed now: what the probes found.

A standing connection does not show that.  If the other end dialed it, it works through a firewall
that drops every dial of ours, and nobody would notice before it breaks.  So each node is dialed again
and again, beside the connection and long after it: a new connection, a hello each way, the end.  The
result is one word, the *outcome* (see ``common.outcomes``).

A node may claim several addresses (the one it connects from, the one it advertises).  They are
tried in turn, a *round*; one ``ok`` is enough, and otherwise the first one's outcome counts.  A
failure on our own side (no descriptor left) is no outcome, and the one before stays.

A node that we have not met is probed too, where others say that it is, for as long as somebody is
connected to it (see ``unmet``).  Here it is one that was only *heard of*.

``survey`` asks what to probe, and reports what came of it.  No sockets and no threads; the clock
and the randomness are passed in.
"""

from random import Random
from threading import Lock

from ..common.address import Address
from ..common.events import Emit
from ..common.outcomes import GONE, HANGS, NO_PONG, OK, RESET, TIMEOUT, UNKNOWN
from ..common.typing import Dict, FrozenSet, List, Mapping, Optional, Sequence
from ..node.claims import CLAIM_AGAIN_AFTER, CLAIMS_A_PEER, LEISURE
from ..node.connector import DIAL_TIMEOUT
from ..node.hooks import DialEnd
from ..node.peer import HANDSHAKE_TIMEOUT
from .met import Met, Probe, Reachable
from .restarts import Life

MAX_PROBES = 8
"""Probes under way at once: half of the connector's pool.  A hundred peers behind firewalls must leave
threads for the dials that make peers."""

SCOUT_INTERVAL = 5.0
SCOUT_AGAIN_AFTER = 15.0
"""A missing node is looked for by a probe every ``SCOUT_INTERVAL`` seconds, the same node every
``SCOUT_AGAIN_AFTER`` at the most, however many are missing.  Dials alone would not do: after an hour
their backoff is 300 s, and two halves of a network should find each other within 30 s after the
cable is back.  A host that stays off costs four packets a minute."""

PATIENT_WITH = 3
"""After so many failures in a row, further ones do not make a node wait longer for its turn."""

HEARD_WAIT = 8.0
"""Seconds (``probe_interval`` if that is less) that the first probe of a node waits of which we have
only heard.  Usually one of us is dialing the other for a peer, and then the outcome of that counts.  If
the node has left again, the rows of its peers say so by then: they are read 5 s late at the most."""

DOUBT = 1.0
"""Seconds after a failure of a node heard of, since which somebody must have had a connection to it:
longer than a goodbye is on its way."""

ASK_AGAIN_AFTER = 60.0
ASK_SOON_AGAIN_AFTER = 2.0
"""Seconds after which others are asked again where a node is that was only heard of: if its addresses
are known, and if not."""

MOST_MISSED = 64
"""Nodes that are missed though no dial has ever found them, the latest ones.  Strangers can make as many
as they like."""

MOST_LOST = 256
"""Nodes that are missed and that a dial has found, those that were known longest: as many as there can be
peers."""


class Reach:
    """The nodes that one node knows of, by nodeid.  Any thread may call any method."""

    def __init__(self, probe_interval: float, rng: Random, emit: Emit) -> None:
        self._probe_interval = probe_interval
        self._rng = rng
        # Called under _lock on purpose: it never blocks, and so changes are reported in the order
        # in which they happened.
        self._emit = emit
        self._lock = Lock()
        # Guarded by _lock.
        self._met: Dict[str, Met] = {}
        """The peers, former peers with a proven address, and nodes heard of: bounded by ``max_peers``, by
        the address book, and by ``unmet.MOST_NODES``."""
        self._changes = 0
        self._under_way: List[Probe] = []
        """Probes that have not ended, even if their node has been forgotten since."""
        self._scout_at = float("-inf")
        """When the next missing node may be probed out of turn."""

    # -- the nodes ----------------------------------------------------------------------

    def met(self, nodeid: str, name: str, now: float) -> None:
        """Note a peer that has connected."""
        with self._lock:
            met = self._met.get(nodeid)
            if met is None or (met.heard_at is not None and not met.proven):
                # It says itself where it is.  What others said is of no use any more.
                met = self._met[nodeid] = Met(nodeid, name, now)
            met.name = name
            met.last_heard = now
            met.heard_at = met.doubt = met.missed_until = None
            met.faded = False

    def claimed(
        self,
        nodeid: str,
        address: Address,
        now: float,
        proven: bool = False,
        elsewhere: bool = False,
    ) -> None:
        """Note an address at which the node says it can be dialed.

        It is being probed already, unless it is ``proven``: perhaps by a dial that ended before we met.
        ``elsewhere`` is True if the node connects from another host.
        """
        with self._lock:
            met = self._met.get(nodeid)
            if met is None or address in met.addresses:
                return
            if len(met.addresses) >= CLAIMS_A_PEER:
                if now - met.claimed_at < CLAIM_AGAIN_AFTER:
                    return
                dropped = met.addresses.pop()  # it has moved
                met.claims.discard(dropped)
                met.elsewhere.discard(dropped)
                met.round = [other for other in met.round if other != dropped]
            met.claimed_at = now
            if not met.addresses:
                self._tried_locked(met, now)
            met.addresses.insert(1, address)  # behind the best one
            if not proven:
                met.claims.add(address)
                met.elsewhere |= {address} if elsewhere else set()
            elif met.dial == UNKNOWN:
                met.next_probe_at = min(met.next_probe_at, now + self._rng.uniform(*LEISURE))

    def lost(self, nodeid: str, proven: Sequence[Address], now: float) -> None:
        """Probe a node that has lost its connection at once, where it was found.

        The outcome of the last probe, perhaps a minute ago, says nothing about now.  The node is missed
        for a while (``MISSED_FOR``).  A node that was never found is looked for where others say it is.
        """
        with self._lock:
            met = self._met.get(nodeid)
            if met is None:
                return
            met.gone_at = now
            met.miss(now)
            if proven:
                # The best one stays first: False sorts before True.
                met.addresses = sorted(proven, key=lambda a: a not in met.addresses[:1])
                del met.addresses[CLAIMS_A_PEER:]
                met.round = [address for address in met.round if address in met.addresses]
                met.next_probe_at = now
                lost = self._missed_locked(found=True)
                if len(lost) > MOST_LOST:
                    del self._met[min(lost, key=lambda n: self._met[n].known_for(now))]
            else:
                met.heard_at = float("-inf")
                self._tried_locked(met, now)  # no hurry: it has never been found
                if met.dial in (OK, UNKNOWN):
                    self._changes += 1
                    met.dial, met.why, met.seconds = RESET, GONE, None
                missed = self._missed_locked(found=False)
                for old in missed[:-MOST_MISSED]:
                    del self._met[old]

    def silent(self, nodeid: str) -> None:
        """Note a node that was dropped because it has not answered a ping.

        That is newer than the last success, and counts until a dial has shown something else.
        """
        with self._lock:
            met = self._met.get(nodeid)
            if met is not None and met.addresses:
                self._judge_locked(met, DialEnd(nodeid, met.addresses[0], TIMEOUT, None, False, NO_PONG))

    def drop_all_but(self, existing: Mapping[str, float], now: float) -> List[str]:
        """Drop and return nodes that are no peers, unless somebody is connected to them.

        Nodes that are missed stay until their time is over.  Those that were found once are still looked
        for after that, but our row does not name them any more.
        """
        with self._lock:
            dropped: List[str] = []
            for nodeid, met in list(self._met.items()):
                over = met.heard_at is not None
                if met.missed_until is not None:
                    over = met.missed_until <= now
                if nodeid in existing:
                    met.faded = False
                elif over and not met.faded:
                    dropped.append(nodeid)
                    met.faded = True
                    if met.heard_at is not None:
                        del self._met[nodeid]
            self._changes += len(dropped)
            return dropped

    def strangers(self, existing: Mapping[str, float], now: float) -> FrozenSet[str]:
        """Return those of the unmet nodes about which others should be asked; see ``heard_of``.

        ``existing`` has all nodes that exist and are no peers, and as of when.
        """
        with self._lock:
            strange = set(existing.keys() - self._met.keys())
            for met in self._met.values():
                if met.heard_at is None or met.nodeid not in existing:
                    continue
                again = ASK_AGAIN_AFTER if met.addresses else ASK_SOON_AGAIN_AFTER
                if met.doubt is not None and existing[met.nodeid] - met.doubted_at >= DOUBT:
                    self._judge_locked(met, met.doubt)
                    met.doubt = None
                if now - met.heard_at >= again:
                    strange.add(met.nodeid)
            return frozenset(strange)

    def heard_of(self, nodeid: str, name: str, addresses: Sequence[Address], now: float) -> None:
        """Note what others say of a node that we have not met: its name, and where it may be."""
        with self._lock:
            met = self._met.get(nodeid)
            if met is None:
                met = self._met[nodeid] = Met(nodeid, name, now)
            elif met.heard_at is None:
                return  # we have met it meanwhile
            met.heard_at = now
            met.name = name or met.name
            if not met.addresses:
                wait = min(HEARD_WAIT, self._probe_interval)
                met.next_probe_at = now + wait * self._rng.uniform(0.75, 1.0)
            found = met.addresses[:1] if met.proven else []
            new = found + [address for address in addresses if address not in found]
            if new:
                met.claims = {a for a in new if a in met.claims or a not in met.addresses}
                met.round = [address for address in met.round if address in new]
                met.addresses = new[:CLAIMS_A_PEER]

    def soon(self, nodeid: str, at: float) -> None:
        """Probe a node again at that time, if not sooner."""
        with self._lock:
            met = self._met.get(nodeid)
            if met is not None:
                met.next_probe_at = min(met.next_probe_at, at)

    def last_heard(self, nodeid: str, at: float) -> None:
        """Note that a node was alive at that time."""
        with self._lock:
            met = self._met.get(nodeid)
            if met is not None:
                met.last_heard = max(met.last_heard, at)

    def forget(self, nodeid: str) -> None:
        """Drop a node that has left for good, or that has no address left to try."""
        with self._lock:
            if self._met.pop(nodeid, None) is not None:
                self._changes += 1  # others should hear soon that we look for it no more

    # -- rounds -------------------------------------------------------------------------

    def due(self, now: float, connected: FrozenSet[str]) -> List[Probe]:
        """Return what to probe now, as many as there is room for, and note them as begun.

        Each node has a round once an interval.  In addition missing nodes are *scouted*, one after the
        other: when a cable is back, the first one that answers knows where the others are.  Nodes
        that were never found get half of the places, and those that failed before wait for the
        others.  So a crowd of claims that nobody answers keeps no other node from being probed.
        """
        with self._lock:
            idle = [met for met in self._met.values() if met.probing is None and met.addresses]
            waiting = [met for met in idle if met.next_probe_at <= now]
            waiting.sort(key=lambda met: (min(met.failures, PATIENT_WITH), met.next_probe_at))
            scouted = self._scouted_locked(idle, connected, now)
            if scouted is not None:
                waiting = [scouted] + [met for met in waiting if met is not scouted]
            begun: List[Probe] = []
            for met in waiting:
                if len(self._under_way) >= MAX_PROBES:
                    break
                unproven = sum(not probe.proven for probe in self._under_way)
                if not met.proven and unproven >= MAX_PROBES // 2:
                    continue
                if not met.round:
                    met.round, met.found, met.failure = list(met.addresses), False, None
                met.probing = address = met.round.pop(0)
                self._tried_locked(met, now)
                heard = met.heard_at is not None
                begun.append(Probe(met.nodeid, address, met.proven, heard))
                self._under_way.append(begun[-1])
            return begun

    def put_off(self, probe: Probe, at: float) -> None:
        """Begin a probe that was due at that time instead."""
        with self._lock:
            self._under_way.remove(probe)
            met = self._met.get(probe.nodeid)
            if met is not None and met.probing == probe.address:
                met.probing, met.next_probe_at = None, at
                met.round.insert(0, probe.address)

    def ended(self, end: DialEnd, now: float, lossy: bool = False) -> None:
        """A dial or a probe of a node has ended.  The way there may be ``lossy``.

        Then a timeout after a success says little: where 20 % are lost, all three SYNs of one dial in a
        hundred are.  So the node is probed again at once, and that counts.
        """
        with self._lock:
            if end.probe:
                for probe in self._under_way:
                    if (probe.nodeid, probe.address) == (end.nodeid, end.address):
                        self._under_way.remove(probe)
                        break
            met = self._met.get(end.nodeid)
            if met is None:
                return  # forgotten since
            if end.probe and met.probing == end.address:
                self._probed_locked(met, end, now, lossy)
            elif end.outcome is not None:
                self._dialed_locked(met, end, now, lossy)

    # -- questions ----------------------------------------------------------------------

    def known_for(self, now: float) -> Dict[str, float]:
        """Return for how many seconds each node has been known, or was when it was lost; see ``Met``."""
        with self._lock:
            return {met.nodeid: met.known_for(now) for met in self._met.values()}

    def all(self) -> Dict[str, Reachable]:
        """Return the last outcome for each node met, by nodeid."""
        with self._lock:
            return {
                met.nodeid: Reachable(
                    met.dial if met.doubt is None else UNKNOWN,
                    met.seconds if met.doubt is None else None,
                    met.addresses[0] if met.addresses else None,
                    met.name,
                    met.why,
                )
                for met in self._met.values()
                if not met.faded
            }

    def nodeids(self) -> FrozenSet[str]:
        """Return the nodes that are known."""
        with self._lock:
            return frozenset(self._met)

    def lives(self) -> List[Life]:
        """Return the life of each node that was a peer; it counts as dead if the last dial failed."""
        with self._lock:
            return [
                Life(
                    met.nodeid,
                    met.name,
                    frozenset(met.addresses),
                    met.met_at,
                    met.last_heard,
                    met.dial not in (OK, UNKNOWN),
                )
                for met in self._met.values()
                if met.last_heard > float("-inf")
            ]

    def changes(self) -> int:
        """Return a number that grows whenever an outcome has changed."""
        with self._lock:
            return self._changes

    # -- inside; the caller holds _lock ---------------------------------------------------

    def _missed_locked(self, found: bool) -> List[str]:
        """Return the nodes that are missed, the first one first.

        If ``found``, those that a dial has found; otherwise the others.
        """
        its = [met for met in self._met.values() if met.missed_until is not None]
        return [met.nodeid for met in its if (met.heard_at is None) == found]

    def _scouted_locked(
        self, idle: List[Met], connected: FrozenSet[str], now: float
    ) -> Optional[Met]:
        """Return the missing node that has waited longest, if it is time for one."""
        if now < self._scout_at:
            return None
        missing = [
            met
            for met in idle
            if met.proven
            and met.heard_at is None
            and met.nodeid not in connected
            and now - met.tried_at >= SCOUT_AGAIN_AFTER
        ]
        if not missing:
            return None
        self._scout_at = now + SCOUT_INTERVAL
        return min(missing, key=lambda met: met.tried_at)

    def _probed_locked(self, met: Met, end: DialEnd, now: float, lossy: bool) -> None:
        """A step of a round has ended."""
        met.probing = None
        if end.outcome == OK:
            self._found_locked(met, end, now)
            return
        if end.outcome is not None and not _is_outdated(met, end, now):
            met.failures += 1
            if end.address not in met.elsewhere:
                met.failure = met.failure or end
        self._tried_locked(met, now)
        if met.round:
            met.next_probe_at = now  # go on with it as soon as there is room
        elif met.failure is not None and not met.found:
            self._failed_locked(met, met.failure, now, lossy)

    def _dialed_locked(self, met: Met, end: DialEnd, now: float, lossy: bool) -> None:
        """A dial for a peer, or the probe of a claim, has ended.  It counts as a round.

        A failure counts if no other address is left at which the node might be found.
        """
        if end.outcome == OK:
            self._found_locked(met, end, now)
            return
        met.claims.discard(end.address)
        if end.address in met.elsewhere:
            if met.dial == UNKNOWN and not met.claims and met.elsewhere < set(met.addresses):
                met.next_probe_at = now  # the others have failed before; a round finds out how
            return
        alone = met.addresses == [end.address]
        if (alone or (met.dial == UNKNOWN and not met.claims)) and not _is_outdated(met, end, now):
            self._tried_locked(met, now)
            self._failed_locked(met, end, now, lossy)

    def _failed_locked(self, met: Met, end: DialEnd, now: float, lossy: bool) -> None:
        """Note a failure.  Where we have only heard of a node, it may just have left."""
        if lossy and end.outcome == TIMEOUT and met.dial == OK and not met.tried_again:
            met.tried_again, met.next_probe_at = True, now
            return
        met.tried_again = False
        if met.heard_at is None or (met.dial != OK and met.doubt is None):
            self._judge_locked(met, end)
        elif met.doubt is None:
            met.doubt, met.doubted_at = end, now
            self._changes += 1

    def _tried_locked(self, met: Met, now: float, for_the_first_time: bool = False) -> None:
        """Set the next time: in an interval, or a little earlier by chance, so that nodes spread out.

        After the first success any moment of the interval will do.  Otherwise nodes that met in the
        same second would probe each other in the same few seconds: among 100, 9,900 times.
        """
        met.tried_at = now
        least = 0.1 if for_the_first_time else 0.9
        met.next_probe_at = now + self._probe_interval * self._rng.uniform(least, 1.0)

    def _found_locked(self, met: Met, end: DialEnd, now: float) -> None:
        """The node has answered: its address is tried first from now on."""
        first = not met.proven
        met.found = met.proven = True
        if met.missed_until is not None:
            met.heard_at = None
            met.miss(now)  # it lives, so its time begins anew
        self._changes += met.doubt is not None
        met.doubt = None
        met.ok_at = now
        met.failures = 0
        met.tried_again = False
        met.elsewhere.discard(end.address)
        met.addresses = [end.address] + [other for other in met.addresses if other != end.address]
        del met.addresses[CLAIMS_A_PEER:]
        met.round = []  # one is enough
        self._judge_locked(met, end)
        self._tried_locked(met, now, first)

    def _judge_locked(self, met: Met, end: DialEnd) -> None:
        """Note an outcome, and report it if it changed.  A first ``ok`` is no news."""
        was, dial = met.dial, end.outcome or UNKNOWN
        self._changes += (dial, end.why) != (was, met.why)
        met.dial, met.why = dial, end.why
        met.seconds = end.seconds if dial == OK else None
        if dial != was and (was, dial) != (UNKNOWN, OK):
            said = {"nodeid": met.nodeid, "name": met.name, "address": str(end.address), "dial": dial}
            if end.why:
                said["why"] = end.why
            self._emit("reach", was=was, **said)


def _is_outdated(met: Met, end: DialEnd, now: float) -> bool:
    """True if a dial that timed out now was begun before the last success."""
    took = HANDSHAKE_TIMEOUT + (end.seconds or 0.0) if end.why == HANGS else DIAL_TIMEOUT
    return end.outcome == TIMEOUT and now - met.ok_at < took
