"""Broken lines, made of valid ones, each with what the node is expected to do with it."""

import json
from typing import Any, Callable, List, Tuple

from .grammar import ACCEPT, EITHER, KINDS, REJECT, Grammar, Line, expected_if_valid
from .harmless import is_harmless

REQUIRED = {
    "addr": ("peers",),
    "bye": ("reason",),
    "hello": ("nodeid",),
    "links": ("nodeid", "links"),
    "message": ("id", "from", "body"),
}
ALWAYS_TYPED = frozenset((
    "nodeid", "port", "http", "id", "from", "to", "peers", "links", "reason",
))
"""Fields for which each of ``ODD_VALUES`` has the wrong type."""

ODD_VALUES = tuple(
    rb"""true false "80" 80.0 8e1 null 0 -1 65536 18446744073709551615 {} [80] "" "\ud800"
    {"a":{"b":[]}}""".split()
)
NOT_JSON_VALUES = (
    *rb"NaN -NaN Infinity -Infinity 1e999 -1e999".split(),
    b"1" * 21, b"-" + b"9" * 21, b"1" * 3000, b"1" * 60000,
    *rb"""0x10 01 .5 1. +1 'a' undefined "\x41" "\u12" "unended {"a":1,"a":1} [1,]""".split(),
    b"",
)
"""Not JSON, or more than the wire allows of it: 20 digits, and no key twice."""

NO_MESSAGE = (
    b"hello", b"[1, 2]", b'"text"', b"7", b"null", b"true", b"{}", b"{", b"}", b"]",
    b'{"msgtype"', b"{'msgtype': 'ping'}", b'{"msgtype": "ping",}', b'{"msgtype": "ping"} x',
    b'{"msgtype": "ping"}{"msgtype": "ping"}', b'{"msgtype": ["ping"]}', b'{"msgtype": 7}',
    b'{"msgtype": null}', b'{"MSGTYPE": "ping"}', b"NaN", b"GET / HTTP/1.1\r",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"SSH-2.0-OpenSSH_9.6",
    b" ", b"\x00", b"\x00" * 2000,
)
NOT_UTF8 = (
    b"\xff", b"\xfe", b"\x80", b"\xc0\x80", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80", b"\xf0\x9f\x92",
)
CONTROL = tuple(bytes([code]) for code in range(32) if code not in b"\t\n\r")
BAD_NAMES = ("", "x" * 65, "x" * 65536, "\x1b[2J", "a\nb", "\x00", "\u202e", "\ud800", "\x7f")
BAD_UUIDS = ("", "x", "{%s}", "urn:uuid:%s", "%s0", " %s", "%s\n", "\u0661%s", "no-uuid")
BAD_ADDRESSES = (
    "nowhere", "localhost:%d", "example.invalid:%d", "127.0.0.1", "127.0.0.1:", ":%d",
    "127.0.0.1:65536", "127.0.0.1:99999999999999999999", "127.0.0.1:-1", "127.0.0.1: %d",
    " 127.0.0.1:%d", "127.0.0.1:%d\n", "127.0.0.01:%d", "127.1:%d", "2130706433:%d",
    "0x7f.0.0.1:%d", "127.0.0.\u0661:%d", "127.0.0.1:\u0661\u0662", "[::1]", "[::1", "::1:%d",
    "[::1%%lo]:%d", "[127.0.0.1]:%d", "[::1]x:%d", "[[::1]]:%d", "", "\x00", "\ud800", "x" * 3000,
)
BAD_ENTRIES: Tuple[Any, ...] = (
    None, True, 0, 1.5, {}, [], [[]], ["127.0.0.1:0"], [1, 2], ["a", "b", "c"],
)
SIZES = (4095, 4096, 4097, 65535, 65536, 65537, 70000)
"""Around the bounds of the first line and of all others."""


