r"""Newline-JSON: bytes to objects and back, every line bounded.

TCP carries a stream of bytes, not messages.  One ``recv`` may bring half a line, or seven
and a half; where the sender's ``send`` calls began and ended is lost.  So each message ends
with a newline, and ``LineSplitter`` keeps what has no newline yet until the rest arrives.
That is the whole of framing, and forgetting it is the most common mistake with sockets: it
works on one's own machine, where small lines happen to arrive whole.

JSON need never have a raw newline inside, which is why a newline can end it: in a string it
must be written ``\n`` (RFC 8259 section 7), and between the tokens, where it may stand, we
leave it out.

Then ``decode`` reads one line, and is stricter than ``json.loads`` alone, which accepts
NaN, a key twice, UTF-16, and numbers that take seconds to read.

No sockets, no threads, no clock.  The splitter belongs to its connection's reader thread;
the functions may be called from any.
"""

import json
import math
from typing import Any, Dict, List, Tuple

from ..common.errors import MessageTooLong, PeerMisbehaved

MAX_LINE = 64 * 1024
"""Longest line on the wire, in bytes, newline included.  A hundred addresses take 8 KiB; the row of
a node with 256 links fits.  If it were longer, each peer could make us hold more bytes while the
newline never comes.  (Redis has the same bound for an inline command.)"""

MAX_FIRST_LINE = 4 * 1024
"""Longest line, in bytes, before hello: a stranger gets less of our memory."""

MAX_NESTING = 32
"""Deepest nesting of brackets.  Our own messages need three levels.  ``json`` recurses for each
level, and enough of them overflow its stack: the process crashes, without any exception."""

MAX_INTEGER_DIGITS = 20
"""Longest integer in a message; 64 bits need 20 digits.  Before Python 3.11 a million digits take
seconds to turn into a number (CVE-2020-10735)."""


class LineSplitter:
    """Cuts one connection's byte stream into lines; holds at most ``limit`` bytes.

    Reader thread only.
    """

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """Longest line, bytes, newline included.  May be raised between two calls."""
        # Grows in place: gluing bytes together anew for each chunk would cost a sender of one
        # byte at a time nothing, and us 65,536 copies of up to 64 KiB.
        self.held = bytearray()
        """The beginning of a line whose newline has not come yet."""

    def feed(self, chunk: bytes) -> List[bytes]:
        r"""Every line that ``chunk`` completes, without its ``\n`` or ``\r\n``; blank ones too.

        Raises ``PeerMisbehaved`` if a line is longer than ``limit``.
        """
        lines = chunk.split(b"\n")
        # What comes after the last newline is the beginning of another line: usually nothing.
        rest = lines.pop()
        total = len(self.held) + len(chunk)
        if self.held and lines:
            lines[0] = bytes(self.held + lines[0])
            del self.held[:]
        self.held += rest
        # Looking at each line is most of the work where there are many (128 pings: 6 us and not
        # 15), and needless where all of them together are not too long, or have no \r.
        if total >= self.limit and max(map(len, [*lines, self.held])) >= self.limit:
            raise PeerMisbehaved("line over %d bytes" % self.limit)
        if lines and (b"\r" in chunk or lines[0].endswith(b"\r")):
            return [line[:-1] if line.endswith(b"\r") else line for line in lines]
        return lines

    def end(self) -> None:
        """Say that the stream has ended.  Raises ``PeerMisbehaved`` if it cut a line off."""
        if self.held:
            raise PeerMisbehaved("the stream ended inside a line, after %d bytes" % len(self.held))


def encode(message: Dict[str, Any]) -> bytes:
    """One line, newline included.

    Written as UTF-8; escaped to ASCII where a text has no UTF-8 form (half of a surrogate
    pair).  Raises ``MessageTooLong``, and ``TypeError`` or ``ValueError`` for what JSON
    cannot say.
    """
    try:
        line = _ENCODER.encode(message).encode("utf-8")
    except UnicodeEncodeError:
        line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii")
    if len(line) >= MAX_LINE:
        raise MessageTooLong(
            "%d bytes as a line; the wire takes %d, newline included" % (len(line) + 1, MAX_LINE)
        )
    return line + b"\n"


def decode(line: bytes) -> Dict[str, Any]:
    """The JSON object on a line.  Raises ``PeerMisbehaved``, with a detail, for anything else."""
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
    r"""How deep the brackets of a line go, those inside strings not counted.

    In time linear in the line, whatever is on it: with ``\\`` and ``\"`` gone, a quote
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


# Made once: json.dumps and json.loads with options make a new one at each call.
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_key_twice,
    parse_float=_finite,
    parse_int=_integer,
    parse_constant=_no_constant,
)
