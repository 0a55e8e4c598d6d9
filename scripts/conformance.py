#!/usr/bin/env python3
r"""Play every rule of the wire against a node, in whatever language it is written.

    python3 scripts/conformance.py 127.0.0.1:6000                    everything
    python3 scripts/conformance.py 127.0.0.1:6000 --level core       what the smallest member does
    python3 scripts/conformance.py 127.0.0.1:6000 --rule ping        rules whose name has that word
    python3 scripts/conformance.py --list                            the rules, and nothing else

The rules are those of README.rst, "The wire", with its numbers.  There are two levels: *core* is
what every member needs so that the others can live with it, about a hundred lines in most
languages; *full* is the rest.  Each rule says in its docstring what it wants, and that is printed:

    ok       it held
    BROKEN   it did not: what was expected, and what came instead
    skipped  it could not be tried, and why

Best against a node that has room for 32 peers and is alone: what others tell it of us would be
taken for its own doing.  For some rules it must be able to dial us, at the address of this machine
from which we reach it.  Rules that wait are played at the same time; all together take half a
minute, or a whole one if the node is slow to ping.

Exit codes: 0 all that was tried held, 1 something is broken or there is nobody, 2 wrong usage.
"""

import argparse
import contextlib
import ipaddress
import json
import os
import random
import re
import socket
import struct
import sys
import textwrap
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

CORE, FULL = "core", "full"
MAX_LINE = 64 * 1024
MAX_FIRST_LINE = 4 * 1024
"""Bytes, newline included: rule 10."""
HANDSHAKE_TIMEOUT = 10.0
"""Seconds: rule 1."""
PATIENCE = 5.0
"""Seconds that "at once" may take: the machine may be busy, and we play many rules together.  Three
times that for what takes a dial: the node may have others to dial first."""
AT_ONCE = 8
"""Rules played together; with three connections each they stay under the bound of 32 an address."""
CROWD = 70
CROWD_FAR = 24
"""Silent connections: more than the 64 that a node keeps, but under those 32 if it is elsewhere."""
FLOOD = 20000
"""Pings in a flood."""

REASONS = frozenset(
    ("stopping", "self", "duplicate", "full", "network", "unauthorised", "timeout", "protocol")
)
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


class Broken(Exception):
    """A rule did not hold."""

    def __init__(self, expected: str, came: str) -> None:
        super().__init__("expected %s; came %s" % (expected, came))
        self.expected = expected
        self.came = came


class Skipped(Exception):
    """A rule could not be tried."""


# -- what a node may say ------------------------------------------------------------------------


def is_uuid(value: object) -> bool:
    """As RFC 9562 writes it, in either case."""
    return isinstance(value, str) and UUID.match(value) is not None


def is_port(value: object) -> bool:
    """A whole number; ``true`` is none."""
    return type(value) is int and 1 <= value <= 65535


def is_address(value: object) -> bool:
    """``"ip:port"``, an IPv6 address in brackets."""
    found = re.match(r"(?:([0-9.]+)|\[([0-9a-fA-F:.]+)\]):([0-9]{1,5})\Z", str(value))
    if not isinstance(value, str) or found is None:
        return False
    try:
        ipaddress.ip_address(found.group(1) or found.group(2))
    except ValueError:
        return False
    return int(found.group(3)) <= 65535


def is_text(most: int, least: int = 0) -> Callable[[object], bool]:
    """A string of so many characters."""
    return lambda value: isinstance(value, str) and least <= len(value) <= most


def is_entry(value: object) -> bool:
    """An entry of an ``addr``."""
    if isinstance(value, list):
        return len(value) == 2 and is_address(value[0]) and is_uuid(value[1])
    return is_address(value)


def is_number(value: object) -> bool:
    """A number of 0 or more; null where nothing was measured."""
    return value is None or (isinstance(value, (int, float)) and value is not True and value >= 0)


FIELDS: Dict[str, Dict[str, Callable[[Any], bool]]] = {
    "hello": {
        "nodeid!": is_uuid,
        "port": is_port,
        "name": lambda name: is_text(64, 1)(name) and name.isprintable(),
        "network": is_text(64),
        "version": lambda version: type(version) is int and version >= 0,
        "agent": is_text(64),
        "probe": lambda probe: isinstance(probe, bool),
        "observed": is_address,
        "http": is_port,
    },
    "addr": {
        "peers!": lambda peers: isinstance(peers, list)
        and len(peers) <= 100
        and all(is_entry(entry) for entry in peers),
    },
    "links": {
        "nodeid!": is_uuid,
        "name": lambda name: is_text(64, 1)(name) and name.isprintable(),
        "age": is_number,
        "lag_ms": is_number,
        "end": lambda end: isinstance(end, bool),
        "stale_after": is_number,
        "links!": lambda links: isinstance(links, list)
        and len(links) <= 256
        and all(isinstance(link, dict) and is_uuid(link.get("nodeid")) for link in links),
    },
    "message": {"id!": is_uuid, "from!": is_uuid, "body!": lambda body: True, "to": is_uuid},
    "bye": {"reason!": lambda reason: reason in REASONS, "detail": is_text(500)},
}
"""The fields of each message and what may be in them; ``!`` marks those that must be there."""


def read(line: bytes) -> Dict[str, Any]:
    """What the node has said, checked as strictly as it should check what we say."""
    try:
        message = json.loads(line.decode("utf-8"))
    except ValueError:
        raise Broken("one JSON object on each line", shown(line)) from None
    if not isinstance(message, dict) or not isinstance(message.get("msgtype"), str):
        raise Broken("an object with a msgtype on each line", shown(line))
    for field, is_sound in FIELDS.get(message["msgtype"], {}).items():
        name = field.rstrip("!")
        if (name in message or field != name) and not is_sound(message.get(name)):
            raise Broken("a sound %s in its %s" % (name, message["msgtype"]), shown(line))
    return message


def shown(line: bytes) -> str:
    """A line as it can be shown."""
    text = ascii(line.decode("utf-8", "backslashreplace"))[1:-1]
    return text if len(text) <= 200 else "%s... (%d bytes)" % (text[:200], len(line))


# -- our end ------------------------------------------------------------------------------------


