"""What one node measures, and what it hears of the measurements of others.

Built on the hooks of ``node``: peers that come and go are probed for as long as they may be found
(``reach``), and so are nodes that only others have met (``unmet``); what was measured becomes this
node's own row, which goes to every peer; and the rows of others are kept, so that any node can answer
``getlinks`` with the whole matrix (``row_exchange``).

No sockets and no threads.  Any thread may call any method, unless it says otherwise.
"""

from random import Random
from threading import Lock

from ..common.address import Address, is_link_local, is_loopback, is_shareable, parse_wire
from ..common.config import Config
from ..common.events import INFO, Events
from ..common.outcomes import OK, WRONG_PEER
from ..common.typing import Any, Callable, Dict, FrozenSet, List, Optional
from ..common.words import duration
from ..node.hooks import DialEnd, Hooks, Lines, LongAnswer
from ..node.knocks import KNOCK_PAUSE
from ..node.messages import AnyMessage
from ..node.overlay import Overlay
from ..node.tcp_info import is_counted
from ..node.peer import UP, Link, Peer, PeerInfo, Questions, in_ms
from .holes import STUCK, Climb, Holes
from .losses import NOT_LOST, Losses
from .packet_loss import PacketLoss, begins_with_loss
from .reach import Reach
from .restarts import Life, find_replaced
from .row_exchange import RowExchange
from .row_messages import BEGINNING, LATE_MS, LINK_FIELDS, MAX_LINKS, GetLinks, Links
from .rows import MAX_ROWS, Row
from .train import InTurn, Report, Train, Trains
from .unmet import described, rows_about, unmet_nodes

_OF_PEER = tuple(field for field in LINK_FIELDS if field in PeerInfo._fields)

LOOK_EVERY = 1.0
"""Seconds from one look at which nodes exist that we have not met, or at stuck connections, to the next."""

AGAIN_AFTER = 1.0
"""Seconds until the next probe of a node of which something is found out step by step."""

BEFORE = 60.0
"""Seconds of an earlier connection that are worth a field in our row."""

LOOK_BACK_EVERY = 1.0
"""Seconds from one search for nodes that were replaced to the next."""


