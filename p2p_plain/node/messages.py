"""The vocabulary: what peers may say, each field checked on arrival.

``parse`` turns a line into one of the classes below, or raises ``PeerMisbehaved`` with a
detail that tells the sender's author what to mend.  After it nobody needs to doubt a field:
a port is an ``int`` from 1 to 65535, a nodeid a UUID in lower case, a name printable.
The functions that begin with ``encode`` are the way back.

The names are those of the article this network follows (benediktkr, "A simple p2p network
in Python twisted", 2016), which took ``getaddr`` and ``addr`` from Bitcoin.  A peer that
knows only the article sends ``{"nodeid": ..., "msgtype": "hello"}`` and bare strings in
``addr``; everything more is optional.

A message type or a field that we do not know is ignored: that is how a protocol grows
without everyone having to upgrade on the same day.

``session`` and ``client`` parse what they read, ``overlay`` encodes what it answers.  No sockets,
no threads, no clock.  Any thread.
"""

import functools
import re
from random import Random
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

from ..common.address import Address, parse_wire
from ..common.config import MAX_ADDRESSES, MAX_LINKS, MAX_NAME, VERSION
from ..common.errors import MessageTooLong, PeerMisbehaved
from ..common.outcomes import OUTCOMES
from . import codec

BYE_REASONS = frozenset(
    ("stopping", "self", "duplicate", "full", "network", "unauthorised", "timeout", "protocol")
)
"""Why a connection ends.  ``stopping`` is a planned leave: nobody redials."""

AGENT_LIMIT = 64
DETAIL_LIMIT = 500
NETWORK_LIMIT = 64
"""Characters; what is longer is not an answer to the question that the field asks."""