class Peer:
    """One connection with the node.  It answers pings while it hears, and else says nothing."""

    def __init__(self, sock: socket.socket, nodeid: Optional[str] = None) -> None:
        self.sock = sock
        self.nodeid = nodeid or new_id()
        self.answers = True
        """Whether a ping that is heard gets a pong."""
        self.said: List[Dict[str, Any]] = []
        """Everything that the node has said."""
        self.end = ""
        """How the connection ended, once it has."""
        self._held = b""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def say(self, msgtype: str, **fields: Any) -> None:
        """Say one message."""
        self.say_raw(line_of(msgtype, **fields))

    def say_raw(self, data: bytes) -> None:
        """Say bytes; if the connection has ended, whoever hears next finds out."""
        try:
            self.sock.settimeout(PATIENCE)
            self.sock.sendall(data)
        except OSError:
            pass

    def hang_up(self) -> None:
        """Say no more, but go on hearing: half-closed."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def messages(self, seconds: float) -> Iterator[Dict[str, Any]]:
        """What comes within that time, until the end of the connection."""
        deadline = time.monotonic() + seconds
        while True:
            while b"\n" in self._held:
                line, _, self._held = self._held.partition(b"\n")
                if len(line) >= MAX_LINE:
                    raise Broken("lines of at most %d bytes" % MAX_LINE, "%d bytes" % len(line))
                if line.strip():
                    message = read(line)
                    self.said.append(message)
                    if message["msgtype"] == "ping" and self.answers:
                        self.say("pong")
                    yield message
            left = deadline - time.monotonic()
            if left <= 0 or self.end:
                return
            self.sock.settimeout(left)
            try:
                chunk = self.sock.recv(65536)
            except socket.timeout:
                return
            except OSError as error:
                self.end = "the connection broken off (%s)" % (error.strerror or error)
                return
            if not chunk:
                self.end = "the end"
            self._held += chunk

    def hear(
        self, msgtype: str, seconds: Optional[float] = None, **fields: Any
    ) -> Dict[str, Any]:
        """The next message of that type, with those fields; at once, or within some seconds."""
        seconds = PATIENCE if seconds is None else seconds
        before = len(self.said)
        for message in self.messages(seconds):
            if message["msgtype"] == msgtype and is_part(fields, message):
                return message
            if message["msgtype"] == "bye" and message["reason"] == "full":
                raise Skipped("it is full: give it room for 32 peers")
        wanted = ", ".join("%s %s" % (name, json.dumps(value)) for name, value in fields.items())
        expected = "%s%s within %g s" % (msgtype, wanted and " with " + wanted, seconds)
        raise Broken(expected, self.story(before))

    def hear_end(self, seconds: Optional[float] = None) -> None:
        """Wait for the end of the connection."""
        seconds = PATIENCE if seconds is None else seconds
        before = len(self.said)
        for _ in self.messages(seconds):
            pass
        if not self.end:
            raise Broken("the connection closed within %g s" % seconds, self.story(before))

    def hear_bye(self, reason: str, seconds: Optional[float] = None) -> Dict[str, Any]:
        """A goodbye with that reason, and the end."""
        seconds = PATIENCE if seconds is None else seconds
        before = len(self.said)
        for message in self.messages(seconds):
            if message["msgtype"] == "bye":
                if message["reason"] != reason:
                    break
                self.hang_up()
                self.hear_end()
                return message
        raise Broken("bye %s within %g s" % (reason, seconds), self.story(before))

    def round_trip(self) -> float:
        """Seconds from our ping to its pong: all that we said before has been dealt with."""
        began = time.monotonic()
        self.say("ping")
        self.hear("pong")
        return time.monotonic() - began

    def addresses(self) -> List[Any]:
        """The answer to ``getaddr``."""
        self.say("getaddr")
        found: List[Any] = self.hear("addr")["peers"]
        return found

    def rows(self) -> List[Dict[str, Any]]:
        """The answer to ``getlinks``, without its end."""
        self.say("getlinks")
        found = [self.hear("links")]
        while not found[-1].get("end"):
            found.append(self.hear("links"))
        return found[:-1]

    def story(self, since: int = 0) -> str:
        """What came, in words."""
        came = []
        for message in self.said[since:]:
            detail = message.get("detail")
            said = [message["msgtype"], message.get("reason", ""), detail and "(%s)" % detail]
            came.append(ascii(" ".join(filter(None, said)))[1:-1])
        if len(came) > 8:
            came[3:-4] = ["..."]
        return ", ".join(came + [self.end or ("then nothing" if came else "nothing")])


class Home:
    """A listening socket of ours, which the node may be told to dial."""

    def __init__(self, host: str) -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.bind((host, 0))
        self.sock.listen(16)
        self.port = self.sock.getsockname()[1]
        self.address = ("[%s]:%d" if ":" in host else "%s:%d") % (host, self.port)

    def __enter__(self) -> "Home":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def accept(
        self, nodeid: str, seconds: Optional[float] = None, probe: bool = False
    ) -> Optional[Peer]:
        """Who dials within that time, its hello heard; ``None`` if nobody.

        Of the two kinds of dials, to become a peer or only to look (``probe``), the other is
        answered as it should be and passed over.
        """
        deadline = time.monotonic() + (3 * PATIENCE if seconds is None else seconds)
        while True:
            self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                sock = self.sock.accept()[0]
            except socket.timeout:
                return None
            peer = Peer(sock, nodeid)
            if bool(peer.hear("hello").get("probe")) == probe:
                return peer
            with peer:
                peer.say("hello", nodeid=nodeid, network=peer.said[0].get("network", ""))
                peer.hang_up()


class Node:
    """The node that is tried: where it is, what we were told of it, and its hello."""

    def __init__(self, host: str, port: int, options: argparse.Namespace) -> None:
        self.host = host
        self.port = port
        self.network: str = options.network
        self.ping_timeout: float = options.ping_timeout
        self.ping_interval: float = options.ping_interval
        self.max_peers: Optional[int] = options.max_peers
        self.hello: Dict[str, Any] = {}
        self.our_host = host
        self.gone = False
        """Whether nobody listens there any more.  Set by any of those who play rules, never cleared."""

    @property
    def nodeid(self) -> str:
        """In lower case."""
        return str(self.hello["nodeid"]).lower()

    def dial(self, nodeid: Optional[str] = None, receive_buffer: int = 0) -> Peer:
        """A connection on which nothing has been said."""
        found = socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM)
        failure: OSError = OSError("no address")
        for family, kind, protocol, _, place in found:
            sock = socket.socket(family, kind, protocol)
            try:
                if receive_buffer:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
                sock.settimeout(PATIENCE)
                sock.connect(place)
            except OSError as error:
                sock.close()
                failure = error
                continue
            self.our_host = sock.getsockname()[0].partition("%")[0]
            return Peer(sock, nodeid)
        raise failure

    def look(self) -> None:
        """See whether somebody still listens there, and a moment later still.

        Who is dying closes its sockets one by one, and may close the listening one last.
        """
        try:
            with self.dial() as peer, contextlib.suppress(socket.timeout):
                peer.sock.settimeout(0.1)
                peer.sock.recv(1)
        except OSError:
            pass
        try:
            self.dial().sock.close()
        except ConnectionRefusedError:
            self.gone = True
        except OSError:
            pass  # busy

    def greet(self, nodeid: Optional[str] = None, **fields: Any) -> Peer:
        """A connection on which hello has been said both ways."""
        peer = self.dial(nodeid)
        peer.say_raw(self.hello_line(peer.nodeid, **fields))
        peer.hear("hello")
        return peer

    def join(self, nodeid: Optional[str] = None, **fields: Any) -> Peer:
        """A peer of the node: more than hello has been said both ways."""
        peer = self.greet(nodeid, **fields)
        peer.round_trip()
        return peer

    def hello_line(self, nodeid: str, **fields: Any) -> bytes:
        """Our hello."""
        return line_of("hello", nodeid=nodeid, network=self.network, **fields)

    def home(self) -> Home:
        """A listening socket at the address from which we reach the node."""
        return Home(self.our_host)

    def is_near(self) -> bool:
        """Whether it is on this machine."""
        return ipaddress.ip_address(self.our_host).is_loopback


def line_of(msgtype: str, **fields: Any) -> bytes:
    """One message as a line."""
    fields["msgtype"] = msgtype
    return json.dumps(fields).encode("ascii") + b"\n"


def padded(length: int, msgtype: str, **fields: Any) -> bytes:
    """A message of exactly so many bytes, newline included."""
    short = line_of(msgtype, padding="", **fields)
    return line_of(msgtype, padding="x" * (length - len(short)), **fields)


def is_part(fields: Dict[str, Any], message: Dict[str, Any]) -> bool:
    """Whether the message has all of these."""
    return all(message.get(name) == value for name, value in fields.items())


def new_id() -> str:
    """A nodeid, or an id of a message."""
    return str(uuid.uuid4())


def accepted(home: Home, nodeid: str, probe: bool = False) -> Peer:
    """Who dials us, in time."""
    peer = home.accept(nodeid, probe=probe)
    if peer is None:
        what = "a probe" if probe else "a call"
        raise Broken("%s at %s within %g s" % (what, home.address, 3 * PATIENCE), "nobody")
    return peer


@contextlib.contextmanager
def tie(node: Node, form: str) -> Iterator[Tuple[Peer, Peer]]:
    """Make the node dial us while we dial it: its connection, hello not answered yet, and ours."""
    nodeid = form % random.getrandbits(48)
    with node.join() as friend, node.home() as home:
        friend.say("addr", peers=[[home.address, nodeid]])
        theirs = home.accept(nodeid)
        if theirs is None:
            raise Skipped("it did not dial us; see rule 8")
        with theirs, node.join(nodeid) as ours:
            yield theirs, ours


def firsts(entries: List[Any]) -> List[str]:
    """The addresses of an ``addr``."""
    return [entry[0] if isinstance(entry, list) else entry for entry in entries]


def say_patiently(peer: Peer, data: bytes) -> None:
    """Say much, on a thread of its own."""
    try:
        peer.sock.settimeout(6 * PATIENCE)
        peer.sock.sendall(data)
    except OSError:
        pass


@contextlib.contextmanager
def about(what: object) -> Iterator[None]:
    """Say of what is broken in here that it was about that."""
    try:
        yield
    except Broken as broken:
        raise Broken(broken.expected, "%s, for %s" % (broken.came, what)) from None


# -- the rules ----------------------------------------------------------------------------------


Play = Callable[[Node], None]


class Rule(NamedTuple):
    """One rule: how it is tried, and what is said of it."""

    name: str
    level: str
    number: int  # in the README; 0 for what stands there without one
    text: str
    play: Play
    seconds: float  # that it takes, by and large: those that take long begin first
    alone: bool  # it would be in the way of others


RULES: List[Rule] = []


def rule(
    level: str, number: int, seconds: float = 1.0, alone: bool = False
) -> Callable[[Play], Play]:
    """Make a rule of a function; its docstring is what is said of it."""

    def note(play: Play) -> Play:
        name = play.__name__.replace("_", "-")
        text = " ".join((play.__doc__ or "").split())
        RULES.append(Rule(name, level, number, text, play, seconds, alone))
        return play

    return note


@rule(CORE, 1)
def hello_is_answered(node: Node) -> None:
    """A hello is answered with hello, which has the other end's nodeid, a UUID."""
    with node.greet() as peer:
        node.hello = peer.said[-1]


