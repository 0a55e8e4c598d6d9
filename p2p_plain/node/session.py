"""One connection's life, inbound and outbound alike: a socket around codec, messages and overlay.

Each connection has a thread that runs ``Session.run``: receive bytes, cut them into lines,
parse, ask the overlay what to answer, send that.  Anyone else (the pinger, another connection
that passes a message on, the library's user) only calls ``send`` and ``close``, which never
block.

Slow readers
------------
``send`` gives the kernel what it takes at once.  What it does not take is kept, up to a bound,
and goes out when there is room: the session's own thread watches for that while it waits for
bytes, and the pinger looks after it (``attend``) where that thread is already blocked in ``recv``.
What waits longer than ``ping_timeout`` means that the other end does not keep up, and the
connection is cut.  A line is never started twice or left half-way and followed by
another: the rest of it goes first, or nothing does.

Ending
------
``close`` says ``bye`` (after what is still unsent), shuts down our direction, and leaves the
rest to the session's thread, which reads and throws away until the other end has closed too
(at most ``LINGER`` seconds, then the connection is cut).  Closing at once would be simpler, and
would often destroy the ``bye``.
"""

import socket
import time
from collections import OrderedDict
from threading import Lock
from typing import Callable, Dict, List, Optional, Tuple

from ..common.address import Address, from_sockaddr, is_loopback
from ..common.config import (
    ANSWERED_PER_TOKEN,
    BYTES_PER_TOKEN,
    GUEST_TIMEOUT,
    HANDSHAKE_TIMEOUT,
    HIGH_WATER,
    LINGER,
    MAX_FIRST_LINE,
    MAX_LINE,
    MAX_PER_IP,
    MAX_UNGREETED,
    MAX_UNSENT,
    RECEIVE_BYTES,
)
from ..common.counters import Traffic
from ..common.errors import PeerLeft, Refused, why
from ..common.token_bucket import TokenBucket
from . import messages
from .codec import LineSplitter
from .messages import Ping
from .overlay import Overlay
from .peer_table import ADMITTED, GREETING, INBOUND, OUTBOUND, PROBED, UP, Link
from .transport import Transport

# ``trace("<" or ">", session, lines)``: what just crossed the wire.  Any thread.
Trace = Callable[[str, "Session", bytes], None]


LONG_ANSWER = 1024
"""Bytes from which an answer is sent by itself, and not together with those to later lines."""