class _Bare:
    """A message without fields.  All of one class are equal, as two empty tuples would be to any."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


class Hello(NamedTuple):
    """The first message each way: who is this.  ``port`` is absent if it does not listen."""

    nodeid: str
    port: Optional[int] = None
    name: Optional[str] = None
    network: str = ""
    version: Optional[int] = None
    agent: Optional[str] = None
    probe: bool = False
    observed: Optional[Address] = None
    http: Optional[int] = None


class Ping(_Bare):
    """Asks for a pong."""


class Pong(_Bare):
    """The answer to a ping, at once."""


class GetAddr(_Bare):
    """Asks for addresses."""


class Addr(NamedTuple):
    """Addresses, each with the nodeid that was found there, if the sender told."""

    peers: Tuple[Tuple[Address, Optional[str]], ...]


class GetLinks(_Bare):
    """Asks for every row of the matrix that the receiver has."""


class Links(NamedTuple):
    """One node's row of the matrix; with ``end``, the last of an answer to ``getlinks``.

    That one may tell after how many seconds a row says nothing about now (``stale_after``).
    """

    nodeid: str
    links: Tuple[Dict[str, Any], ...]
    name: Optional[str] = None
    age: float = 0.0
    lag_ms: Optional[float] = None
    end: bool = False
    line: bytes = b""
    """What it came in, without its newline."""
    stale_after: Optional[float] = None


class Message(NamedTuple):
    """What an application says, to one peer (``to``) or to everyone.

    ``line`` is the line it came in, newline included: it is passed on byte for byte, so that
    fields we do not know survive and it cannot outgrow the wire on its way.
    """

    id: str
    author: str
    body: Any
    to: Optional[str] = None
    line: bytes = b""


class Bye(NamedTuple):
    """The sender closes after this, and why."""

    reason: str
    detail: str = ""


class Unknown(NamedTuple):
    """A message of a type from some later version; to be ignored."""

    msgtype: str


AnyMessage = Union[Hello, Ping, Pong, GetAddr, Addr, GetLinks, Links, Message, Bye, Unknown]


def name_of(message: AnyMessage) -> str:
    """Its msgtype, ``unknown`` for those that this version does not know."""
    return _NAMES[type(message)]


def said_in(line: bytes) -> str:
    """The msgtype of a line that this node sends.

    What it passes on from others, spelt in whatever way, is always a ``message``.
    """
    if not line.startswith(_BEGINNING):
        return "message"
    return line[len(_BEGINNING) : line.index(b'"', len(_BEGINNING))].decode("ascii")


_BEGINNING = b'{"msgtype":"'
_NAMES = {
    kind: kind.__name__.lower()
    for kind in (Hello, Ping, Pong, GetAddr, Addr, GetLinks, Links, Message, Bye, Unknown)
}


# -- out ----------------------------------------------------------------------

# These never change, so they are encoded once: they are nearly all the traffic there is.
PING = codec.encode({"msgtype": "ping"})
PONG = codec.encode({"msgtype": "pong"})
GETADDR = codec.encode({"msgtype": "getaddr"})
GETLINKS = codec.encode({"msgtype": "getlinks"})
ROW = b'{"msgtype":"links",'
"""How our ``links`` begin: told by that, most rows are kept and never parsed (``matrix``)."""

FREQUENT_LINES = {PING: "ping", PONG: "pong", GETADDR: "getaddr"}
"""What most of what we say is, line by line, and its msgtype."""

LONGEST_FREQUENT_LINE = max(map(len, FREQUENT_LINES))
"""Bytes.  To look a long line up would take longer than to look at its beginning."""


def encode_hello(hello: Hello) -> bytes:
    """Only what is known is said: a field left out is its default."""
    said: Dict[str, Any] = {"msgtype": "hello", "nodeid": hello.nodeid, "version": VERSION}
    for field in ("port", "name", "network", "agent", "probe", "http"):
        value = getattr(hello, field)
        if value:
            said[field] = value
    if hello.observed is not None:
        said["observed"] = str(hello.observed)
    return codec.encode(said)


def encode_addr(peers: List[Tuple[Address, str]]) -> bytes:
    """``peers`` at most ``MAX_ADDRESSES`` addresses with the nodeid found there."""
    return codec.encode({"msgtype": "addr", "peers": [[str(a), nodeid] for a, nodeid in peers]})


def encode_message(id: str, author: str, body: Any, to: Optional[str] = None) -> bytes:
    """Raises ``MessageTooLong``, or ``TypeError``/``ValueError`` for a body JSON cannot say."""
    said = {"msgtype": "message", "id": id, "from": author, "body": body}
    if to is not None:
        said["to"] = to
    try:
        line = codec.encode(said)
        codec.decode(line[:-1])  # what we would refuse to hear, others would refuse from us
    except (PeerMisbehaved, RecursionError) as error:
        raise ValueError("no peer would accept it: %s" % error) from None
    return line


def encode_links(row: Links) -> bytes:
    """A row of the matrix.  What does not fit a line is left out: names first, then links.

    Names are in their own nodes' rows as well.  With all of them of the longest, 256 links would
    take 80 KiB.
    """
    said: Dict[str, Any] = {"msgtype": "links", "nodeid": row.nodeid, "age": round(row.age, 1)}
    if row.name:
        said["name"] = row.name
    if row.lag_ms is not None:
        said["lag_ms"] = row.lag_ms
    links = list(row.links[:MAX_LINKS])
    while True:
        said["links"] = links
        try:
            return codec.encode(said)
        except MessageTooLong:
            bare = [{key: link[key] for key in link if key != "name"} for link in links]
            links = bare if bare != links else links[: len(links) * 3 // 4]


def beginning_of_row(nodeid: str) -> bytes:
    """How a node's own row begins, measured this moment, as ``encode_links`` writes it."""
    return ROW + b'"nodeid":"%s","age":0.0,' % nodeid.encode("ascii")


def encode_end_of_links(nodeid: str, stale_after: float) -> bytes:
    """The last line of an answer to ``getlinks``; who asks cannot know how often we measure."""
    said = {"msgtype": "links", "nodeid": nodeid, "end": True, "links": []}
    return codec.encode(dict(said, stale_after=round(stale_after, 1)))


