"""Rows in and out: this node sends its own row to its peers, takes theirs, and answers ``getlinks``.

The answer to ``getlinks`` is made line by line, as the other end takes it.  So however many ask and do
not read, no answers pile up here.  A row is made ready to be sent once, when it is first asked for.  All
who ask get the same bytes, with the row's age in front.

``survey`` calls this.  No sockets and no threads.  Any thread may call any method, unless it says
otherwise.
"""

from random import Random
from threading import Lock

from ..common.config import Config
from ..common.errors import PeerMisbehaved
from ..common.typing import Callable, Iterator, List, Optional, Tuple
from ..node.lateness import LATE_SECONDS, Lateness
from ..node.peer import Link
from ..node.peer_table import PeerTable
from .row_messages import (
    GETLINKS, Links, encode_aged, encode_end_of_links, encode_kept, encode_links,
)
from .rows import ANSWER_FRESH, ROWS_A_SECOND, STALE_AFTER_INTERVALS, Row, Rows, read_row

ROW_AFTER_CHANGE = 1.0
"""Least seconds between two rows of ours: changes of one moment go out in one row."""

READ_A_TICK = 4
"""Rows that the pinger reads in one tick: as many as come in one (``ROWS_A_SECOND``)."""

PATIENT_WHEN_LATE = 4
"""A node that runs late waits up to so many times longer between two rows: many nodes may share its
core."""

ANSWER_BYTES = 16 * 1024 * 1024
"""Bytes of an answer to ``getlinks`` that are read at full speed: 256 of the longest rows."""

ANSWER_BYTES_A_SECOND = 512 * 1024
"""The same for each second from one question to the next.  The smaller bound holds.  Reading so many
takes a thirtieth of a core."""


class RowExchange:
    """The rows that one node sends, gets and keeps."""

    def __init__(
        self,
        nodeid: str,
        config: Config,
        table: PeerTable,
        lateness: Lateness,
        clock: Callable[[], float],
        rng: Random,
        own_row: Callable[[], Links],
    ) -> None:
        # Immutable; each of the objects has its own lock.
        self.rows = Rows(nodeid)
        self._nodeid, self._config, self._table = nodeid, config, table
        self._lateness, self._clock, self._rng, self._own_row = lateness, clock, rng, own_row
        # The pinger's thread only.
        self._ask_at = clock() + config.ping_interval
        self._row_at = clock()
        """When our row last went to everyone."""
        self._row_changes = 0
        """How many changes there had been by then."""
        self._lock = Lock()
        # Guarded by _lock.  A leaf: nothing else is called while it is held.
        self._own: Tuple[float, bytes] = (float("-inf"), b"")
        """The line of our own row in the last answer to ``getlinks``, and when it was made."""

    # -- in -------------------------------------------------------------------------------

    def take_unparsed(self, link: Link, line: bytes) -> bool:
        """Take a line of a peer as it is; True if it need not be read."""
        assert link.peer is not None
        return self.rows.keep(line, link.peer.nodeid, self._table.nodeids(), self._clock())

    def received(self, link: Link, row: Links) -> None:
        """Note a row that a peer has sent.  Raises ``PeerMisbehaved`` if its author broke a rule."""
        assert link.peer is not None
        if row.wrong and row.nodeid == link.peer.nodeid:
            raise PeerMisbehaved(row.wrong)
        self.rows.heard(row, link.peer.nodeid, self._table.nodeids(), self._clock())

    def read(self, row: Row) -> Optional[Links]:
        """Return a kept row as an object; if its author broke a rule, drop it, and that peer."""
        try:
            return read_row(row, self._clock())
        except PeerMisbehaved as error:
            self.rows.forget(row.nodeid)  # kept unread, so it is the peer's own
            peer = self._table.get(row.nodeid)
            if peer is not None:
                peer.link.close(error.reason, str(error))
            return None

    # -- out ------------------------------------------------------------------------------

    def matrix(self) -> List[Links]:
        """Return the whole matrix as far as it is known here, this node's own row first."""
        rows = map(self.read, self.rows.all(self._clock()))
        return [self._own_row(), *(row for row in rows if row is not None)]

    def answer(self) -> Iterator[bytes]:
        """Yield the answer to ``getlinks``, each row as it is when its turn comes."""
        yield self._own_line()
        for nodeid in [row.nodeid for row in self.rows.all(self._clock())]:
            line = self._line_of(nodeid)
            if line is not None:
                yield line
        yield encode_end_of_links(self._nodeid, self.stale_after())

    def _own_line(self) -> bytes:
        """Return the line of our own row; a new one twice a second at the most."""
        now = self._clock()
        with self._lock:
            made_at, line = self._own
        if now - made_at >= ANSWER_FRESH:
            line = encode_links(self._own_row())
            with self._lock:
                self._own = (now, line)
        return line

    def _line_of(self, nodeid: str) -> Optional[bytes]:
        row = self.rows.get(nodeid)
        if row is None:
            return None  # dropped since
        kept = row.line
        if row.unread:
            links = self.read(row)
            if links is None:
                return None
            kept = encode_kept(links)
            self.rows.cleaned(row, kept)
        return encode_aged(nodeid, kept, max(0.0, self._clock() - row.measured_at))

    # -- now and then; the pinger's thread --------------------------------------------------

    def read_changed(self, now: float) -> None:
        """Read rows that came too soon after the last ones, a few at a time."""
        for row in self.rows.overdue(self._table.nodeids(), now)[:READ_A_TICK]:
            links = self.read(row)
            if links is not None:
                self.rows.read(links, now)

    def ask(self, now: float) -> None:
        """Once a ping interval, ask a peer for its rows if there are nodes that are not our peers.

        The peer that is asked is connected to such a node, so it has that node's row at first hand.  The
        rows of others may be old.
        """
        if now < self._ask_at:
            return
        self._ask_at = now + self._config.ping_interval
        beyond = self.rows.witnesses(self._table.nodeids())
        peers = self._table.up()
        if beyond and peers:
            near = beyond[self._rng.choice(sorted(beyond))]
            asked = [peer for peer in peers if peer.nodeid in near]
            size = min(ANSWER_BYTES, int(ANSWER_BYTES_A_SECOND * self._config.ping_interval))
            self._rng.choice(asked or peers).link.ask(GETLINKS, size)

    def send_row(self, now: float, changes: int) -> None:
        """Send our row to everyone each ``ping_interval``, and a second after a change in it."""
        interval = self._config.ping_interval
        if changes != self._row_changes:
            interval = min(interval, ROW_AFTER_CHANGE)
        interval = max(interval, self._least_row_interval())
        if self._lateness.usual > LATE_SECONDS:  # we cannot keep up: do not make it worse
            # But not so long that the last row would be taken for an old one.
            interval = min(interval * PATIENT_WHEN_LATE, self.stale_after() * 2 / 3)
        if now - self._row_at < interval:
            return
        self._row_at = now
        self._row_changes = changes
        # Nodes that know only the article give no version, and would ignore it.
        readers = [peer for peer in self._table.up() if peer.hello.version is not None]
        if readers:
            line = encode_links(self._own_row())
            for peer in readers:
                peer.link.send(line)

    def stale_after(self) -> float:
        """Return the age in seconds from which on a row says nothing about now.

        Three times the time between two rows of a node that is set as this one is.
        """
        return STALE_AFTER_INTERVALS * max(self._config.ping_interval, self._least_row_interval())

    def _least_row_interval(self) -> float:
        return self._table.occupied() / ROWS_A_SECOND