class Session(Link):
    """A link over a real socket."""

    __slots__ = (
        "_bucket",
        "_cut_at",
        "_ending",
        "_late_at",
        "_lines",
        "_marked",
        "_overlay",
        "_ping_timeout",
        "_send_lock",
        "_trace",
        "_transport",
        "_unsent",
        "traffic",
    )

    def __init__(
        self,
        sock: socket.socket,
        overlay: Overlay,
        ping_timeout: float,
        max_rate: float,
        trace: Optional[Trace] = None,
        remote: Optional[Address] = None,
        target: Optional[Address] = None,
        probe: bool = False,
        wanted: Optional[str] = None,
        connect_seconds: Optional[float] = None,
    ) -> None:
        """``remote`` is the other end, if that is known already.  ``target`` is what was dialed;
        without it they dialed us.  Raises ``OSError``.
        """
        super().__init__(
            remote=from_sockaddr(sock.getpeername()) if remote is None else remote,
            target=target,
            probe=probe,
            wanted=wanted,
            connect_seconds=connect_seconds,
        )
        # Immutable.
        self._transport = Transport(sock)
        self._overlay = overlay
        self._ping_timeout = ping_timeout
        self._trace = trace
        self.traffic = Traffic()
        # Reader thread only.
        self._lines = LineSplitter(MAX_FIRST_LINE)
        self._bucket = TokenBucket(max_rate, 2 * max_rate, time.monotonic())

        # Held for one non-blocking send at the longest, so nobody waits behind a slow peer.
        # It keeps two threads' lines from mixing, and guards the fields below.
        self._send_lock = Lock()
        self._unsent = bytearray()
        self._marked = 0
        """How many bytes of ``_unsent`` must be gone ..."""
        self._late_at = float("inf")
        """... by this time, on the overlay's patience clock: it must not pass while we stand
        still ourselves."""
        self._ending: Optional[Tuple[str, str]] = None
        """Reason and detail, once there is one: the first wins."""
        self._cut_at = float("inf")
        """When our patience with the other end's closing is over."""

    # -- any thread ---------------------------------------------------------------------

    def local(self) -> Address:
        """Our end of the socket.  Reader thread only; raises ``OSError``."""
        return from_sockaddr(self._transport.local())

    def send(self, line: bytes, urgent: bool = False) -> bool:
        """Say encoded lines; ``False`` if too much is waiting already.  Never blocks."""
        with self._send_lock:
            if self._ending is not None:
                return False
            if not urgent and len(self._unsent) + len(line) > MAX_UNSENT:
                return False
            self._note_said_locked(line)
            if self._unsent:
                self._unsent += line
                self._push_locked()
                return True
            try:
                sent = self._transport.send(line)
            except OSError:
                return False  # broken; the reader finds that out too, and ends the session
            if sent < len(line):
                self._unsent += line[sent:]
                self._mark_locked()
            return True

    def hold(self, line: bytes) -> None:
        """Say it with what is said next, or when all that was heard is answered.  Never blocks."""
        with self._send_lock:
            if self._ending is None:
                self._note_said_locked(line)
                self._unsent += line
                self._mark_locked()

    def close(self, reason: str, detail: str = "") -> None:
        """Say ``bye`` and begin to end.  Never blocks."""
        bye = messages.encode_bye(reason, detail)
        with self._send_lock:
            if self._ending is not None:
                return
            self._ending = (reason, detail)
            self._cut_at = time.monotonic() + LINGER
            self._note_said_locked(bye)
            # After the rest of what was begun, if there is some; whoever sends its last byte
            # finishes.
            self._unsent += bye
            self._push_locked()

    def cut(self) -> None:
        """End now, without a word.  Never blocks."""
        self._transport.cut()

    def attend(self, now: float) -> None:
        """Move what waits, and lose patience where it is due.  The pinger's thread."""
        if self._unsent:
            self._flush()
            if self._overlay.patience() > self._late_at:
                self.close("timeout", "it does not read what it is sent")
        if now > self._cut_at:
            self._transport.cut()

    # -- the session's own thread ----------------------------------------------------------

    def run(self) -> None:
        """Live, from the first byte to the closed socket."""
        reason, detail, say_bye = "closed", "", False
        try:
            if self.direction == OUTBOUND:
                self.send(self._overlay.greeting(self), urgent=True)
            self._converse(time.monotonic() + HANDSHAKE_TIMEOUT)
        except PeerLeft as left:
            reason, detail = left.reason, left.detail
        except Refused as refused:
            if refused.last_words:
                self.send(b"".join(refused.last_words), urgent=True)
            reason, detail, say_bye = refused.reason, refused.detail, True
        except socket.timeout:
            detail = "the handshake took over %g s" % HANDSHAKE_TIMEOUT
            if self.state == PROBED:
                detail = "nothing was asked for %g s" % GUEST_TIMEOUT
            reason, say_bye = "timeout", True
        except OSError as error:
            detail = why(error)
        finally:
            if self._ending is not None:  # somebody else was faster
                reason, detail = self._ending
            try:
                # Before the bye: whoever hears it is no longer a peer of ours.
                self._overlay.closed(self, reason, detail)
                if say_bye:
                    self.close(reason, detail)
                if self._ending is not None:
                    self._drain()
            finally:
                with self._send_lock:
                    # Who still wants to speak to it (a tie's loser is closed a second later) is too
                    # late: nothing may be traced and counted that is never said.
                    self._ending = self._ending or (reason, detail)
                self._transport.close()

    def _converse(self, deadline: float) -> None:
        """Receive, judge, answer; until the stream ends or somebody ends it."""
        greeting = True
        late = False
        timeout: Optional[float] = None
        while self._ending is None:
            if greeting:
                # One deadline for the whole of it, however slowly or fast the bytes come.  What is
                # there when it has passed is still read, once: perhaps we were suspended.
                if late:
                    raise socket.timeout
                timeout = max(0.0, deadline - time.monotonic())
                late = not timeout
            elif timeout is None and self._unsent:
                self._wait_to_receive()
            chunk = self._transport.receive(timeout)
            if self._ending is not None:
                return  # we have said bye meanwhile: what comes now is not for us any more
            if not chunk:  # half-closed at least: they say no more
                self._lines.end()
                return
            if len(chunk) == RECEIVE_BYTES and b"\n" not in chunk:
                chunk += self._transport.receive_more()
            self.traffic.bytes_in += len(chunk)
            cost = self._answer(chunk)
            if greeting and self.state != GREETING:
                # Whom we dialed must let us in by the deadline too, not only say hello.
                greeting = self.state == ADMITTED and self.direction == OUTBOUND
                timeout = None
                if self.state == PROBED:
                    timeout = GUEST_TIMEOUT
                else:
                    self._lines.limit = MAX_LINE
            now = time.monotonic()
            delay = self._bucket.spend(cost, now)
            if greeting:
                delay = min(delay, deadline - now)
            if delay > 0 and self._ending is None:
                self._pause(delay)

    def _answer(self, chunk: bytes) -> float:
        """Answer every line of one chunk with one send: four to nine times the throughput.

        Returns as how many messages that counts where the rate is limited.
        """
        heard = self.traffic.heard
        plain = self.state == UP and self._trace is None
        if plain and chunk in messages.PING_AND_PONG and not self._lines.held:
            # One of these and nothing else: most of the traffic of a quiet network.  Answering a
            # ping takes 1.4 us (3.0 on Python 3.6) and not 2.5 (4.6), the kernel's part left out.
            single = messages.PING_AND_PONG[chunk]
            if isinstance(single, Ping):
                heard["ping"] = heard.get("ping", 0) + 1
                self._reply(messages.PONG)
            else:
                heard["pong"] = heard.get("pong", 0) + 1
                self._overlay.receive(self, single)
            return 1
        lines = self._lines.feed(chunk)
        answers: List[bytes] = []
        said = 0
        try:
            for line in lines:
                if line in messages.PING_LINES and self.state == UP and self._trace is None:
                    answers.append(messages.PONG)  # most of the traffic: no detour
                    heard["ping"] = heard.get("ping", 0) + 1
                    continue
                if not line:
                    continue
                if self._trace is not None:
                    self._trace("<", self, line + b"\n")
                if line.startswith(messages.ROW) and self._overlay.keep(self, line):
                    heard["links"] = heard.get("links", 0) + 1
                    continue
                message = messages.parse(line)
                name = messages.name_of(message)
                heard[name] = heard.get(name, 0) + 1
                for answer in self._overlay.receive(self, message):
                    answers.append(answer)
                    said += len(answer)
                    if len(answer) > LONG_ANSWER:
                        # Rows may be many: the next is made when there is room for it.
                        self._reply(b"".join(answers))
                        del answers[:]
        finally:
            if answers:
                self._reply(b"".join(answers))
            elif self._unsent:
                self._flush()
        return max(len(lines), len(chunk) / BYTES_PER_TOKEN, said / ANSWERED_PER_TOKEN)

    def _reply(self, data: bytes) -> None:
        """Send, and wait while the other end does not read what it has asked for."""
        self.send(data, urgent=True)
        while len(self._unsent) > HIGH_WATER and self._ending is None:
            self._transport.wait(False, True, 1.0)
            self._flush()

    def _wait_to_receive(self) -> None:
        """Until bytes have come or nothing is unsent any more: meanwhile that goes out as it can."""
        while self._unsent:
            readable, writable = self._transport.wait(True, True, 1.0)
            if writable:
                self._flush()
            if readable:
                return

    def _pause(self, seconds: float) -> None:
        """Leave this connection unread for a while: its sender is over its rate.

        The kernel's buffers fill, and TCP tells the sender to wait: a flood costs the flooder.
        """
        end = time.monotonic() + seconds
        self.unread_until = self._overlay.patience() + seconds
        while self._ending is None:
            left = end - time.monotonic()
            if left <= 0 or any(self._transport.wait(False, False, left)):
                return

    def _flush(self) -> None:
        with self._send_lock:
            if self._unsent:
                self._push_locked()

    def _push_locked(self) -> None:
        """Offer the kernel all that waits."""
        try:
            sent = self._transport.send(self._unsent)
        except OSError:
            sent = len(self._unsent)  # broken; the reader finds that out when it reads
        del self._unsent[:sent]
        self._marked -= sent
        if self._marked <= 0:
            self._mark_locked()
        if self._ending is not None and not self._unsent:
            self._transport.finish()

    def _note_said_locked(self, lines: bytes) -> None:
        """Trace and count."""
        if self._trace is not None:
            self._trace(">", self, lines)
        said = self.traffic.said
        self.traffic.bytes_out += len(lines)
        if len(lines) <= messages.LONGEST_FREQUENT_LINE and lines in messages.FREQUENT_LINES:
            name = messages.FREQUENT_LINES[lines]
            said[name] = said.get(name, 0) + 1
            return
        pongs = lines.count(messages.PONG)
        if pongs:
            said["pong"] = said.get("pong", 0) + pongs
            if len(lines) == pongs * len(messages.PONG):
                return
        for line in lines.splitlines():
            name = messages.said_in(line)
            if name != "pong":
                said[name] = said.get(name, 0) + 1

    def _mark_locked(self) -> None:
        """What waits now must be gone in time; what comes later gets its own time then.

        (Any progress would be too little to ask: a byte every now and then would hold a
        megabyte for ever.)
        """
        self._marked = len(self._unsent)
        late_at = self._overlay.patience() + self._ping_timeout
        self._late_at = late_at if self._unsent else float("inf")

    def _drain(self) -> None:
        """We have said bye: throw away what still comes, until the other end closes too."""
        while self._unsent and time.monotonic() < self._cut_at:
            self._transport.wait(False, True, self._cut_at - time.monotonic())
            self._flush()
        try:
            while True:
                left = self._cut_at - time.monotonic()
                if left <= 0 or not self._transport.receive(left):
                    return
        except OSError:  # socket.timeout is one
            pass