class Mutator:
    """Breaks valid messages; every choice comes from the grammar's ``rng``."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.rng = grammar.rng
        self._ports = grammar.world.ports
        self._ways: List[Callable[[str], Line]] = [
            *[self._bytes] * 4, self._without_field, self._field_twice, *[self._other_type] * 2,
            self._no_message, self._encoding, self._control, self._number, self._nesting,
            self._size, self._name, self._uuid, self._entries, self._escaped, self._splice,
        ]

    def mutate(self, kind: str) -> Line:
        """Return a broken line of that type, or a valid one if the broken one were harmful."""
        line = self.rng.choice(self._ways)(kind)
        if not line.data.endswith(b"\n"):
            line = line._replace(data=line.data + b"\n")
        return line if is_harmless(line.data, self._ports) else self.grammar.line(kind)

    def _data(self, kind: str) -> bytes:
        return self.grammar.encode(self.grammar.message(kind))

    def _with(self, kind: str, value: bytes) -> bytes:
        """Return a valid message with one more field, which no node knows."""
        return self._data(kind)[:-1] + b',"zz":' + value + b"}"

    def _bytes(self, kind: str) -> Line:
        """Change bytes anywhere, blindly."""
        rng, data = self.rng, bytearray(self._data(kind))
        what = rng.choice(("flip", "insert", "delete", "double", "cut", "swap", "noise"))
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            at = rng.randrange(len(data)) if data else 0
            to = min(len(data), at + rng.choice((1, 1, 2, 5, 30)))
            if what == "flip" and data:
                data[at] ^= 1 << rng.randrange(8)
            elif what == "insert":
                data[at:at] = bytes([rng.getrandbits(8)])
            elif what == "delete":
                del data[at:to]
            elif what == "double":
                data[at:at] = data[at:to]
            elif what == "cut":
                del data[at:]
            elif what == "swap":
                data[at:to] = data[at:to][::-1]
            else:
                data[at:to] = bytes(rng.getrandbits(8) for _ in range(to - at))
        return Line(bytes(data), EITHER, kind, "bytes: " + what)

    def _splice(self, kind: str) -> Line:
        """Join the beginning of one message and the end of another."""
        rng, one = self.rng, self._data(kind)
        other = self._data(rng.choice(KINDS))
        if rng.random() < 0.3:
            return Line(one + other, REJECT, kind, "two on a line")
        data = one[: rng.randrange(len(one))] + other[rng.randrange(len(other)) :]
        return Line(data, EITHER, kind, "splice")

    def _without_field(self, kind: str) -> Line:
        message = self.grammar.message(kind)
        field = self.rng.choice(sorted(message))
        del message[field]
        needed = field == "msgtype" or field in REQUIRED.get(kind, ())
        expected = REJECT if needed else EITHER if kind in ("hello", "bye") else ACCEPT
        return Line(self.grammar.encode(message), expected, kind, "without " + field)

    def _field_twice(self, kind: str) -> Line:
        message = self.grammar.message(kind)
        field = self.rng.choice(sorted(message))
        value = message[field] if self.rng.random() < 0.5 else None
        more = json.dumps(field) + ":" + json.dumps(value)
        data = self.grammar.encode(message)[:-1] + b"," + more.encode("ascii") + b"}"
        return Line(data, REJECT, kind, "%s twice" % field)

    def _other_type(self, kind: str) -> Line:
        """Put an odd value into a field, ``true`` into a port for example."""
        message = self.grammar.message(kind)
        fields = sorted(message) + (["port", "http"] if kind == "hello" else [])
        field = self.rng.choice(fields)
        odd = self.rng.choice(ODD_VALUES + NOT_JSON_VALUES)
        message[field] = "@@"
        data = self.grammar.encode(message).replace(b'"@@"', odd, 1)
        expected = EITHER
        if odd in NOT_JSON_VALUES or (field in ALWAYS_TYPED and kind in REQUIRED):
            expected = REJECT
        elif field == "body":
            expected = ACCEPT
        return Line(data, expected, kind, "%s: %s" % (field, odd[:20].decode("ascii")))

    def _no_message(self, kind: str) -> Line:
        return Line(self.rng.choice(NO_MESSAGE), REJECT, kind, "no message")

    def _encoding(self, kind: str) -> Line:
        """Use another encoding, a byte order mark, or bytes that are not UTF-8."""
        rng, data = self.rng, self._data(kind)
        dice = rng.random()
        if dice < 0.2:
            return Line(b"\xef\xbb\xbf" + data, REJECT, kind, "BOM")
        if dice < 0.5:
            code = rng.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32-le"))
            wide = data.decode("utf-8").encode(code).replace(b"\n", b"\0")
            return Line(wide, REJECT, kind, code)
        at = rng.randrange(len(data) + 1)
        while at < len(data) and data[at] & 0xC0 == 0x80:
            at += 1  # not into the middle of a character, which the bytes might complete
        return Line(data[:at] + rng.choice(NOT_UTF8) + data[at:], REJECT, kind, "not UTF-8")

    def _control(self, kind: str) -> Line:
        """Insert a control character as it is: JSON wants it escaped in strings."""
        data = self._data(kind)
        at = self.rng.randrange(len(data) + 1)
        odd = self.rng.choice(CONTROL)
        return Line(data[:at] + odd + data[at:], REJECT, kind, "control character")

    def _number(self, kind: str) -> Line:
        """Give an unknown field a value at a bound, or one that is not JSON."""
        rng = self.rng
        if rng.random() < 0.3:
            odd = rng.choice((b"9" * 20, b"-" + b"9" * 20, b"1e308", b"-0.0", b"1e-999"))
            return Line(self._with(kind, odd), expected_if_valid(kind), kind, "number")
        odd = rng.choice(NOT_JSON_VALUES)
        return Line(self._with(kind, odd), REJECT, kind, "not a value")

    def _nesting(self, kind: str) -> Line:
        """Nest values; 32 levels are allowed, the message itself counted."""
        rng = self.rng
        depth = rng.choice((2, 30, 31, 32, 33, 100, 5000, 30000))
        dice = rng.random()
        if dice < 0.2:
            odd = b'"' + rng.choice((b"[", b"{", b'\\"[', b"\\\\[")) * min(depth, 15000) + b'"'
            data = self._with(kind, odd)
            return Line(data, expected_if_valid(kind), kind, "brackets in text")
        if dice < 0.4:
            return Line(rng.choice((b"[", b'{"a":', b"[{")) * depth, REJECT, kind, "brackets")
        opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
        odd = opening * depth + (b"" if opening == b"[" else b"1") + closing * depth
        expected = expected_if_valid(kind) if depth <= 31 else REJECT
        return Line(self._with(kind, odd), expected, kind, "%d levels" % depth)

    def _size(self, kind: str) -> Line:
        """Make a line just below, at or above a bound; ``expect`` knows which bound applies."""
        data = self._with(kind, b'""')
        fill = self.rng.choice(SIZES) - len(data) - 1
        data = data[:-2] + b"x" * max(0, fill) + data[-2:]
        return Line(data, expected_if_valid(kind), kind, "%d bytes" % (len(data) + 1))

    def _name(self, kind: str) -> Line:
        kind = kind if kind in ("hello", "links") else "links"
        message = self.grammar.message(kind)
        message["name"] = self.rng.choice(BAD_NAMES)
        # What is wrong in a row is left out, unless its author has sent it.
        expected = REJECT if kind == "hello" else EITHER
        return Line(self.grammar.encode(message), expected, kind, "bad name")

    def _uuid(self, kind: str) -> Line:
        kind = kind if kind in ("hello", "links", "message") else "message"
        message = self.grammar.message(kind)
        field = self.rng.choice([field for field in REQUIRED[kind] if field in ("nodeid", "id")])
        odd = self.rng.choice(BAD_UUIDS)
        message[field] = odd % message[field] if "%s" in odd else odd
        return Line(self.grammar.encode(message), REJECT, kind, "%s: no UUID" % field)

    def _entries(self, kind: str) -> Line:
        """Make an ``addr`` with a bad entry, or with one entry too many."""
        rng = self.rng
        peers = [self.grammar.entry() for _ in range(rng.randrange(3))]
        what = "bad address"
        if rng.random() < 0.1:
            peers, what = [self.grammar.entry() for _ in range(101)], "101 entries"
        else:
            odd: Any = rng.choice(BAD_ENTRIES + BAD_ADDRESSES)
            if isinstance(odd, str):
                odd = odd % self.grammar.port() if "%d" in odd else odd
                odd = odd if rng.random() < 0.5 else [odd, self.grammar.uuid()]
            elif rng.random() < 0.3:
                odd = ["127.0.0.1:0", odd]
            peers.insert(rng.randrange(len(peers) + 1), odd)
        data = self.grammar.encode({"msgtype": "addr", "peers": peers})
        return Line(data, REJECT, "addr", what)

    def _escaped(self, kind: str) -> Line:
        """Write the msgtype with escapes: for every JSON parser the same message."""
        message = self.grammar.message(kind)
        data, msgtype = json.dumps(message), message["msgtype"]
        if msgtype.isalpha():
            escapes = "".join("\\u%04x" % ord(character) for character in msgtype)
            data = data.replace('"%s"' % msgtype, '"%s"' % escapes, 1)
        return Line(data.encode("ascii"), expected_if_valid(kind), kind, "escaped")
