"""What a node says about itself."""

from ..common.address import Address, is_ip, is_loopback, is_shareable
from ..common.typing import NamedTuple, Optional, Tuple
from .messages import Hello, encode_hello
from .peer import INBOUND, Link


class Myself(NamedTuple):
    """The node's name, and where it can be reached; immutable once it runs."""

    nodeid: str
    name: str
    agent: str
    network: str
    port: int
    """The port on which it listens."""
    advertise: Optional[Address]
    """The address that our user wants advertised."""
    wildcard: Tuple[int, ...]
    """The IP versions (4, 6) for which it listens on every local address."""
    addresses: Tuple[Address, ...]
    """Where others can dial it, as far as it knows; the best first."""
    http: Optional[int] = None
    """The port of the status page, if others may open it."""

    def hello(self, link: Link, joins: bool = False) -> bytes:
        """Return our hello for ``link``; the end that dialed says it first.  For ``joins`` see ``Hello``."""
        unlisted = link.unlisted and link.direction == INBOUND
        if link.is_discreet:
            return encode_hello(Hello(nodeid=self.nodeid, probe=True, token=link.token))
        introduction = self._introduction(link)
        return encode_hello(introduction._replace(token=link.token, joins=joins, unlisted=unlisted))

    def join(self, link: Link) -> bytes:
        """Return our ``join``, for a node that only hearsay led us to, once it has said hello."""
        return encode_hello(self._introduction(link), "join")

    def _introduction(self, link: Link) -> Hello:
        return Hello(
            nodeid=self.nodeid,
            port=self.port,
            name=self.name,
            network=self.network,
            agent=self.agent,
            observed=link.remote if is_shareable(link.remote) else None,
            http=self.http,
        )

    def is_at(self, address: Optional[Address], link: Link) -> bool:
        """True if ``address``, with which ``link`` was dialed, is known to be ours."""
        if address is None:
            return False
        if address == self.advertise or address in self.addresses:
            return True
        try:
            return address == link.local()
        except OSError:
            return False  # the connection is gone

    def address_for(self, link: Link) -> Optional[Address]:
        """Return where the peer at the other end of ``link`` should dial us.

        That is never the wildcard: 0.0.0.0 answers "where do you listen?", not "where are you?".
        Our own end of this connection is an answer if we listen there.
        """
        if self.advertise is not None:
            return self.advertise
        if link.direction == INBOUND and not self.wildcard:
            return self.addresses[0]  # the peer has found the only one
        host = link.local().host
        if is_ip(host) and (6 if ":" in host else 4) in self.wildcard:
            return Address(host, self.port)
        near = is_loopback(host)
        for address in self.addresses:
            if near or not is_loopback(address.host):
                return address
        return None
