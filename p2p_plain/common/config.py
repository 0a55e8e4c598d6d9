"""The knobs: what each means, its unit, its default, the reason, and where the figure is from.

Two kinds.  Constants in capitals are rules of the wire or bounds that keep a stranger from
filling our memory: nobody needs to turn them.  ``Config`` holds what a user may set; the
command line and ``Node(...)`` both end up here, so a value is checked in one place.

To be skimmed, and come back to: each stands where it is used under its name.
"""

from typing import Iterable, List, Optional, Tuple, Union

from .address import Address, is_dialable, is_ip, is_shareable, parse
from .errors import UsageError

Bootstrap = Union[None, str, Address, Iterable[Union[str, Address]]]

VERSION = 1
"""The number that our hello gives as ``version``."""

DEFAULT_PORT = 6000
"""TCP port when none is given; the README's example.  Nothing is registered there but X11."""

# -- lines --------------------------------------------------------------------

MAX_LINE = 64 * 1024
"""Longest line on the wire, bytes, newline included.  A hundred addresses take 8 KiB; a row of
the matrix with 256 links and names of usual length fits.  Larger, and each of 256 peers could
make us hold more while its newline never comes.  (Redis bounds an inline command at the same
64 KiB.)"""

MAX_FIRST_LINE = 4 * 1024
"""Longest line, bytes, before hello: a stranger who has not said who it is gets less memory."""

MAX_NESTING = 32
"""Deepest JSON nesting.  Our own messages need three levels.  The parser recurses, and enough
brackets overflow its stack: a crash of the process, not an exception, where stacks are small."""

MAX_INTEGER_DIGITS = 20
"""Longest integer in a message.  Turning a million digits into a number takes seconds before
Python 3.11 (CVE-2020-10735); 64 bits need 20."""

RECEIVE_BYTES = 4 * 1024
"""How much one ``recv`` asks for.  With 64 KiB a flood is parsed in longer turns and its
neighbours wait 353 us instead of 136 us."""

LONG_LINE_BYTES = 28 * 1024
"""How much is asked for at once in the middle of a long line: the row of a node among 64 has 14 KB,
and that of one among 128 comes with two calls instead of eight."""

MAX_UNSENT = 1024 * 1024
"""Bytes that wait, a connection, for a peer that reads slowly, on top of what the kernel holds.
More than a few of the longest lines is a peer that is not keeping up; unbounded, one stalled
reader would collect every broadcast in our memory."""

HIGH_WATER = 256 * 1024
"""Unsent bytes at which a connection's reader stops answering (and so stops reading) until
they are gone: whoever asks without reading the answers slows down only itself."""

BYTES_PER_TOKEN = 1024
"""Bytes that count as one message where the rate is limited.  Parsing a line takes time in
proportion to its length; did a line of 64 KiB cost as little as a ping, a peer that keeps to 200
messages a second could keep a core busy."""

ANSWERED_PER_TOKEN = 16 * 1024
"""The same for what is answered: all rows of a network of 64 are a megabyte, for a line of 22 bytes."""

# -- time, in seconds -----------------------------------------------------------

HANDSHAKE_TIMEOUT = 10.0
"""From connect to hello, the whole of it, however slowly the bytes drip.  A timeout for each
read would let one byte every nine seconds hold a thread for half a day (slowloris, 2009)."""

DIAL_TIMEOUT = 5.0
"""How long a TCP connect may take.  A SYN is repeated after 1 s and again 2 s later (RFC 6298),
so two lost packets still connect."""

GUEST_TIMEOUT = 60.0
"""How long a guest (who says hello as a probe, and stays to ask) may be silent.  Guests make room
for newcomers as strangers do."""

LINGER = 0.5
"""After our ``bye`` the other end gets this long to close first.  Closing a socket with unread
data in it sends a reset, and a reset overtakes and destroys the ``bye`` (RFC 1122 4.2.2.13)."""

ADDRESS_FRESH = 240.0
"""An address is passed on only if its node answered a ping within this time: the figure of the
article, four ping intervals."""

BACKOFF_FIRST = 1.0
BACKOFF_MAX = 300.0
"""A failed address is tried again after 1 s, 2 s, 4 s ... 300 s, each with up to half of itself
added at random: after a power cut a hundred nodes must not dial the first one in step."""

BACKOFF_MAX_ALONE = 8.0
"""The same ceiling while we have no peer at all: then it is probably our own cable, and the
first thing its owner does after plugging it in is to look whether we are back."""

FORGET_AFTER = 24 * 3600.0
"""An address that failed for a day is dropped, unless it is a bootstrap address."""

SAVE_INTERVAL = 60.0
"""How often the address book goes to disk, if it changed: the most that a crash can lose."""

# -- counts -------------------------------------------------------------------

MAX_ADDRESSES = 100
"""Entries in one ``addr``.  (Bitcoin allows 1,000; at 60 bytes each ours still fits a line.)"""

