"""Valid lines, drawn from a seed."""

import json
import random
from typing import Any, Dict, NamedTuple

from .wire import NETWORK, POLITE_IDS, REASONS
from .world import World

ACCEPT, REJECT, EITHER, LEAVE = "accept", "reject", "either", "leave"
"""What the node is expected to do with a line: accept it, answer ``bye protocol``, one of the two
(the line was mutated blindly), or close because the line is our ``bye``."""

_ENCODERS = tuple(
    json.JSONEncoder(ensure_ascii=ascii_only, separators=separators)
    for ascii_only in (True, False)
    for separators in ((",", ":"), (", ", ": "))
)
NASTY = (
    "", "plain", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x00", "\ud800", "\udfff\ud800",
    "\U0001f4a9", "\u202etxt.exe", "\u2028\u2029\x85", "\ufeff", "a\r\nb\tc", "%s%n%x",
    "</script><script>", "\\u0022", "\x7f\x80", "[[[[{{{{", "\u0661\u0662",
)
NAMES = ("alpha", "b", "Zo\xeb", "\u7bc0\u9ede", "with space", "x" * 64, "\\", '"', "</b>")
NUMBERS = (0, 1, -1, 80, 65536, 10 ** 19, -(10 ** 19), 0.5, 1e308, -0.0, 1e-320, True, None)
UNUSUAL_ADDRESSES = (
    "[::1]:%d", "[::ffff:127.0.0.1]:%d", "[0:0:0:0:0:0:0:1]:%d", "0.0.0.0:%d", "[::]:%d",
    "[::ffff:0.0.0.0]:%d", "224.0.0.1:%d", "239.255.255.255:%d", "[ff02::1]:%d",
    "255.255.255.255:%d", "0.1.2.3:%d", "127.0.0.1:0", "127.0.0.1:%d",
)
KINDS = (
    ["ping"] * 30 + ["pong"] * 12 + ["getaddr"] * 8 + ["addr"] * 12
    + ["message"] * 18 + ["getlinks"] * 6 + ["links"] * 8 + ["unknown"] * 6
)
"""The types of the lines after hello, as often as they are drawn; ``unknown`` is a type that does
not exist, which a node has to ignore."""


class Line(NamedTuple):
    """One message as bytes, newline included."""

    data: bytes
    expected: str  # ACCEPT, REJECT, EITHER or LEAVE
    kind: str  # the msgtype that the line was made from
    what: str  # how it was made, for people


def expected_if_valid(kind: str) -> str:
    """Return what a node does with a valid line of this type."""
    return LEAVE if kind == "bye" else ACCEPT


