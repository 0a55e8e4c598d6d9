"""Each kind of bad input alone: does it get ``bye protocol``, and how soon?"""

import itertools
import select
import selectors
import socket
import time
from typing import NamedTuple, Optional, Tuple

from .conversation import Conversation
from .dialog import Dialog
from .expectation import Expectation
from .judge import judge
from .polite import percentile
from .run import CALM
from .target import Target
from .wire import PING, TIMEOUT, LineBuffer, hello, parse

TRIES = 5

SLOW_MS = 50.0
"""Milliseconds in which the best of the tries must be answered: beyond it, a stranger could keep a
node busy with single lines."""

ANSWERED = Expectation(frozenset(["protocol"]), True, False, None, 0)


def _message(fields: bytes) -> bytes:
    return b'{"msgtype": "x", ' + fields + b"}\n"


def _hello(fields: bytes) -> bytes:
    return b'{"msgtype": "hello", "nodeid": "%s", ' + fields + b"}\n"


def _addr(entries: bytes) -> bytes:
    return b'{"msgtype": "addr", "peers": [' + entries + b"]}\n"


SIX_THOUSAND_KEYS = b",".join(b'"%d":1' % number for number in range(6000))
CASES: Tuple[Tuple[str, bytes], ...] = (
    ("not JSON", b"hello\n"),
    ("JSON cut short", b'{"msgtype": "ping"\n'),
    ("not an object", b"[1, 2]\n"),
    ("a string", b'"text"\n'),
    ("an empty object", b"{}\n"),
    ("msgtype a number", b'{"msgtype": 7}\n'),
    ("broken UTF-8", b"\xff" + PING + b"\n"),
    ("overlong UTF-8", b'{"msgtype": "\xc0\xaf"}\n'),
    ("a surrogate in UTF-8", b'{"msgtype": "\xed\xa0\x80"}\n'),
    ("BOM", b"\xef\xbb\xbf" + PING + b"\n"),
    ("UTF-16", PING.decode().encode("utf-16-le") + b"\n"),
    ("NUL", b"\0\n"),
    ("raw control character", b'{"msgtype": "pi\x1bng"}\n'),
    ("NaN", _message(b'"n": NaN')),
    ("Infinity", _message(b'"n": -Infinity')),
    ("1e999", _message(b'"n": 1e999')),
    ("a key twice", _message(b'"msgtype": "ping"')),
    ("a key twice, 6,000 others", _message(b'"a":1,"a":1,' + SIX_THOUSAND_KEYS)),
    ("33 levels", _message(b'"a": ' + b"[" * 32 + b"]" * 32)),
    ("nested 30,000 deep", b"[" * 30000 + b"]" * 30000 + b"\n"),
    ("60,000 brackets", b"[" * 60000 + b"\n"),
    ("10,000 objects open", b'{"a":' * 10000 + b"\n"),
    ("quotes and brackets", b'"\\"[' * 15000 + b"\n"),
    ("backslashes", b'{"a":"' + b"\\" * 60001 + b"\n"),
    ("escapes, then nothing", b'{"a":"' + b"\\u0041" * 10000 + b"\n"),
    ("21 digits", _message(b'"n": ' + b"1" * 21)),
    ("60,000 digits", _message(b'"n": ' + b"1" * 60000)),
    ("60,000 decimals, too large", _message(b'"n": 1.' + b"1" * 60000 + b"e999")),
    ("a million digits", _message(b'"n": ' + b"1" * 1000000)),
    ("line too long", b"x" * 65536 + b"\n"),
    ("line too long, no newline", b"x" * 65537),
    ("addr without peers", b'{"msgtype": "addr"}\n'),
    ("addr, no address", _addr(b'"nowhere"')),
    ("addr, port 65536", _addr(b'"127.0.0.1:65536"')),
    ("addr, 101 entries", _addr(b",".join([b'"127.0.0.1:0"'] * 101))),
    ("addr, 12,000 entries", _addr(b",".join([b'""'] * 12000))),
    ("message, no UUID", b'{"msgtype": "message", "id": "x", "from": "y", "body": 1}\n'),
    ("links, 257 rows", b'{"msgtype": "links", "links": [' + b",".join([b"{}"] * 257) + b"]}\n"),
    ("bye for no reason", b'{"msgtype": "bye", "reason": "bored"}\n'),
    ("hello, port true", _hello(b'"port": true')),
    ('hello, port "80"', _hello(b'"port": "80"')),
    ("hello, port 80.0", _hello(b'"port": 80.0')),
    ("hello, port 0", _hello(b'"port": 0')),
    ("hello, name with ESC", _hello(b'"name": "\\u001b[2J"')),
    ("hello, no nodeid", b'{"msgtype": "hello"}\n'),
    ("join, and no guest", b'{"msgtype": "join", "nodeid": "%s"}\n'),
)
"""Each must get ``bye protocol`` as the first line and after hello.  ``%s`` becomes a nodeid."""


