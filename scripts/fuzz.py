#!/usr/bin/env python3
r"""Talk nonsense to a live node, and see that nobody else notices.

    python3 scripts/fuzz.py --seed 7 --lines 200000             a node of this Python
    python3 scripts/fuzz.py --seed 7 --lines 200000 --python /usr/bin/python3.6
    python3 scripts/fuzz.py --seed 7 --only 4711                one conversation alone
    python3 scripts/fuzz.py --cases                             each kind of bad input, timed

How it works
============

Four parties, a process each but for the last two, which share the one that you started::

    node      python -m p2p_plain --json --network fuzz ..., with no limit of the rate
    polite    three peers that behave, and ping all the time (this file with --polite)
    fuzzer    one select loop; it keeps --connections conversations with the node going
    listener  where the node is led to by addresses that the fuzzer tells, and meets it again

A **conversation** is made of valid lines (``Grammar``), some of them bent (``Bender``), cut into
sends, with an ending.  It is made before a byte of it is sent, from the seed and its number
alone, so the same seed says the same again; but for the node's own nodeid and the ports, which
the system hands out, and for how the conversations overlap.

Each line carries a **verdict**: what the node has to think of it.  ``good`` must be accepted,
``bad`` must be answered with ``bye protocol``, ``either`` is for those that were bent blindly,
and ``leaves`` is a goodbye of our own.  ``expect`` goes through a conversation and works out what
may and what must become of it, and ``judge`` compares.  So not only the death of the node is
found, but also a bad line that it takes, a good one that it refuses, and a connection that it
closes without a word.

We always read to the end, and send no more once we have heard ``bye``: a reset would destroy
the ``bye`` that we are after.

Nothing leaves this machine
===========================

A node dials what it hears.  So an address that we say is a loopback address, with a port that
is ours (it listens, or is taken and silent), or one that nobody may dial (unspecified,
multicast, broadcast, port 0).  ``is_harmless`` looks at each line when it is done and a
mutation that made anything else is left out.  And where that is possible (root, Linux) all of
this runs in a network namespace that has nothing but a loopback interface.

Exit codes: 0 all is well, 1 something is not, 2 wrong usage.
"""

import argparse
import errno
import ipaddress
import json
import os
import queue
import random
import re
import select
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    FrozenSet,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Tuple,
)

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INSIDE = "P2P_PLAIN_FUZZ_INSIDE"
"""Environment variable that says that we are in a network of our own already."""

NETWORK = "fuzz"
MAX_LINE = 65536
MAX_FIRST_LINE = 4096
PING_TIMEOUT = 5.0
"""Seconds: the node's ``--ping-timeout``, and how long anyone here waits for an answer."""
LINGER = 0.4
"""Seconds.  A little less than the node waits, after its ``bye``, before it cuts: if we did not
come round to reading for that long, a lost ``bye`` is our own fault."""
SETTLE = 30.0
"""Seconds in which descriptors and threads have to be back where they were."""
POOL = 16
"""Threads that the node keeps for dialing, once it has needed them."""
SLOW_MS = 50.0
"""Milliseconds that bad input may cost (rule 11)."""
TRIES = 5
MOST_FAILURES = 10
"""After this many there is no point in going on."""

REASONS = frozenset(
    ("stopping", "self", "duplicate", "full", "network", "unauthorised", "timeout", "protocol")
)
MSGTYPES = frozenset(
    ("hello", "ping", "pong", "getaddr", "addr", "links", "getlinks", "message", "bye")
)
EVENTS = frozenset(
    ("listening", "peer_up", "peer_down", "self", "refused", "rtt", "reach", "message", "stopped")
)
POLITE_IDS = tuple("00000000-0000-4000-8000-%012d" % n for n in (1, 2, 3))
"""The smallest nodeids there are: by the rule of ties, a connection that the node dials never
displaces one that such a peer has dialed, whoever pretends to be it at the other end."""

GOOD, BAD, EITHER, LEAVES = "good", "bad", "either", "leaves"


# -- what everyone has to know --------------------------------------------------------------------


class World(NamedTuple):
    """What lines may mention of the world outside."""

    nodeid: str
    node_port: int
    listeners: Tuple[str, ...]  # "ip:port" where we accept
    dead_ports: Tuple[int, ...]  # taken by us on every address, and nobody accepts

    @property
    def ports(self) -> FrozenSet[int]:
        """Every port that a line may name."""
        ours = [int(address.rpartition(":")[2]) for address in self.listeners]
        return frozenset([self.node_port] + ours + list(self.dead_ports))


class Line(NamedTuple):
    """What is sent of one message, newline included; ``kind`` is its msgtype as it was meant."""

    data: bytes
    verdict: str
    kind: str
    what: str


class Expectation(NamedTuple):
    """What may, and what must, become of a conversation.  See ``expect``."""

    reasons: FrozenSet[str]  # that a bye may give
    must: bool  # a bye has to come
    quiet: bool  # the node may close first, and without a bye: we may have said it
    pongs: Optional[int]  # exactly this many, where it is certain
    enough: int  # pongs after which everything has been dealt with


class Conversation(NamedTuple):
    """Everything that one connection says, how it is cut into sends, and how it ends."""

    number: int
    lines: Tuple[Line, ...]
    sends: Tuple[Tuple[float, bytes], ...]  # seconds of silence before it, and the bytes
    ending: str  # one of ENDINGS
    deaf: float  # seconds for which we do not read
    expected: Expectation


# -- nothing leaves this machine ------------------------------------------------------------------

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_DOTTED = re.compile(r"[0-9.]+")
_COLONS = re.compile(r"[0-9a-fA-F:.]+")
_PORT_AFTER = re.compile(r"(?:\.[0-9]+|\]):([0-9]+)")
_PORT_FIELD = re.compile(r'(?:port|http)"\s*:\s*([0-9]+)')
_SUSPICIOUS = re.compile(rb"\.[0-9]*\.|:[0-9a-fA-F.]*:|port\"|http\"|\\u00|\x00")


def is_harmless(data: bytes, ports: FrozenSet[int]) -> bool:
    """Whether nothing in ``data`` can lead a node elsewhere than to us, or nowhere.

    Looks at the bytes as they stand and as they are with JSON's escapes undone, at everything
    that looks like an address or like the port of a hello; what is in doubt is refused.
    """
    if not _SUSPICIOUS.search(data):
        return True
    text = data.decode("latin-1")
    texts = [text]
    if "\\u" in text:
        texts.append(_ESCAPE.sub(lambda found: chr(int(found.group(1), 16)), text))
    if "\0" in text:  # UTF-16
        texts.append(text.replace("\0", ""))
    return all(_is_harmless_text(text, ports) for text in texts)


def _is_harmless_text(text: str, ports: FrozenSet[int]) -> bool:
    for found in _DOTTED.finditer(text):
        octets = found.group().split(".")  # of what may be an address with more before or after
        if not all(_may_be_said(octets[i : i + 4]) for i in range(len(octets) - 3)):
            return False
    for found in _COLONS.finditer(text):
        if found.group().count(":") > 1 and not _ipv6_may_be_said(found.group()):
            return False
    for pattern in (_PORT_AFTER, _PORT_FIELD):
        for found in pattern.finditer(text):
            digits = found.group(1).lstrip("0")
            if 0 < len(digits) <= 5 and int(digits) <= 65535 and int(digits) not in ports:
                return False
    return True


def _may_be_said(octets: List[str]) -> bool:
    """Whether these four are no IPv4 address, a loopback one, or one that nobody may dial."""
    if not all(octets) or any(len(octet) > 3 or int(octet) > 255 for octet in octets):
        return True
    if octets[0] != str(int(octets[0])):
        return False  # octal to some
    first = int(octets[0])
    return first in (0, 127) or 224 <= first <= 239 or octets == ["255"] * 4


def _ipv6_may_be_said(text: str) -> bool:
    try:
        ip = ipaddress.IPv6Address(text)
    except ValueError:
        return True
    if ip.ipv4_mapped is not None:
        return _may_be_said(str(ip.ipv4_mapped).split("."))
    return ip.is_loopback or ip.is_unspecified or ip.is_multicast


# -- valid lines ----------------------------------------------------------------------------------

_ENCODERS = tuple(
    json.JSONEncoder(ensure_ascii=ascii_only, separators=separators)
    for ascii_only in (True, False)
    for separators in ((",", ":"), (", ", ": "))
)
NASTY = (
    "",
    "plain",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x00",
    "\ud800",
    "\udfff\ud800",
    "\U0001f4a9",
    "\u202etxt.exe",
    "\u2028\u2029\x85",
    "\ufeff",
    "a\r\nb\tc",
    "%s%n%x",
    "</script><script>",
    "\\u0022",
    "\x7f\x80",
    "[[[[{{{{",
    "\u0661\u0662",
)
NAMES = ("alpha", "b", "Zo\xeb", "\u7bc0\u9ede", "with space", "x" * 64, "\\", '"', "</b>")
NUMBERS = (0, 1, -1, 80, 65536, 10 ** 19, -(10 ** 19), 0.5, 1e308, -0.0, 1e-320, True, None)
KINDS = (
    ["ping"] * 30
    + ["pong"] * 12
    + ["getaddr"] * 8
    + ["addr"] * 12
    + ["message"] * 18
    + ["getlinks"] * 6
    + ["links"] * 8
    + ["unknown"] * 6
)


