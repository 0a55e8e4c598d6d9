r"""Newline-JSON: bytes to lines, lines to JSON objects, and back.

TCP carries a stream of bytes, not messages.  When the sender calls ``send`` twice, the receiver may get
everything from one ``recv``, or pieces from three::

    send     {"msgtype":"ping"}\n    {"msgtype":"getaddr"}\n
    recv     {"msgtyp    e":"ping"}\n{"msgtype":"get    addr"}\n

So each message ends with a newline.  ``LineSplitter`` returns the lines that are complete, and holds
the beginning of the next one until the rest arrives.  This is called framing.  Programs that forget
it work on one machine, where small messages usually arrive whole, and fail on a real network.

A newline can end a message because JSON needs none inside: within a string it must be written ``\n``
(RFC 8259 section 7), and between tokens we leave it out.

``encode`` turns a message into a line, ``decode`` a line into a message.  ``decode`` is stricter than
``json.loads``, which accepts NaN, the same key twice, UTF-16, and numbers that take seconds to read.

No sockets, no threads, no clock.  ``session`` calls all this on its connection's reader thread.
"""

import json
import math

from ..common.errors import MessageTooLong, PeerMisbehaved
from ..common.typing import Any, Dict, List, Tuple

MAX_LINE = 64 * 1024
"""Longest line on the wire, in bytes, newline included.  A hundred addresses take 8 KiB.  Without a
bound, a peer that never sends a newline would fill our memory.  (Redis has the same bound for an
inline command.)"""

MAX_FIRST_LINE = 4 * 1024
"""Longest line, in bytes, before hello: a stranger gets less of our memory than a peer."""

MAX_NESTING = 32
"""Deepest nesting of brackets.  Our own messages need three levels.  ``json`` recurses for each
level, and enough of them overflow its stack: the process crashes, without any exception."""

MAX_INTEGER_DIGITS = 20
"""Longest integer in a message; 64 bits need 20 digits.  Before Python 3.11 a million digits take
seconds to turn into a number (CVE-2020-10735)."""


class LineSplitter:
    """Cuts the byte stream of one connection into lines.  Reader thread only."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """Longest line, in bytes, newline included.  May be raised between two calls."""
        # A bytearray grows in place.  With bytes, a sender of one byte at a time would make us copy
        # up to 64 KiB 65,536 times.
        self.held = bytearray()
        """The beginning of a line whose newline has not arrived yet: fewer than ``limit`` bytes.  What
        is held at the end of the stream was cut off with the connection, and is no message."""

    def feed(self, chunk: bytes) -> List[bytes]:
        r"""Return the lines that ``chunk`` completes, without ``\n`` or ``\r\n``; blank ones too.

        Raises ``PeerMisbehaved`` if a line is longer than ``limit``.
        """
        lines = chunk.split(b"\n")
        rest = lines.pop()  # the beginning of the next line; usually empty
        total = len(self.held) + len(chunk)
        if self.held and lines:
            lines[0] = bytes(self.held + lines[0])
            del self.held[:]
        self.held += rest
        # Look at the lines one by one only when one may be too long or end in \r.  (Measured: 128
        # pings in one chunk take 6 us instead of 15.)
        if total >= self.limit and max(map(len, [*lines, self.held])) >= self.limit:
            raise PeerMisbehaved("line over %d bytes" % self.limit)
        # The \r may have been held back: the line ended in "\r", and this chunk begins with "\n".
        if lines and (b"\r" in chunk or lines[0].endswith(b"\r")):
            return [line[:-1] if line.endswith(b"\r") else line for line in lines]
        return lines


def encode(message: Dict[str, Any]) -> bytes:
    """Return the message as a line of UTF-8, newline included.

    Raises ``MessageTooLong``, and ``TypeError`` or ``ValueError`` for values that JSON does not have.
    """
    try:
        line = _ENCODER.encode(message).encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair has no UTF-8 form, but an ASCII escape
        line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii")
    if len(line) >= MAX_LINE:
        raise MessageTooLong(
            "%d bytes as a line; the wire takes %d, newline included" % (len(line) + 1, MAX_LINE)
        )
    return line + b"\n"


def decode(line: bytes) -> Dict[str, Any]:
    """Return the JSON object on a line.  Raises ``PeerMisbehaved`` for anything else."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PeerMisbehaved("not UTF-8 at byte %d" % error.start) from None
    if text.startswith("\ufeff"):
        raise PeerMisbehaved("a byte order mark before the JSON")
    if line.count(b"[") + line.count(b"{") > MAX_NESTING and _nesting(line) > MAX_NESTING:
        raise PeerMisbehaved("nested more than %d deep" % MAX_NESTING)
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise PeerMisbehaved("not JSON: %s" % error) from None
    if not isinstance(value, dict):
        raise PeerMisbehaved("not a JSON object")
    return value


_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def _nesting(line: bytes) -> int:
    r"""Return how deep the brackets of a line go, without those inside strings.

    Takes time in proportion to the line, whatever is on it.  With ``\\`` and ``\"`` gone, a quote
    always begins or ends a string, so every second piece between quotes is outside one.
    """
    bare = line.replace(b"\\\\", b"").replace(b'\\"', b"")
    depth = deepest = 0
    for byte in b"".join(bare.split(b'"')[::2]).translate(None, _NO_BRACKETS):
        if byte in b"[{":
            depth += 1
            if depth > deepest:
                deepest = depth
        else:
            depth -= 1
    return deepest


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise PeerMisbehaved("an integer of more than %d digits" % MAX_INTEGER_DIGITS)
    return int(digits)


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise PeerMisbehaved("a number too large to hold")
    return value


def _no_constant(name: str) -> None:
    raise PeerMisbehaved("%s is not JSON" % name)


def _no_key_twice(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise PeerMisbehaved("the same key twice in one object")
    return found


# Made once; json.dumps and json.loads would make a new one at each call with options.
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_key_twice,
    parse_float=_finite,
    parse_int=_integer,
    parse_constant=_no_constant,
)
