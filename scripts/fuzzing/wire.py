"""What the fuzzer knows of the protocol.

It is written from the documents and imports nothing of ``p2p_plain``: a mistake in the node's own
tables must not make the fuzzer blind to it.
"""

import json
from typing import Any, Dict, List

NETWORK = "fuzz"

MAX_LINE = 64 * 1024
"""Bytes, newline included."""

MAX_FIRST_LINE = 4 * 1024
"""Bytes, newline included, of the line with which a connection begins."""

TIMEOUT = 5.0
"""Seconds: the node's ``--ping-timeout``, and how long everyone here waits for an answer."""

PROBE_TIMEOUT = 1.0
"""Seconds in which a node that probes us wants our hello, the first time."""

REASONS = frozenset((
    "stopping", "self", "duplicate", "full", "network", "unauthorised", "timeout", "protocol",
))
MSGTYPES = frozenset((
    "hello", "ping", "pong", "getaddr", "addr", "links", "getlinks", "message", "bye",
))

PING = b'{"msgtype":"ping"}'
PONG = b'{"msgtype":"pong"}'

POLITE_IDS = tuple("00000000-0000-4000-8000-%012d" % n for n in (1, 2, 3))
"""The polite peers' nodeids.  They are the smallest that exist: by the rule of ties, no connection
that the node dials to an impostor displaces one that such a peer has dialed."""


class LineBuffer:
    """Collects received bytes and cuts them into lines."""

    def __init__(self) -> None:
        self.rest = b""
        """The beginning of a line whose end has not arrived."""

    def feed(self, chunk: bytes) -> List[bytes]:
        """Return the lines that ``chunk`` completes, without their newlines."""
        lines = (self.rest + chunk).split(b"\n")
        self.rest = lines.pop()
        return lines


def parse(line: bytes) -> Dict[str, Any]:
    """Return a line of the node's as an object; ``ValueError`` if a node must not send it."""
    message = json.loads(line.decode("utf-8"), parse_constant=reject_constant)
    if not isinstance(message, dict):
        raise ValueError("not an object")
    if message.get("msgtype") not in MSGTYPES:
        raise ValueError("an unknown msgtype")
    return message


def reject_constant(name: str) -> None:
    """Raise ``ValueError``: ``json`` calls this for NaN and the infinities."""
    raise ValueError("%s is not JSON" % name)


def hello(nodeid: str, name: str) -> bytes:
    """Return a plain valid hello, newline included."""
    fields = {"msgtype": "hello", "nodeid": nodeid, "network": NETWORK, "name": name}
    return json.dumps(fields).encode("ascii") + b"\n"


def shown(data: bytes, limit: int = 120) -> str:
    """Return bytes as a Python literal that can be pasted, the middle of long ones left out."""
    if len(data) <= limit:
        return repr(data)[1:]
    middle = " ...%d bytes... " % (len(data) - limit)
    return repr(data[: limit * 2 // 3])[1:] + middle + repr(data[-limit // 3 :])[1:]
