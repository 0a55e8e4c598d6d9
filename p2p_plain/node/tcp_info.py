"""What the operating system knows of one connection: segments sent, sent again, acknowledged.

TCP repairs losses, so a program that only reads and writes never sees one.  The kernel counts them.
On Linux ``getsockopt(TCP_INFO)`` returns the counts, without privileges, in about a microsecond.

Source: ``struct tcp_info`` in ``include/uapi/linux/tcp.h``.  It grows at its end, and the kernel returns
as much of it as it has; the duplicates that the other end reports (RFC 2883) came with Linux 4.19.
"""

import functools
import socket
import struct
import sys

from ..common.typing import NamedTuple, Optional

_TCP_INFO = 11
"""``socket.TCP_INFO``, by number: not every Python has it, and elsewhere it would mean something else."""

_FIELDS = struct.Struct("=2xB2xB10xI80xI16xQ20xI4xI56xI")
"""``tcpi_retransmits``, ``options``, ``snd_mss``, ``total_retrans``, ``bytes_acked``, ``min_rtt`` (us),
``data_segs_out``, ``dsack_dups``; at offsets 2, 5, 16, 100, 120, 148, 156 and 216."""

_TIMESTAMPS = 1
"""``TCPI_OPT_TIMESTAMPS``."""


class TcpInfo(NamedTuple):
    """Counts of one connection, for our sending direction."""

    sent: int
    """Segments with data, those sent again included."""
    sent_again: int
    """Segments sent again; a SYN counts too."""
    duplicates: int
    """How many of those the other end had already, as it reports a moment later: they were not lost."""
    acknowledged: int
    """Bytes."""
    stalled: int
    """How often in a row the oldest segment was sent again without an answer, so far."""
    min_rtt: float
    """Shortest round trip in seconds.  (The smoothed one contains the other end's delayed ACKs.)"""
    mss: int = 1448
    """Most bytes in a segment that we send."""
    timestamps: bool = True
    """True if each segment has 12 bytes of timestamps as well (RFC 7323)."""


@functools.lru_cache(maxsize=1)
def is_counted() -> bool:
    """True if the kernel has such counts.  Any thread."""
    try:
        with socket.socket() as sock:
            return tcp_info(sock) is not None
    except OSError:  # no descriptor left
        return False


def tcp_info(sock: socket.socket) -> Optional[TcpInfo]:
    """Return the kernel's counts of a connected socket; ``None`` where there are none (or no socket).

    Any thread.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        found = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _FIELDS.size)
    except OSError:
        return None
    if len(found) < _FIELDS.size:
        return None  # a kernel before 4.19
    stalled, options, mss, again, acknowledged, min_rtt_us, sent, duplicates = _FIELDS.unpack(found)
    timestamps = bool(options & _TIMESTAMPS)
    return TcpInfo(sent, again, duplicates, acknowledged, stalled, min_rtt_us / 1e6, mss, timestamps)