class Survey(Hooks):
    """The monitor of one node."""

    unparsed_prefix = BEGINNING

    def __init__(
        self, config: Config, events: Events, clock: Callable[[], float], rng: Random
    ) -> None:
        self.reach = Reach(config.probe_interval, rng, events.emit)
        self.losses = Losses(config.ping_interval, config.ping_timeout, clock())
        self.packet_loss = PacketLoss()
        self.holes = Holes()
        self._trains = Trains(rng)
        self._events = events
        self._config = config
        self._clock = clock
        self._rng = rng
        # The pinger's thread only.
        self._look_at = self._stuck_at = clock()
        self._look_back_at = clock()
        self._started_at = clock()
        # Written by the pinger's thread.
        self._replaced: Dict[str, str] = {}
        """See ``Links.replaced``."""
        self._lock = Lock()
        # Guarded by _lock.  A leaf: nothing else is called while it is held.
        self._gone: Dict[str, float] = {}
        """By nodeid, the one that left first first: since when what others say of it counts again.
        They notice it a little later than we do."""

    def attach(self, overlay: Overlay) -> None:
        """Measure for the node whose rules these are."""
        self._overlay = overlay
        self._table = overlay.table
        self._book = overlay.book
        self._discovery = overlay.discovery
        self._nodeid = overlay.myself.nodeid
        self.exchange = RowExchange(
            self._nodeid, self._config, self._table, overlay.lateness, self._clock, self._rng, self.own_row
        )
        self.rows = self.exchange.rows

    # -- hooks ----------------------------------------------------------------------------

    def take_unparsed(self, link: Link, line: bytes) -> bool:
        """Keep most rows unread."""
        if link.state != UP or link.peer is None:
            return False
        return self.exchange.take_unparsed(link, line)

    def received(self, link: Link, message: AnyMessage) -> Lines:
        """Note a row, or answer ``getlinks``."""
        if isinstance(message, GetLinks):
            return LongAnswer(self.exchange.answer())
        if isinstance(message, Links) and link.peer is not None and not message.end:
            self.exchange.received(link, message)
        return ()

    def met(self, peer: Peer, now: float) -> None:
        """Probe the peer from now on, also after its connection."""
        with self._lock:
            self._gone.pop(peer.nodeid, None)
        self.reach.met(peer.nodeid, peer.name, now)
        pace = self.losses.pace(peer.nodeid)
        if pace is not None:
            self._table.keep_busy(peer, pace, now)

    def claimed(self, peer: Peer, address: Address, now: float) -> None:
        """Probe the peer at ``address`` too."""
        proven = (address, peer.nodeid) in self._book.proven([peer.nodeid])
        elsewhere = address.host != peer.link.remote.host
        self.reach.claimed(peer.nodeid, address, now, proven, elsewhere)

    def moved(self, nodeid: str, now: float) -> None:
        """Forget a node that cannot be found any more."""
        self._forget(nodeid, now)
        self.rows.note_gone(nodeid)

    def lost(self, peer: Peer, reason: str, now: float) -> None:
        """Look for the peer where it was found, unless it said that it stops."""
        if reason == "stopping":
            self._forget(peer.nodeid, float("inf"))  # a nodeid is new at every start
            self.rows.bury(peer.nodeid, now)
        else:
            proven = [where for where, _ in self._book.proven([peer.nodeid])]
            self.reach.lost(peer.nodeid, proven, now)
            self.reach.last_heard(peer.nodeid, peer.last_pong_at or peer.greeted_at)
            # If the other end has said bye, it has dropped us.
            dropped = reason == "timeout" and not peer.link.said_bye
            explained = self.holes.known(peer.nodeid)
            if dropped and not explained and self._table.holder(peer.nodeid) is None:
                self.reach.silent(peer.nodeid)
            if dropped:
                self.holes.suspect(peer.nodeid)
            if self._is_stuck(peer):
                peer.link.end_with_reset()  # our bye would not get through
            if not self._discovery.stopping():
                self._count_loss(peer, reason, now)

    def dial_ended(self, end: DialEnd, now: float) -> None:
        """Note what a dial has shown.  The end of a probe makes room for the next one."""
        self.reach.ended(end, now, self.packet_loss.is_seen(end.nodeid))
        if end.outcome is not None:
            self.losses.dialed(end.nodeid, end.outcome, end.seconds)
        if end.probe:
            if end.outcome not in (OK, None):
                peer = self._table.get(end.nodeid)
                if peer is not None:  # is it only the way there, or is the peer dead?
                    self._table.ping_soon(peer, now)
            self._probe(now)

    def probe_found(self, link: Link, nodeid: str, now: float) -> Optional[Questions]:
        """Have some probes ask more; see ``train``."""
        # Without the kernel's counts there is nothing to learn.
        info = link.tcp_info()
        if info is None:
            return None
        if begins_with_loss(info):
            self.packet_loss.suspect(nodeid, seen=True)
        wrong = self.packet_loss.looks_wrong(nodeid) or self.holes.in_doubt(nodeid)
        if not self._trains.begin(nodeid, wrong):
            return None
        train = Train(nodeid)
        climb = Climb(train, self.holes.begin(nodeid))
        return InTurn([train, climb], lambda: self._asked(train.report, climb))

    def mss(self, nodeid: str) -> Optional[int]:
        """Have connections through a hole live."""
        return self.holes.mss(nodeid)

    def ticked(self, now: float) -> None:
        """Look for nodes, probe what is due, ask for rows, send our own.  The pinger's thread."""
        self.exchange.read_changed(now)
        self._look_around(now)
        self._look_for_the_stuck(now)
        self.losses.ticked(now)
        self.packet_loss.look_at(self._table.up())
        self._probe(now)
        self.exchange.ask(now)
        if now >= self._look_back_at:
            self._look_back_at = now + LOOK_BACK_EVERY
            self._forget_the_replaced(now)
        changes = self._table.changes() + self.reach.changes()
        changes += self.packet_loss.changes() + self.holes.changes()
        self.exchange.send_row(now, changes)

    # -- what the library asks ------------------------------------------------------------

    def peers(self) -> List[PeerInfo]:
        """Return what is known of each peer that is up; copies."""
        found = self.reach.all()
        return self._table.snapshot({n: (one.dial, one.seconds) for n, one in found.items()})

    def _may_be_told(self, address: Address) -> bool:
        """True if ``address`` means something to others, and its node knows it as its own."""
        return is_shareable(address) and not self._book.is_unlisted(address)

    def own_row(self) -> Links:
        """Return what this node has measured to each node that it knows of."""
        now = self._clock()
        links: List[Dict[str, Any]] = []
        changes = self._table.changes()  # read first: the number is never newer than the links
        others, known = self.reach.all(), self.reach.known_for(now)
        for peer in self.peers():
            found = others.pop(peer.nodeid, None)
            link = {field: getattr(peer, field) for field in _OF_PEER}
            link["up_s"] = round(peer.up_seconds, 1)
            link["why"] = found.why if found is not None else ""
            known_s = round(known.get(peer.nodeid, 0.0), 1)
            if known_s - peer.up_seconds > BEFORE:
                link["known_s"] = known_s
            link.update(self._about(peer.nodeid, now))
            if found is not None and found.dial == OK and found.address is not None:
                link["address"] = str(found.address)  # where others should look for it
            where = link["address"]
            # A zone (fe80::1%eth0) means nothing elsewhere: rejected there.
            if "%" in where or self._book.is_unlisted(parse_wire(where)):
                link["address"] = None
            links.append(link)
        for nodeid, met in others.items():
            address = met.address
            links.append(
                {
                    "nodeid": nodeid,
                    "name": met.name,
                    "address": str(address) if address and self._may_be_told(address) else None,
                    "direction": "none",
                    "dial": met.dial,
                    "why": met.why,
                    "known_s": round(known.get(nodeid, 0.0), 1),
                    **self._about(nodeid, now),
                }
            )
        return Links(
            nodeid=self._nodeid,
            name=self._overlay.myself.name,
            lag_ms=in_ms(self._overlay.lateness.usual),
            stale_after=round(self.exchange.stale_after(), 1),
            probe_interval=self._config.probe_interval,
            changes=changes,
            up_s=round(self._clock() - self._started_at, 1),
            loss_unmeasured=not is_counted(),
            replaced=self._replaced,
            links=tuple(
                {field: value for field, value in link.items() if value not in (None, "")}
                for link in links
            ),
        )

    # -- inside ---------------------------------------------------------------------------

    def _asked(self, report: Report, climb: Climb) -> None:
        """Take what a probe that asked more has seen.  The reader thread of its link."""
        self._trains.end()
        self.packet_loss.train(report)
        was_known = self.holes.known(report.nodeid)
        if self.holes.end(report.nodeid, climb.result):
            self.reach.soon(report.nodeid, self._clock() + AGAIN_AFTER)
        if self.holes.known(report.nodeid) != was_known:
            self.losses.explained(report.nodeid)

    def _about(self, nodeid: str, now: float) -> Dict[str, Any]:
        """Return the fields of a link that say what is wrong; mostly none."""
        return {
            **self.losses.about(nodeid, now),
            **self.packet_loss.about(nodeid),
            **self.holes.about(nodeid),
        }

    def _forget(self, nodeid: str, until: float) -> None:
        """Drop a node, and ignore what others say of it ``until`` then."""
        self._ignore(nodeid, until)
        self.reach.forget(nodeid)
        self.losses.forget(nodeid)
        self.packet_loss.forget(nodeid)
        self.holes.forget(nodeid)

    def _ignore(self, nodeid: str, until: float) -> None:
        with self._lock:
            self._gone.pop(nodeid, None)
            self._gone[nodeid] = until
            if len(self._gone) > MAX_ROWS:
                del self._gone[next(iter(self._gone))]

    def _unmet(self, rows: List[Row]) -> Dict[str, float]:
        with self._lock:
            gone = dict(self._gone)
        return unmet_nodes(rows, self._table.nodeids(), self._nodeid, gone)

    def _look_for_the_stuck(self, now: float) -> None:
        """Find out why connections are stuck.  If it is a hole, the next one will have smaller segments.

        A ping would show it too, but a minute later.
        """
        if now < self._stuck_at:
            return
        self._stuck_at = now + LOOK_EVERY
        for peer in self._table.up():
            if not self._is_stuck(peer):
                continue
            if self.holes.known(peer.nodeid):
                peer.link.close("timeout", "large packets do not get through")
            elif self.holes.suspect(peer.nodeid):
                self.reach.soon(peer.nodeid, now)

    def _is_stuck(self, peer: Peer) -> bool:
        """True if the kernel sends what we said again and again, and nothing acknowledges it."""
        info = peer.link.tcp_info()
        return info is not None and info.stalled >= STUCK

    def _look_around(self, now: float) -> None:
        """Find out which nodes exist that we have not met, and where they are."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        peers = self._table.nodeids()
        rows = sorted(self.rows.all(now), key=lambda row: row.nodeid not in peers)  # peers' rows first
        existing = self._unmet(rows)
        for nodeid in self.reach.drop_all_but(existing, now):
            self._ignore(nodeid, now)  # where there are more hands, older rows of it may still come
            self.rows.note_gone(nodeid)
        strangers = self.reach.strangers(existing, now)
        if strangers:
            # Rows of other nodes may be invented, and would make us dial addresses of a liar's choice.
            rows = [row for row in rows if row.nodeid in peers or row.nodeid in existing]
            links = [row for row in map(self.exchange.read, rows_about(rows, strangers)) if row is not None]
            for nodeid, name, addresses in described(links, strangers, self._is_here):
                usual = [where for where in addresses if self._may_be_dialed(where)]
                self.reach.heard_of(nodeid, name, usual, now)

    def _is_here(self, nodeid: str) -> bool:
        """True if a node is on this machine: it knows the others here by their loopback addresses."""
        peer = self._table.get(nodeid)
        if peer is not None:
            return is_loopback(peer.link.remote.host)
        found = self.reach.all().get(nodeid)
        return found is not None and found.address is not None and is_loopback(found.address.host)

    def _forget_the_replaced(self, now: float) -> None:
        """Drop what is kept of nodes that were restarted under another nodeid (see ``restarts``)."""
        known_of = {row.nodeid for row in self.rows.all(now)}.union(self.reach.nodeids())
        lives = self._lives(now) if known_of - self._table.nodeids() else []
        if not any(life.dead for life in lives):  # nearly always all of them are peers
            self._replaced = {}
            return
        known = self.rows.replaced()
        found = find_replaced(lives, known)
        # If two died in the same second, one came back, and only one is known to be dead yet, wait: all
        # nodes should decide alike.
        peers, met = self._table.nodeids(), {life.nodeid for life in self.reach.lives()}
        unsure = [life for life in lives if not life.dead and life.nodeid in met - peers]
        of = {life.nodeid: life for life in lives}
        for old, by in list(found.items()):
            if any(one.name == of[by].name and one.heard < of[by].start for one in unsure):
                del found[old]
        for nodeid in found:
            self._forget(nodeid, float("inf"))
            for address in self._book.forget(nodeid):
                self._overlay.membership.failures.report_again(address)
        self.rows.note_replaced(found, peers, now)
        # Others, who may know less, must not take a replaced node for one that is down, nor a node that
        # is down for one that was replaced.
        known.update(found)
        kept = {row.nodeid for row in self.rows.all(now)}
        names = {life.name for life in lives if life.dead and life.nodeid not in known}
        here = {life.nodeid for life in lives if life.name in names}
        pairs = [(old, by) for old, by in known.items() if by in here or old in kept]
        self._replaced = dict(pairs[-MAX_LINKS:])

    def _lives(self, now: float) -> List[Life]:
        """Return what is known here of the life of each node, this one's too."""
        rows, places = self.rows.all(now), self.rows.places()
        peers = self._table.nodeids()
        alive = peers.union(*(row.connected for row in rows if row.nodeid in peers))
        met = {life.nodeid: life for life in self.reach.lives()}
        own = places[self._nodeid]
        lives = [Life(self._nodeid, self._overlay.myself.name, own, self._started_at, now, False)]
        for row in rows:
            known = met.pop(row.nodeid, None)
            nowhere: FrozenSet[Address] = frozenset()
            life = Life(
                row.nodeid,
                row.name,
                places.get(row.nodeid, nowhere),
                row.started_at,
                row.measured_at,
                row.nodeid not in alive and (row.gone or now - row.measured_at > self.exchange.stale_after()),
            )
            if known is not None:
                life = life._replace(  # ``heard`` stays: a row goes to all peers in the same moment
                    addresses=life.addresses | known.addresses,
                    start=min(life.start, known.start),
                    dead=row.nodeid not in alive and (life.dead or known.dead),
                )
            lives.append(life)
        lives += [life._replace(dead=life.dead and life.nodeid not in alive) for life in met.values()]
        return lives

    def _may_be_dialed(self, address: Address) -> bool:
        """True if strangers may name ``address``: see ``Discovery.may_name``."""
        return not is_link_local(address.host) and self._discovery.has_usual_port(address)

    def _probe(self, now: float) -> None:
        while not self._discovery.stopping():
            probes = self.reach.due(now, self._table.nodeids())
            for probe in probes:
                nodeid, address = probe.nodeid, probe.address
                if not probe.heard and not self._discovery.may_be_found(nodeid):
                    self.reach.forget(nodeid)
                    self.reach.ended(DialEnd(nodeid, address, None, None, True), now)
                elif self._book.knows_as_mine(address):
                    self.reach.ended(DialEnd(nodeid, address, WRONG_PEER, None, True), now)
                elif probe.heard and not self._discovery.may_knock(address.host, now):
                    self.reach.put_off(probe, now + KNOCK_PAUSE)
                else:
                    self._discovery.probe(address, nodeid)
            if not probes:
                return

    def _count_loss(self, peer: Peer, reason: str, now: float) -> None:
        """Count a lost connection, and keep the next ones busy if that may help."""
        late = self._overlay.lateness.usual > LATE_MS / 1000
        if not late and reason not in NOT_LOST:
            self.packet_loss.suspect(peer.nodeid)
        found = self.losses.lost(peer, reason, late, now)
        if found is not None and found.quiet is not None:
            text = "%s %s: lost every %s, each time after %s without traffic: pinged every %s from now on"
            pace = self.losses.pace(peer.nodeid) or 0.0
            times = (duration(seconds) for seconds in (found.every, found.quiet, pace))
            self._events.log(INFO, text, peer.name, peer.address, *times)