@rule(CORE, 1)
def the_nodeid_stays(node: Node) -> None:
    """A node has one nodeid for all its connections."""
    with node.dial() as peer:
        peer.say_raw(node.hello_line(peer.nodeid))
        nodeid = peer.hear("hello")["nodeid"]
    if nodeid != node.hello["nodeid"]:
        raise Broken("the nodeid %s again" % node.hello["nodeid"], nodeid)


@rule(CORE, 0)
def a_line_may_come_in_pieces(node: Node) -> None:
    """One read is not one message: a line may come byte by byte."""
    with node.dial() as peer:
        for byte in node.hello_line(peer.nodeid) + line_of("ping"):
            peer.say_raw(bytes([byte]))
        peer.hear("hello")
        peer.hear("pong")


@rule(CORE, 0)
def many_lines_may_come_at_once(node: Node) -> None:
    """One read is not one message: hello and fifty pings may come in one packet."""
    with node.dial() as peer:
        peer.say_raw(node.hello_line(peer.nodeid) + line_of("ping") * 50)
        peer.hear("hello")
        for number in range(50):
            with about("ping %d of 50" % (number + 1)):
                peer.hear("pong")


@rule(CORE, 0)
def blank_lines_and_crlf(node: Node) -> None:
    r"""A line may end with \r\n, and blank lines are skipped."""
    with node.dial() as peer:
        peer.say_raw(b"\n" + node.hello_line(peer.nodeid)[:-1] + b"\r\n")
        peer.hear("hello")
        peer.say_raw(b'\r\n\n{"msgtype": "ping"}\r\n')
        peer.hear("pong")


