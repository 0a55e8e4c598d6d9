"""The vocabulary: the messages that peers may say, each field checked on arrival.

``parse`` turns a line into one of the classes below, or raises ``PeerMisbehaved`` with a detail
that tells the author of the other program what to mend.  After that nobody needs to doubt a field:
a port is an ``int`` from 1 to 65535, a nodeid a UUID in lower case, a name printable.  The
functions that begin with ``encode`` are the way back.

The names are those of the article, which took ``getaddr`` and ``addr`` from Bitcoin.  A peer that
knows only the article sends ``{"nodeid": ..., "msgtype": "hello"}`` and bare strings in ``addr``;
every other field is optional.

A message type or a field that we do not know is ignored.  So a protocol can grow without everyone
upgrading on the same day.  Modules above this folder ``register`` further types.

No sockets, no threads, no clock.  Any thread.
"""

from random import Random

from ..common.address import Address, parse_wire
from ..common.errors import PeerMisbehaved
from ..common.escape import printable
from ..common.typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple, Union
from . import codec
from .fields import Fields, is_nodeid

VERSION = 1
"""The ``version`` in our hello."""

MAX_ADDRESSES = 100
"""Entries in one ``addr``: at 60 bytes each they fit a line.  (Bitcoin allows 1,000.)"""

BYE_REASONS = frozenset(
    ("stopping", "self", "duplicate", "full", "network", "unauthorised", "timeout", "protocol")
)
"""Why a connection ends.  ``stopping`` is a planned leave: nobody redials.  ``unauthorised`` is for
strangers, where the network is for members only."""

AGENT_LIMIT = 64
DETAIL_LIMIT = 500
NETWORK_LIMIT = 64
TOKEN_LIMIT = 64
"""Characters.  A longer text is rejected."""


class Bare:
    """A message without fields.  All messages of one such class are equal."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


class Hello(NamedTuple):
    """The first message each way: the sender introduces itself."""

    nodeid: str
    port: Optional[int] = None
    """The port on which it listens; absent if it does not."""
    name: Optional[str] = None
    network: str = ""
    version: Optional[int] = None
    """Absent in programs that know only the article."""
    agent: Optional[str] = None
    """The program and its version, for people."""
    probe: bool = False
    """True if the sender only wants to see which node answers, and does not become a peer."""
    observed: Optional[Address] = None
    """The address from which the receiver's connection comes."""
    http: Optional[int] = None
    """The port of its status page, if others may open it."""
    token: Optional[str] = None
    """Random digits that only the end that dials says: if they come back, the other end is an echo."""
    joins: bool = False
    """True if the sender lets a guest become a peer by ``join``."""
    unlisted: bool = False
    """True if the receiver has dialed an address that the sender does not know as its own: it must not be
    advertised."""
    members_only: bool = False
    """True if the sender talks only to members, who have the secret of its network (``handshake``)."""


class Join(NamedTuple):
    """Said by a guest that wants to be a peer, with all that a hello has."""

    hello: Hello


class Ping(NamedTuple):
    """Asks for a pong."""

    pad: str = ""
    """What the pong is to repeat, so that the two are of the same size."""
    t: bool = False
    """True if the pong should say how long the ping was held."""
    token: Optional[str] = None
    """The token of another connection: asks what the other end knows of it (see ``rivals``)."""


class Pong(NamedTuple):
    """The answer to a ping, at once."""

    held_us: Optional[int] = None
    """Microseconds from the ping's arrival, as the sender's kernel saw it, to this pong."""
    token: Optional[str] = None
    """The token in the ping, if the sender knows what it is for."""
    known: Optional[str] = None
    """What the sender knows of it: ``said``, ``heard``, ``pending`` or ``unknown``."""

    @property
    def held(self) -> Optional[float]:
        """The same in seconds."""
        return None if self.held_us is None else self.held_us / 1e6


class GetAddr(Bare):
    """Asks for addresses."""


class Addr(NamedTuple):
    """Addresses, each with the nodeid that was found there, if the sender says it."""

    peers: Tuple[Tuple[Address, Optional[str]], ...]


class AppMessage(NamedTuple):
    """The msgtype ``message``: an application's, to one peer (``to``) or to everyone."""

    id: str
    author: str
    body: Any
    to: Optional[str] = None
    line: bytes = b""
    """The line that it came in, newline included.  It is forwarded byte for byte, so that fields
    which we do not know survive and it cannot outgrow the wire on its way."""


class Bye(NamedTuple):
    """The sender closes after this, for this reason."""

    reason: str
    detail: str = ""


class Unknown(NamedTuple):
    """A message of a type that we do not know; to be ignored."""

    msgtype: str


AnyMessage = Union[Hello, Join, Ping, Pong, Addr, AppMessage, Bye, Unknown, Bare, Tuple[Any, ...]]
"""One of the classes above, or of a registered type: a named tuple or a ``Bare``."""