class Grammar:
    """Valid messages, every choice drawn from one ``rng``."""

    def __init__(self, rng: random.Random, world: World) -> None:
        self.rng = rng
        self.world = world
        self.pool = ["%08x-0000-4000-8000-%012x" % (n * 0x11111111, n) for n in range(1, 16)]
        """Nodeids that several connections use."""

    def uuid(self) -> str:
        """A random one."""
        digits = "%032x" % self.rng.getrandbits(128)
        return "-".join(
            (digits[:8], digits[8:12], "4" + digits[13:16], "a" + digits[17:20], digits[20:])
        )

    def any_nodeid(self) -> str:
        """Anybody's: a stranger's, the node's, a peer's."""
        rng = self.rng
        known = [self.world.nodeid, rng.choice(POLITE_IDS), rng.choice(self.pool)]
        return rng.choice(known) if rng.random() < 0.4 else self.uuid()

    def port(self) -> int:
        """One of ours."""
        if self.world.listeners and self.rng.random() < 0.3:
            return int(self.rng.choice(self.world.listeners).rpartition(":")[2])
        return self.rng.choice(self.world.dead_ports)

    def address(self) -> str:
        """One that parses: ours, dead, or such that nobody may dial it."""
        rng = self.rng
        dice = rng.random()
        if dice < 0.2 and self.world.listeners:
            return rng.choice(self.world.listeners)
        if dice < 0.75:
            # Mostly the same few hundred: each new one is a dial, and costs the node more than
            # a hundred lines of another kind.
            wide = rng.random() < 0.02
            middle = rng.randrange(256) if wide else 0
            return "127.0.%d.%d:%d" % (middle, rng.randrange(1, 255 if wide else 40), self.port())
        form = rng.choice(
            (
                "[::1]:%d",
                "[::ffff:127.0.0.1]:%d",
                "[0:0:0:0:0:0:0:1]:%d",
                "0.0.0.0:%d",
                "[::]:%d",
                "[::ffff:0.0.0.0]:%d",
                "224.0.0.1:%d",
                "239.255.255.255:%d",
                "[ff02::1]:%d",
                "255.255.255.255:%d",
                "0.1.2.3:%d",
                "127.0.0.1:0",
                "127.0.0.1:%d",
            )
        )
        if dice > 0.98:
            form, port = "127.0.0.1:%d", self.world.node_port
        else:
            port = self.port()
        return form % port if "%d" in form else form

    def entry(self) -> Any:
        """One entry of an ``addr``."""
        address = self.address()
        return address if self.rng.random() < 0.3 else [address, self.any_nodeid()]

    def value(self, depth: int = 3) -> Any:
        """Any JSON."""
        rng = self.rng
        dice = rng.random()
        if depth and dice < 0.15:
            return [self.value(depth - 1) for _ in range(rng.randrange(4))]
        if depth and dice < 0.35:
            return {rng.choice(NASTY): self.value(depth - 1) for _ in range(rng.randrange(4))}
        if dice < 0.7:
            return rng.choice(NASTY)
        return rng.choice(NUMBERS)

    def hello(self, kind: str) -> Dict[str, Any]:
        """``kind``: plain, probe, self, network, polite (a peer's nodeid) or pool (perhaps)."""
        rng = self.rng
        said: Dict[str, Any] = {"msgtype": "hello", "nodeid": self.uuid(), "network": NETWORK}
        if kind == "self":
            said["nodeid"] = self.world.nodeid
        elif kind == "polite":
            said["nodeid"] = rng.choice(POLITE_IDS)
        elif kind == "pool":
            said["nodeid"] = rng.choice(self.pool)
        elif kind == "network":
            said["network"] = rng.choice(("", "other", "\x1b[2J", "Fuzz"))
        elif kind == "probe":
            said["probe"] = True
        if rng.random() < 0.3:
            said["port"] = self.port()
        if rng.random() < 0.7:
            said["name"] = rng.choice(NAMES)
        more = (
            ("version", rng.choice((0, 1, 2, 10 ** 19))),
            ("agent", rng.choice(NASTY)),
            ("observed", "127.0.0.1:%d" % self.port()),
            ("http", self.port()),
            ("colour", self.value()),
        )
        said.update((field, value) for field, value in more if rng.random() < 0.2)
        return said

    def links(self) -> Dict[str, Any]:
        """A row of the matrix."""
        rng = self.rng
        links = []
        for _ in range(rng.randrange(4)):
            link = {"nodeid": self.any_nodeid(), "name": rng.choice(NAMES), "rtt_ms": 0.25}
            if rng.random() < 0.5:
                link["dial"] = rng.choice(("ok", "refused", "wrong-peer", "unknown"))
                link["direction"] = rng.choice(("outbound", "inbound", "none"))
                link["address"] = self.address()
                link["up_s"] = rng.choice((None, 0, 1.5, 1e300))
            links.append(link)
        said = {"msgtype": "links", "nodeid": self.any_nodeid(), "links": links}
        if rng.random() < 0.3:
            said["age"] = rng.choice((0, 1.5, None))
            said["end"] = rng.random() < 0.5
            said["stale_after"] = rng.choice((0, 180.0, None))
        return said

    def message(self) -> Dict[str, Any]:
        """Most are for somebody who is not there: each one for all goes to everyone."""
        rng = self.rng
        said = {
            "msgtype": "message",
            "id": rng.choice(self.pool) if rng.random() < 0.1 else self.uuid(),
            "from": self.any_nodeid(),
            "body": self.value(),
        }
        if rng.random() < 0.01:
            said["body"] = [said["body"]] * rng.randrange(1, 500)
        if rng.random() < 0.85:
            said["to"] = self.any_nodeid()
        return said

    def make(self, kind: str) -> Dict[str, Any]:
        """A message of that type (``unknown``: of one that does not exist)."""
        rng = self.rng
        if kind == "addr":
            count = rng.choice((0, 1, 1, 2, 3, 8)) if rng.random() < 0.97 else 100
            return {"msgtype": "addr", "peers": [self.entry() for _ in range(count)]}
        if kind == "message":
            return self.message()
        if kind == "links":
            return self.links()
        if kind == "hello":
            return self.hello("plain")
        if kind == "bye":
            said = {"msgtype": "bye", "reason": rng.choice(sorted(REASONS))}
            if rng.random() < 0.5:
                said["detail"] = rng.choice(NASTY)
            return said
        if kind == "unknown":
            return {"msgtype": "from 2036" + rng.choice(NASTY), "x": self.value()}
        return {"msgtype": kind}

    def encode(self, said: Dict[str, Any]) -> bytes:
        """One of the ways to write it, without newline."""
        rng = self.rng
        if rng.random() < 0.1:
            keys = list(said)
            rng.shuffle(keys)
            said = {key: said[key] for key in keys}
        try:
            return rng.choice(_ENCODERS).encode(said).encode("utf-8")
        except UnicodeEncodeError:  # half of a surrogate pair has to be escaped
            return _ENCODERS[0].encode(said).encode("ascii")

    def line(self, kind: str) -> Line:
        """A good line, now and then in a form that is unusual and allowed."""
        said = self.make(kind)
        data = self.encode(said)
        dice = self.rng.random()
        what = "valid"
        if dice < 0.03:
            data, what = data + b"\r", "CRLF"
        elif dice < 0.05:
            data, what = self.rng.choice((b"\n", b"\r\n", b"\n\n\r\n")) + data, "blank lines"
        elif dice < 0.07:
            data, what = b" \t" + data + b"  \r", "blanks"
        return Line(data + b"\n", LEAVES if kind == "bye" else GOOD, kind, what)


# -- bent lines -----------------------------------------------------------------------------------

REQUIRED = {
    "addr": ("peers",),
    "bye": ("reason",),
    "hello": ("nodeid",),
    "links": ("nodeid", "links"),
    "message": ("id", "from", "body"),
}
ALWAYS_TYPED = frozenset(("nodeid", "port", "http", "id", "from", "to", "peers", "links", "reason"))
"""Fields for which none of ODD_VALUES will do."""
ODD_VALUES = (
    b"true",
    b"false",
    b'"80"',
    b"80.0",
    b"8e1",
    b"null",
    b"0",
    b"-1",
    b"65536",
    b"18446744073709551615",
    b"{}",
    b"[80]",
    b'""',
    b'"\\ud800"',
    b'{"a":{"b":[]}}',
)
NOT_JSON_VALUES = (
    b"NaN",
    b"-NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"-1e999",
    b"1" * 21,
    b"-" + b"9" * 21,
    b"1" * 3000,
    b"1" * 60000,
    b"0x10",
    b"01",
    b".5",
    b"1.",
    b"+1",
    b"'a'",
    b"undefined",
    b'"\\x41"',
    b'"\\u12"',
    b'"unended',
    b'{"a":1,"a":1}',
    b"[1,]",
    b"",
)
NO_MESSAGE = (
    b"hello",
    b"[1, 2]",
    b'"text"',
    b"7",
    b"null",
    b"true",
    b"{}",
    b"{",
    b"}",
    b"]",
    b'{"msgtype"',
    b"{'msgtype': 'ping'}",
    b'{"msgtype": "ping",}',
    b'{"msgtype": "ping"} x',
    b'{"msgtype": "ping"}{"msgtype": "ping"}',
    b'{"msgtype": ["ping"]}',
    b'{"msgtype": 7}',
    b'{"msgtype": null}',
    b'{"MSGTYPE": "ping"}',
    b"NaN",
    b"GET / HTTP/1.1\r",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-OpenSSH_9.6",
    b" ",
    b"\x00",
    b"\x00" * 2000,
)
NOT_UTF8 = (
    b"\xff",
    b"\xfe",
    b"\x80",
    b"\xc0\x80",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf0\x9f\x92",
)
CONTROL = tuple(bytes([code]) for code in range(32) if code not in (9, 10, 13))
BAD_NAMES = ("", "x" * 65, "x" * 65536, "\x1b[2J", "a\nb", "\x00", "\u202e", "\ud800", "\x7f")
BAD_UUIDS = ("", "x", "{%s}", "urn:uuid:%s", "%s0", " %s", "%s\n", "\u0661%s", "no-uuid")
BAD_ENTRIES = (
    "nowhere",
    "localhost:%d",
    "example.invalid:%d",
    "127.0.0.1",
    "127.0.0.1:",
    ":%d",
    "127.0.0.1:65536",
    "127.0.0.1:99999999999999999999",
    "127.0.0.1:-1",
    "127.0.0.1: %d",
    " 127.0.0.1:%d",
    "127.0.0.1:%d\n",
    "127.0.0.01:%d",
    "127.1:%d",
    "2130706433:%d",
    "0x7f.0.0.1:%d",
    "127.0.0.\u0661:%d",
    "127.0.0.1:\u0661\u0662",
    "[::1]",
    "[::1",
    "::1:%d",
    "[::1%%lo]:%d",
    "[127.0.0.1]:%d",
    "[::1]x:%d",
    "[[::1]]:%d",
    "",
    "\x00",
    "\ud800",
    "x" * 3000,
)
BAD_ENTRY_VALUES = (None, True, 0, 1.5, {}, [], [[]], ["127.0.0.1:0"], [1, 2], ["a", "b", "c"])
SIZES = (4095, 4096, 4097, 65535, 65536, 65537, 70000)