@rule(CORE, 0)
def json_as_it_may_be_spelt(node: Node) -> None:
    """JSON is JSON: spaces, the order of fields and escaped characters mean nothing."""
    with node.join() as peer:
        peer.say_raw(b'\t{ "since" : [ 1999 , null ] , "msg\\u0074ype"\t: "p\\u0069ng" }  \n')
        peer.hear("pong")


@rule(CORE, 0)
def the_unknown_is_ignored(node: Node) -> None:
    """Types and fields that one does not know are ignored."""
    with node.join(colour="green", tastes={"of": ["lime"]}) as peer:
        peer.say("from 2036", peers=7, nodeid=False)
        peer.say("ping", since=1999)
        peer.hear("pong")


@rule(CORE, 1)
def hello_comes_first(node: Node) -> None:
    """Who says something else before hello is hung up on."""
    with node.dial() as peer:
        peer.say("ping")
        peer.hear_end()


@rule(CORE, 1, seconds=HANDSHAKE_TIMEOUT)
def the_silent_are_sent_away(node: Node) -> None:
    """Who has not said hello 10 s after connecting is hung up on."""
    with node.dial() as peer:
        peer.hear_end(HANDSHAKE_TIMEOUT + PATIENCE)


@rule(CORE, 1, seconds=HANDSHAKE_TIMEOUT)
def the_dripping_are_sent_away(node: Node) -> None:
    """The 10 s are for the whole hello, however slowly its bytes drip."""
    with node.dial() as peer:
        deadline = time.monotonic() + HANDSHAKE_TIMEOUT + PATIENCE
        for byte in node.hello_line(peer.nodeid, padding="x" * 1000):
            peer.say_raw(bytes([byte]))
            for _ in peer.messages(0.5):
                pass
            if peer.end:
                return
            if time.monotonic() > deadline:
                raise Broken("the connection closed after 10 s", peer.story())


@rule(CORE, 1)
def nobody_waits_for_the_silent(node: Node) -> None:
    """Some who connect and say nothing, or half a hello, keep nobody waiting."""
    silent = [node.dial() for _ in range(4)]
    try:
        for peer in silent[:2]:
            peer.say_raw(node.hello_line(peer.nodeid)[:20])
        with node.join():
            pass
    finally:
        for peer in silent:
            peer.sock.close()


@rule(CORE, 2)
def oneself_is_hung_up_on(node: Node) -> None:
    """A hello with one's own nodeid: that is me, and no peer; the connection is closed."""
    with node.dial(node.hello["nodeid"]) as peer:
        peer.say_raw(node.hello_line(peer.nodeid))
        peer.hear_end()


@rule(CORE, 4)
def after_hello_it_asks_and_pings(node: Node) -> None:
    """After hello each side asks for addresses (getaddr), and pings."""
    with node.greet() as peer:
        heard = {"getaddr": False, "ping": False}
        for message in peer.messages(PATIENCE):
            heard[message["msgtype"]] = True
            if heard["getaddr"] and heard["ping"]:
                return
        raise Broken("getaddr and ping", peer.story(1))


@rule(CORE, 5)
def ping_gets_pong(node: Node) -> None:
    """A ping is answered with a pong, at once and each time."""
    with node.greet() as peer:
        for _ in range(5):
            peer.round_trip()


@rule(CORE, 8)
def getaddr_gets_addr(node: Node) -> None:
    """A getaddr is answered with an addr: at most 100 pairs of an ip:port and a nodeid."""
    with node.join() as peer:
        peer.addresses()


@rule(CORE, 11)
def nonsense_is_hung_up_on(node: Node) -> None:
    """Who says what is no JSON object is hung up on, and nobody else is."""
    with node.join() as good:
        for nonsense in (b"hello?\n", b"[1, 2]\n", b'{"msgtype": "ping"\n', b"\xff\xfe\x00\n"):
            with node.join() as bad, about(nonsense):
                bad.say_raw(nonsense)
                bad.hear_end()
                good.round_trip()


@rule(CORE, 10, seconds=3)
def an_endless_line_is_hung_up_on(node: Node) -> None:
    """Who says more than 65,536 bytes without a newline is hung up on."""
    with node.join() as peer:
        for _ in range(64):
            peer.say_raw(b"x" * MAX_LINE)
            for _ in peer.messages(0.01):
                pass
            if peer.end:
                return
        peer.hear_end()


@rule(CORE, 0)
def the_end_is_answered_with_the_end(node: Node) -> None:
    """When one side says no more (half-closed), the other side closes as well."""
    with node.join() as peer:
        peer.hang_up()
        peer.hear_end()


@rule(CORE, 0)
def after_bye_it_closes(node: Node) -> None:
    """Who hears bye closes."""
    with node.join() as peer:
        peer.say("bye", reason="stopping")
        peer.hang_up()
        peer.hear_end()


@rule(CORE, 0)
def a_broken_connection_is_nothing_special(node: Node) -> None:
    """A connection that breaks off in the middle of a line harms nobody."""
    with node.join() as good:
        for _ in range(3):
            with node.join() as bad:
                bad.say_raw(b'{"msgtype": "pi')
                # Closed with a reset, as by a machine that was switched off and on again.
                at_once = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
                bad.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        good.round_trip()


@rule(FULL, 1)
def who_was_dialed_waits(node: Node) -> None:
    """Who was dialed says nothing before it has heard hello."""
    with node.dial() as peer:
        if list(peer.messages(1.0)) or peer.end:
            raise Broken("nothing for a second", peer.story())


@rule(FULL, 1)
def hello_comes_first_or_bye_protocol(node: Node) -> None:
    """Something else before hello, even of an unknown type, gets bye protocol."""
    for line in (line_of("ping"), line_of("addr", peers=[]), line_of("from 2036")):
        with node.dial() as peer, about(line):
            peer.say_raw(line)
            peer.hear_bye("protocol")