def name_of(message: AnyMessage) -> str:
    """Return the msgtype of a message, ``unknown`` for types that we do not know."""
    return _NAMES[type(message)]


def msgtype_in(line: bytes) -> str:
    """Return the msgtype of a line that this node sends, or takes unparsed.

    Lines that it forwards, spelled in any way, are always a ``message``.
    """
    if not line.startswith(_BEGINNING):
        return "message"
    return line[len(_BEGINNING) : line.index(b'"', len(_BEGINNING))].decode("ascii")


_BEGINNING = b'{"msgtype":"'

# -- out ----------------------------------------------------------------------

# These never change, so they are encoded once: they are nearly all the traffic there is.
PING = codec.encode({"msgtype": "ping"})
TIMED_PING = codec.encode({"msgtype": "ping", "t": True})
PONG = codec.encode({"msgtype": "pong"})
GETADDR = codec.encode({"msgtype": "getaddr"})


def encode_hello(hello: Hello, msgtype: str = "hello") -> bytes:
    """Return the line of a hello, or of a ``join``; a field with its default value is left out."""
    fields: Dict[str, Any] = {"msgtype": msgtype, "nodeid": hello.nodeid, "version": VERSION}
    for field in ("port", "name", "network", "agent", "probe", "http", "token", "joins", "unlisted"):
        value = getattr(hello, field)
        if value:
            fields[field] = value
    if hello.observed is not None:
        fields["observed"] = str(hello.observed)
    return codec.encode(fields)


def encode_long_ping(size: int) -> bytes:
    """Return a ping of ``size`` bytes, its newline included, that asks for a pong nearly as long."""
    least = codec.encode({"msgtype": "ping", "repeat": True, "pad": ""})
    return codec.encode({"msgtype": "ping", "repeat": True, "pad": "x" * (size - len(least))})


def encode_question(token: str) -> bytes:
    """Return a ping that asks what the other end knows of ``token``."""
    return codec.encode({"msgtype": "ping", "token": token})


def encode_answer(token: str, known: str) -> bytes:
    """Return the answer to such a ping."""
    return codec.encode({"msgtype": "pong", "token": token, "known": known})


def encode_pong(ping: Ping, held: Optional[float] = None) -> bytes:
    """Return the answer to a ping; ``held`` is for how many seconds we have held it, if that is known."""
    if ping.pad:
        return codec.encode({"msgtype": "pong", "pad": ping.pad})
    # The clock runs: no detour by the codec.
    return PONG if held is None else b'{"msgtype":"pong","held_us":%d}\n' % (held * 1e6)


def encode_addr(peers: List[Tuple[Address, str]]) -> bytes:
    """Return the line of an addr, for at most ``MAX_ADDRESSES`` addresses and their nodeids."""
    return codec.encode({"msgtype": "addr", "peers": [[str(a), nodeid] for a, nodeid in peers]})


def encode_message(id: str, author: str, body: Any, to: Optional[str] = None) -> bytes:
    """Return the line of an application's message.

    Raises ``MessageTooLong``; ``TypeError`` or ``ValueError`` for a body that JSON cannot say.
    """
    fields = {"msgtype": "message", "id": id, "from": author, "body": body}
    if to is not None:
        fields["to"] = to
    try:
        line = codec.encode(fields)
        codec.decode(line[:-1])  # what we would reject, others would reject from us
    except (PeerMisbehaved, RecursionError) as error:
        raise ValueError("no peer would accept it: %s" % error) from None
    return line