MAX_LINKS = 256
"""Links in one row of the matrix: as many as a node has peers."""

MAX_ROWS = 512
"""Rows of the matrix kept, those of nodes that are gone included.  At 64 KiB each, the longest a
row can be, 32 MiB; a network of 64 takes one."""

MAX_BOOK = 4096
"""Addresses in the book.  Each costs about half a kilobyte, so a stranger can fill 2 MiB."""

MAX_HEARD_PER_PEER = 64
"""Unproven addresses in the book from any one peer: a liar owns 64 lines of it, not all
(cf. Heilman et al., "Eclipse Attacks on Bitcoin's Peer-to-Peer Network", 2015)."""

REPLACED_AFTER = 60.0
"""Seconds of failure after which an address heard from a peer makes room for another one from the
same peer.  So a peer that tells of a hundred new addresses a line has us dial 64 a minute.
(Bitcoin Core takes one a second from each peer, after a first thousand, since 2021.)"""

DIALS_A_SECOND = 32
DIALS_AT_ONCE = 256
"""Dials of all addresses but those of the bootstrap list.  A book of 4,096 dead ones, each tried
every 8 s by a node that is alone, would else keep a core busy."""

UNPROVEN_A_SECOND = 16
UNPROVEN_AT_ONCE = 256
"""Dials of addresses on somebody's word alone, all peers together: hearsay, and what newcomers
claim for themselves, each.  A network that starts has its burst; a crowd that connects, lies and
leaves cannot use us to knock at other people's doors faster than that."""

MAX_SEEN = 10000
"""Ids of messages remembered, so that a flooded message is passed on once and stops."""

MAX_UNGREETED = 64
"""Inbound connections that have not said hello yet.  At the bound the oldest makes room: a
crowd that connects and says nothing must not keep out someone who talks."""

MAX_PER_IP = 32
"""Inbound connections from one address (loopback exempt: there, many nodes share one)."""

MAX_DIALS = 16
"""Dials under way at once, and so threads in the connector's pool.  Each may hang for
``DIAL_TIMEOUT`` where a firewall drops packets; sixteen get through 64 dead ones in 20 s."""

MAX_PROBES = 8
"""Probes under way at once: half of the pool, so that a hundred peers behind firewalls, whose
claimed addresses never answer, leave threads for the dials that make peers."""

STALE_AFTER_INTERVALS = 3
"""A row of the matrix older than that many ping intervals is not shown as current: of the rows
that a node should have sent by then, two at least are missing."""

SCOUT_INTERVAL = 5.0
SCOUT_AGAIN_AFTER = 15.0
"""Seconds: a node that is missing is looked for by a probe each ``SCOUT_INTERVAL``, the same one
not more often than each ``SCOUT_AGAIN_AFTER``, however many there are.  Dials alone would not do:
after an hour apart their backoff is at 300 s, and the two halves of a network should find each
other within 30 s of the cable's return.  A host that stays off costs four packets a minute."""

STABLE_AFTER = 30.0
"""A connection that stood this long, in seconds, forgives the failures before it.  Without it
a peer that lets us in and hangs up would be dialed every second for ever."""

TELL_PEERS = 8
"""Peers told at once of a newly proven address; they tell others.  Eight random neighbours keep
a network of 1,000 whole when half of it dies (measured: 18 of 20 runs; with four, none).  Who was
dialed by all its peers tells all of them: nobody else may know yet."""

ENOUGH_PEERS = 2
"""With fewer peers than this no bootstrap address waits longer than ``BACKOFF_MAX_ALONE``."""

RTT_SAMPLES = 120
"""Round trips remembered per connection: two hours at one a minute."""

REMEMBERED_EVENTS = 1000
"""Past events that a new ``Node.events()`` starts with."""

REMEMBERED_SIZE = 1024
"""Bytes of a message's line up to which its event is remembered.  A line of 64 KiB can become
2 MiB of lists in memory: a thousand of those would be a stranger's to fill."""

MAX_WAITING_EVENTS = 10000
MAX_WAITING_BYTES = 1024 * 1024
"""Events that wait for a slow listener, and bytes of peers' lines in them; beyond either the
oldest are dropped, and counted.  In number alone would not do: a line of 64 KiB can be 2 MiB once
it is parsed, 10,000 of them 20 GB, and a terminal stopped with Ctrl-S would be enough to let a
stranger fill them.  So it is 32 MiB at the worst, and as much again that is being told."""

MAX_NAME = 64
"""Characters in a node's label."""


