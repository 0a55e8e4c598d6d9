"""Addresses: reading and writing ``host:port``, and which addresses make sense to dial.

There are two readers.  ``parse`` reads an address that *our user* typed: it takes host names and a
missing port, and its errors help.  ``parse_wire`` reads an address that *a stranger* sent: numeric
ones only, because a name would let anyone make us ask a name server, and no guesses.

No sockets.  Any thread.
"""

import functools
import ipaddress

from .errors import UsageError
from .typing import Any, NamedTuple, Optional, Tuple

MAX_HOST_LENGTH = 253
"""Longest host name, in characters, that DNS can carry (RFC 1035 section 2.3.4)."""

# The same few addresses come again and again, from every peer.  With a cache, reading and judging an
# addr with 31 of them takes 75 us instead of 265.
_ASKED_AGAIN = functools.lru_cache(maxsize=1024)


class Address(NamedTuple):
    """Where a node listens: ``host`` (an IP address in canonical form, or a name), TCP ``port``."""

    host: str
    port: int

    def __str__(self) -> str:
        return ("[%s]:%d" if ":" in self.host else "%s:%d") % (self.host, self.port)


def parse(text: str, default_port: Optional[int] = None, setting: str = "address") -> Address:
    """Read an address that a person typed: ``host:port``, ``[v6]:port``, or ``host`` with a default.

    Raises ``UsageError``, which names ``setting``.
    """
    host, port_text = _split(text.strip())
    sound = 0 < len(host) <= MAX_HOST_LENGTH and all(c.isalnum() or c in ".-_:%" for c in host)
    if not sound or (":" in host and not is_ip(host)):
        raise UsageError(setting, "%r is not HOST:PORT" % text)
    if port_text is None:
        if default_port is None:
            raise UsageError(setting, "%r has no port; write HOST:PORT" % text)
        return Address(_canonical(host), default_port)
    port = _port_number(port_text)
    if port is None:
        raise UsageError(setting, "%r in %r is not a port (0-65535)" % (port_text, text))
    return Address(_canonical(host), port)


def parse_wire(text: object) -> Address:
    """Read ``"ip:port"`` or ``"[ip]:port"`` as another node sent it.

    An IPv4 address written as IPv6 (``::ffff:192.0.2.1``) comes back as IPv4, so that one address
    has one name.  Raises ``ValueError`` for anything else.
    """
    if not isinstance(text, str) or len(text) > MAX_HOST_LENGTH:
        raise ValueError("not an address")
    return _parse_wire(text)


@_ASKED_AGAIN
def _parse_wire(text: str) -> Address:
    host, port_text = _split(text)
    port = _port_number(port_text) if port_text is not None else None
    if port is None or "%" in host or (":" in host and not text.startswith("[")):
        raise ValueError("not ip:port")
    canonical = _canonical(host)
    ip = _ip(canonical)
    if ip is None:
        raise ValueError("not ip:port")
    if ip.version == 4 and ":" not in host and str(ip) != host:
        raise ValueError("not ip:port")  # 010.0.0.1: octal to some, decimal to others
    return Address(canonical, port)


def from_sockaddr(sockaddr: Any) -> Address:
    """Convert what ``getpeername`` or ``accept`` returns: a pair for IPv4, four values for IPv6."""
    return Address(_canonical(sockaddr[0]), sockaddr[1])


def is_dialable(address: Address) -> bool:
    """Return whether anyone could connect there at all.  Names pass: only a lookup can tell.

    False for port 0, the unspecified address (and the rest of 0.0.0.0/8, RFC 1122 section 3.2.1.3),
    multicast and link broadcast.  On many systems a dial of 0.0.0.0 reaches *this* machine, so a
    stranger who gets it into address books makes every node dial itself.
    """
    ip = _ip(address.host)
    if ip is None:
        return address.port > 0
    if address.port == 0 or ip.is_unspecified or ip.is_multicast:
        return False
    return not (ip.version == 4 and (ip.packed[0] == 0 or ip.packed == b"\xff\xff\xff\xff"))


@_ASKED_AGAIN
def is_shareable(address: Address) -> bool:
    """Return whether other machines can use the address: it is dialable, numeric and has no zone.

    An IPv6 link-local address is complete only with its zone (``%eth0``), and a zone has a meaning on
    one machine only (RFC 4007 section 6).
    """
    ip = _ip(address.host)
    return ip is not None and is_dialable(address) and not (ip.version == 6 and ip.is_link_local)


@_ASKED_AGAIN
def is_loopback(host: str) -> bool:
    """Return whether ``host`` leads back to this machine, as 127.0.0.1 and ``localhost`` do."""
    if not host.startswith(("127.", ":", "0", "l", "L")):
        return False  # asked for each entry of each addr; parsing takes a hundred times longer
    ip = _ip(host)
    return host.lower() == "localhost" if ip is None else ip.is_loopback


@_ASKED_AGAIN
def is_link_local(host: str) -> bool:
    """Return whether ``host`` is reached on its own link only: 169.254.0.0/16 and fe80::/10."""
    ip = _ip(host)
    return ip is not None and bool(ip.is_link_local)


@_ASKED_AGAIN
def site(host: str) -> str:
    """Return the host as bounds count it: an IPv6 address by its /64, any other as it is.

    One customer of an IPv6 provider has at least 2**64 addresses (RFC 6177), so a bound for each
    address would be none.
    """
    ip = _ip(host)
    if ip is None or ip.version == 4 or ip.is_loopback:
        return host
    return "%s/64" % ipaddress.IPv6Address(ip.packed[:8] + bytes(8))


def is_ip(host: str) -> bool:
    """Return whether ``host`` is a numeric address, for which no name server has to be asked."""
    return _ip(host) is not None


def _split(text: str) -> Tuple[str, Optional[str]]:
    """Return the host, and the text of the port, ``None`` if there is none."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return "", None
        return host if ":" in host else "", rest[1:] if rest else None
    if text.count(":") > 1:  # a bare IPv6 address
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _port_number(text: str) -> Optional[int]:
    # str.isdigit() alone says yes to superscripts and to other scripts' digits.
    if 0 < len(text) <= 5 and all(c in "0123456789" for c in text) and int(text) <= 65535:
        return int(text)
    return None


@_ASKED_AGAIN
def _ip(host: str) -> Any:
    """Return the ``ipaddress`` object of ``host`` without its zone; ``None`` for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


@_ASKED_AGAIN
def _canonical(host: str) -> str:
    """Return the one spelling of an IP address; a name in lower case."""
    ip = _ip(host)
    if ip is None:
        return host.lower()
    mapped = ip.ipv4_mapped if ip.version == 6 else None
    if mapped is not None:
        return str(mapped)
    zone = host.partition("%")[1:]
    return str(ip) + "".join(zone)