def encode_bye(reason: str, detail: str = "") -> bytes:
    """Return the line of a bye; ``reason`` is one of ``BYE_REASONS``."""
    fields = {"msgtype": "bye", "reason": reason}
    if detail:
        fields["detail"] = printable(detail, DETAIL_LIMIT // 2)[:DETAIL_LIMIT]
    return codec.encode(fields)


def new_uuid(rng: Random) -> str:
    """Return a random UUID (RFC 9562 section 5.4): with 122 random bits, nobody has to assign them.

    Not ``uuid.uuid4``, because a simulation needs it from its own random numbers.
    """
    # Six of the 128 bits are fixed: a 4 says "random", an 8, 9, a or b that it is such a UUID.
    digits = "%032x" % rng.getrandbits(128)
    variant = "89ab"[int(digits[16], 16) % 4]
    parts = (digits[:8], digits[8:12], "4" + digits[13:16], variant + digits[17:20], digits[20:])
    return "-".join(parts)


# -- in -----------------------------------------------------------------------


def parse(line: bytes) -> AnyMessage:
    """Return the message on a line (without its newline).  Raises ``PeerMisbehaved``."""
    frequent = FREQUENT.get(line)
    if frequent is not None:
        return frequent
    fields = codec.decode(line)
    msgtype = fields.get("msgtype")
    if not isinstance(msgtype, str):
        raise PeerMisbehaved("no msgtype" if msgtype is None else "msgtype is not a string")
    read = _READERS.get(msgtype)
    return Unknown(msgtype) if read is None else read(Fields(msgtype, fields, line))


def register(msgtype: str, kind: type, read: Callable[[Fields], AnyMessage]) -> None:
    """Have messages of a further type read by ``read``, which returns a ``kind``.

    While a module is imported: there is no lock.
    """
    _READERS[msgtype] = read
    _NAMES[kind] = msgtype
    REGISTERED.add(kind)


def _read_hello(fields: Fields) -> Hello:
    return Hello(
        nodeid=fields.uuid("nodeid"),
        port=fields.port("port"),
        name=fields.name(),
        network=fields.text("network", NETWORK_LIMIT) or "",
        version=fields.integer("version"),
        agent=fields.text("agent", AGENT_LIMIT),
        probe=fields.flag("probe"),
        observed=fields.address("observed"),
        http=fields.port("http"),
        token=fields.text("token", TOKEN_LIMIT),
        joins=fields.flag("joins"),
        unlisted=fields.flag("unlisted"),
        members_only=fields.has("auth"),
    )


def _read_ping(fields: Fields) -> Ping:
    token = fields.text("token", TOKEN_LIMIT)
    ping = Ping(fields.text("pad", codec.MAX_LINE) or "", fields.flag("t"), token)
    if not fields.flag("repeat") or len(fields.line) >= codec.MAX_FIRST_LINE:
        return ping._replace(pad="")
    # Some characters are longer as we write them, but nobody gets more bytes from us than he has sent.
    return ping if len(encode_pong(ping)) <= len(fields.line) else ping._replace(pad="")


def _read_pong(fields: Fields) -> Pong:
    token, known = fields.text("token", TOKEN_LIMIT), fields.text("known", TOKEN_LIMIT)
    return Pong(fields.integer("held_us"), token, known)


def _read_addr(fields: Fields) -> Addr:
    found: List[Tuple[Address, Optional[str]]] = []
    wrong = fields.wrong("peers", 'a list of ["ip:port", "nodeid"]')
    for entry in fields.array("peers", MAX_ADDRESSES):
        text, nodeid = entry, None
        if isinstance(entry, list) and len(entry) == 2:
            text, nodeid = entry
            if not is_nodeid(nodeid):
                raise wrong
        try:
            address = parse_wire(text)
        except ValueError:
            raise wrong from None
        found.append((address, None if nodeid is None else str(nodeid).lower()))
    return Addr(tuple(found))


def _read_message(fields: Fields) -> AppMessage:
    return AppMessage(
        id=fields.uuid("id"),
        author=fields.uuid("from"),
        body=fields.raw("body"),
        to=fields.uuid("to") if fields.has("to") else None,
        line=fields.line + b"\n",
    )


def _read_bye(fields: Fields) -> Bye:
    reason = fields.text("reason", 16)
    if reason not in BYE_REASONS:
        raise fields.wrong("reason", "one of " + ", ".join(sorted(BYE_REASONS)))
    return Bye(str(reason), fields.text("detail", DETAIL_LIMIT) or "")


_READERS: Dict[str, Callable[[Fields], AnyMessage]] = {
    "hello": _read_hello,
    "join": lambda fields: Join(_read_hello(fields)),
    "ping": _read_ping,
    "pong": _read_pong,
    "getaddr": lambda fields: GetAddr(),
    "addr": _read_addr,
    "message": _read_message,
    "bye": _read_bye,
}

_NAMES: Dict[type, str] = {
    kind: kind.__name__.lower() for kind in (Hello, Join, Ping, Pong, GetAddr, Addr, Bye, Unknown)
}
_NAMES[AppMessage] = "message"

REGISTERED: Set[type] = set()
"""The classes of further types, which ``register`` has added."""

A_PING = Ping()
A_TIMED_PING = Ping(t=True)

FREQUENT: Dict[bytes, AnyMessage] = {
    b'{"msgtype":"ping"}': A_PING,
    b'{"msgtype": "ping"}': A_PING,
    b'{"msgtype":"ping","t":true}': A_TIMED_PING,
    b'{"msgtype": "ping", "t": true}': A_TIMED_PING,
    b'{"msgtype":"pong"}': Pong(),
    b'{"msgtype": "pong"}': Pong(),
    b'{"msgtype":"getaddr"}': GetAddr(),
    b'{"msgtype": "getaddr"}': GetAddr(),
}
"""Nearly all the lines there are, in the two usual spellings of JSON, without their newlines.  (Measured:
24 ns to look one up, 1,300 to decode and check it.)"""

PINGS = {line + b"\n": message.t for line, message in FREQUENT.items() if isinstance(message, Ping)}
"""Pings with their newlines, and whether each asks how long it was held."""
