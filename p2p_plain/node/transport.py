"""One TCP socket: bytes in, bytes out, and the end of the connection.

Threads
-------
Two kinds of threads use a connection's socket: its reader, which waits for bytes as long as it takes, and any
thread that has something to send, which must never wait.  A Python socket has one timeout for both.
So the socket stays blocking for the reader, and each ``send`` passes the flag ``MSG_DONTWAIT``: the
kernel takes as many bytes as fit its buffer, and returns how many.  Windows does not have that flag;
there the socket is non-blocking, and the reader waits in ``select``.

shutdown and close
------------------
``shutdown`` ends the *connection*.  Any thread may call it, and a reader blocked in ``recv`` wakes up
and gets the end of the stream, ``b""``.  ``shutdown(SHUT_WR)`` ends only our direction: the other end
reads ``b""``, but may still send (a half-closed connection).

``close`` gives the *descriptor* back: the small number by which the kernel knows the socket.  The next
connection may get the same number at once, so a thread still blocked on it would read a stranger's
bytes.  Therefore any thread may shut down, but only the reader closes, as the last thing it does.
"""

import select
import socket
import struct
import sys
import time

from ..common.typing import Any, List, Optional, Tuple, Union
from .tcp_info import TcpInfo, tcp_info

RECEIVE_BYTES = 4 * 1024
"""Bytes that one ``recv`` asks for.  With 64 KiB a peer that sends all the time is parsed in longer
turns.  (Measured: pings of other peers then wait 353 us instead of 136.)"""

LONG_LINE_BYTES = 28 * 1024
"""Bytes that are asked for in the middle of a long line.  The longest lines of the monitor (28 KB with
128 nodes) then come with two calls instead of eight."""

SEND_BUFFER_BYTES = 128 * 1024
"""What the kernel is asked to hold of unsent bytes for one connection.  Two of the longest lines; on a
line with a round trip of 200 ms it allows 640 KB a second."""

POLL_SLICE = 0.05
"""Seconds between two looks where a wait cannot be interrupted: a stop is at most this late."""

LONGEST_WAIT = 3600.0
"""Longest timeout of one wait, in seconds: ``poll`` takes its milliseconds as a C int."""

SO_TIMESTAMPNS = 35 if sys.platform.startswith("linux") else None
"""socket(7); no Python has its number.  On the few processors where it is another one (SPARC, PA-RISC)
the kernel gives nothing of this type."""

_TIMESPEC = struct.Struct("@ll")  # seconds and nanoseconds
_ANCILLARY_BYTES = 64
"""Room for what the kernel says beside the bytes: one stamp takes half of it."""

_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)

_LINGER = struct.Struct("hh" if sys.platform == "win32" else "ii")
"""``struct linger``."""