class Bender:
    """Takes a valid message and does something to it; says what the node has to think of it."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.rng = grammar.rng
        self._ports = grammar.world.ports
        self._ways: List[Callable[[str], Line]] = [
            self.bytes_blindly,
            self.bytes_blindly,
            self.bytes_blindly,
            self.bytes_blindly,
            self.without_field,
            self.field_twice,
            self.other_type,
            self.other_type,
            self.no_message,
            self.encoding,
            self.control,
            self.number,
            self.nesting,
            self.size,
            self.name,
            self.uuid,
            self.entries,
            self.escaped,
            self.splice,
        ]

    def bend(self, kind: str) -> Line:
        """A line that began as a valid one of that type; or that, if it would do harm."""
        line = self.rng.choice(self._ways)(kind)
        if not line.data.endswith(b"\n"):
            line = line._replace(data=line.data + b"\n")
        return line if is_harmless(line.data, self._ports) else self.grammar.line(kind)

    def _data(self, kind: str) -> bytes:
        return self.grammar.encode(self.grammar.make(kind))

    def _with(self, kind: str, field: bytes) -> bytes:
        """A valid message with one more field."""
        return self._data(kind)[:-1] + b"," + field + b"}"

    def bytes_blindly(self, kind: str) -> Line:
        """Flipped, lost, doubled, moved."""
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

    def splice(self, kind: str) -> Line:
        """The beginning of one message and the end of another."""
        rng, one = self.rng, self._data(kind)
        other_kind = rng.choice(KINDS)
        other = self._data(other_kind)
        if rng.random() < 0.3:
            return Line(one + other, BAD, kind, "two on a line")
        data = one[: rng.randrange(len(one))] + other[rng.randrange(len(other)) :]
        return Line(data, EITHER, kind, "splice")

    def without_field(self, kind: str) -> Line:
        """One that is needed, or not."""
        said = self.grammar.make(kind)
        field = self.rng.choice(sorted(said))
        del said[field]
        needed = field == "msgtype" or field in REQUIRED.get(kind, ())
        verdict = BAD if needed else EITHER if kind in ("hello", "bye") else GOOD
        return Line(self.grammar.encode(said), verdict, kind, "without " + field)

    def field_twice(self, kind: str) -> Line:
        """The same key twice in one object, the same value or another."""
        said = self.grammar.make(kind)
        field = self.rng.choice(sorted(said))
        value = said[field] if self.rng.random() < 0.5 else None
        more = json.dumps(field) + ":" + json.dumps(value)
        data = self.grammar.encode(said)[:-1] + b"," + more.encode("ascii") + b"}"
        return Line(data, BAD, kind, "%s twice" % field)

    def other_type(self, kind: str) -> Line:
        """``true`` for a port, and so on."""
        said = self.grammar.make(kind)
        fields = sorted(said) + (["port", "http"] if kind == "hello" else [])
        field = self.rng.choice(fields)
        odd = self.rng.choice(ODD_VALUES + NOT_JSON_VALUES)
        said[field] = "@@"
        data = self.grammar.encode(said).replace(b'"@@"', odd, 1)
        verdict = EITHER
        if odd in NOT_JSON_VALUES or (field in ALWAYS_TYPED and kind in REQUIRED):
            verdict = BAD
        elif field == "body":
            verdict = GOOD
        return Line(data, verdict, kind, "%s: %s" % (field, odd[:20].decode("ascii")))

    def no_message(self, kind: str) -> Line:
        """Something else altogether."""
        return Line(self.rng.choice(NO_MESSAGE), BAD, kind, "no message")

    def encoding(self, kind: str) -> Line:
        """Not UTF-8, or with a mark that has no place here."""
        rng, data = self.rng, self._data(kind)
        dice = rng.random()
        if dice < 0.2:
            return Line(b"\xef\xbb\xbf" + data, BAD, kind, "BOM")
        if dice < 0.5:
            code = rng.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32-le"))
            wide = data.decode("utf-8").encode(code).replace(b"\n", b"\0")
            return Line(wide, BAD, kind, code)
        at = rng.randrange(len(data) + 1)
        while at < len(data) and data[at] & 0xC0 == 0x80:
            at += 1  # not into the middle of a character, which might complete it
        odd = rng.choice(NOT_UTF8)
        return Line(data[:at] + odd + data[at:], BAD, kind, "not UTF-8")

    def control(self, kind: str) -> Line:
        """A control character as it is: in a string it would have to be escaped."""
        data = self._data(kind)
        at = self.rng.randrange(len(data) + 1)
        odd = self.rng.choice(CONTROL)
        return Line(data[:at] + odd + data[at:], BAD, kind, "control character")

    def number(self, kind: str) -> Line:
        """In a field that nobody knows: must be JSON all the same."""
        rng = self.rng
        if rng.random() < 0.3:
            odd = rng.choice((b"9" * 20, b"-" + b"9" * 20, b"1e308", b"-0.0", b"1e-999"))
            return Line(self._with(kind, b'"zz":' + odd), self._good(kind), kind, "number")
        odd = rng.choice(NOT_JSON_VALUES)
        return Line(self._with(kind, b'"zz":' + odd), BAD, kind, "not a value")

    def nesting(self, kind: str) -> Line:
        """32 levels are allowed, the object itself counted."""
        rng = self.rng
        depth = rng.choice((2, 30, 31, 32, 33, 100, 5000, 30000))
        dice = rng.random()
        if dice < 0.2:
            odd = b'"' + rng.choice((b"[", b"{", b'\\"[', b"\\\\[")) * min(depth, 15000) + b'"'
            data = self._with(kind, b'"zz":' + odd)
            return Line(data, self._good(kind), kind, "brackets in text")
        if dice < 0.4:
            return Line(rng.choice((b"[", b'{"a":', b"[{")) * depth, BAD, kind, "brackets")
        opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
        inner = b"" if opening == b"[" else b"1"
        odd = opening * depth + inner + closing * depth
        verdict = self._good(kind) if depth <= 31 else BAD
        return Line(self._with(kind, b'"zz":' + odd), verdict, kind, "%d levels" % depth)

    def size(self, kind: str) -> Line:
        """A line just below, at or above a bound.  ``expect`` knows which bound is meant."""
        data = self._with(kind, b'"zz":""')
        fill = self.rng.choice(SIZES) - len(data) - 1
        data = data[:-2] + b"x" * max(0, fill) + data[-2:]
        return Line(data, self._good(kind), kind, "%d bytes" % (len(data) + 1))

    def name(self, kind: str) -> Line:
        """A label that is no label."""
        kind = kind if kind in ("hello", "links") else "links"
        said = self.grammar.make(kind)
        said["name"] = self.rng.choice(BAD_NAMES)
        return Line(self.grammar.encode(said), BAD, kind, "name")

    def uuid(self, kind: str) -> Line:
        """A UUID that is none."""
        kind = kind if kind in ("hello", "links", "message") else "message"
        said = self.grammar.make(kind)
        field = self.rng.choice([field for field in REQUIRED[kind] if field in ("nodeid", "id")])
        odd = self.rng.choice(BAD_UUIDS)
        said[field] = odd % said[field] if "%s" in odd else odd
        return Line(self.grammar.encode(said), BAD, kind, "%s: no UUID" % field)

    def entries(self, kind: str) -> Line:
        """An ``addr`` with an entry that is no address, or with too many."""
        rng = self.rng
        peers = [self.grammar.entry() for _ in range(rng.randrange(3))]
        if rng.random() < 0.1:
            entries = [self.grammar.entry() for _ in range(101)]
            return Line(
                self.grammar.encode({"msgtype": "addr", "peers": entries}), BAD, "addr", "101"
            )
        odd: Any = rng.choice(BAD_ENTRY_VALUES + BAD_ENTRIES)
        if isinstance(odd, str):
            odd = odd % self.grammar.port() if "%d" in odd else odd
            odd = odd if rng.random() < 0.5 else [odd, self.grammar.uuid()]
        elif rng.random() < 0.3:
            odd = ["127.0.0.1:0", odd]
        peers.insert(rng.randrange(len(peers) + 1), odd)
        return Line(
            self.grammar.encode({"msgtype": "addr", "peers": peers}), BAD, "addr", "no address"
        )

    def escaped(self, kind: str) -> Line:
        """The type written with escapes: the same message to whoever reads JSON."""
        said = self.grammar.make(kind)
        text = json.dumps(said["msgtype"]).encode("ascii")
        odd = "".join("\\u%04x" % ord(c) for c in said["msgtype"] if ord(c) < 0xD800)
        plain = said["msgtype"].isalpha()
        data = json.dumps(said).encode("ascii")
        if plain:
            data = data.replace(text, b'"' + odd.encode("ascii") + b'"', 1)
        return Line(data, self._good(kind), kind, "escaped")

    def _good(self, kind: str) -> str:
        return LEAVES if kind == "bye" else GOOD


# -- whole conversations --------------------------------------------------------------------------

ENDINGS = ("wait", "half", "reset", "close", "cut")
HELLOS = (
    ["plain"] * 80 + ["probe"] * 6 + ["pool"] * 6 + ["self"] * 2 + ["network"] * 3 + ["polite"] * 3
)


class Maker:
    """Makes conversations: number ``n`` of a seed is always the same (in the same world)."""

    def __init__(self, seed: int, world: World) -> None:
        self._seed = seed
        self._world = world

    def make(self, number: int, role: str = "dialer") -> Conversation:
        """``role``: ``dialer`` for a connection of ours, ``acceptor`` for one of the node's."""
        rng = random.Random("%d %s %d" % (self._seed, role, number))
        grammar = Grammar(rng, self._world)
        hello = rng.choice(HELLOS)
        lines = self._lines(grammar, hello, role)
        ending = rng.choices(ENDINGS, (52, 22, 8, 6, 12))[0]
        if ending == "cut":
            lines.append(self._cut(grammar))
        elif rng.random() < 0.1:
            lines.append(grammar.line("bye"))
        else:
            lines.append(grammar.line("ping"))  # its pong says: all of it has been dealt with
        expected = expect(lines, hello)
        deaf = rng.uniform(0.05, 0.2) if rng.random() < 0.03 else 0.0
        if deaf:
            flood = Line(b'{"msgtype":"getaddr"}\n', GOOD, "getaddr", "flood")
            if expected.enough and not expected.must:
                lines[1:1] = [flood] * rng.randrange(50, 300)
        return Conversation(
            number, tuple(lines), tuple(_sends(rng, lines, ending)), ending, deaf, expected
        )

    def _lines(self, grammar: Grammar, hello: str, role: str) -> List[Line]:
        rng, bender = grammar.rng, Bender(grammar)
        said = grammar.hello(hello)
        if role == "acceptor" and hello in ("plain", "probe", "pool") and rng.random() < 0.8:
            said["nodeid"] = grammar.pool[0]
        if role == "acceptor" and hello == "probe":
            hello = "plain"  # only who dials can probe; the node has to ignore it
        first = Line(grammar.encode(said) + b"\n", GOOD, "hello", hello)
        count = rng.choice((0, 1, 5, 20, 40, 60, 80, 100))
        lines = [grammar.line(rng.choice(KINDS)) for _ in range(count)]
        dice = rng.random()
        if dice < 0.06:
            first = bender.bend("hello")
        elif dice < 0.08:
            first = bender.bend(rng.choice(KINDS))
        elif dice < 0.09:
            lines[:0] = [first]
            first = grammar.line(rng.choice(KINDS))
        elif dice < 0.75:
            # Where the first bad line stands the conversation ends: rather late than early.
            for _ in range(rng.choice((1, 1, 1, 2, 3))):
                at = int(len(lines) * (1 - rng.random() ** 2))
                kind = rng.choice(KINDS) if rng.random() < 0.9 else rng.choice(("hello", "bye"))
                lines[at:at] = [bender.bend(kind)]
        return [first] + lines

    @staticmethod
    def _cut(grammar: Grammar) -> Line:
        """A line without its newline, with which the stream will end."""
        rng = grammar.rng
        data = grammar.encode(grammar.make(rng.choice(KINDS)))
        data = data[: rng.randrange(1, len(data) + 1)]
        if rng.random() < 0.1:
            data += b"x" * rng.choice(SIZES)
        if not is_harmless(data, grammar.world.ports):
            data = data[:5]
        return Line(data, BAD, "ping", "cut off")


