"""The seal on each line between members: who wrote it, and that none is missing.

Each direction of each connection has a key and counts its lines.  A line is sealed with the first 16
bytes of HMAC-SHA256 (RFC 2104) over its number and itself, so nobody without the key can change,
drop, repeat or reorder lines without being noticed.  Anyone on the way can still read them.

No sockets, threads or clock.  ``member_session`` seals under its send lock, because the numbers must be in
the order of the lines, and opens on its reader thread.
"""

import struct
from binascii import hexlify
from hashlib import sha256
from hmac import compare_digest

from ..common.errors import PeerMisbehaved

SEAL_BYTES = 1 + 32
"""Bytes that a seal adds to a line: a space, and 16 bytes as hex digits."""

_TAG_BYTES = 16
"""A forger has one try for each connection, and 128 bits to guess."""

_number_bytes = struct.Struct(">Q").pack
_BLOCK_BYTES = 64


class Seal:
    """The seals of one direction: of all that one end says.  One thread at a time."""

    added_bytes = SEAL_BYTES
    """For callers that cannot import this module before they need it."""

    def __init__(self, key: bytes, number: int = 0) -> None:
        """``number`` is that of the next line."""
        # HMAC hashes a key block first, twice.  Done once and copied for each line, a seal takes a
        # quarter of the time of ``hmac.new``.
        block = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))
        self._number = number

    def seal(self, lines: bytes) -> bytes:
        """Return encoded lines, each with its seal before the newline."""
        if lines.count(b"\n") == 1:
            return b"%b %b\n" % (lines[:-1], self._next(lines[:-1]))
        return b"".join(b"%b %b\n" % (line, self._next(line)) for line in lines.split(b"\n")[:-1])

    def open(self, sealed: bytes) -> bytes:
        """Return a line without its seal.  Raises ``PeerMisbehaved`` if it is not the next one."""
        line, tag = sealed[:-SEAL_BYTES], sealed[-SEAL_BYTES:]
        if not compare_digest(tag, b" " + self._next(line)):
            raise PeerMisbehaved("a line's seal is wrong")
        return line

    def _next(self, line: bytes) -> bytes:
        """Return the hex digits for the next line, and count it."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(_number_bytes(self._number) + line)
        outer.update(inner.digest())
        self._number += 1
        return hexlify(outer.digest()[:_TAG_BYTES])
