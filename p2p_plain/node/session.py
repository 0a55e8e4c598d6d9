"""One connection's life, inbound and outbound alike: a socket around codec, messages and rules.

Each connection has a thread that runs ``Session.run``: receive bytes, cut them into lines, parse
each, ask what to answer, send that.  The *overlay* is asked: all rules as one object, whose
``receive`` returns the answers to a message.  Its *hooks* may take a line of the monitor's unparsed.
All other threads (the pinger, a connection that forwards a message, the library's caller) only call
``send`` and ``close``, which never block.

Slow readers
------------
``send`` gives the kernel what it takes at once.  The rest is kept (``outbox``), up to a bound, and goes
out when there is room.  The session's own thread watches for that while it waits for bytes; where that
thread is already blocked in ``recv``, the pinger does it (``tick``).  If something waits longer
than ``ping_timeout``, the other end does not keep up, and the connection is closed.  We finish a
line before we begin the next.

Ending
------
``close`` says ``bye`` (after what is still unsent) and shuts down our direction.  The session's
thread then reads and throws away until the other end has closed too, at most for ``LINGER`` seconds.
Closing at once would be simpler, and would often destroy the ``bye``.
"""

import socket
import time
from threading import Lock

from ..common.address import Address, from_sockaddr
from ..common.config import Config
from ..common.counters import Traffic
from ..common.errors import PeerLeft, Refused, why
from ..common.token_bucket import TokenBucket
from ..common.typing import Callable, List, Optional, Tuple
from . import messages
from .answers import Answers
from .codec import MAX_FIRST_LINE, MAX_LINE, LineSplitter
from .hooks import LongAnswer
from .outbox import Backlog, Outbox
from .overlay import Overlay
from .pace import BYTES_PER_TOKEN
from .peer import (
    ADMITTED, GREETING, GUEST, GUEST_TIMEOUT, HANDSHAKE_TIMEOUT, OUTBOUND, UP, Link, Order, Questions,
)
from .round_trips import EXCUSED, Moment, RoundTrip, between, since, this_moment
from .tcp_info import TcpInfo
from .transport import RECEIVE_BYTES, Transport

Trace = Callable[[str, "Session", bytes], None]
"""``trace("<" or ">", session, lines)``: lines that have just crossed the wire.  Any thread."""

ANSWERED_PER_TOKEN = 16 * 1024
"""Bytes of answers that count as one message.  22 bytes (``getlinks``) can ask for a megabyte."""

LINGER = 0.5
"""Seconds that the other end gets to close first after our ``bye``.  Closing a socket with unread data
in it sends a reset, which overtakes and destroys the ``bye`` (RFC 1122 section 4.2.2.13)."""

LONG_ANSWER = 1024
"""Bytes from which an answer is sent by itself, and not together with those to later lines."""


