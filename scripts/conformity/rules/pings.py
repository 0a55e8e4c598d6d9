"""Pings: answered at once, sent again and again, and what a missing pong means."""

import time

from ..node import Node
from ..outcome import Broken
from ..rule import CORE, FULL, rule


@rule(CORE, 5)
def ping_gets_pong(node: Node) -> None:
    """A ping is answered with a pong, at once and each time."""
    with node.greet() as peer:
        for _ in range(5):
            peer.round_trip()


@rule(FULL, 5, seconds=62)
def it_pings_again(node: Node) -> None:
    """Each peer is pinged every ping_interval."""
    with node.join() as peer:
        while peer.count("ping") < 2:
            peer.expect("ping", node.ping_interval + node.patience)


@rule(FULL, 5, seconds=60)
def who_does_not_answer_is_dropped(node: Node) -> None:
    """A ping without a pong within three times ping_timeout gets bye timeout, whatever else the peer
    sends.
    """
    with node.greet() as peer:
        peer.answers_pings = False
        most = 3 * node.ping_timeout
        deadline = time.monotonic() + most + node.patience
        while not peer.end and time.monotonic() < deadline:
            peer.send("ping")
            peer.read_for(1.0)
            if peer.count("bye", reason="timeout"):
                if peer.count("ping") > 1:
                    raise Broken("one ping at a time", "%d pings" % peer.count("ping"))
                return
        raise Broken("bye timeout after %g s" % most, peer.story(1))


@rule(FULL, 5)
def a_pong_for_nothing_is_ignored(node: Node) -> None:
    """A pong without a ping is ignored."""
    with node.join() as peer:
        for _ in range(5):
            peer.send("pong")
        peer.round_trip()