@rule(FULL, 1)
def a_second_hello_is_an_error(node: Node) -> None:
    """A second hello gets bye protocol."""
    with node.join() as peer:
        peer.say_raw(node.hello_line(peer.nodeid))
        peer.hear_bye("protocol")


@rule(FULL, 1)
def networks_refuse_each_other(node: Node) -> None:
    """A hello of another network is answered, and then gets bye network."""
    with node.dial() as peer:
        peer.say("hello", nodeid=peer.nodeid, network=node.network[:50] + " elsewhere")
        peer.hear("hello")
        peer.hear_bye("network")


@rule(FULL, 2)
def oneself_is_told_so(node: Node) -> None:
    """A hello with one's own nodeid, in either case, is answered and then gets bye self."""
    for nodeid in (node.nodeid.upper(), node.nodeid):
        with node.dial(nodeid) as peer:
            peer.say_raw(node.hello_line(nodeid))
            peer.hear("hello")
            peer.hear_bye("self")


@rule(FULL, 3)
def of_two_alike_the_first_stays(node: Node) -> None:
    """A second connection from a node is answered and gets bye duplicate; the first one stays."""
    with node.join() as first:
        with node.dial(first.nodeid.upper()) as second:
            second.say_raw(node.hello_line(second.nodeid))
            second.hear("hello")
            second.hear_bye("duplicate")
        first.round_trip()


@rule(FULL, 3, seconds=3)
def a_tie_that_we_win(node: Node) -> None:
    """When both have dialed at once, what the smaller nodeid has dialed stays: ours."""
    with tie(node, "00000000-0000-4000-8000-%012x") as (theirs, ours):
        theirs.say_raw(node.hello_line(theirs.nodeid) + line_of("ping"))
        for message in theirs.messages(1.0):
            if message["msgtype"] == "bye":
                break
        theirs.say("bye", reason="duplicate")  # who dialed the winner closes the other
        theirs.hang_up()
        theirs.hear_end()
        for message in ours.messages(1.5):  # as long as it may take to regret it
            if message["msgtype"] == "bye":
                raise Broken("our connection to stay", ours.story())
        ours.round_trip()


@rule(FULL, 3, seconds=3)
def a_tie_that_it_wins(node: Node) -> None:
    """When both have dialed at once, what the smaller nodeid has dialed stays: its own."""
    with tie(node, "ffffffff-ffff-4fff-bfff-%012x") as (theirs, ours):
        theirs.say_raw(node.hello_line(theirs.nodeid))
        theirs.round_trip()
        ours.hear_bye("duplicate", 3 * PATIENCE)
        theirs.round_trip()


@rule(FULL, 4)
def it_says_where_it_listens(node: Node) -> None:
    """A node that listens says where: by the port of its hello and by an addr with itself."""
    if "port" not in node.hello:
        raise Broken("a port in its hello", json.dumps(node.hello))
    with node.greet() as peer:
        for entry in peer.hear("addr")["peers"]:
            address, nodeid = entry if isinstance(entry, list) else (entry, node.nodeid)
            host, port = address.rpartition(":")[::2]
            there = Node(host.strip("[]"), int(port), argparse.Namespace(**vars(node)))
            try:
                with there.greet(probe=True) as found:
                    if nodeid.lower() == node.nodeid == found.said[0]["nodeid"].lower():
                        return
            except (OSError, Broken):
                pass
        raise Broken("an addr with its own address, where it is", json.dumps(peer.said[-1]))


@rule(FULL, 5, seconds=62)
def it_pings_again(node: Node) -> None:
    """Each peer is pinged every ping_interval."""
    with node.join() as peer:
        peer.hear("ping", node.ping_interval + PATIENCE)
        if not [message for message in peer.said[:-1] if message["msgtype"] == "ping"]:
            peer.hear("ping", node.ping_interval + PATIENCE)


@rule(FULL, 5, seconds=20)
def who_does_not_answer_is_dropped(node: Node) -> None:
    """Who does not answer a ping within ping_timeout gets bye timeout; talking is not answering."""
    with node.greet() as peer:
        peer.answers = False
        deadline = time.monotonic() + node.ping_timeout + PATIENCE
        while not peer.end and time.monotonic() < deadline:
            peer.say("ping")
            for _ in peer.messages(1.0):
                pass
            if is_part({"msgtype": "bye", "reason": "timeout"}, peer.said[-1]):
                pings = [message for message in peer.said if message["msgtype"] == "ping"]
                if len(pings) > 1:
                    raise Broken("one ping at a time", "%d pings" % len(pings))
                return
        raise Broken("bye timeout after %g s" % node.ping_timeout, peer.story(1))


@rule(FULL, 5)
def a_pong_for_nothing_is_ignored(node: Node) -> None:
    """A pong that nobody asked for is ignored."""
    with node.join() as peer:
        for _ in range(5):
            peer.say("pong")
        peer.round_trip()


@rule(FULL, 6, seconds=3)
def addresses_are_earned(node: Node) -> None:
    """Where a peer says that it listens is passed on only once it has been found there."""
    with node.home() as home, node.join() as asker, node.join(port=home.port) as peer:
        with accepted(home, peer.nodeid, probe=True) as probe:
            if home.address in firsts(asker.addresses()):
                raise Broken("nothing before the probe is answered", "our address")
            probe.say_raw(node.hello_line(peer.nodeid, port=home.port))
            probe.hear_end()
        peer.round_trip()  # a pong of ours has arrived by now
        deadline = time.monotonic() + PATIENCE
        while [home.address, peer.nodeid] not in asker.addresses():
            if time.monotonic() > deadline:
                raise Broken("our address, after the probe", json.dumps(asker.said[-1]))
            time.sleep(0.1)
        if home.address in firsts(peer.addresses()):
            raise Broken("other addresses than the asker's own", home.address)


@rule(FULL, 6, seconds=3)
def who_is_not_there_is_not_passed_on(node: Node) -> None:
    """An address where another node was found than the one that gave it is not passed on."""
    with node.home() as home, node.join() as asker, node.join(port=home.port) as peer:
        with accepted(home, peer.nodeid, probe=True) as probe:
            probe.say_raw(node.hello_line(new_id(), port=home.port))
            probe.hear_end()
        time.sleep(0.5)
        if [home.address, peer.nodeid] in asker.addresses():
            raise Broken("an addr without our address", json.dumps(asker.said[-1]))


