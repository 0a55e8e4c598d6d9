"""Hello: who speaks first, what is refused, and what both send afterwards."""

import contextlib
import time

from ..grammar import encode
from ..node import Node
from ..outcome import Broken, about
from ..rule import CORE, FULL, rule


@rule(CORE, 1)
def hello_is_answered(node: Node) -> None:
    """The node answers a hello with its own hello, which has its nodeid, a UUID."""
    with node.greet() as peer:
        node.hello = peer.received[-1]


@rule(CORE, 1)
def the_nodeid_stays(node: Node) -> None:
    """A node has the same nodeid on all its connections."""
    with node.greet() as peer:
        expect_same_nodeid(node, peer.received[0]["nodeid"])


def expect_same_nodeid(node: Node, nodeid: str) -> None:
    """Raise ``Broken`` if the node has another nodeid than in its first hello."""
    if nodeid != node.hello["nodeid"]:
        raise Broken("the nodeid %s again" % node.hello["nodeid"], nodeid)


@rule(CORE, 1)
def hello_comes_first(node: Node) -> None:
    """A peer that sends anything else before hello is disconnected."""
    with node.dial() as peer:
        peer.send("ping")
        peer.expect_end()


@rule(CORE, 1, seconds=10)
def the_silent_are_sent_away(node: Node) -> None:
    """A peer that has sent no hello 10 s after connecting is disconnected."""
    with node.dial() as peer:
        peer.expect_end(node.handshake_timeout + node.patience)


@rule(CORE, 1, seconds=10)
def the_dripping_are_sent_away(node: Node) -> None:
    """The 10 s are for the whole hello, however slowly its bytes arrive."""
    with node.dial() as peer:
        deadline = time.monotonic() + node.handshake_timeout + node.patience
        for byte in peer.hello_line(padding="x" * 1000):
            peer.send_raw(bytes([byte]))
            peer.read_for(0.5)
            if peer.end:
                return
            if time.monotonic() > deadline:
                raise Broken("the connection closed after 10 s", peer.story())


@rule(CORE, 1)
def nobody_waits_for_the_silent(node: Node) -> None:
    """Peers that connect and send nothing, or half a hello, do not delay others."""
    with contextlib.ExitStack() as opened:
        silent = [opened.enter_context(node.dial()) for _ in range(4)]
        for peer in silent[:2]:
            peer.send_raw(peer.hello_line()[:20])
        with node.join():
            pass


@rule(FULL, 1)
def who_was_dialed_waits(node: Node) -> None:
    """A node that was dialed sends nothing before it has received hello."""
    with node.dial() as peer:
        if peer.read_for(1.0) or peer.end:
            raise Broken("nothing for a second", peer.story())


@rule(FULL, 1)
def hello_comes_first_or_bye_protocol(node: Node) -> None:
    """Anything else before hello, even of an unknown type, gets bye protocol."""
    for line in (encode("ping"), encode("addr", peers=[]), encode("from 2036")):
        with node.dial() as peer, about(line):
            peer.send_raw(line)
            peer.expect_bye("protocol")


@rule(FULL, 1)
def a_second_hello_is_an_error(node: Node) -> None:
    """A second hello gets bye protocol."""
    with node.join() as peer:
        peer.send_hello()
        peer.expect_bye("protocol")


@rule(FULL, 1)
def networks_refuse_each_other(node: Node) -> None:
    """A hello of another network is answered with hello, and then gets bye network."""
    with node.dial() as peer:
        peer.send_hello(network=node.network[:50] + " elsewhere")
        peer.expect("hello")
        peer.expect_bye("network")


@rule(CORE, 2)
def oneself_is_hung_up_on(node: Node) -> None:
    """A hello with the node's own nodeid comes from itself: it closes that connection."""
    with node.dial(node.hello["nodeid"]) as peer:
        peer.send_hello()
        peer.expect_end()


@rule(FULL, 2)
def oneself_is_told_so(node: Node) -> None:
    """A hello with the node's own nodeid, in either case, is answered, and then gets bye self."""
    for nodeid, fields in ((node.nodeid.upper(), {}), (node.nodeid, {"token": "0123456789abcdef"})):
        with node.greet(nodeid, **fields) as peer:
            peer.expect_bye("self")


@rule(FULL, 2)
def a_token_is_not_sent_back(node: Node) -> None:
    """A node that accepts says no token: the dialer would take it for an echo."""
    with node.greet(token="0123456789abcdef") as peer:
        if "token" in peer.received[0]:
            raise Broken("a hello without token", peer.story(0))


@rule(CORE, 4)
def after_hello_it_asks_and_pings(node: Node) -> None:
    """After hello each side asks for addresses (getaddr), and pings."""
    with node.greet() as peer:
        for _ in peer.messages(node.patience):
            if peer.count("getaddr") and peer.count("ping"):
                return
        raise Broken("getaddr and ping", peer.story(1))