def expect(lines: List[Line], hello: str) -> Expectation:
    """What has to become of a conversation, as far as the verdicts tell.

    ``hello`` is what kind of hello the first line is, if it is a good one.
    """
    reasons = set()
    limit, greeted, sure, must, quiet, pongs = MAX_FIRST_LINE, False, True, False, False, 0
    for line in lines:
        verdict = line.verdict
        longest = max(len(piece) + 1 for piece in line.data.split(b"\n"))
        if verdict in (GOOD, LEAVES):
            if longest > limit:
                verdict = BAD if sure or longest > MAX_LINE else EITHER
            elif verdict == GOOD and (line.kind == "hello") == greeted:
                verdict = BAD if sure else EITHER
        if verdict == BAD:
            must = not quiet
            reasons.add("protocol")
            break
        if verdict == LEAVES:
            quiet = True
            break
        if verdict == EITHER:
            sure = False
            reasons.update(("protocol", "network", "self", "duplicate"))
            quiet = quiet or b"bye" in line.data
        elif line.kind == "ping":
            pongs += 1
        elif not greeted:
            if line.what in ("self", "network", "polite"):
                return Expectation(
                    frozenset(("duplicate" if line.what == "polite" else line.what,)),
                    True, False, None, 0,
                )
            if line.what not in ("plain", "probe"):
                sure = False  # it has been decorated: another hello than the one we know
                reasons.update(("duplicate", "network", "self"))
            if line.what == "plain":
                limit = MAX_LINE
        greeted = True
    return Expectation(frozenset(reasons), must, quiet, pongs if sure and not must else None, pongs)