@rule(FULL, 7)
def a_probe_is_answered_and_not_counted(node: Node) -> None:
    """A hello with probe is answered and never counted as a peer; it may ping and ask getlinks."""
    with node.greet(probe=True) as probe:
        probe.round_trip()
        probe.rows()
        said = {message["msgtype"] for message in probe.said} - {"hello", "pong", "links"}
        if said:
            raise Broken("only what was asked for", probe.story())
        with node.join(probe.nodeid):
            probe.round_trip()


@rule(FULL, 7)
def it_probes_where_a_peer_says_it_listens(node: Node) -> None:
    """A new peer that listens is probed at once: hello with probe, and closed after the answer."""
    with node.home() as home, node.join(port=home.port) as peer, accepted(
        home, peer.nodeid, probe=True
    ) as probe:
        probe.say_raw(node.hello_line(peer.nodeid, port=home.port))
        probe.hear_end()


@rule(FULL, 8)
def it_dials_what_it_hears_of(node: Node) -> None:
    """An address that a peer tells is dialed, and who dials says hello at once."""
    with node.home() as home, node.join() as peer:
        nodeid = new_id()
        peer.say("addr", peers=[[home.address, nodeid]])
        with accepted(home, nodeid) as them:
            if them.said[0]["nodeid"] != node.hello["nodeid"]:
                raise Broken("a hello with its nodeid", json.dumps(them.said[0]))
            them.say_raw(node.hello_line(nodeid))
            them.round_trip()


@rule(FULL, 8)
def an_address_may_be_bare(node: Node) -> None:
    """An entry of an addr may also be the bare address, without a nodeid."""
    with node.home() as home, node.join() as peer:
        # One such address alone would be the teller's own.
        peer.say("addr", peers=[home.address, "0.0.0.0:1"])
        accepted(home, new_id()).sock.close()


@rule(FULL, 8, seconds=3)
def it_dials_again_who_broke_off(node: Node) -> None:
    """Who is lost without a goodbye is dialed again, after a second or two at first."""
    with node.home() as home, node.join() as friend:
        nodeid = new_id()
        friend.say("addr", peers=[[home.address, nodeid]])
        with accepted(home, nodeid) as them:
            them.say_raw(node.hello_line(nodeid))
            them.round_trip()
        if home.accept(nodeid) is None:
            raise Broken("a second call within %g s" % (3 * PATIENCE), "none")


@rule(FULL, 8, seconds=5)
def it_lets_go_who_left(node: Node) -> None:
    """Who left with bye stopping is not dialed again, unless heard of again."""
    with node.home() as home, node.join() as friend:
        nodeid = new_id()
        friend.say("addr", peers=[[home.address, nodeid]])
        with accepted(home, nodeid) as them:
            them.say_raw(node.hello_line(nodeid))
            them.round_trip()
            them.say("bye", reason="stopping")
            them.hang_up()
            them.hear_end()
        again = home.accept(nodeid, 4.0)
        if again is not None:
            again.sock.close()
            raise Broken("no call for 4 s", "one")
        with node.join() as another:
            another.say("addr", peers=[[home.address, nodeid]])
            accepted(home, nodeid).sock.close()


@rule(FULL, 9, alone=True)
def full_is_said_after_addr(node: Node) -> None:
    """When there is no room, hello is answered, then addr says whom else to ask, then bye full."""
    if node.max_peers is None:
        raise Skipped("how many fit is up to the node; start it with few, and say --max-peers")
    inside: List[Peer] = []
    try:
        for _ in range(node.max_peers + 1):
            peer = node.dial()
            inside.append(peer)
            peer.say_raw(node.hello_line(peer.nodeid))
            peer.say("ping")
            for message in peer.messages(PATIENCE):
                if message["msgtype"] == "pong":
                    break
            if peer.said[-1:] and peer.said[-1]["msgtype"] == "bye":
                break
        said = [message["msgtype"] for message in inside[-1].said]
        if said != ["hello", "addr", "bye"] or inside[-1].said[-1]["reason"] != "full":
            raise Broken("hello, addr, bye full", inside[-1].story())
        if len(inside) > 1:
            inside[0].round_trip()
    finally:
        for peer in inside:
            peer.sock.close()


@rule(FULL, 10)
def the_bound_before_hello(node: Node) -> None:
    """A line may have 4,096 bytes before hello, newline included, and no more."""
    hello = json.loads(node.hello_line(new_id()).decode())
    with node.dial() as peer:
        peer.say_raw(padded(MAX_FIRST_LINE, **hello))
        peer.hear("hello")
    with node.dial() as peer:
        peer.say_raw(padded(MAX_FIRST_LINE + 1, **hello))
        peer.hear_bye("protocol")


@rule(FULL, 10)
def the_bound_after_hello(node: Node) -> None:
    """A line may have 65,536 bytes after hello, newline included, and no more."""
    with node.join() as peer:
        peer.say_raw(padded(MAX_LINE, "ping"))
        peer.hear("pong")
        peer.say_raw(padded(MAX_LINE + 1, "ping"))
        peer.hear_bye("protocol")


@rule(FULL, 10)
def an_addr_has_at_most_100(node: Node) -> None:
    """An addr with 100 addresses is taken, one with 101 gets bye protocol."""
    with node.join() as peer:
        peer.say("addr", peers=[["0.0.0.0:1", new_id()]] * 100)  # one that nobody dials
        peer.round_trip()
        peer.say("addr", peers=[["0.0.0.0:1", new_id()]] * 101)
        peer.hear_bye("protocol")


@rule(FULL, 10, seconds=3)
def nobody_dials_nowhere(node: Node) -> None:
    """Unspecified addresses (on many systems they lead to oneself) and port 0 are never dialed."""
    if not node.is_near():
        raise Skipped("0.0.0.0 would lead the node to its own machine, not to us")
    with node.home() as home, node.home() as good, node.join() as peer:
        bad = ["0.0.0.0:%d" % home.port, "[::]:%d" % home.port, "[::ffff:0.0.0.0]:%d" % home.port]
        nodeid = new_id()
        peer.say("addr", peers=bad + ["127.0.0.1:0", "224.0.0.1:%d" % home.port])
        peer.say("addr", peers=[[good.address, nodeid]])
        accepted(good, nodeid).sock.close()  # dialed after the bad ones would have been
        if home.accept(nodeid, 0.5) is not None:
            raise Broken("nobody who dials", "a call to the unspecified address")


