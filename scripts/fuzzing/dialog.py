"""A conversation on its socket: a state machine that a select loop drives.

The loop asks ``wants`` what to wait for, calls ``serve`` when the socket is ready, and ``advance``
every few milliseconds.  When ``ended`` is set, the loop closes the socket and judges.

A dialog always reads to the end, and sends nothing after it has received ``bye``: a reset would
destroy the ``bye`` that it waits for.
"""

import selectors
import socket
import struct
import time
from collections import deque
from typing import Any, Deque, Dict, Optional, Tuple

from .conversation import Conversation
from .wire import TIMEOUT, LineBuffer, parse, shown

SENDS_AT_ONCE = 8
"""After so many, the other dialogs get their turn."""


class Dialog:
    """One connection of the fuzzer's, or one that the node made to it (``accepted``)."""

    def __init__(self, sock: socket.socket, conversation: Conversation, accepted: bool) -> None:
        now = time.monotonic()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.conversation = conversation
        self.accepted = accepted

        self._todo: Deque[Tuple[float, bytes]] = deque(conversation.sends)
        self._wake_at = now + self._todo[0][0] if self._todo else now
        self._deaf_until = now + conversation.deaf
        self._received = LineBuffer()
        self._served_at = self._sent_at = now
        self._broken = False
        self._may_speak = not accepted
        """False until the node's hello if it dialed: if we spoke first, the end of a probe would
        destroy the hello that says that it is one."""

        self.gap = 0.0
        """The longest time, in seconds, in which the loop did not serve this dialog."""
        self.sent = 0  # bytes
        self.sent_lines = 0
        self.pongs = 0
        self.probe = False
        """True if the node said that this connection is a probe."""
        self.bye: Optional[Dict[str, Any]] = None
        self.half_closed = False
        self.nonsense = ""
        """What the node sent that no node may send."""
        self.ended = ""
        """How it ended: ``eof``, ``reset``, ``ours`` (the fuzzer ended it), ``late``."""

    def wants(self, now: float) -> int:
        """Return which readiness of the socket to wait for."""
        mask = 0 if now < self._deaf_until and self._may_speak else selectors.EVENT_READ
        if self._todo and self._may_speak and self.bye is None and now >= self._wake_at:
            mask |= selectors.EVENT_WRITE
        return mask

    def serve(self, mask: int, now: float) -> None:
        """Read and write: the socket is ready for what ``mask`` says."""
        self.gap = max(self.gap, now - self._served_at)
        self._served_at = now
        try:
            if mask & selectors.EVENT_READ:
                self._read()
        except BlockingIOError:
            pass
        except OSError:
            self.ended = "reset"
        try:
            if mask & selectors.EVENT_WRITE and not self.ended and self.bye is None:
                self._write(now)
        except BlockingIOError:
            pass
        except OSError:
            self._todo.clear()
            self._broken = True  # but a bye may have come before the reset: read on

    def advance(self, now: float) -> None:
        """Begin the ending if everything is said; give up on a node that does not answer."""
        if self.ended:
            return
        expected, ending = self.conversation.expected, self.conversation.ending
        if not self._todo and not self.half_closed and self.bye is None:
            if ending == "reset":
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.ended = "ours"
            elif ending == "close":
                self.ended = "ours"
            elif ending in ("half", "cut") or (
                self.pongs >= expected.enough and (not expected.must or self.probe)
            ):
                self._half_close()
        if now - max(self._served_at, self._sent_at) > TIMEOUT:
            self.ended = "late"

    def _half_close(self) -> None:
        self.half_closed = True
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the node closed; the next read will see it

    def _write(self, now: float) -> None:
        for _ in range(SENDS_AT_ONCE):
            if not self._todo or now < self._wake_at:
                return
            data = self._todo[0][1]
            sent = self.sock.send(data) if data else 0
            self.sent += sent
            self.sent_lines += data.count(b"\n", 0, sent)
            self._sent_at = now
            if sent < len(data):
                self._todo[0] = (0.0, data[sent:])
                return
            self._todo.popleft()
            if self._todo:
                self._wake_at = now + self._todo[0][0]

    def _read(self) -> None:
        chunk = self.sock.recv(65536)
        if not chunk:
            self.ended = "reset" if self._broken else "eof"
            if self._received.rest and not self._broken:
                rest = shown(self._received.rest)
                self.nonsense = "the node closed in the middle of a line: %s" % rest
        for line in self._received.feed(chunk):
            self._receive(line)

    def _receive(self, line: bytes) -> None:
        try:
            message = parse(line)
        except ValueError as error:
            self.nonsense = "the node sent %s: %s" % (shown(line), error)
            return
        if self.bye is not None:
            self.nonsense = "the node sent %s after its bye" % shown(line)
        if message["msgtype"] == "pong":
            self.pongs += 1
        elif message["msgtype"] == "bye":
            self.bye = message
        elif message["msgtype"] == "hello":
            self.probe = message.get("probe") is True
            self._may_speak = True