class Grammar:
    """Draws valid messages.  Every choice comes from ``rng``."""

    def __init__(self, rng: random.Random, world: World) -> None:
        self.rng = rng
        self.world = world
        self.pool = ["%08x-0000-4000-8000-%012x" % (n * 0x11111111, n) for n in range(1, 16)]
        """Nodeids that several connections use."""

    def line(self, kind: str) -> Line:
        """Return a valid line, now and then in an unusual form that nodes have to accept."""
        data = self.encode(self.message(kind))
        dice = self.rng.random()
        what = "valid"
        if dice < 0.03:
            data, what = data + b"\r", "CRLF"
        elif dice < 0.05:
            data, what = self.rng.choice((b"\n", b"\r\n", b"\n\n\r\n")) + data, "blank lines"
        elif dice < 0.07:
            data, what = b" \t" + data + b"  \r", "blanks"
        return Line(data + b"\n", expected_if_valid(kind), kind, what)

    def encode(self, message: Dict[str, Any]) -> bytes:
        """Return one of the ways to write a message, without newline."""
        rng = self.rng
        if rng.random() < 0.1:
            keys = list(message)
            rng.shuffle(keys)
            message = {key: message[key] for key in keys}
        try:
            return rng.choice(_ENCODERS).encode(message).encode("utf-8")
        except UnicodeEncodeError:  # half of a surrogate pair has to be escaped
            return _ENCODERS[0].encode(message).encode("ascii")

    def message(self, kind: str) -> Dict[str, Any]:
        """Return a valid message of that type."""
        rng = self.rng
        if kind == "addr":
            count = rng.choice((0, 1, 1, 2, 3, 8)) if rng.random() < 0.97 else 100
            return {"msgtype": "addr", "peers": [self.entry() for _ in range(count)]}
        if kind == "message":
            return self._user_message()
        if kind == "links":
            return self._links()
        if kind == "hello":
            return self.hello("plain")
        if kind == "bye":
            message = {"msgtype": "bye", "reason": rng.choice(sorted(REASONS))}
            if rng.random() < 0.5:
                message["detail"] = rng.choice(NASTY)
            return message
        if kind == "unknown":
            return {"msgtype": "from 2036" + rng.choice(NASTY), "x": self.value()}
        message = {"msgtype": kind}
        if kind == "ping" and rng.random() < 0.5:
            message["t"] = rng.random() < 0.9
        if kind == "pong" and rng.random() < 0.5:
            message["held_us"] = rng.choice((0, 250, 10 ** 19))
        return message

    def hello(self, kind: str) -> Dict[str, Any]:
        """Return a hello of that kind.

        ``plain`` and ``probe`` are accepted.  ``self`` has the node's own nodeid, ``network``
        another network, ``polite`` the nodeid of a polite peer, and ``pool`` a nodeid that another
        connection may have.
        """
        rng = self.rng
        message: Dict[str, Any] = {"msgtype": "hello", "nodeid": self.uuid(), "network": NETWORK}
        if kind == "self":
            message["nodeid"] = self.world.nodeid
        elif kind == "polite":
            message["nodeid"] = rng.choice(POLITE_IDS)
        elif kind == "pool":
            message["nodeid"] = rng.choice(self.pool)
        elif kind == "network":
            message["network"] = rng.choice(("", "other", "\x1b[2J", "Fuzz"))
        elif kind == "probe":
            message["probe"] = True
        if rng.random() < 0.3:
            message["port"] = self.port()
        if rng.random() < 0.7:
            message["name"] = rng.choice(NAMES)
        more = (
            ("version", rng.choice((0, 1, 2, 10 ** 19))),
            ("agent", rng.choice(NASTY)),
            ("observed", "127.0.0.1:%d" % self.port()),
            ("http", self.port()),
            ("token", rng.choice(("0123456789abcdef", rng.choice(NASTY)))),
            ("colour", self.value()),
        )
        message.update((field, value) for field, value in more if rng.random() < 0.2)
        return message

    def _links(self) -> Dict[str, Any]:
        rng = self.rng
        links = []
        for _ in range(rng.randrange(4)):
            link: Dict[str, Any] = {"nodeid": self.any_nodeid(), "name": rng.choice(NAMES)}
            link["rtt_ms"] = 0.25
            if rng.random() < 0.5:
                link["dial"] = rng.choice(("ok", "refused", "wrong-peer", "unknown"))
                link["direction"] = rng.choice(("outbound", "inbound", "none"))
                link["address"] = self.address()
                link["up_s"] = rng.choice((None, 0, 1.5, 1e300))
                link["why"] = rng.choice(("hangs", "no-node", "turned-away", "gone", "of another version"))
            links.append(link)
        message: Dict[str, Any] = {"msgtype": "links", "nodeid": self.any_nodeid()}
        message["links"] = links
        if rng.random() < 0.3:
            message["age"] = rng.choice((0, 1.5, None))
            message["end"] = rng.random() < 0.5
            message["stale_after"] = rng.choice((0, 180.0, None))
            message["probe_interval"] = rng.choice((0, 60.0, None))
            message["changes"] = rng.choice((0, 7, 10 ** 19))
        return message

    def _user_message(self) -> Dict[str, Any]:
        """Return a ``message``, mostly to a nodeid that is not there: broadcasts cost more."""
        rng = self.rng
        message = {
            "msgtype": "message",
            "id": rng.choice(self.pool) if rng.random() < 0.1 else self.uuid(),
            "from": self.any_nodeid(),
            "body": self.value(),
        }
        if rng.random() < 0.01:
            message["body"] = [message["body"]] * rng.randrange(1, 500)
        if rng.random() < 0.85:
            message["to"] = self.any_nodeid()
        return message

    def uuid(self) -> str:
        """Return a random UUID."""
        digits = "%032x" % self.rng.getrandbits(128)
        return "-".join(
            (digits[:8], digits[8:12], "4" + digits[13:16], "a" + digits[17:20], digits[20:])
        )

    def any_nodeid(self) -> str:
        """Return a stranger's nodeid, the node's own or a peer's."""
        rng = self.rng
        known = [self.world.nodeid, rng.choice(POLITE_IDS), rng.choice(self.pool)]
        return rng.choice(known) if rng.random() < 0.4 else self.uuid()

    def port(self) -> int:
        """Return one of the fuzzer's ports."""
        if self.world.listeners and self.rng.random() < 0.3:
            return int(self.rng.choice(self.world.listeners).rpartition(":")[2])
        return self.rng.choice(self.world.dead_ports)

    def address(self) -> str:
        """Return a valid address: the fuzzer's, a dead one, or one that nobody dials."""
        rng = self.rng
        dice = rng.random()
        if dice < 0.2 and self.world.listeners:
            return rng.choice(self.world.listeners)
        if dice < 0.75:
            # Mostly the same few hundred: each new one makes the node dial, and that costs it
            # more than a hundred lines of another kind.
            wide = rng.random() < 0.02
            third = rng.randrange(256) if wide else 0
            return "127.0.%d.%d:%d" % (third, rng.randrange(1, 255 if wide else 40), self.port())
        form = rng.choice(UNUSUAL_ADDRESSES)
        if dice > 0.98:
            return "127.0.0.1:%d" % self.world.node_port
        port = self.port()
        return form % port if "%d" in form else form

    def entry(self) -> Any:
        """Return one entry of an ``addr``."""
        address = self.address()
        return address if self.rng.random() < 0.3 else [address, self.any_nodeid()]

    def value(self, depth: int = 3) -> Any:
        """Return any JSON value."""
        rng = self.rng
        dice = rng.random()
        if depth and dice < 0.15:
            return [self.value(depth - 1) for _ in range(rng.randrange(4))]
        if depth and dice < 0.35:
            return {rng.choice(NASTY): self.value(depth - 1) for _ in range(rng.randrange(4))}
        if dice < 0.7:
            return rng.choice(NASTY)
        return rng.choice(NUMBERS)
