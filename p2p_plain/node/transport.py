"""Bytes in and out of one TCP socket: the only module that reads or writes one.

Two threads use a connection's socket: its reader, which waits for bytes as long as it takes,
and anyone who has something to say, who must never wait.  One Python socket has one timeout
for both, so neither a blocking nor a non-blocking socket will do by itself.  The way out is to
leave the socket blocking for the reader and to ask for ``MSG_DONTWAIT`` on each ``send``:
"take what fits in the kernel's buffer now, and tell me how much that was".  Where that flag does
not exist (Windows) the socket is non-blocking and the reader waits in ``select`` instead.

``shutdown`` against ``close``: ``shutdown`` ends the *connection*, wakes a reader that is
blocked in ``recv`` (it gets the end of the stream) and may be called from any thread; ``close``
gives the *descriptor* back, which the kernel may hand to the next connection at once, so a
thread still blocked on it would read a stranger's bytes.  Therefore any thread may shut
down, and only the reader closes, last of all.

A later TLS socket goes here, and nothing above will notice.
"""

import select
import socket
import time
from typing import Any, Optional, Tuple, Union

RECEIVE_BYTES = 4 * 1024
"""Bytes that one ``recv`` asks for.  With 64 KiB a flood is parsed in longer turns, and pings of
other peers wait 353 us instead of 136 us."""

LONG_LINE_BYTES = 28 * 1024
"""Bytes that are asked for in the middle of a long line.  A row among 128 nodes (28 KB) then comes with
two calls instead of eight."""


_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)

POLL_SLICE = 0.05
"""Seconds between two looks where a wait cannot be interrupted: the most that a stop is late."""

LONGEST_WAIT = 3600.0
"""Seconds after which a wait ends in any case: poll() takes no more milliseconds than an int."""


class Transport:
    """One connected socket.  Who may call what stands with each method."""

    __slots__ = ("_blocking", "_room", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._blocking = bool(_DONTWAIT)
        # recv() makes 4 KiB of room for each chunk and cuts it down to what came; with the GNU C
        # library each thread keeps seven of the offcuts.  In one room of its own for all that it
        # will ever receive, a connection takes 27 KiB and not 56 (Python 3.13, ten pings each).
        self._room = memoryview(bytearray(RECEIVE_BYTES))
        # Two small answers sent one after the other would otherwise wait for the other end's
        # acknowledgement of the first, up to 40 ms (Nagle's algorithm against delayed ACKs).
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Each call that asks the system lets another thread run meanwhile, and then waits for its
        # turn again: among 32 who connect at once that takes longer than the call.
        if (sock.gettimeout() is None) != self._blocking:
            sock.setblocking(self._blocking)

    def receive(self, timeout: Optional[float] = None) -> bytes:
        """What has arrived, at least one byte; ``b""`` at the end of the stream.

        Waits, for ``timeout`` seconds if that is given, then raises ``socket.timeout``.
        Raises ``OSError`` if the connection broke.  Reader thread only.
        """
        if timeout is not None or not self._blocking:
            try:  # what is to be waited for is often there: who dials says hello at once
                return self._room[: self._sock.recv_into(self._room, 0, _DONTWAIT)].tobytes()
            except BlockingIOError:
                readable, _ = self.wait(True, False, timeout)
            if not readable:
                raise socket.timeout("timed out")
        return self._room[: self._sock.recv_into(self._room)].tobytes()

    def local(self) -> Any:
        """The address of our end, as the system says it.  Reader thread only; raises ``OSError``."""
        return self._sock.getsockname()

    def receive_more(self) -> bytes:
        """What else is there already, perhaps nothing.  Never blocks.  Reader thread only."""
        try:
            return self._sock.recv(LONG_LINE_BYTES, _DONTWAIT)
        except OSError:  # nothing yet, or it broke: the next receive() finds out
            return b""

    def send(self, data: Union[bytes, bytearray]) -> int:
        """How many bytes of ``data`` the kernel took; it may be none.  Never blocks.

        Raises ``OSError`` if the connection broke.  Any thread, one at a time.
        """
        try:
            return self._sock.send(data, _DONTWAIT)
        except BlockingIOError:
            return 0

    def wait(self, read: bool, write: bool, timeout: Optional[float]) -> Tuple[bool, bool]:
        """Wait until bytes have come or can go, or for ``timeout`` seconds; which of the two.

        A broken connection counts as both.  With neither wanted, only a break ends the wait
        early.  Reader thread only.
        """
        return wait(self._sock, read, write, timeout)

    def finish(self) -> None:
        """Half-close: the other end's ``receive`` gives ``b""``; it may still speak.  Any thread."""
        self._shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """End the connection in both directions; a blocked reader wakes.  Any thread."""
        self._shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back.  Reader thread only, as the last thing it does."""
        self._sock.close()

    def _shutdown(self, how: int) -> None:
        try:
            self._sock.shutdown(how)
        except OSError:
            pass  # the other end was faster


def wait(
    sock: socket.socket, read: bool, write: bool, timeout: Optional[float]
) -> Tuple[bool, bool]:
    """Wait for one socket.  ``poll`` where there is one: ``select`` fails above descriptor 1023."""
    if timeout is not None:
        timeout = min(max(timeout, 0.0), LONGEST_WAIT)
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(sock, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
        found = poller.poll(None if timeout is None else int(timeout * 1000 + 0.999))
        if not found:
            return False, False
        happened = found[0][1]
        broken = happened & (select.POLLERR | select.POLLHUP | select.POLLNVAL)
        return bool(happened & select.POLLIN or broken), bool(happened & select.POLLOUT or broken)
    return _wait_with_select(sock, read, write, timeout)


def _wait_with_select(
    sock: socket.socket, read: bool, write: bool, timeout: Optional[float]
) -> Tuple[bool, bool]:
    """The same on Windows, whose ``select`` has no such limit but cannot wait for nothing."""
    if not read and not write:
        time.sleep(POLL_SLICE if timeout is None else min(timeout, POLL_SLICE))
        return False, False
    readable, writable, broken = select.select(
        [sock] if read else [], [sock] if write else [], [sock] if write else [], timeout
    )
    return bool(readable or broken), bool(writable or broken)
