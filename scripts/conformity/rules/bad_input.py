"""Bad input: it ends the connection on which it arrived, and no other."""

import json
import re

from ..grammar import new_id
from ..node import Node
from ..outcome import Broken, about
from ..rule import CORE, FULL, rule

BAD_LINES = [
    ("what is no JSON", b"hello"),
    ("an array", b"[1, 2]"),
    ("a text", b'"text"'),
    ("half an object", b'{"msgtype": "ping"'),
    ("an object and more", b'{"msgtype": "ping"} {"msgtype": "ping"}'),
    ("broken UTF-8", b'{"msgtype": "x", "text": "\xff"}'),
    ("a surrogate in UTF-8", b'{"msgtype": "x", "text": "\xed\xa0\x80"}'),
    ("a byte order mark", b'\xef\xbb\xbf{"msgtype": "ping"}'),
    ("UTF-16", '{"msgtype": "ping"}'.encode("utf-16-be")),
    ("NaN", b'{"msgtype": "x", "n": NaN}'),
    ("-Infinity", b'{"msgtype": "x", "n": -Infinity}'),
    ("a number out of range, 1e999", b'{"msgtype": "x", "n": 1e999}'),
    ("an integer of 21 digits", b'{"msgtype": "x", "n": ' + b"1" * 21 + b"}"),
    ("an integer of 60,000 digits", b'{"msgtype": "x", "n": ' + b"1" * 60000 + b"}"),
    ("a key twice", b'{"msgtype": "x", "a": 1, "a": 2}'),
    ("33 levels of nesting", b'{"msgtype": "x", "a": ' + b"[" * 32 + b"]" * 32 + b"}"),
    ("60,000 brackets", b"[" * 60000),
    ("no msgtype", b"{}"),
    ("a msgtype that is no text", b'{"msgtype": 7}'),
    ("an addr without peers", b'{"msgtype": "addr"}'),
    ("an addr with a host name", b'{"msgtype": "addr", "peers": ["example.org:80"]}'),
    ("an addr with port 65536", b'{"msgtype": "addr", "peers": ["127.0.0.1:65536"]}'),
    ("an addr with no UUID", b'{"msgtype": "addr", "peers": [["127.0.0.1:1", "x"]]}'),
    ("a message without an id", b'{"msgtype": "message", "from": "%s", "body": 1}'),
    ("a message without a body", b'{"msgtype": "message", "from": "%s", "id": "%s"}'),
    ("a row that is no list", b'{"msgtype": "links", "nodeid": "%s", "links": 7}'),
    ("a bye with an unknown reason", b'{"msgtype": "bye", "reason": "bored"}'),
]
"""A name for each, and the line; ``%s`` stands for a UUID."""


@rule(CORE, 11)
def nonsense_is_hung_up_on(node: Node) -> None:
    """A peer that sends a line that is no JSON object is disconnected, and nobody else is."""
    with node.join() as good:
        for nonsense in (b"hello?\n", b"[1, 2]\n", b'{"msgtype": "ping"\n', b"\xff\xfe\x00\n"):
            with node.join() as bad, about(nonsense):
                bad.send_raw(nonsense)
                bad.expect_end()
                good.round_trip()


def add_bad_line(what: str, line: bytes) -> None:
    """Make a rule for one of the bad lines."""

    def play(node: Node) -> None:
        with node.join() as peer:
            peer.send_raw(line.replace(b"%s", new_id().encode()) + b"\n")
            if not peer.expect_bye("protocol").get("detail"):
                raise Broken("a detail in the bye", peer.story(1))

    play.__name__ = "bad_" + re.sub(r"\W+", "_", what)
    play.__doc__ = "Bad input gets bye protocol with a detail: %s." % what
    rule(FULL, 11)(play)


for what, line in BAD_LINES:
    add_bad_line(what, line)


@rule(FULL, 11)
def bad_ports(node: Node) -> None:
    """A hello whose port is true, "80", 80.0, 0, 65536, -1 or null gets bye protocol."""
    for port in (True, "80", 80.0, 0, 65536, -1, None):
        with node.dial() as peer, about("port %s" % json.dumps(port)):
            peer.send_hello(port=port)
            peer.expect_bye("protocol")


@rule(FULL, 11)
def bad_names(node: Node) -> None:
    """A hello gets bye protocol if its nodeid is no UUID, or its name is empty, longer than 64
    characters or unprintable.
    """
    for fields in ({"nodeid": "me"}, {"name": ""}, {"name": "x" * 65}, {"name": "\x1b[31mred"}):
        with node.dial() as peer, about(json.dumps(fields)):
            peer.send_hello(**fields)
            peer.expect_bye("protocol")


@rule(FULL, 11)
def a_line_cut_off(node: Node) -> None:
    """A line cut off by the end of the stream is no message, and the connection is over.

    A node that dies in the middle of a line breaks no rule.
    """
    with node.join() as peer:
        peer.round_trip()
        peer.send_raw(b'{"msgtype": "ping"}')
        peer.half_close()
        for message in peer.read_for(node.patience):
            if message["msgtype"] in ("pong", "bye"):
                raise Broken("the end without a word", peer.story(1))
        peer.expect_end()