class Try(NamedTuple):
    """How one bad input was answered."""

    milliseconds: float
    problem: Optional[str]
    detail: str


def run_cases(target: Target) -> None:
    """Print a line for each case; the target collects the answers that are wrong or late."""
    polite = target.start(every=0.001)
    if polite is None:
        return
    polite.take()
    time.sleep(CALM)
    calm = polite.take()
    nodeids = ("cccccccc-0000-4000-8000-%012d" % number for number in itertools.count())
    print("%-30s %-6s %8s %9s  %s" % ("bad input", "hello", "ms", "polite ms", "detail"))
    for when in ("before", "after"):
        for name, data in CASES:
            tries = [_try(target.address, next(nodeids), when, data) for _ in range(TRIES)]
            best = min(tries, key=lambda one: (one.problem is not None, one.milliseconds))
            row = (name, when, best.milliseconds, percentile(polite.take(), 0.5), best.detail)
            print("%-30s %-6s %8.2f %9.2f  %s" % row)
            problems = [one.problem for one in tries if one.problem is not None]
            if not problems and best.milliseconds > SLOW_MS:
                problems = ["over %g ms in the best of %d tries" % (SLOW_MS, TRIES)]
            if problems:
                target.complain("%s, %s hello: %s" % (name, when, problems[0]))
            if target.over():
                return
    print("the polite peers' median round trip in a calm: %.2f ms" % percentile(calm, 0.5))


def _try(address: Tuple[str, int], nodeid: str, when: str, data: bytes) -> Try:
    with socket.create_connection(address, TIMEOUT) as sock:
        if when == "after" and not _greet(sock, nodeid):
            return Try(0.0, "the node closed after a valid hello", "")
        return _send(sock, data.replace(b"%s", nodeid.encode("ascii")))


def _greet(sock: socket.socket, nodeid: str) -> bool:
    """Say hello and wait for the pong of a first ping; False if the node closes instead."""
    sock.sendall(hello(nodeid, "case") + PING + b"\n")
    received = LineBuffer()
    while True:
        chunk = sock.recv(65536)
        if not chunk:
            return False
        if any(parse(line)["msgtype"] == "pong" for line in received.feed(chunk)):
            return True


def _send(sock: socket.socket, data: bytes) -> Try:
    """Send the bad input, half-close if it has no newline, and time the answer."""
    ending = "wait" if data.endswith(b"\n") else "half"
    dialog = Dialog(sock, Conversation(0, (), ((0.0, data),), ending, 0.0, ANSWERED), False)
    began = time.monotonic()
    milliseconds = 0.0
    while not dialog.ended:
        wanted = dialog.wants(time.monotonic())
        writing = [sock] if wanted & selectors.EVENT_WRITE else []
        readable, writable, _ = select.select([sock], writing, [], TIMEOUT)
        mask = selectors.EVENT_READ * bool(readable) | selectors.EVENT_WRITE * bool(writable)
        now = time.monotonic()
        dialog.serve(mask, now)
        dialog.advance(now)
        if dialog.bye is not None and not milliseconds:
            milliseconds = 1000 * (now - began)
    detail = str(dialog.bye.get("detail")) if dialog.bye is not None else "no bye"
    return Try(milliseconds, judge(dialog), detail)