class Sessions:
    """Every open session of a node, those that have not said hello included.

    The peer table knows peers; this knows sockets: what has to be closed at the end, and how
    many a stranger may open.  Any thread may call any method.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        # Guarded by _lock.  Dicts serve as sets, and an OrderedDict keeps the order of arrival.
        self._open: Dict[Session, None] = {}
        self._strangers: OrderedDict[Session, None] = OrderedDict()
        """Inbound ones that were nobody's peer when we last looked: no hello yet, or a guest."""
        self._inbound_by_ip: Dict[str, int] = {}
        self._past = Traffic()
        """Of those that have ended."""

    def enter(self, session: Session) -> bool:
        """Note a session that is about to run; ``False`` if its address has too many."""
        evicted = None
        host = session.remote.host
        with self._lock:
            if session.direction == INBOUND:
                count = self._inbound_by_ip.get(host, 0)
                if count >= MAX_PER_IP and not is_loopback(host):
                    return False
                self._inbound_by_ip[host] = count + 1
                if len(self._strangers) >= MAX_UNGREETED and self._strangers_locked(MAX_UNGREETED):
                    evicted = self._strangers.popitem(last=False)[0]
                self._strangers[session] = None
            self._open[session] = None
        if evicted is not None:
            evicted.cut()
        return True

    def evict_stranger(self) -> bool:
        """Cut the connection that has longest been nobody's peer's; whether there was one."""
        with self._lock:
            evicted = self._strangers.popitem(last=False)[0] if self._strangers_locked(1) else None
        if evicted is not None:
            evicted.cut()
        return evicted is not None

    def _strangers_locked(self, least: int) -> bool:
        """Whether there are still that many; who has become a peer is forgotten here."""
        for known in [s for s in self._strangers if s.state not in (GREETING, PROBED)]:
            del self._strangers[known]
        return len(self._strangers) >= least

    def leave(self, session: Session) -> None:
        """Its socket is closed."""
        host = session.remote.host
        with self._lock:
            del self._open[session]
            self._past.add(session.traffic)
            self._strangers.pop(session, None)
            if session.direction == INBOUND:
                self._inbound_by_ip[host] -= 1
                if not self._inbound_by_ip[host]:
                    del self._inbound_by_ip[host]

    def all(self) -> List[Session]:
        """Those open now."""
        with self._lock:
            return list(self._open)

    def traffic(self) -> Traffic:
        """Of all connections since the start."""
        found = Traffic()
        with self._lock:
            for session in self._open:
                found.add(session.traffic)
            found.add(self._past)
        return found

    def attend(self, now: float) -> None:
        """``Session.attend`` for each.  The pinger's thread."""
        for session in self.all():
            session.attend(now)