def encode_bye(reason: str, detail: str = "") -> bytes:
    """``reason`` one of ``BYE_REASONS``."""
    said = {"msgtype": "bye", "reason": reason}
    if detail:
        said["detail"] = codec.printable(detail, DETAIL_LIMIT // 2)[:DETAIL_LIMIT]
    return codec.encode(said)


# -- in -----------------------------------------------------------------------


def parse(line: bytes) -> AnyMessage:
    """The message on a line (without its newline).  Raises ``PeerMisbehaved``."""
    # To look a line up costs 24 ns, to decode and check it 1,300: worth it for the three
    # that make up nearly everything, in both of the usual spellings.
    message = _FREQUENT.get(line)
    return message if message is not None else _parse(line)


def new_uuid(rng: Random) -> str:
    """A random UUID (RFC 9562 section 5.4): 122 random bits, so nobody has to hand them out.

    Not ``uuid.uuid4``, because a simulation wants it from its own dice, and importing ``uuid``
    costs 4 ms of a start.
    """
    # Six of the 128 bits are fixed: a 4 says "random", an 8, 9, a or b that it is such a UUID.
    digits = "%032x" % rng.getrandbits(128)
    variant = "89ab"[int(digits[16], 16) % 4]
    parts = (digits[:8], digits[8:12], "4" + digits[13:16], variant + digits[17:20], digits[20:])
    return "-".join(parts)


def is_nodeid(text: object) -> bool:
    """Whether ``text`` is a UUID as RFC 9562 section 4 writes it (either case)."""
    return isinstance(text, str) and _UUID.match(text) is not None


def _parse(line: bytes) -> AnyMessage:
    said = codec.decode(line)
    msgtype = said.get("msgtype")
    if not isinstance(msgtype, str):
        raise PeerMisbehaved("no msgtype" if msgtype is None else "msgtype is not a string")
    reader = _READERS.get(msgtype)
    if reader is None:
        return Unknown(msgtype)
    message = reader(_Fields(msgtype, said))
    if isinstance(message, Message):
        return message._replace(line=line + b"\n")
    if isinstance(message, Links):
        return message._replace(line=line)
    return message


class _Fields:
    """The fields of one message, taken out one by one, each checked as it is taken."""

    __slots__ = ("_msgtype", "_said")

    def __init__(self, msgtype: str, said: Dict[str, Any]) -> None:
        self._msgtype = msgtype
        self._said = said

    def wrong(self, field: str, expected: str) -> PeerMisbehaved:
        problem = "is not %s" % expected if field in self._said else "is missing"
        return PeerMisbehaved("%s: %s %s" % (self._msgtype, field, problem))

    def has(self, field: str) -> bool:
        return field in self._said

    def raw(self, field: str) -> Any:
        if field not in self._said:
            raise self.wrong(field, "")
        return self._said[field]

    def uuid(self, field: str) -> str:
        value = self._said.get(field)
        if not is_nodeid(value):
            raise self.wrong(field, "a UUID")
        return str(value).lower()

    def optional_uuid(self, field: str) -> Optional[str]:
        return self.uuid(field) if field in self._said else None

    def port(self, field: str) -> Optional[int]:
        value = self._said.get(field)
        if field not in self._said:
            return None
        # type(), because isinstance(True, int) holds and true is not a port.
        if type(value) is not int or not 1 <= value <= 65535:
            raise self.wrong(field, "a port from 1 to 65535")
        return value

    def integer(self, field: str) -> Optional[int]:
        value = self._said.get(field)
        if field not in self._said:
            return None
        if type(value) is not int or value < 0:
            raise self.wrong(field, "an integer of 0 or more")
        return value

    def flag(self, field: str) -> bool:
        value = self._said.get(field, False)
        if not isinstance(value, bool):
            raise self.wrong(field, "true or false")
        return value

    def text(self, field: str, limit: int, least: int = 0) -> Optional[str]:
        value = self._said.get(field)
        if field not in self._said:
            return None
        if not isinstance(value, str) or not least <= len(value) <= limit:
            raise self.wrong(field, "a string of %d to %d characters" % (least, limit))
        return value

    def name(self) -> Optional[str]:
        value = self.text("name", MAX_NAME, 1)
        if value is not None and not value.isprintable():
            raise self.wrong("name", "printable")
        return value

    def number(self, field: str) -> Optional[float]:
        """Null counts as absent: a row says null for what was not measured."""
        value = self._said.get(field)
        if value is None:
            return None
        if type(value) not in (int, float) or value < 0:
            raise self.wrong(field, "a number of 0 or more")
        return float(value)

    def array(self, field: str, limit: int) -> List[Any]:
        value = self._said.get(field)
        if not isinstance(value, list) or len(value) > limit:
            raise self.wrong(field, "a list of at most %d" % limit)
        return value

    def address(self, field: str) -> Optional[Address]:
        if field not in self._said:
            return None
        try:
            return parse_wire(self._said[field])
        except ValueError:
            raise self.wrong(field, '"ip:port"') from None


def _read_hello(said: _Fields) -> Hello:
    return Hello(
        nodeid=said.uuid("nodeid"),
        port=said.port("port"),
        name=said.name(),
        network=said.text("network", NETWORK_LIMIT) or "",
        version=said.integer("version"),
        agent=said.text("agent", AGENT_LIMIT),
        probe=said.flag("probe"),
        observed=said.address("observed"),
        http=said.port("http"),
    )


def _read_addr(said: _Fields) -> Addr:
    found: List[Tuple[Address, Optional[str]]] = []
    for entry in said.array("peers", MAX_ADDRESSES):
        text, nodeid = entry, None
        if isinstance(entry, list) and len(entry) == 2:
            text, nodeid = entry
            if not is_nodeid(nodeid):
                raise said.wrong("peers", 'a list of ["ip:port", "nodeid"]')
        try:
            address = parse_wire(text)
        except ValueError:
            raise said.wrong("peers", 'a list of ["ip:port", "nodeid"]') from None
        found.append((address, None if nodeid is None else str(nodeid).lower()))
    return Addr(tuple(found))


_DIRECTIONS = frozenset(("outbound", "inbound", "none"))
_NUMBERS = (int, float)
_LINK_NUMBERS = ("rtt_ms", "rtt_p50_ms", "rtt_max_ms", "jitter_ms", "dial_ms", "up_s")

LINK_FIELDS = ("nodeid", "name", "address", "direction", "dial") + _LINK_NUMBERS
"""What a link of a row may say."""


def _is_sound(link: Dict[str, Any]) -> bool:
    """Whether nothing is wrong with a link of a row: the quick way to say so.

    A row has one for each node there is, and everyone sends its row to everyone: where each
    field is looked at by itself, with words ready for what may be wrong, a row of 64 takes 1 ms,
    and so 0.3.
    """
    # What is absent is given a value that is sound, so that nothing need be asked twice.
    get = link.get
    name, address = get("name", "-"), get("address", "0.0.0.0:0")
    direction, dial = get("direction", "none"), get("dial", "unknown")
    for text in (name, address, direction, dial):
        if not isinstance(text, str):
            return False
    if not is_nodeid(get("nodeid")):
        return False
    for field in _LINK_NUMBERS:
        value = get(field, 0)
        if value is not None and (type(value) not in _NUMBERS or value < 0):
            return False
    return (
        0 < len(name) <= MAX_NAME
        and name.isprintable()
        and _is_wire_address(address)
        and direction in _DIRECTIONS
        and dial in OUTCOMES
    )


@functools.lru_cache(maxsize=1024)  # each is in everyone's row
def _is_wire_address(text: str) -> bool:
    try:
        parse_wire(text)
    except ValueError:
        return False
    return True


def _check_link(fields: _Fields) -> None:
    """Say what is wrong with a link, if something is."""
    fields.uuid("nodeid")
    fields.name()
    fields.address("address")
    for field in _LINK_NUMBERS:
        fields.number(field)
    for field, words in (("direction", _DIRECTIONS), ("dial", OUTCOMES)):
        if fields.has(field) and fields.text(field, 16) not in words:
            raise fields.wrong(field, "one of " + ", ".join(sorted(words)))


def _read_links(said: _Fields) -> Links:
    links = said.array("links", MAX_LINKS)
    for link in links:
        if not isinstance(link, dict):
            raise said.wrong("links", "a list of objects")
        if not _is_sound(link):
            _check_link(_Fields("links", link))
        link["nodeid"] = link["nodeid"].lower()
    return Links(
        nodeid=said.uuid("nodeid"),
        links=tuple(links),
        name=said.name(),
        age=said.number("age") or 0.0,
        lag_ms=said.number("lag_ms"),
        end=said.flag("end"),
        stale_after=said.number("stale_after"),
    )


def _read_message(said: _Fields) -> Message:
    return Message(
        id=said.uuid("id"),
        author=said.uuid("from"),
        body=said.raw("body"),
        to=said.optional_uuid("to"),
    )


def _read_bye(said: _Fields) -> Bye:
    reason = said.text("reason", 16)
    if reason not in BYE_REASONS:
        raise said.wrong("reason", "one of " + ", ".join(sorted(BYE_REASONS)))
    return Bye(str(reason), said.text("detail", DETAIL_LIMIT) or "")


_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")

_READERS: Dict[str, Callable[[_Fields], AnyMessage]] = {
    "hello": _read_hello,
    "ping": lambda said: Ping(),
    "pong": lambda said: Pong(),
    "getaddr": lambda said: GetAddr(),
    "addr": _read_addr,
    "getlinks": lambda said: GetLinks(),
    "links": _read_links,
    "message": _read_message,
    "bye": _read_bye,
}

PING_LINES = frozenset((b'{"msgtype":"ping"}', b'{"msgtype": "ping"}'))
"""A ping in the two usual spellings of JSON, without the newline."""

_FREQUENT: Dict[bytes, AnyMessage] = {
    **{line: Ping() for line in PING_LINES},
    b'{"msgtype":"pong"}': Pong(),
    b'{"msgtype": "pong"}': Pong(),
    b'{"msgtype":"getaddr"}': GetAddr(),
    b'{"msgtype": "getaddr"}': GetAddr(),
}

PING_AND_PONG = {
    line + b"\n": message
    for line, message in _FREQUENT.items()
    if isinstance(message, (Ping, Pong))
}
"""One of these and nothing else, as it comes from the socket."""
