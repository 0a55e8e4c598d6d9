"""Bounds: how long a line may be, how many may connect, and what a flood or a crowd costs others."""

import contextlib
import threading
import time

from ..grammar import MAX_FIRST_LINE, MAX_LINE, encode, new_id, padded
from ..node import Node
from ..outcome import Broken, Skipped
from ..peer import Peer
from ..rule import CORE, FULL, rule
from .hello import expect_same_nodeid

CROWD = 70
CROWD_FROM_AFAR = 24
"""Silent connections.  A node keeps 64 of them, and from one address, loopback apart, 32 by default."""

FLOOD = 20000
"""Pings in a flood."""

BIG_MESSAGES = 8
"""Messages of 60,000 bytes: several times what a system holds for a peer that does not read."""

BIG_MESSAGE_PAUSE = 0.4
"""Seconds between two of them: 60 KiB then take what a node passes on to each peer, 150 KiB a second."""


def send_aside(peer: Peer, data: bytes) -> None:
    """Send much, on a thread of its own."""
    how = (data, 6 * peer.patience)
    threading.Thread(target=peer.send_raw, args=how, daemon=True).start()


@rule(FULL, 9, alone=True)
def full_is_said_after_addr(node: Node) -> None:
    """A full node answers hello, says by addr whom else to ask, and then sends bye full."""
    if node.max_peers is None:
        raise Skipped("how many peers fit is not known: start the node with few, give --max-peers")
    with contextlib.ExitStack() as opened:
        inside = []
        for _ in range(node.max_peers + 1):
            peer = opened.enter_context(node.dial())
            inside.append(peer)
            peer.send_raw(peer.hello_line() + encode("ping"))
            for message in peer.messages(node.patience):
                if message["msgtype"] == "pong":
                    break
            if peer.count("bye"):
                break
        types = [message["msgtype"] for message in peer.received]
        if types != ["hello", "addr", "bye"] or not peer.count("bye", reason="full"):
            raise Broken("hello, addr, bye full", peer.story())
        if len(inside) > 1:
            inside[0].round_trip()


@rule(CORE, 10, seconds=3)
def an_endless_line_is_hung_up_on(node: Node) -> None:
    """A peer that sends more than 65,536 bytes without a newline is disconnected."""
    with node.join() as peer:
        for _ in range(64):
            peer.send_raw(b"x" * MAX_LINE)
            peer.read_for(0.01)
            if peer.end:
                return
        peer.expect_end()


@rule(FULL, 10)
def the_bound_before_hello(node: Node) -> None:
    """Before hello a line may have 4,096 bytes, newline included, and no more."""
    hello = {"nodeid": new_id(), "network": node.network}
    with node.dial() as peer:
        peer.send_raw(padded(MAX_FIRST_LINE, "hello", **hello))
        peer.expect("hello")
    with node.dial() as peer:
        peer.send_raw(padded(MAX_FIRST_LINE + 1, "hello", **hello))
        peer.expect_bye("protocol")


@rule(FULL, 10)
def the_bound_after_hello(node: Node) -> None:
    """After hello a line may have 65,536 bytes, newline included, and no more."""
    with node.join() as peer:
        peer.send_raw(padded(MAX_LINE, "ping"))
        peer.expect("pong")
        peer.send_raw(padded(MAX_LINE + 1, "ping"))
        peer.expect_bye("protocol")


@rule(FULL, 10)
def an_addr_has_at_most_100(node: Node) -> None:
    """An addr with 100 addresses is accepted, one with 101 gets bye protocol."""
    with node.join() as peer:
        peer.send("addr", peers=[["0.0.0.0:1", new_id()]] * 100)  # an address that nobody dials
        peer.round_trip()
        peer.send("addr", peers=[["0.0.0.0:1", new_id()]] * 101)
        peer.expect_bye("protocol")


@rule(FULL, 10, seconds=5)
def a_flood_costs_the_flooder(node: Node) -> None:
    """A peer that sends more than 200 messages a second is read more slowly; others are not."""
    with node.join() as good, node.join() as flooder:
        send_aside(flooder, encode("ping") * FLOOD)
        for _ in range(20):
            good.round_trip()


@rule(FULL, 10, alone=True)
def a_crowd_keeps_nobody_out(node: Node) -> None:
    """Many connections that send nothing do not keep out a peer that does."""
    with contextlib.ExitStack() as opened:
        for _ in range(CROWD if node.is_near else CROWD_FROM_AFAR):
            opened.enter_context(node.dial())
        with node.join():
            pass


@rule(FULL, 12, alone=True)
def a_slow_reader_delays_nobody(node: Node) -> None:
    """While one peer does not read, others receive everything, and in time."""
    with node.dial(small_buffers=True) as slow, node.join() as sender, node.join() as good:
        slow.send_raw(slow.hello_line() + encode("pong"))
        slow.expect("ping")
        message = {"from": sender.nodeid, "body": "x" * 60000}
        deadline = time.monotonic() + 6 * node.patience
        for _ in range(BIG_MESSAGES):  # no faster than a node has to pass them on
            send_aside(sender, encode("message", id=new_id(), **message))
            good.round_trip()
            time.sleep(BIG_MESSAGE_PAUSE)
        while good.count("message") < BIG_MESSAGES:
            good.round_trip()
            if time.monotonic() > deadline:
                raise Broken("%d messages" % BIG_MESSAGES, "%d" % good.count("message"))
            time.sleep(0.02)


@rule(CORE, 0, alone=True)
def it_lives(node: Node) -> None:
    """After all other rules the node still answers hello, with the same nodeid."""
    with node.greet() as peer:
        expect_same_nodeid(node, peer.received[0]["nodeid"])