class Config:
    """What one node was told.  Immutable once made; any thread reads it.

    Raises ``UsageError`` for a value that cannot be meant, naming the setting.
    """

    __slots__ = (
        "advertise",
        "bind",
        "bootstrap",
        "http",
        "max_peers",
        "max_rate",
        "name",
        "network",
        "peers_file",
        "ping_interval",
        "ping_timeout",
        "port",
        "probe_interval",
    )

    def __init__(
        self,
        port: int = DEFAULT_PORT,
        bind: Optional[str] = None,
        bootstrap: Bootstrap = (),
        advertise: Optional[str] = None,
        name: Optional[str] = None,
        network: str = "",
        ping_interval: float = 60.0,
        ping_timeout: float = 20.0,
        probe_interval: float = 60.0,
        max_peers: int = 256,
        max_rate: float = 200.0,
        peers_file: Optional[str] = None,
        http: Union[int, str, None] = None,
    ) -> None:
        self.port = _whole("port", port, 0, 65535)
        self.bind = None if bind is None else _bind(bind)
        self.bootstrap: Tuple[Address, ...] = _bootstrap(bootstrap, self.port)
        self.advertise = None if advertise is None else _advertise(advertise, self.port)
        self.name = None if name is None else _name(name)
        self.network = _text("network", network, 0)
        self.ping_interval = _seconds("ping_interval", ping_interval)
        self.ping_timeout = _seconds("ping_timeout", ping_timeout)
        self.probe_interval = _seconds("probe_interval", probe_interval)
        self.max_peers = _whole("max_peers", max_peers, 1, 1000000)
        self.max_rate = _rate("max_rate", max_rate)
        self.peers_file = None if peers_file is None else _path("peers_file", peers_file)
        self.http = None if http is None else _http(http)
        """Where the status page listens; ``None`` for nowhere."""


def _number(setting: str, value: object) -> float:
    # bool is an int to Python and a mistake to everyone else.
    # And NaN fails every comparison.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        raise UsageError(setting, "%r is not a number" % (value,))
    return value


def _whole(setting: str, value: object, least: int, most: int) -> int:
    number = _number(setting, value)
    if number != int(number) or not least <= number <= most:
        raise UsageError(setting, "%s is not a whole number from %d to %d" % (value, least, most))
    return int(number)


def _seconds(setting: str, value: object) -> float:
    number = _number(setting, value)
    if not 0.001 <= number <= 1e9:
        raise UsageError(setting, "%s is not a time in seconds; at least 0.001" % (value,))
    return float(number)


def _rate(setting: str, value: object) -> float:
    number = _number(setting, value)
    if number < 0:
        raise UsageError(setting, "%s is negative; give messages a second, 0 for no limit" % value)
    return float(number)


def _text(setting: str, value: object, least: int) -> str:
    if not isinstance(value, str) or not least <= len(value) <= MAX_NAME or not value.isprintable():
        raise UsageError(setting, "must be %d to %d printable characters" % (least, MAX_NAME))
    return value


def _name(value: object) -> str:
    return _text("name", value, 1)


def _path(setting: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise UsageError(setting, "%r is not the name of a file" % (value,))
    return value


def _http(value: object) -> Address:
    """``8080`` or ``"8080"`` for this machine alone, or ``"host:8080"``."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text.strip():
        raise UsageError("http", "%r is not [HOST:]PORT" % (value,))
    if text.strip().isdigit():
        text = "127.0.0.1:" + text.strip()
    return parse(text, None, "http")


def _bind(text: object) -> str:
    if not isinstance(text, str) or not text.strip():
        raise UsageError("bind", "%r is not an address of this machine" % (text,))
    host, port = parse(text, -1, "bind")
    if port != -1:
        raise UsageError("bind", "%r has a port; give that as port" % text)
    return host


def dialable(setting: str, given: object, default_port: int) -> Address:
    """Return the address that our user means, a text or an ``Address``.

    Raises ``UsageError`` if nobody can dial it.
    """
    if not isinstance(given, (str, Address)):
        raise UsageError(setting, "%r is not HOST:PORT" % (given,))
    address = parse(str(given), default_port or None, setting)
    if not is_dialable(address):
        raise UsageError(
            setting, "nobody can dial %s; give an address where a node listens" % (given,)
        )
    return address


def _advertise(text: object, port: int) -> Address:
    address = dialable("advertise", text, port)
    if is_ip(address.host) and not is_shareable(address):
        raise UsageError("advertise", "%s means nothing on another machine" % text)
    return address


def _bootstrap(given: Bootstrap, port: int) -> Tuple[Address, ...]:
    """Return a flat list without repeats, in the order given; a text may hold several, by comma."""
    try:
        each = [given] if isinstance(given, (str, Address)) else list(given or ())
    except TypeError:
        raise UsageError("bootstrap", "%r is not HOST:PORT" % (given,)) from None
    found: List[Address] = []
    for one in each:
        parts = [piece.strip() for piece in one.split(",")] if isinstance(one, str) else [one]
        for part in filter(None, parts):
            address = dialable("bootstrap", part, port or DEFAULT_PORT)
            if address not in found:
                found.append(address)
    return tuple(found)