def _sends(rng: random.Random, lines: List[Line], ending: str) -> Iterator[Tuple[float, bytes]]:
    """Cut into sends: what TCP does to lines anyway, only worse."""
    data = b"".join(line.data for line in lines)
    if ending == "reset":
        data = data[: rng.randrange(len(data) + 1)]
    way = rng.random()
    if way < 0.05:
        for at in range(min(200, len(data))):
            yield 0.0, data[at : at + 1]
        data = data[200:]
    elif way < 0.1:
        yield rng.uniform(0.01, 0.1), b""  # silence before hello
    cuts = 16384 if way < 0.7 else rng.choice((7, 50, 300, 1500, 4096, 9000))
    at = 0
    while at < len(data):
        size = cuts if way < 0.7 else rng.randrange(1, 2 * max(cuts, len(data) // 60))
        pause = rng.uniform(0.005, 0.05) if rng.random() < 0.01 else 0.0
        yield pause, data[at : at + size]
        at += size


# -- one connection -------------------------------------------------------------------------------


class Dialog:
    """A conversation on its connection."""

    def __init__(self, sock: socket.socket, conversation: Conversation, accepted: bool) -> None:
        now = time.monotonic()
        self.sock = sock
        self.conversation = conversation
        self.accepted = accepted
        self.todo: Deque[Tuple[float, bytes]] = deque(conversation.sends)
        self.wake_at = now + self.todo[0][0] if self.todo else now
        self.deaf_until = now + conversation.deaf
        self.served_at = self.sent_at = now
        self.gap = 0.0
        """The longest time that we did not come round to this connection."""
        self.heard = b""
        self.sent = 0
        self.sent_lines = 0
        self.pongs = 0
        self.bye: Optional[Dict[str, Any]] = None
        self.probe = False
        self.greeted = not accepted
        """Whether we may speak: whom we accept says hello first.  (Did we speak before, the
        end of a probe would destroy the hello that tells that it is one.)"""
        self.half_closed = False
        self.ended = ""
        """How it ended: ``eof``, ``reset``, ``ours`` (we were the ones), ``late``."""
        self.nonsense = ""
        self.mask = 0

    def wants(self, now: float) -> int:
        """Which readiness of the socket we wait for."""
        mask = 0 if now < self.deaf_until and self.greeted else selectors.EVENT_READ
        if self.todo and self.greeted and self.bye is None and now >= self.wake_at:
            mask |= selectors.EVENT_WRITE
        return mask

    def serve(self, mask: int, now: float) -> None:
        """The socket is ready for that."""
        self.gap = max(self.gap, now - self.served_at)
        self.served_at = now
        try:
            if mask & selectors.EVENT_READ:
                self._read()
            if mask & selectors.EVENT_WRITE and not self.ended and self.bye is None:
                self._write(now)
        except BlockingIOError:
            pass
        except OSError:
            self.ended = "reset"

    def look(self, now: float) -> None:
        """Whether it is time for the next step."""
        if self.ended:
            return
        expected, ending = self.conversation.expected, self.conversation.ending
        if not self.todo and not self.half_closed and self.bye is None:
            if ending == "reset":
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.ended = "ours"
            elif ending == "close":
                self.ended = "ours"
            elif ending in ("half", "cut") or (
                self.pongs >= expected.enough and (not expected.must or self.probe)
            ):
                self.half_closed = True
                try:
                    self.sock.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
        if now - max(self.served_at, self.sent_at) > PING_TIMEOUT:
            self.ended = "late"

    def _write(self, now: float) -> None:
        for _ in range(8):
            if not self.todo or now < self.wake_at:
                return
            data = self.todo[0][1]
            sent = self.sock.send(data) if data else 0
            self.sent += sent
            self.sent_lines += data.count(b"\n", 0, sent)
            self.sent_at = now
            if sent < len(data):
                self.todo[0] = (0.0, data[sent:])
                return
            self.todo.popleft()
            if self.todo:
                self.wake_at = now + self.todo[0][0]

    def _read(self) -> None:
        chunk = self.sock.recv(65536)
        if not chunk:
            self.ended = "eof"
            if self.heard:
                self.nonsense = "a line that the node did not finish: %s" % show(self.heard)
            return
        lines = (self.heard + chunk).split(b"\n")
        self.heard = lines.pop()
        for line in lines:
            if line == b'{"msgtype":"pong"}':
                self.pongs += 1
            elif line != b'{"msgtype":"ping"}':
                self._hear(line)

    def _hear(self, line: bytes) -> None:
        try:
            said = understand(line)
        except ValueError as error:
            self.nonsense = "the node said %s: %s" % (show(line), error)
            return
        if self.bye is not None:
            self.nonsense = "the node said %s after its bye" % show(line)
        if said["msgtype"] == "bye":
            self.bye = said
        elif said["msgtype"] == "hello":
            self.probe = said.get("probe") is True
            self.greeted = True


def understand(line: bytes) -> Dict[str, Any]:
    """A line that a node says, as an object.  Raises ``ValueError`` if it may not say that."""
    said = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    if not isinstance(said, dict):
        raise ValueError("not an object")
    if said.get("msgtype") not in MSGTYPES:
        raise ValueError("an unknown msgtype")
    return said


def _refuse_constant(name: str) -> None:
    raise ValueError("%s is not JSON" % name)


def judge(dialog: Dialog) -> Optional[str]:
    """What is wrong with how this connection went; ``None`` if nothing is."""
    expected, bye = dialog.conversation.expected, dialog.bye
    if dialog.nonsense:
        return dialog.nonsense
    if dialog.ended == "ours":
        return None
    if bye is not None:
        return _judge_bye(dialog, bye)
    if dialog.ended == "late":
        return "no %s within %g s" % ("bye" if expected.must else "answer", PING_TIMEOUT)
    if expected.quiet or (dialog.accepted and dialog.probe):
        return None
    if dialog.ended == "reset" and dialog.gap >= LINGER:
        return None  # we were too slow, and lost the bye by that
    if expected.must or not dialog.half_closed:
        return "ended (%s) without a bye" % dialog.ended
    if expected.pongs is not None and not dialog.accepted and dialog.pongs != expected.pongs:
        return "%d pongs to %d pings" % (dialog.pongs, expected.pongs)
    return None


def _judge_bye(dialog: Dialog, bye: Dict[str, Any]) -> Optional[str]:
    reason = bye.get("reason")
    if reason == "protocol" and not (isinstance(bye.get("detail"), str) and bye["detail"]):
        return "bye protocol without a detail"
    if reason in dialog.conversation.expected.reasons:
        return None
    if reason == "timeout" and dialog.gap > PING_TIMEOUT / 2:
        return None  # the machine is too busy for us
    if reason == "duplicate" and dialog.accepted:
        return None
    return "bye %s (%s), which nothing called for" % (reason, bye.get("detail", ""))


def show(data: bytes, limit: int = 120) -> str:
    """Bytes as they can be shown and pasted, the middle of long ones left out."""
    if len(data) > limit:
        middle = " ...%d bytes... " % (len(data) - limit)
        return repr(data[: limit * 2 // 3])[1:] + middle + repr(data[-limit // 3 :])[1:]
    return repr(data)[1:]


# -- the other processes --------------------------------------------------------------------------


class Node:
    """The node under test, and everything it prints."""

    def __init__(self, python: str, complain: Callable[[str], None]) -> None:
        options = "--json --port 0 --bind 127.0.0.1 --max-rate 0 --ping-interval 1"
        options += " --ping-timeout %g --probe-interval 2 --log-level error" % PING_TIMEOUT
        self._complain = complain
        self.process = subprocess.Popen(
            [python, "-m", "p2p_plain", "--network", NETWORK, "--name", "victim"] + options.split(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us
        )
        self.listening: "queue.Queue[Optional[Dict[str, Any]]]" = queue.Queue()
        self.events: Dict[str, int] = Counter()
        self.up: Dict[str, Any] = {}
        self.errors = b""
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._read, self._read_errors)
        ]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                event = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
                self._note(event)
            except (ValueError, KeyError, TypeError) as error:
                self._complain("stdout has %s: %s" % (show(line), error))
        self.listening.put(None)

    def _note(self, event: Dict[str, Any]) -> None:
        name = event["event"]
        if name not in EVENTS or not re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z\Z", event["time"]):
            raise ValueError("no event that we know")
        self.events[name] += 1
        if name == "listening":
            self.listening.put(event)
        elif name == "peer_up":
            if event["nodeid"] in self.up:
                raise ValueError("up twice")
            self.up[event["nodeid"]] = event
        elif name == "peer_down":
            if event["nodeid"] not in self.up:
                raise ValueError("down without having been up")
            del self.up[event["nodeid"]]
        if name in ("peer_up", "peer_down") and event["peers"] != len(self.up):
            raise ValueError("%d peers are up, by the events" % len(self.up))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if len(self.errors) < 20000:
                self.errors += line

    def stop(self) -> None:
        """Ask it to, and see that it does."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(PING_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._complain("it does not stop when it is asked to")
            return
        self.stopped_in = time.monotonic() - began
        self.hear_out()
        if code:
            self._complain("its exit code is %d" % code)

    stopped_in = 0.0

    def hear_out(self) -> None:
        """It has ended: wait until all that it printed is read."""
        for thread in self._threads:
            thread.join(PING_TIMEOUT)

    def kill(self) -> None:
        """Make sure that it is gone."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def vital(self) -> Optional["Vital"]:
        """What the kernel says of it; ``None`` where there is no /proc."""
        home = "/proc/%d" % self.process.pid
        try:
            with open(home + "/status") as file:
                status = file.read()
            with open(home + "/stat") as file:
                times = file.read().rpartition(")")[2].split()[11:13]
            return Vital(
                len(os.listdir(home + "/fd")),
                len(os.listdir(home + "/task")),
                int(status.partition("VmRSS:")[2].split()[0]),
                sum(map(int, times)) / os.sysconf("SC_CLK_TCK"),
            )
        except (OSError, IndexError, ValueError):
            return None


class Vital(NamedTuple):
    """Descriptors, threads, resident memory and seconds of processor time of a process."""

    fds: int
    threads: int
    rss_kib: int
    cpu: float


class Polite:
    """The process with the polite peers, seen from here."""

    def __init__(
        self, address: Tuple[str, int], every: float, complain: Callable[[str], None]
    ) -> None:
        self._complain = complain
        self.failed = False
        self._told: "queue.Queue[Optional[Dict[str, Any]]]" = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--polite", "%s:%d" % address]
            + ["--every", str(every)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line.decode("utf-8"))
            if "failed" in told:
                self.failed = True
                self._complain("a polite peer: " + told["failed"])
            else:
                self._told.put(told)
        self._told.put(None)

    def report(self) -> Optional[Dict[str, Any]]:
        """The round trips since the last report; ``None`` if something went wrong."""
        try:
            assert self.process.stdin is not None
            self.process.stdin.write(b"report\n")
            self.process.stdin.flush()
            return self._told.get(timeout=2 * PING_TIMEOUT)
        except (OSError, queue.Empty):
            return None

    def wait_ready(self) -> bool:
        """Whether all of them have become peers, and had a first pong."""
        try:
            return self._told.get(timeout=3 * PING_TIMEOUT) is not None
        except queue.Empty:
            self._complain("the polite peers were not let in")
            return False

    def stop(self) -> None:
        """End the process; all connections of it close."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
        except OSError:
            pass
        try:
            self.process.wait(PING_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class PolitePeer:
    """One peer that keeps to the rules.  In the process of its own."""

    def __init__(self, address: Tuple[str, int], nodeid: str) -> None:
        self.sock = socket.create_connection(address, PING_TIMEOUT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""
        self.pinged_at: Optional[float] = None
        self.ping_at = time.monotonic()
        self.answered = 0
        hello = {"msgtype": "hello", "nodeid": nodeid, "network": NETWORK, "name": "polite"}
        self.sock.sendall(json.dumps(hello).encode("ascii") + b"\n")

    def ping(self, now: float) -> None:
        """Ask."""
        self.pinged_at = now
        self.sock.sendall(b'{"msgtype":"ping"}\n')

    def hear(self) -> Optional[float]:
        """Read once; the round trip in seconds, if a pong was among it.

        Raises ``ValueError`` for what a node may not say to a polite peer.
        """
        chunk = self.sock.recv(1 << 20)
        now = time.monotonic()
        if not chunk:
            raise ValueError("the node closed the connection")
        lines = (self._held + chunk).split(b"\n")
        self._held = lines.pop()
        seconds = None
        for line in lines:
            if line == b'{"msgtype":"pong"}':
                if self.pinged_at is None:
                    raise ValueError("a pong to no ping")
                seconds, self.pinged_at = now - self.pinged_at, None
                self.answered += 1
            elif line == b'{"msgtype":"ping"}':
                self.sock.sendall(b'{"msgtype":"pong"}\n')
            else:
                self._check(line)
        return seconds

    @staticmethod
    def _check(line: bytes) -> None:
        try:
            said = understand(line)
        except ValueError as error:
            raise ValueError("heard %s: %s" % (show(line), error)) from None
        if len(line) >= MAX_LINE:
            raise ValueError("heard a line of %d bytes" % len(line))
        if said["msgtype"] == "bye":
            raise ValueError("was sent away: %s" % show(line))


def be_polite(address: Tuple[str, int], every: float) -> int:
    """The polite process: pings, and tells on stdout how it went whenever stdin asks."""
    samples: List[float] = []
    heard = {"samples": samples}
    over = threading.Event()
    ready = threading.Event()

    def tell(what: Dict[str, Any]) -> None:
        print(json.dumps(what), flush=True)

    def listen() -> None:
        for _ in sys.stdin:
            ready.wait()
            taken, heard["samples"] = heard["samples"], []
            tell(summary(taken))
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    try:
        peers = [PolitePeer(address, nodeid) for nodeid in POLITE_IDS]
        while not over.is_set():
            now = time.monotonic()
            for peer in peers:
                if peer.pinged_at is not None and now - peer.pinged_at > PING_TIMEOUT:
                    raise ValueError("no pong within %g s" % PING_TIMEOUT)
                if peer.pinged_at is None and now >= peer.ping_at:
                    peer.ping(now)
                    peer.ping_at = now + every
            due = min(peer.ping_at if peer.pinged_at is None else now + 0.05 for peer in peers)
            pause = min(max(0.0, due - time.monotonic()), 0.05)
            by_sock = {peer.sock: peer for peer in peers}
            for sock in select.select(list(by_sock), [], [], pause)[0]:
                seconds = by_sock[sock].hear()
                if seconds is not None:
                    heard["samples"].append(seconds)
            if not ready.is_set() and all(peer.answered for peer in peers):
                tell({"ready": True})
                ready.set()
    except (OSError, ValueError) as error:
        tell({"failed": str(error)})
        return 1
    return 0


def summary(seconds: List[float]) -> Dict[str, Any]:
    """Round trips in milliseconds: how many, the median, the 99th percentile, the slowest."""
    ordered = sorted(seconds) or [0.0]
    pick = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    told: Dict[str, Any] = {"count": len(seconds)}
    for name, part in pick.items():
        told[name] = 1000 * ordered[min(len(ordered) - 1, int(part * len(ordered)))]
    return told


# -- the run --------------------------------------------------------------------------------------


class Options(NamedTuple):
    """The command line."""

    seed: int
    lines: int
    python: str
    connections: int
    only: Optional[int]
    against: Optional[Tuple[str, int]]


class Run:
    """One run, from the node's start to its end, and what was found."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.failures: List[str] = []
        self.node: Optional[Node] = None
        self.polite: Optional[Polite] = None
        self.before: Optional[Dict[str, Any]] = None
        self.during: Optional[Dict[str, Any]] = None
        self.vitals: List[Vital] = []
        self.peak_kib = 0
        self.lines = self.connections = self.accepted = 0
        self.seconds = 0.0
        self.ends: Dict[str, int] = Counter()
        self.details: Dict[str, int] = Counter()
        self._sockets: List[socket.socket] = []

    def complain(self, text: str) -> None:
        """Note a broken invariant, and say it at once.  Any thread."""
        self.failures.append(text)
        if len(self.failures) <= MOST_FAILURES:
            print("FAILED (seed %d): %s" % (self.options.seed, text), flush=True)

    def over(self) -> bool:
        """Whether it makes no sense to go on."""
        gone = self.polite is not None and self.polite.failed
        return self.node_died(0.0) or gone or len(self.failures) >= MOST_FAILURES

    def node_died(self, grace: float = 0.5) -> bool:
        """Whether the node's process has ended.  Its connections end a moment before it does."""
        if self.node is None:
            return False
        if grace:
            try:
                self.node.process.wait(grace)
            except subprocess.TimeoutExpired:
                pass
        return self.node.process.poll() is not None

    def start(self, every: float) -> Optional[Tuple[str, int]]:
        """Start the node and the polite peers; where the node is, ``None`` if that fails."""
        address, nodeid = self.options.against, "11111111-1111-4111-8111-111111111111"
        if address is None:
            self.node = Node(self.options.python, self.complain)
            try:
                listening = self.node.listening.get(timeout=4 * PING_TIMEOUT)
            except queue.Empty:
                listening = None
            if listening is None:
                self.node.kill()
                self.node.hear_out()
                errors = self.node.errors.decode("utf-8", "replace").strip()
                self.complain("the node does not start: %s" % errors)
                return None
            host, _, port = listening["addresses"][0].rpartition(":")
            address, nodeid = (host, int(port)), listening["nodeid"]
        self.address, self.nodeid = address, nodeid
        self.polite = Polite(address, every, self.complain)
        return address if self.polite.wait_ready() else None

    def stop(self) -> None:
        """End what we started, whatever happened."""
        for sock in self._sockets:
            sock.close()
        if self.polite is not None:
            self.polite.stop()
        if self.node is not None:
            self.node.stop()
            self.node.kill()
            if self.node.errors:
                self.complain("stderr: %s" % self.node.errors.decode("utf-8", "replace"))

    def note_vital(self) -> Optional[Vital]:
        """Look at the node's process, and remember the most memory it had."""
        vital = self.node.vital() if self.node is not None else None
        if vital is not None:
            self.peak_kib = max(self.peak_kib, vital.rss_kib)
        return vital

    # -- the world around the conversations --------------------------------------------------

    def world(self) -> Tuple[World, List[socket.socket]]:
        """Ports of our own, with the sockets that listen."""
        listeners, addresses = [], []
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "::1"):
            try:
                sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
                self._sockets.append(sock)
                sock.bind((host, 0))
            except OSError:  # no IPv6; not Linux, where all of 127.0.0.0/8 is there
                continue
            sock.listen(50)
            sock.setblocking(False)
            listeners.append(sock)
            form = "[%s]:%d" if ":" in host else "%s:%d"
            addresses.append(form % (host, sock.getsockname()[1]))
        dead = tuple(self._dead_port() for _ in range(8))
        return World(self.nodeid, self.address[1], tuple(addresses), dead), listeners

    def _dead_port(self) -> int:
        """A port that is taken, by a socket that does not listen."""
        try:
            sock = socket.socket(socket.AF_INET6)
            self._sockets.append(sock)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(("::", 0))
        except OSError:
            sock = socket.socket()
            self._sockets.append(sock)
            sock.bind(("", 0))
        return int(sock.getsockname()[1])

    # -- fuzzing ----------------------------------------------------------------------------------

    def fuzz(self) -> None:
        """All of it: a calm time to compare with, the conversations, and calm again."""
        if self.start(0.01) is None:
            return
        assert self.polite is not None
        time.sleep(1.0)  # not waiting for anything: this is the time that is measured
        self.before = self.polite.report()
        first = self.note_vital()
        world, listeners = self.world()
        began = time.monotonic()
        try:
            Loop(self, world, listeners).run()
        finally:
            self.seconds = time.monotonic() - began
            for sock in listeners:
                sock.close()
            self.during = self.polite.report()
            self.vitals = [vital for vital in (first, self.note_vital()) if vital is not None]
        if self.node is not None and not self.over():
            self._settle(first)

    def _settle(self, first: Optional[Vital]) -> None:
        """Wait until the node is back where it was before the first conversation."""
        assert self.node is not None
        deadline = time.monotonic() + SETTLE
        while True:
            now = self.note_vital()
            ups = sorted(self.node.up)
            calm = now is None or first is None or (
                now.fds <= first.fds and now.threads <= first.threads + POOL
            )
            if calm and ups == sorted(POLITE_IDS):
                break
            if time.monotonic() > deadline or self.over():
                self.complain(
                    "%g s after the last connection: %s, before the first: %s; peers: %s"
                    % (SETTLE, now, first, ", ".join(ups))
                )
                break
            time.sleep(0.02)
        self.vitals = [vital for vital in (first, now) if vital is not None]

    def report(self) -> None:
        """What there is to say at the end."""
        rate = self.lines / self.seconds if self.seconds else 0
        print("lines sent     %d in %.1f s, %.0f a second" % (self.lines, self.seconds, rate))
        print("connections    %d dialed, %d accepted" % (self.connections, self.accepted))
        print("ended by       %s" % _counts(self.ends))
        print("bye protocol   %s" % _counts(self.details))
        for name, told in (("before", self.before), ("during", self.during)):
            if told is not None:
                form = "polite %s  %d round trips: p50 %.2f ms, p99 %.2f ms, slowest %.2f ms"
                print(form % (name, told["count"], told["p50"], told["p99"], told["max"]))
        if len(self.vitals) == 2:
            first, last = self.vitals
            print("processor      %.1f s of the node's" % (last.cpu - first.cpu))
            print("descriptors    %d before, %d after" % (first.fds, last.fds))
            print("threads        %d before, %d after" % (first.threads, last.threads))
            memory = (first.rss_kib / 1024, self.peak_kib / 1024, last.rss_kib / 1024)
            print("memory         %.1f MiB before, %.1f at the most, %.1f after" % memory)
        if self.node is not None:
            print("events         %s" % _counts(self.node.events))
            print("stopped in     %.2f s" % self.node.stopped_in)


def _counts(counted: Dict[str, int]) -> str:
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join("%s %d" % item for item in ordered) or "nothing"


class Loop:
    """The select loop: keeps so many conversations going until enough lines are said."""

    def __init__(self, run: Run, world: World, listeners: List[socket.socket]) -> None:
        self._run = run
        self._maker = Maker(run.options.seed, world)
        self._selector = selectors.DefaultSelector()
        self._dialogs: Dict[socket.socket, Dialog] = {}
        self._ours = 0
        self._planned = 0
        self._next = 0
        self._recent: Deque[Dialog] = deque(maxlen=5)
        """The last connections that ended: what killed a node is among them, or still open."""
        self._shown_at = time.monotonic()
        for sock in listeners:
            self._selector.register(sock, selectors.EVENT_READ)

    def run(self) -> None:
        """Until all is said and every connection of ours has ended."""
        run, looked_at = self._run, 0.0
        try:
            while not run.over():
                self._fill()
                if not self._ours:
                    break
                for key, mask in self._selector.select(0.005):
                    now = time.monotonic()
                    dialog = self._dialogs.get(key.fileobj)  # type: ignore
                    if dialog is None:
                        self._accept(key.fileobj)  # type: ignore
                    else:
                        dialog.serve(mask, now)
                        self._look(dialog, now)
                now = time.monotonic()
                if now - looked_at > 0.005:
                    looked_at = now
                    for dialog in list(self._dialogs.values()):
                        self._look(dialog, now)
                self._progress(now)
            if run.over() and run.node_died(PING_TIMEOUT):
                self._tell_of_death()
        finally:
            for dialog in list(self._dialogs.values()):
                dialog.ended = "ours"
                self._finish(dialog)
            self._selector.close()

    def _fill(self) -> None:
        options = self._run.options
        while self._ours < options.connections:
            if options.only is not None:
                if self._next:
                    return
                self._next = options.only
            if self._planned >= options.lines:
                return
            conversation = self._maker.make(self._next)
            self._next += 1
            self._planned += len(conversation.lines) if options.only is None else options.lines
            self._dial(conversation)

    def _dial(self, conversation: Conversation) -> None:
        host, port = self._run.address
        sock = socket.socket()
        sock.setblocking(False)
        problem = sock.connect_ex((host, port))
        if problem not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            sock.close()
            if not self._run.node_died():
                self._run.complain("cannot connect to the node: %s" % os.strerror(problem))
            return
        self._ours += 1
        self._run.connections += 1
        self._add(Dialog(sock, conversation, accepted=False))

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock = listener.accept()[0]
        except OSError:
            return
        sock.setblocking(False)
        self._run.accepted += 1
        conversation = self._maker.make(self._run.accepted, "acceptor")
        self._add(Dialog(sock, conversation, accepted=True))

    def _add(self, dialog: Dialog) -> None:
        dialog.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        dialog.mask = selectors.EVENT_READ
        self._selector.register(dialog.sock, dialog.mask)
        self._dialogs[dialog.sock] = dialog

    def _look(self, dialog: Dialog, now: float) -> None:
        """The next step of a conversation, and what its socket has to be ready for."""
        if dialog.sock.fileno() < 0:
            return
        dialog.look(now)
        if dialog.ended:
            self._finish(dialog)
            return
        mask = dialog.wants(now)
        if mask == dialog.mask:
            return
        if not dialog.mask:
            self._selector.register(dialog.sock, mask)
        elif mask:
            self._selector.modify(dialog.sock, mask)
        else:
            self._selector.unregister(dialog.sock)
        dialog.mask = mask

    def _finish(self, dialog: Dialog) -> None:
        if dialog.mask:
            self._selector.unregister(dialog.sock)
        del self._dialogs[dialog.sock]
        dialog.sock.close()
        self._recent.append(dialog)
        run = self._run
        run.lines += dialog.sent_lines
        if not dialog.accepted:
            self._ours -= 1
        run.ends[self._end_of(dialog)] += 1
        if dialog.bye is not None and dialog.bye.get("reason") == "protocol":
            run.details[_without_figures(str(dialog.bye.get("detail")))] += 1
        problem = judge(dialog)
        if problem is not None and not run.node_died():
            run.complain("%s\n%s" % (problem, self._evidence(dialog)))

    @staticmethod
    def _end_of(dialog: Dialog) -> str:
        if dialog.bye is not None:
            return "bye %s" % dialog.bye.get("reason")
        if dialog.ended == "ours":
            return "our " + dialog.conversation.ending
        if dialog.ended == "eof" and dialog.half_closed:
            return "our half-close"
        return {"eof": "its close", "reset": "a reset"}.get(dialog.ended, dialog.ended)

    def _evidence(self, dialog: Dialog) -> str:
        """What is needed to repeat it."""
        conversation = dialog.conversation
        who = "accepted connection" if dialog.accepted else "conversation"
        text = ["    %s %d, ending %r" % (who, conversation.number, conversation.ending)]
        if not dialog.accepted:
            again = "    again: scripts/fuzz.py --seed %d --only %d"
            text.append(again % (self._run.options.seed, conversation.number))
        end = 0
        said = []
        for line in conversation.lines:
            if end < dialog.sent:
                said.append(line)
            end += len(line.data)
        odd = [line for line in said[1:-4] if line.what not in ("valid", "flood")]
        text.append("    sent %d lines; the first, the bent, and the last:" % len(said))
        for line in said[:1] + odd[-6:] + said[1:][-4:]:
            text.append("      %-6s %-18s %s" % (line.verdict, line.what[:18], show(line.data)))
        return "\n".join(text)

    def _tell_of_death(self) -> None:
        node = self._run.node
        assert node is not None
        suspects = list(self._recent) + list(self._dialogs.values())[:10]
        evidence = "\n".join(self._evidence(dialog) for dialog in suspects)
        code = node.process.poll()
        self._run.complain(
            "the node died, exit code %s; the last to end, and the open:\n%s" % (code, evidence)
        )

    def _progress(self, now: float) -> None:
        if now - self._shown_at < 2.0:
            return
        self._shown_at = now
        self._run.note_vital()
        if sys.stdout.isatty():
            print(
                "%d of %d lines, %d connections, %d open, %d failures"
                % (
                    self._run.lines,
                    self._run.options.lines,
                    self._run.connections,
                    len(self._dialogs),
                    len(self._run.failures),
                ),
                flush=True,
            )


def _without_figures(detail: str) -> str:
    """Details that differ only in a number or in a quotation are the same detail."""
    return re.sub(r"[0-9]+", "N", detail.partition(":")[0])[:40]


# -- each kind of bad input by itself -------------------------------------------------------------

PING = b'{"msgtype": "ping"}'
CASES: Tuple[Tuple[str, bytes], ...] = (
    ("not JSON", b"hello\n"),
    ("JSON cut short", b'{"msgtype": "ping"\n'),
    ("not an object", b"[1, 2]\n"),
    ("a string", b'"text"\n'),
    ("an empty object", b"{}\n"),
    ("msgtype a number", b'{"msgtype": 7}\n'),
    ("broken UTF-8", b'\xff{"msgtype": "ping"}\n'),
    ("overlong UTF-8", b'{"msgtype": "\xc0\xaf"}\n'),
    ("a surrogate in UTF-8", b'{"msgtype": "\xed\xa0\x80"}\n'),
    ("BOM", b"\xef\xbb\xbf" + PING + b"\n"),
    ("UTF-16", PING.decode().encode("utf-16-le") + b"\n"),
    ("NUL", b"\0\n"),
    ("raw control character", b'{"msgtype": "pi\x1bng"}\n'),
    ("NaN", b'{"msgtype": "x", "n": NaN}\n'),
    ("Infinity", b'{"msgtype": "x", "n": -Infinity}\n'),
    ("1e999", b'{"msgtype": "x", "n": 1e999}\n'),
    ("a key twice", b'{"msgtype": "x", "msgtype": "ping"}\n'),
    ("a key twice, 6,000 others", b'{"a":1,"a":1' + b"".join(
        b',"%d":1' % n for n in range(6000)) + b"}\n"),
    ("33 levels", b'{"msgtype": "x", "a": ' + b"[" * 32 + b"]" * 32 + b"}\n"),
    ("nested 30,000 deep", b"[" * 30000 + b"]" * 30000 + b"\n"),
    ("60,000 brackets", b"[" * 60000 + b"\n"),
    ("10,000 objects open", b'{"a":' * 10000 + b"\n"),
    ("quotes and brackets", b'"\\"[' * 15000 + b"\n"),
    ("backslashes", b'{"a":"' + b"\\" * 60001 + b"\n"),
    ("escapes, then nothing", b'{"a":"' + b"\\u0041" * 10000 + b"\n"),
    ("21 digits", b'{"msgtype": "x", "n": ' + b"1" * 21 + b"}\n"),
    ("60,000 digits", b'{"msgtype": "x", "n": ' + b"1" * 60000 + b"}\n"),
    ("60,000 decimals, too large", b'{"msgtype": "x", "n": 1.' + b"1" * 60000 + b"e999}\n"),
    ("a million digits", b'{"msgtype": "x", "n": ' + b"1" * 1000000 + b"}\n"),
    ("line too long", b"x" * 65536 + b"\n"),
    ("line too long, no newline", b"x" * 65537),
    ("cut off by the end", PING[:9]),
    ("addr without peers", b'{"msgtype": "addr"}\n'),
    ("addr, no address", b'{"msgtype": "addr", "peers": ["nowhere"]}\n'),
    ("addr, port 65536", b'{"msgtype": "addr", "peers": ["127.0.0.1:65536"]}\n'),
    ("addr, 101 entries", b'{"msgtype": "addr", "peers": ['
        + b",".join([b'"127.0.0.1:0"'] * 101) + b"]}\n"),
    ("addr, 12,000 entries", b'{"msgtype": "addr", "peers": ['
        + b",".join([b'""'] * 12000) + b"]}\n"),
    ("message, no UUID", b'{"msgtype": "message", "id": "x", "from": "y", "body": 1}\n'),
    ("links, 257 rows", b'{"msgtype": "links", "links": [' + b",".join([b"{}"] * 257) + b"]}\n"),
    ("bye for no reason", b'{"msgtype": "bye", "reason": "bored"}\n'),
    ("hello, port true", b'{"msgtype": "hello", "nodeid": "%s", "port": true}\n'),
    ("hello, port \"80\"", b'{"msgtype": "hello", "nodeid": "%s", "port": "80"}\n'),
    ("hello, port 80.0", b'{"msgtype": "hello", "nodeid": "%s", "port": 80.0}\n'),
    ("hello, port 0", b'{"msgtype": "hello", "nodeid": "%s", "port": 0}\n'),
    ("hello, name with ESC", b'{"msgtype": "hello", "nodeid": "%s", "name": "\\u001b[2J"}\n'),
    ("hello, no nodeid", b'{"msgtype": "hello"}\n'),
)
"""Each has to get ``bye protocol``, as the first line and after hello."""


class Outcome(NamedTuple):
    """How one bad input was answered."""

    milliseconds: float
    bye: Optional[Dict[str, Any]]


def try_case(address: Tuple[str, int], data: bytes, greeted: bool, nodeid: str) -> Outcome:
    """Connect, say that (after hello if ``greeted``), read to the end."""
    with socket.create_connection(address, PING_TIMEOUT) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        held = b""
        if greeted:
            hello = {"msgtype": "hello", "nodeid": nodeid, "network": NETWORK}
            sock.sendall(json.dumps(hello).encode("ascii") + b'\n{"msgtype":"ping"}\n')
            while b'"pong"' not in held:
                chunk = sock.recv(65536)
                if not chunk:
                    return Outcome(0.0, None)
                held += chunk
            held = held.rpartition(b"\n")[2]
        data = data.replace(b"%s", nodeid.encode("ascii"))
        return _say_and_hear(sock, data, held)


def _say_and_hear(sock: socket.socket, data: bytes, held: bytes) -> Outcome:
    """Send while reading, and half-close after what has no newline; time until the bye."""
    sock.setblocking(False)
    began, deadline = time.monotonic(), time.monotonic() + PING_TIMEOUT
    took, bye, left = 0.0, None, data
    while time.monotonic() < deadline:
        wanted = [sock] if left and bye is None else []
        readable, writable, _ = select.select([sock], wanted, [], 1.0)
        try:
            if writable:
                left = left[sock.send(left) :]
                if not left and not data.endswith(b"\n"):
                    sock.shutdown(socket.SHUT_WR)
            if not readable:
                continue
            chunk = sock.recv(65536)
        except OSError:
            break
        if not chunk:
            break
        lines = (held + chunk).split(b"\n")
        held = lines.pop()
        for line in lines:
            said = understand(line)
            if said["msgtype"] == "bye":
                took, bye = 1000 * (time.monotonic() - began), said
    return Outcome(took, bye)


def run_cases(run: Run) -> None:
    """``--cases``: each kind of bad input by itself, before hello and after."""
    address = run.start(0.001)
    if address is None:
        return
    assert run.polite is not None
    run.polite.report()
    time.sleep(0.5)  # not waiting for anything: this is the time that is measured
    calm = run.polite.report()
    print("%-30s %-6s %8s %9s  %s" % ("bad input", "hello", "ms", "polite ms", "detail"))
    number = 0
    for greeted in (False, True):
        for name, data in CASES:
            tries = []
            for _ in range(TRIES):
                number += 1
                nodeid = "cccccccc-0000-4000-8000-%012d" % number
                tries.append(try_case(address, data, greeted, nodeid))
            told = run.polite.report()
            if told is None:
                return
            _judge_case(run, name, greeted, tries, told["p50"])
            if run.over():
                return
    calm_p50 = calm["p50"] if calm is not None else 0.0
    print("the polite peers' median round trip with nothing going on: %.2f ms" % calm_p50)


def _judge_case(run: Run, name: str, greeted: bool, tries: List[Outcome], polite_ms: float) -> None:
    best = min(tries, key=lambda outcome: (outcome.bye is None, outcome.milliseconds))
    when = "after" if greeted else "before"
    detail = str(best.bye.get("detail", "")) if best.bye is not None else "no bye"
    print("%-30s %-6s %8.2f %9.2f  %s" % (name, when, best.milliseconds, polite_ms, detail))
    for outcome in tries:
        bye = outcome.bye or {}
        if bye.get("reason") != "protocol" or not bye.get("detail"):
            run.complain("%s, %s hello: no bye protocol but %s" % (name, when, outcome.bye))
            return
    if best.milliseconds > SLOW_MS:
        run.complain("%s, %s hello: over %g ms in the best of %d" % (name, when, SLOW_MS, TRIES))


# -- the command line -----------------------------------------------------------------------------


def main(argv: List[str]) -> int:
    """0 if all is well, 1 if not, 2 for wrong usage."""
    given = read_arguments(argv)
    if given.polite is not None:
        try:
            return be_polite(given.polite, given.every)
        except KeyboardInterrupt:
            return 1
    if given.against is None:
        go_inside(argv)
    options = Options(
        given.seed, given.lines, given.python, given.connections, given.only, given.against
    )
    run = Run(options)
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        print("seed %d, %s" % (options.seed, _where(options)), flush=True)
        run_cases(run) if given.cases else run.fuzz()
    except KeyboardInterrupt:
        print("interrupted")
    except OSError as error:  # no descriptor left, no such interpreter
        run.complain("cannot go on: %s" % error)
    finally:
        # What follows takes a moment, and is what a second Ctrl-C would spoil.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        run.stop()
    if not given.cases:
        run.report()
    if run.failures:
        print("%d failed; seed %d" % (len(run.failures), options.seed))
        return 1
    print("all is well; seed %d" % options.seed)
    return 0


def _where(options: Options) -> str:
    if options.against is not None:
        return "against %s:%d" % options.against
    apart = os.environ.get(INSIDE) == "1"
    return "%s, %s" % (
        options.python,
        "in a network of its own" if apart else "addresses filtered, network shared",
    )


def read_arguments(argv: List[str]) -> argparse.Namespace:
    """The command line; ends the program with 2 if it makes no sense."""
    parser = argparse.ArgumentParser(
        description="Talk nonsense to a live node, and see that nobody else notices."
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--lines", type=int, default=20000, metavar="M")
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="runs the node")
    parser.add_argument("--connections", type=int, default=24, metavar="K", help="at once")
    parser.add_argument("--only", type=int, metavar="N", help="only that conversation of the seed")
    parser.add_argument("--cases", action="store_true", help="each kind of bad input, timed")
    parser.add_argument(
        "--against",
        type=_loopback,
        metavar="HOST:PORT",
        help="a node that runs already, on this machine; its process is not looked at",
    )
    parser.add_argument("--polite", type=_loopback, help=argparse.SUPPRESS)
    parser.add_argument("--every", type=float, default=0.01, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.lines < 1 or not 1 <= given.connections <= 200:
        parser.error("--lines has to be 1 or more, --connections 1 to 200")
    if shutil.which(given.python) is None:
        parser.error("--python %s is no program" % given.python)
    return given


def _loopback(text: str) -> Tuple[str, int]:
    """``127.0.0.1:PORT`` as a pair.  Nothing but this machine is ever talked to."""
    host, _, port = text.rpartition(":")
    if not ipaddress.ip_address(host).is_loopback or not 1 <= int(port) <= 65535:
        raise ValueError(text)
    return host, int(port)


def go_inside(argv: List[str]) -> None:
    """Begin anew in a network namespace that has nothing but loopback, where that is allowed."""
    if os.environ.get(INSIDE):
        if not _loopback_up():
            os.environ[INSIDE] = "no"
        return
    unshare = shutil.which("unshare")
    if unshare is None or not sys.platform.startswith("linux") or os.geteuid() != 0:
        return
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if subprocess.call([unshare, "--net", sys.executable, "-c", ""], **quiet) != 0:
        return
    os.environ[INSIDE] = "1"
    sys.stdout.flush()
    os.execv(unshare, [unshare, "--net", sys.executable, os.path.abspath(__file__)] + argv)


def _loopback_up() -> bool:
    """``ip link set lo up``, without ip: SIOCSIFFLAGS of netdevice(7)."""
    try:
        import fcntl

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            request = struct.pack("16sh14x", b"lo", 0)
            flags = struct.unpack("16sh14x", fcntl.ioctl(sock, 0x8913, request))[1]
            fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))
        return True
    except (ImportError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