class Session(Link):
    """A link over a real socket."""

    compares_chunks = True
    """True if lines arrive as they were sent, so that one ping and nothing else is known by its bytes."""

    def __init__(
        self,
        sock: socket.socket,
        overlay: Overlay,
        config: Config,
        trace: Optional[Trace] = None,
        remote: Optional[Address] = None,
        order: Optional[Order] = None,
        connect_seconds: Optional[float] = None,
        backlog: Optional[Backlog] = None,
    ) -> None:
        """``remote`` is the other end, if that is known already.  For the rest see ``Link``.

        ``backlog`` is what waits on all connections of the node.  Raises ``OSError``.
        """
        super().__init__(remote or from_sockaddr(sock.getpeername()), order, connect_seconds)
        # Immutable.
        self._transport = Transport(sock)
        self._overlay = overlay
        self._trace = trace
        self._greet_timeout = HANDSHAKE_TIMEOUT
        if order is not None and order.timeout is not None:
            self._greet_timeout = order.timeout
        self.traffic = Traffic()
        # Reader thread only.
        self._lines = LineSplitter(MAX_FIRST_LINE)
        self._ends_chunk = False
        """True if the line that is answered is the last one of the bytes received last."""
        self._bucket = TokenBucket(config.max_rate, 2 * config.max_rate, time.monotonic())
        self._answers = Answers()
        # Held for one non-blocking send at the longest, so nobody waits behind a slow peer.  It keeps
        # the lines of two threads from mixing.
        self._send_lock = Lock()
        # Guarded by _send_lock, but for the length of the outbox.
        lateness = overlay.lateness
        self._outbox = Outbox(self._transport, backlog or Backlog(), lateness, config.ping_timeout)
        self._expected = 0
        """Bytes that may still come of an answer that we have asked for."""
        # Written under _send_lock.  Read without it, too: an old value costs one more round.
        self._pinged: Optional[Moment] = None
        """When the ping left that waits for its pong; ``None`` if it had to wait.  The reader thread
        takes it, perhaps before ``send`` returns.  Always under _send_lock."""
        self._sending = 0.0
        """Seconds that its ``send`` took."""
        self._before: Optional[TcpInfo] = None
        """The kernel's counts before it."""
        self._ending: Optional[Tuple[str, str]] = None
        """Reason and detail, once there is one: the first wins."""
        self._cut_at = float("inf")
        """When we stop waiting for the other end to close."""

    # -- any thread ---------------------------------------------------------------------

    def send(self, line: bytes, urgent: bool = False) -> bool:
        """Send encoded lines.  False if we are ending, the connection broke, or too much waits."""
        with self._send_lock:
            if self._ending is not None:
                return False
            if not urgent and not self._outbox.has_room(len(line)):
                return False
            line = self._outgoing_locked(line)
            try:
                self._outbox.offer(line)
            except OSError:
                return False  # broken; the reader finds that out too, and ends the session
            return True

    def ask(self, line: bytes, size: int) -> bool:
        """Send a question, and read up to ``size`` bytes of rows at full speed."""
        with self._send_lock:
            self._expected = size
        return self.send(line)

    def behind(self) -> int:
        """Return how many bytes wait, besides those that the kernel holds."""
        return len(self._outbox)

    def hold(self, line: bytes) -> None:
        """Send it with the next line, or when all that was received is answered.  Never blocks."""
        with self._send_lock:
            if self._ending is None:
                self._outbox.keep(self._outgoing_locked(line))

    def close(self, reason: str, detail: str = "") -> None:
        """Say ``bye`` and begin to end.  Never blocks."""
        with self._send_lock:
            if self._ending is not None:
                return
            self._ending = (reason, detail)
            self._cut_at = time.monotonic() + LINGER
            # After the rest of a line that was begun; the thread that sends the last byte finishes.
            self._outbox.keep(self._farewell_locked(reason, detail))
            self._push_locked()

    def untaken(self) -> int:
        """Return how many bytes wait that hold a message of an application; 0 if they hold none."""
        with self._send_lock:
            waiting = self._outbox.copy()
        lines = waiting.splitlines()
        # The first line may be the rest of one, and the last one is the bye.
        return len(waiting) if any(messages.msgtype_in(line) == "message" for line in lines[:-1]) else 0

    def tcp_info(self) -> Optional[TcpInfo]:
        """Return the kernel's counts of this connection, if it has any."""
        return self._transport.tcp_info()

    def end_with_reset(self) -> None:
        """Have the kernel drop what is unsent when this connection is closed.  Any thread."""
        self._transport.end_with_reset()

    def cut(self) -> None:
        """End now, without a word.  Never blocks."""
        self._transport.cut()

    # -- the pinger's thread --------------------------------------------------------------

    def ping(self) -> None:
        """Send a ping that asks how long it is held, and note when it leaves."""
        with self._send_lock:
            if self._ending is None:
                ping = self._outgoing_locked(messages.TIMED_PING)
                self._before = self.tcp_info()
                self._pinged = this_moment()
                if not self._offer_locked(ping):
                    self._pinged = None  # nobody knows when it leaves
                else:
                    self._sending = time.monotonic() - self._pinged.steady

    def tick(self, now: float) -> None:
        """Send what waits; close if the other end is too slow to read, cut if too slow to close."""
        if self._outbox:
            self._flush()
            if self._outbox.is_late:
                self.close("timeout", "it does not read what it is sent")
        if now > self._cut_at:
            self._transport.cut()

    # -- the session's own thread, its reader ----------------------------------------------

    def held(self) -> Optional[float]:
        """Return the seconds since the line that is answered arrived, if known.

        The kernel's stamp is that of the last segment of a chunk, so it is known of the last line only.
        """
        return since(self._transport.arrived) if self._ends_chunk else None

    def round_trip(self, held: Optional[float]) -> Optional[RoundTrip]:
        """Return the round trip that the pong just received ends, if we know when its ping left."""
        seen = this_moment()
        with self._send_lock:  # perhaps ``send`` has not returned yet
            sent, self._pinged = self._pinged, None
            sending, before = self._sending, self._before
        if sent is None:
            return None
        arrived = self._transport.arrived if self._ends_chunk else None
        trip = between(sent, arrived, seen, held, sending)
        info = self.tcp_info() if before is not None and trip.seconds >= EXCUSED else None
        if before is None or info is None:
            return trip
        return trip._replace(on_time=info.sent_again == before.sent_again)

    def local(self) -> Address:
        """Return our end of the socket.  Raises ``OSError``."""
        return from_sockaddr(self._transport.local())

    def _first_line(self) -> bytes:
        """Return what we say first on a connection that we have dialed."""
        return self._overlay.first_line(self)

    def run(self) -> None:
        """Live, from the first byte to the closed socket."""
        reason, detail, say_bye = "closed", "", False
        try:
            if self.direction == OUTBOUND:
                self.send(self._first_line(), urgent=True)
            self._converse(time.monotonic() + self._greet_timeout)
        except PeerLeft as left:
            reason, detail = left.reason, left.detail
        except Refused as refused:
            if refused.last_words:
                self.send(b"".join(refused.last_words), urgent=True)
            reason, detail, say_bye = refused.reason, refused.detail, True
        except socket.timeout:
            detail = "the handshake took over %g s" % self._greet_timeout
            if self.state == GUEST:
                detail = "nothing was asked for %g s" % GUEST_TIMEOUT
            reason, say_bye = "timeout", True
        except OSError as error:
            detail = why(error)
        finally:
            if self._ending is not None:  # another thread was faster
                reason, detail = self._ending
            try:
                # Leave the table first: when the bye arrives, we must no longer count that node.
                self._overlay.closed(self, reason, detail)
                if say_bye:
                    self.close(reason, detail)
                if self._ending is not None:
                    self._linger()
            finally:
                with self._send_lock:
                    # It is too late for other threads to send (a tie's loser is closed a second
                    # later), and a line that cannot leave need not be traced and counted.
                    self._ending = self._ending or (reason, detail)
                    self._outbox.drop()
                self._transport.close()

    def _converse(self, deadline: float) -> None:
        """Receive, judge, answer; until the stream ends or somebody ends it."""
        greeting = True
        timeout: Optional[float] = None
        while self._ending is None:
            if self.questions is not None:
                timeout = self._ask_on(self.questions)
            elif greeting:
                # One deadline for all of it, however slowly the bytes drip.  After the deadline read
                # once more without waiting, because perhaps we were suspended; then give up.
                if timeout == 0.0:
                    raise socket.timeout
                timeout = max(0.0, deadline - time.monotonic())
            elif self._outbox or self._answers:
                self._wait_to_receive()
            chunk = self._transport.receive(timeout)
            if self._ending is not None:
                return  # we have said bye meanwhile: what comes now is not for us any more
            if not chunk:  # half-closed at least: the other end says no more
                if self._lines.held:
                    # Its program has died, or gave up on us before we had read the whole line.
                    raise PeerLeft("closed", "inside a line, after %d bytes" % len(self._lines.held))
                return
            if len(chunk) == RECEIVE_BYTES and b"\n" not in chunk:
                chunk += self._transport.receive_more()
            self.heard = True
            self.traffic.bytes_in += len(chunk)
            cost = self._answer(chunk)
            if greeting and self.state != GREETING:
                # A node that we dialed must let us in by the deadline too, not only say hello.
                greeting = self.state == ADMITTED and self.direction == OUTBOUND
                timeout = None
                if self.state == GUEST:
                    timeout = GUEST_TIMEOUT
                else:
                    self._lines.limit = MAX_LINE + self.seal_bytes()
            elif timeout == GUEST_TIMEOUT and self.state != GUEST:  # it has joined
                timeout, self._lines.limit = None, MAX_LINE + self.seal_bytes()
            self.heard_at = now = time.monotonic()
            delay = self._bucket.spend(cost, now)
            if greeting:
                delay = min(delay, deadline - now)
            if delay > 0 and self._ending is None:
                self._pause(delay)

    def _ask_on(self, questions: Questions) -> float:
        """Ask what is next as long as no answer comes in time; return the seconds for this one."""
        while self._ending is None:
            left = max(0.0, questions.deadline - time.monotonic())
            if self._transport.wait(True, False, left)[0]:
                return 0.0
            self._reply(b"".join(self._overlay.unanswered(self)))
        return 0.0

    def _answer(self, chunk: bytes) -> float:
        """Answer every line of one chunk with one send, which gives four to nine times the throughput.

        Return the number of messages that the chunk counts as where the rate is limited.
        """
        received, overlay, trace = self.traffic.received, self._overlay, self._trace
        plain = trace is None and (self.state == UP or self.state == GUEST)
        timed = messages.PINGS.get(chunk)
        if plain and timed is not None and not self._lines.held and self.compares_chunks:
            # One ping and nothing else is most of the traffic of a quiet network.  Measured without
            # the kernel's part, its answer takes 2 us instead of 4 this way.
            received["ping"] = received.get("ping", 0) + 1
            self.line_at = overlay.lateness.awake_clock
            if timed:
                self._pong()
            else:
                self._reply(messages.PONG)
            return 1
        unparsed_prefix = overlay.hooks.unparsed_prefix
        lines = self._lines.feed(chunk)
        if lines:
            self.line_at = overlay.lateness.awake_clock
            lines = self._opened(lines)
        count, size = self._to_be_paid(chunk, lines)
        answers: List[bytes] = []
        answer_bytes = self._answers.unpaid()
        try:
            for line in lines:
                message = messages.FREQUENT.get(line)
                if message is messages.A_PING and plain:
                    received["ping"] = received.get("ping", 0) + 1
                    answers.append(messages.PONG)  # most of the traffic: no detour
                    continue
                if not line:
                    continue
                if trace is not None:
                    trace("<", self, line + b"\n")
                if (
                    unparsed_prefix is not None
                    and line.startswith(unparsed_prefix)
                    and overlay.hooks.take_unparsed(self, line)
                ):
                    name = messages.msgtype_in(line)
                    received[name] = received.get(name, 0) + 1
                    continue
                if message is None:
                    message = messages.parse(line)
                self._ends_chunk = line is lines[-1] and not self._lines.held
                name = messages.name_of(message)
                received[name] = received.get(name, 0) + 1
                if name == "pong" and self._answers.was_awaited(received[name]):
                    continue
                found = overlay.receive(self, message)
                if isinstance(found, LongAnswer):
                    self._answers.add(found)
                    continue
                for answer in found:
                    answers.append(answer)
                    answer_bytes += len(answer)
                    if len(answer) > LONG_ANSWER:
                        # Such answers may be many: the next is made when there is room for it.
                        self._reply(b"".join(answers))
                        del answers[:]
        finally:
            if answers:
                self._reply(b"".join(answers))
            elif self._outbox:
                self._flush()
        return max(count, size / BYTES_PER_TOKEN, answer_bytes / ANSWERED_PER_TOKEN)

    def _to_be_paid(self, chunk: bytes, lines: List[bytes]) -> Tuple[int, int]:
        """Return how many messages, and how many bytes, count where the rate is limited.

        Rows that we have asked for do not.  If they did, the node that sends them would wait for us, and
        the pings of both with it.
        """
        if not self._expected:
            return len(lines), len(chunk)
        prefix = self._overlay.hooks.unparsed_prefix
        sizes = [len(line) for line in lines if prefix is None or not line.startswith(prefix)]
        with self._send_lock:
            self._expected = max(0, self._expected - len(chunk))
        return len(sizes), sum(sizes)

    def _opened(self, lines: List[bytes]) -> List[bytes]:
        """Return the lines without what was added to them on their way."""
        return lines

    def _pong(self) -> None:
        """Answer a ping that came alone and asks how long it is held: to just before it is sent."""
        arrived = self._transport.arrived
        with self._send_lock:
            if self._ending is None:
                pong = messages.encode_pong(messages.A_TIMED_PING, since(arrived))
                self._offer_locked(pong)
                self._count_locked(pong)

    def _reply(self, data: bytes) -> None:
        """Send, and wait while the other end does not read the answers that it has asked for."""
        self.send(data, urgent=True)
        while self._outbox.is_high() and self._ending is None:
            self._transport.wait(False, True, 1.0)
            self._flush()

    def _wait_to_receive(self) -> None:
        """Send what waits as it can go, until bytes have come or nothing is left to be sent now."""
        while self._ending is None and (self._outbox or self._answers):
            readable, writable = self._transport.wait(True, True, 1.0)
            if writable:
                self._flush()
                self._answer_on()
            if readable:
                return

    def _answer_on(self) -> None:
        """Send the next lines of a long answer, one piece at most."""
        while self._answers and not self._outbox and self._ending is None:
            line = self._answers.next_line()
            if line is None:
                return
            self.send(line, urgent=True)
            if self._answers.is_piece_out():
                with self._send_lock:
                    if self.peer is not None and self._ending is None:  # we ask no guest for a pong
                        ping = self._outgoing_locked(messages.PING)
                        self._answers.await_pong(self.traffic.sent["ping"])
                        self._offer_locked(ping)
                return

    def _pause(self, seconds: float) -> None:
        """Leave this connection unread for a while: its sender is over its rate.

        The kernel's buffers fill, and TCP makes the sender wait.
        """
        end = time.monotonic() + seconds
        self.unread_until = self._overlay.lateness.awake_clock + seconds
        while self._ending is None:
            left = end - time.monotonic()
            if left <= 0 or any(self._transport.wait(False, False, left)):
                return

    def _offer_locked(self, line: bytes) -> bool:
        """Send a line after all that waits; True if the kernel has it now."""
        try:
            return self._outbox.offer(line)
        except OSError:
            return False  # broken; the reader finds that out too, and ends the session

    def _flush(self) -> None:
        with self._send_lock:
            if self._outbox:
                self._push_locked()

    def _push_locked(self) -> None:
        """Offer the kernel all that waits."""
        self._outbox.push()
        if self._ending is not None and not self._outbox:
            self._transport.half_close()

    def _outgoing_locked(self, lines: bytes) -> bytes:
        """Return the bytes of lines that are about to be sent, in this order; trace and count them."""
        self._count_locked(lines)
        return lines

    def _farewell_locked(self, reason: str, detail: str) -> bytes:
        """Return the bytes of our ``bye``."""
        return self._outgoing_locked(messages.encode_bye(reason, detail))

    def _count_locked(self, lines: bytes) -> None:
        """Trace and count lines that are about to be sent."""
        if self._trace is not None:
            self._trace(">", self, lines)
        sent = self.traffic.sent
        self.traffic.bytes_out += len(lines)
        pongs = lines.count(messages.PONG)  # answers to a hundred pings are one send
        if pongs:
            sent["pong"] = sent.get("pong", 0) + pongs
        if len(lines) > pongs * len(messages.PONG):
            for line in lines.splitlines(True):
                if line != messages.PONG:
                    name = messages.msgtype_in(line)
                    sent[name] = sent.get(name, 0) + 1

    def _linger(self) -> None:
        """After our bye, send what waits and throw away what still comes, until the other end closes too."""
        while self._outbox and time.monotonic() < self._cut_at:
            self._transport.wait(False, True, self._cut_at - time.monotonic())
            self._flush()
        try:
            while True:
                left = self._cut_at - time.monotonic()
                if left <= 0 or not self._transport.receive(left):
                    return
        except OSError:  # socket.timeout is one
            pass