class Transport:
    """One connected socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._blocking = bool(_DONTWAIT)
        # One buffer for all that this connection receives.  recv() would allocate 4 KiB for each chunk
        # and shrink them, and glibc keeps the leftovers (measured: 56 KiB a connection instead of 27).
        self._room = memoryview(bytearray(RECEIVE_BYTES))
        self._rooms = [self._room]
        # Send small answers at once.  Otherwise the second of two waits until the other end has
        # acknowledged the first, up to 40 ms (Nagle's algorithm and delayed ACKs).
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Without a bound the kernel would take megabytes for a peer that reads slowly, and the next ping
        # would wait behind them.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._stamps = ask_for_stamps(sock)
        self._ancillary: List[Tuple[int, int, bytes]] = []
        """What the kernel said beside the bytes received last.  Reader thread only."""
        # A system call lets other threads run first, so ask for nothing that is true already.
        if (sock.gettimeout() is None) != self._blocking:
            sock.setblocking(self._blocking)

    def receive(self, timeout: Optional[float] = None) -> bytes:
        """Wait until bytes arrive and return them; ``b""`` is the end of the stream.

        Raises ``socket.timeout`` after ``timeout`` seconds (``None``: never), ``OSError`` if the
        connection broke.  Reader thread only.
        """
        if timeout is not None or not self._blocking:
            try:  # the bytes are often there already: a node that dials says hello at once
                return self._receive(_DONTWAIT)
            except BlockingIOError:
                readable, _ = self.wait(True, False, timeout)
            if not readable:
                raise socket.timeout("timed out")
        if not self._stamps:
            return self._receive(0)
        # As _receive() does it, without the call: most bytes come this way.
        size, self._ancillary, _, _ = self._sock.recvmsg_into(self._rooms, _ANCILLARY_BYTES)
        return self._room[:size].tobytes()

    def _receive(self, flags: int) -> bytes:
        if self._stamps:  # (measured: 0.4 us longer)
            size, self._ancillary, _, _ = self._sock.recvmsg_into(self._rooms, _ANCILLARY_BYTES, flags)
        else:
            size = self._sock.recv_into(self._room, 0, flags)
        return self._room[:size].tobytes()

    @property
    def arrived(self) -> Optional[float]:
        """When the kernel received the last of the bytes that ``receive`` has returned, if it says so.

        Seconds on the wall clock, ``time.time()``.  Reader thread only.
        """
        for level, kind, data in self._ancillary:
            if (level, kind, len(data)) == (socket.SOL_SOCKET, SO_TIMESTAMPNS, _TIMESPEC.size):
                seconds, nanoseconds = _TIMESPEC.unpack(data)
                return float(seconds + nanoseconds / 1e9)
        return None

    def receive_more(self) -> bytes:
        """Return the bytes that are there, perhaps none.  Never blocks.  Reader thread only."""
        self._ancillary = []
        try:
            return self._sock.recv(LONG_LINE_BYTES, _DONTWAIT)
        except OSError:  # nothing yet, or the connection broke: the next receive() finds out
            return b""

    def send(self, data: Union[bytes, bytearray]) -> int:
        """Return how many bytes of ``data`` the kernel took; it may be none.  Never blocks.

        Raises ``OSError`` if the connection broke.  Any thread, one at a time.
        """
        try:
            return self._sock.send(data, _DONTWAIT)
        except BlockingIOError:
            return 0

    def tcp_info(self) -> Optional[TcpInfo]:
        """Return the kernel's counts of this connection, if it has any.  Any thread."""
        return tcp_info(self._sock)

    def local(self) -> Any:
        """Return our end's address, as ``getsockname`` does.  Reader thread only; raises ``OSError``."""
        return self._sock.getsockname()

    def wait(self, read: bool, write: bool, timeout: Optional[float]) -> Tuple[bool, bool]:
        """Wait for this socket; see the function ``wait``.  Reader thread only."""
        return wait(self._sock, read, write, timeout)

    def half_close(self) -> None:
        """End our direction: the other end reads ``b""``, and may still send.  Any thread."""
        self._shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """End the connection in both directions; a blocked reader wakes.  Any thread."""
        self._shutdown(socket.SHUT_RDWR)

    def end_with_reset(self) -> None:
        """Have ``close`` reset the connection and drop what was not acknowledged.  Any thread."""
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(1, 0))
        except OSError:
            pass  # closed already

    def close(self) -> None:
        """Give the descriptor back.  Reader thread only, as the last thing it does."""
        self._sock.close()

    def _shutdown(self, how: int) -> None:
        try:
            self._sock.shutdown(how)
        except OSError:
            pass  # the other end was faster


def ask_for_stamps(sock: socket.socket) -> bool:
    """Have the kernel note when each segment arrives; False if it does not.

    Connections that a listening socket accepts inherit it.  A kernel in which no socket had it before
    starts a moment later: the first segments have no stamp.
    """
    try:
        if SO_TIMESTAMPNS is not None:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            return True
    except OSError:
        pass
    return False


def wait(
    sock: socket.socket, read: bool, write: bool, timeout: Optional[float]
) -> Tuple[bool, bool]:
    """Wait until ``sock`` can be read or written; return which of the two, if they were asked for.

    A broken connection counts as both.  If neither is asked for, only a break ends the wait before
    ``timeout`` seconds (``None``: never).
    """
    if timeout is not None:
        timeout = min(max(timeout, 0.0), LONGEST_WAIT)
    if not hasattr(select, "poll"):  # Windows
        return _wait_with_select(sock, read, write, timeout)
    poller = select.poll()  # select() fails for descriptors above 1023
    poller.register(sock, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
    found = poller.poll(None if timeout is None else int(timeout * 1000 + 0.999))
    if not found:
        return False, False
    happened = found[0][1]
    broken = happened & (select.POLLERR | select.POLLHUP | select.POLLNVAL)
    return bool(happened & select.POLLIN or broken), bool(happened & select.POLLOUT or broken)


def _wait_with_select(
    sock: socket.socket, read: bool, write: bool, timeout: Optional[float]
) -> Tuple[bool, bool]:
    """Do the same on Windows, whose ``select`` has no such limit but cannot wait for nothing."""
    if not read and not write:
        time.sleep(POLL_SLICE if timeout is None else min(timeout, POLL_SLICE))
        return False, False
    readable, writable, broken = select.select(
        [sock] if read else [], [sock] if write else [], [sock] if write else [], timeout
    )
    return bool(readable or broken), bool(writable or broken)