@rule(FULL, 10, seconds=5)
def a_flood_costs_the_flooder(node: Node) -> None:
    """Who says more than 200 messages a second is read more slowly, and others are not."""
    with node.join() as good, node.join() as flooder:
        flood = (line_of("ping") * FLOOD,)
        threading.Thread(target=flooder.say_raw, args=flood, daemon=True).start()
        for _ in range(20):
            good.round_trip()


@rule(FULL, 10, alone=True)
def a_crowd_keeps_nobody_out(node: Node) -> None:
    """Many who connect and say nothing do not keep out one who talks."""
    crowd: List[Peer] = []
    try:
        for _ in range(CROWD if node.is_near() else CROWD_FAR):
            crowd.append(node.dial())
        with node.join():
            pass
    finally:
        for peer in crowd:
            peer.sock.close()


BAD = [
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
for what, line in BAD:

    def bad_line(node: Node, line: bytes = line.replace(b"%s", new_id().encode())) -> None:
        """Bad input: replaced below."""
        with node.join() as peer:
            peer.say_raw(line + b"\n")
            if not peer.hear_bye("protocol").get("detail"):
                raise Broken("a detail in the bye", peer.story(1))

    bad_line.__name__ = "bad_" + re.sub(r"\W+", "_", what)
    bad_line.__doc__ = "Bad input gets bye protocol with a detail: %s." % what
    rule(FULL, 11)(bad_line)


@rule(FULL, 11)
def bad_ports(node: Node) -> None:
    """A hello whose port is true, "80", 80.0, 0, 65536, -1 or null gets bye protocol."""
    for port in (True, "80", 80.0, 0, 65536, -1, None):
        with node.dial() as peer, about("port %s" % json.dumps(port)):
            peer.say_raw(node.hello_line(peer.nodeid, port=port))
            peer.hear_bye("protocol")


@rule(FULL, 11)
def bad_names(node: Node) -> None:
    """A hello whose nodeid is no UUID or whose name is empty, too long or unprintable, likewise."""
    for fields in ({"nodeid": "me"}, {"name": ""}, {"name": "x" * 65}, {"name": "\x1b[31mred"}):
        with node.dial() as peer, about(json.dumps(fields)):
            peer.say_raw(line_of("hello", **dict({"nodeid": peer.nodeid}, **fields)))
            peer.hear_bye("protocol")


@rule(FULL, 11)
def a_line_cut_off(node: Node) -> None:
    """A line cut off by the end of the stream gets bye protocol."""
    with node.join() as peer:
        peer.say_raw(b'{"msgtype": "pi')
        peer.hang_up()
        peer.hear_bye("protocol")


@rule(FULL, 12, alone=True)
def a_slow_reader_delays_nobody(node: Node) -> None:
    """While one peer reads nothing of what is said to it, others hear all and in time."""
    with node.dial(receive_buffer=4096) as slow, node.join() as speaker, node.join() as good:
        slow.say_raw(node.hello_line(slow.nodeid) + line_of("pong"))
        slow.hear("ping")
        count, said = 16, {"from": speaker.nodeid, "body": "x" * 60000}
        lines = b"".join(line_of("message", id=new_id(), **said) for _ in range(count))
        threading.Thread(target=say_patiently, args=(speaker, lines), daemon=True).start()
        heard = 0
        deadline = time.monotonic() + 6 * PATIENCE
        while heard < count:
            before = len(good.said)
            good.round_trip()
            heard += [m["msgtype"] for m in good.said[before:]].count("message")
            if time.monotonic() > deadline:
                raise Broken("%d messages" % count, "%d" % heard)
            time.sleep(0.02)


@rule(FULL, 0)
def getlinks_gets_rows(node: Node) -> None:
    """A getlinks is answered with a links for each node, the own one first, and one with end."""
    with node.join() as peer:
        deadline = time.monotonic() + PATIENCE
        while True:  # it may give the same answer to all who ask at the same moment
            rows = peer.rows()
            if not rows or rows[0]["nodeid"].lower() != node.nodeid:
                raise Broken("its own row first", json.dumps(rows)[:200])
            if peer.nodeid in [link["nodeid"].lower() for link in rows[0]["links"]]:
                return
            if time.monotonic() > deadline:
                raise Broken("a link to us in its row", json.dumps(rows[0])[:200])
            time.sleep(0.2)


@rule(FULL, 0, seconds=5)
def its_row_goes_to_who_wants_it(node: Node) -> None:
    """A node sends its row to peers whose hello has a version, and not to others."""
    with node.join(version=1) as reader, node.join() as other:
        reader.hear("links", 6 * PATIENCE, nodeid=node.hello["nodeid"])
        other.round_trip()
        if [message for message in other.said if message["msgtype"] == "links"]:
            raise Broken("no links without a version", other.story(1))


@rule(FULL, 0, seconds=2)
def a_message_goes_to_everyone_once(node: Node) -> None:
    """A message for everyone is passed on unchanged, to each other peer, and once."""
    with node.join() as author, node.join() as first, node.join() as second:
        said: Dict[str, Any] = {"id": new_id(), "from": author.nodeid}
        said.update({"body": {"a": [1, "\u00e9", None]}, "since": 1999})
        author.say("message", **said)
        first.hear("message", **said)
        second.hear("message", **said)
        for peer in (author, first, second):
            peer.say("message", **said)  # heard before, so it goes nowhere
            peer.round_trip()
        for peer, times in ((author, 0), (first, 1), (second, 1)):
            for _ in peer.messages(0.5):
                pass
            heard = [message for message in peer.said if message.get("id") == said["id"]]
            if len(heard) != times:
                who = "the others" if times else "its author"
                raise Broken("it %d times at %s" % (times, who), "it %d times" % len(heard))


@rule(FULL, 0)
def a_message_to_one_stays_with_it(node: Node) -> None:
    """A message to one node is not passed on to others."""
    with node.join() as author, node.join() as other:
        said = {"id": new_id(), "from": author.nodeid, "body": 1}
        author.say("message", to=node.nodeid, **said)
        author.round_trip()
        for message in other.messages(0.5):
            if message.get("id") == said["id"]:
                raise Broken("nothing at others", "the message")


@rule(CORE, 0, alone=True)
def it_lives(node: Node) -> None:
    """After all this it answers hello, with the same nodeid."""
    with node.greet() as peer:
        if peer.said[0]["nodeid"] != node.hello["nodeid"]:
            raise Broken("the nodeid %s" % node.hello["nodeid"], peer.said[0]["nodeid"])


# -- playing them -------------------------------------------------------------------------------


OK, BROKEN, SKIPPED = "ok", "BROKEN", "skipped"


class Outcome(NamedTuple):
    """What became of a rule: one of the three words, and lines that say more."""

    word: str
    detail: Tuple[str, ...] = ()


def play(rule: Rule, node: Node) -> Outcome:
    """Try one rule.

    A node that has died has closed everything, and so held all the rules that want just that: what
    held by then does not count.
    """
    if node.gone:
        return Outcome(SKIPPED, ("because  it listens no more",))
    outcome = Outcome(OK)
    try:
        rule.play(node)
    except Skipped as skipped:
        outcome = Outcome(SKIPPED, ("because  " + str(skipped),))
    except Broken as broken:
        return Outcome(BROKEN, ("expected " + broken.expected, "came     " + broken.came[:400]))
    except OSError as error:
        outcome = Outcome(BROKEN, ("expected a connection", "came     " + str(error)))
    node.look()
    if node.gone:
        came = "its end, by this rule or one that was played with it: nobody listens there any more"
        return Outcome(BROKEN, ("expected a node that goes on", "came     " + came))
    return outcome


def play_all(rules: List[Rule], node: Node) -> Iterator[Tuple[Rule, Outcome]]:
    """Try them, most of them together; outcomes come in the order of the rules."""
    hello = RULES[0]
    first = play(hello, node)
    if first.word == OK and node.hello.get("network", "") != node.network:
        theirs = node.hello.get("network", "")
        raise ConnectionError("it belongs to the network %r; see --network" % theirs)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes: Dict[str, Future[Outcome]] = {}
        for each in sorted(rules, key=lambda each: -each.seconds):
            if first.word == OK and each is not hello and not each.alone:
                outcomes[each.name] = pool.submit(play, each, node)
        for each in rules:
            if each is hello:
                yield each, first
            elif first.word != OK:
                yield each, Outcome(SKIPPED, ("because  there is nothing to see without hello",))
            elif each.alone:
                wait(outcomes.values())
                yield each, play(each, node)
            else:
                yield each, outcomes[each.name].result()


def show(rule: Rule, outcome: Outcome) -> None:
    """Print a rule, and what became of it."""
    head = "%-8s%s%4s  " % (outcome.word, rule.level, rule.number or "")
    lines = [(head, rule.text)] + [(" " * len(head), detail) for detail in outcome.detail]
    if outcome.word == BROKEN:
        lines.append((" " * len(head), "again    --rule " + rule.name))
    for number, (begin, text) in enumerate(lines):
        indent = " " * (len(head) + (9 if number else 0))
        for line in textwrap.wrap(text, 99, initial_indent=begin, subsequent_indent=indent):
            print(line)
    sys.stdout.flush()


def chosen(level: str, words: List[str]) -> List[Rule]:
    """The rules of a level, in the order in which they are shown; those alone last."""
    rules = [rule for rule in RULES if level == FULL or rule.level == CORE]
    if words:
        rules = [rule for rule in rules if any(word in rule.name for word in words)]
    return sorted(rules, key=lambda rule: rule.alone)


def place(text: str) -> Tuple[str, int]:
    """``host:port`` or ``[v6]:port``."""
    host, _, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not re.match("[0-9]{1,5}$", port) or not 1 <= int(port) <= 65535:
        raise argparse.ArgumentTypeError("%r is not HOST:PORT" % text)
    return host, int(port)


def seconds(text: str) -> float:
    """A time."""
    value = float(text)
    if not 0 < value < 1e6:
        raise ValueError
    return value


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="conformance.py",
        description="Play every rule of the wire against a node.",
        epilog="Exit codes: 0 all that was tried held, 1 something is broken or nobody is there, "
        "2 wrong usage.",
    )
    add = found.add_argument
    add("place", metavar="HOST:PORT", type=place, nargs="?", help="where the node listens")
    add("--level", choices=(CORE, FULL), default=FULL, help="core: what the smallest member does")
    add("--rule", metavar="WORD", action="append", default=[], help="those with that in their name")
    add("--list", action="store_true", help="show the rules and end")
    add("--network", metavar="NAME", default="", help="the node's network")
    add("--ping-interval", metavar="S", type=seconds, default=60.0, help="the node's (60)")
    add("--ping-timeout", metavar="S", type=seconds, default=20.0, help="the node's (20)")
    add("--max-peers", metavar="N", type=int, help="the node's, if few: tries what full means")
    add("--patience", metavar="S", type=seconds, default=PATIENCE, help="what at once may take (5)")
    return found


