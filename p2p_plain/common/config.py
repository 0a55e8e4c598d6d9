"""The settings of one node: ``Config`` checks each value, wherever it was given.

The command line and ``Node(...)`` both end here.  ``help options`` says what each setting means.
The bounds that nobody needs to turn stand in the modules that use them.
"""

import os

from .address import Address, is_dialable, is_ip, is_shareable, parse
from .errors import UsageError
from .names import is_printable, shows_something
from .typing import Any, Iterable, List, Optional, Tuple, Union

PathName = Union[str, "os.PathLike[str]"]
Bootstrap = Union[None, str, Address, Iterable[Union[str, Address]]]

DEFAULT_PORT = 6000
"""TCP port when none is given: that of the examples.  Nothing but X11 is registered there."""

MAX_NAME = 64
"""Characters in a node's name."""


MAX_SECRET_FILES = 8
"""Keys that a node accepts.  During a rotation there are two."""


class Config:
    """The settings of one node.  Immutable; any thread reads them.

    Raises ``UsageError``, which names the setting, for a value that makes no sense.
    """

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
        max_per_ip: int = 32,
        max_rate: float = 200.0,
        peers_file: Optional[PathName] = None,
        secret_file: Union[None, PathName, Iterable[PathName]] = None,
        http: Union[int, str, None] = None,
    ) -> None:
        self.port = whole("port", port, 0, 65535)
        self.bind = None if bind is None else _bind(bind)
        self.bootstrap: Tuple[Address, ...] = _bootstrap(bootstrap, self.port)
        self.advertise = None if advertise is None else _advertise(advertise, self.port)
        self.name = None if name is None else _name(name)
        self.network = _text("network", network, 0)
        self.ping_interval = seconds("ping_interval", ping_interval)
        self.ping_timeout = seconds("ping_timeout", ping_timeout)
        self.probe_interval = seconds("probe_interval", probe_interval)
        self.max_peers = whole("max_peers", max_peers, 1, 1000000)
        self.max_per_ip = whole("max_per_ip", max_per_ip, 1, 1000000)
        """Inbound connections from one address (IPv6: from one /64)."""
        self.max_rate = _rate("max_rate", max_rate)
        self.peers_file = None if peers_file is None else _path("peers_file", peers_file)
        self.secret_file: Tuple[str, ...] = _paths("secret_file", secret_file)
        """The files that hold the network's keys, the one to speak with first; empty for none."""
        if any(_is_same_file(self.peers_file, path) for path in self.secret_file):
            # The node would take it for a damaged address book, move the key away and write over it.
            text = "%s is a key file; give the address book a file of its own"
            raise UsageError("peers_file", text % self.peers_file)
        self.http = None if http is None else _http(http)
        """Where the status page listens; ``None`` for nowhere."""


def _number(setting: str, value: object) -> float:
    if isinstance(value, str):
        raise UsageError(setting, "%.60r is a text; give a number" % value)
    # bool is an int to Python and a mistake to everyone else.
    # And NaN fails every comparison.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        raise UsageError(setting, "%.60r is not a number" % (value,))
    return value


def whole(setting: str, value: object, least: int, most: int) -> int:
    """Return a whole number.  Raises ``UsageError`` if it is none, or out of bounds."""
    number = _number(setting, value)
    if number != int(number) or not least <= number <= most:
        raise UsageError(setting, "%s is not a whole number from %d to %d" % (value, least, most))
    return int(number)


def seconds(setting: str, value: object, least: float = 0.001) -> float:
    """Return a time in seconds.  Raises ``UsageError`` if it is none, or less than ``least``."""
    number = _number(setting, value)
    if not least <= number <= 1e9:
        wrong = "short; at least %g s" % least if number < least else "long; at most 1e9 s"
        raise UsageError(setting, "%g is too %s" % (number, wrong))
    return float(number)


def _rate(setting: str, value: object) -> float:
    number = _number(setting, value)
    if number < 0:
        raise UsageError(setting, "%s is negative; give messages a second, 0 for no limit" % value)
    return float(number)


def _text(setting: str, value: object, least: int) -> str:
    if not isinstance(value, str) or not least <= len(value) <= MAX_NAME or not is_printable(value):
        raise UsageError(setting, "must be %d to %d printable characters" % (least, MAX_NAME))
    return value


def _name(value: object) -> str:
    name = _text("name", value, 1)
    if not shows_something(name):
        raise UsageError("name", "%a shows nothing; give it a letter" % name)
    return name


def _path(setting: str, value: Any) -> str:
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str) or not path or "\0" in path:
        raise UsageError(setting, "%r is not the name of a file" % (value,))
    return path


def _paths(setting: str, value: Any) -> Tuple[str, ...]:
    """Return the names of files: one or several; none for ``None``, and for nothing else."""
    if value is None:
        return ()
    given = [value] if isinstance(value, (str, bytes, os.PathLike)) else value
    try:
        found = tuple(_path(setting, one) for one in given)
    except TypeError:
        raise UsageError(setting, "%r is not the name of a file" % (value,)) from None
    if not found:  # a pattern that fits no file, for example: an open node is not what its user wants
        raise UsageError(setting, "no file is given; None stands for a network without a secret")
    if len(found) > MAX_SECRET_FILES:
        raise UsageError(setting, "at most %d files" % MAX_SECRET_FILES)
    if any(path.startswith("p2p1:") for path in found):  # ``keys.PREFIX``, without its import of hashlib
        raise UsageError(setting, "give the name of a file that holds the key, never the key itself")
    return found


def _is_same_file(one: Optional[str], other: str) -> bool:
    """Return whether both names lead to the same file, also through links."""
    try:
        return one is not None and os.path.samefile(one, other)
    except (OSError, ValueError):  # one of them is not there, or cannot be a name here
        return False


def _http(value: object) -> Address:
    """``8080`` or ``"8080"`` for this machine alone, or ``"host:8080"``."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(whole("http", value, 0, 65535))
    if not isinstance(value, str) or not value.strip():
        raise UsageError("http", "%r is not [HOST:]PORT" % (value,))
    text = value.strip()
    return parse("127.0.0.1:" + text if text.isdigit() else text, None, "http")


def _bind(text: object) -> str:
    if not isinstance(text, str) or not text.strip():
        raise UsageError("bind", "%r is not an address of this machine" % (text,))
    host, port = parse(text, -1, "bind")
    if port != -1:
        raise UsageError("bind", "%r has a port; give the port with --port" % text)
    return host


def dialable(setting: str, given: object, default_port: int) -> Address:
    """Return the address that our user means, a text or an ``Address``.

    Raises ``UsageError`` if nobody can dial it.
    """
    if not isinstance(given, (str, Address)):
        raise UsageError(setting, '%.60r is not a text like "192.0.2.2:6000"' % (given,))
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
    each: Any = [given] if isinstance(given, (str, bytes, Address)) else given
    try:
        each = [] if each is None else list(each)
    except TypeError:
        each = [given]
    found: List[Address] = []
    for one in each:
        parts = [piece.strip() for piece in one.split(",")] if isinstance(one, str) else [one]
        for part in parts:
            if part == "":
                continue
            address = dialable("bootstrap", part, port or DEFAULT_PORT)
            if address not in found:
                found.append(address)
    return tuple(found)