def main(argv: List[str]) -> int:
    """Play what was asked for; the exit code."""
    global PATIENCE
    options = parser().parse_args(argv)
    rules = chosen(options.level, options.rule)
    if not rules:
        parser().error("no rule has %s in its name; see --list" % " or ".join(options.rule))
    if options.list:
        for rule in rules:
            print("%s%4s  %s" % (rule.level, rule.number or "", rule.name))
            print(textwrap.fill(rule.text, 99, initial_indent=" " * 10, subsequent_indent=" " * 10))
        return 0
    if options.place is None:
        parser().error("give HOST:PORT, where the node listens")
    PATIENCE = options.patience
    began = time.monotonic()
    counts = dict.fromkeys((OK, BROKEN, SKIPPED), 0)
    try:
        node = Node(options.place[0], options.place[1], options)
        node.dial().sock.close()
        for rule, outcome in play_all(rules, node):
            show(rule, outcome)
            counts[outcome.word] += 1
    except BrokenPipeError:  # whoever read what we print has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = "%s port %d" % options.place
        print("cannot try %s: %s" % (where, error.strerror or error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    summary = ["%d of %d rules held" % (counts[OK], len(rules))]
    summary += ["%d %s" % (counts[word], word) for word in (BROKEN, SKIPPED) if counts[word]]
    print("%s  (%.0f s)" % (", ".join(summary), time.monotonic() - began))
    return 1 if counts[BROKEN] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
