"""One connection a pair: which of two connections with the same node stays."""

import contextlib
import random
from typing import Iterator, Tuple

from ..node import Home, Node
from ..outcome import Broken, Skipped
from ..peer import Peer
from ..rule import FULL, rule


@contextlib.contextmanager
def tie(node: Node, nodeid_form: str) -> Iterator[Tuple[Peer, Peer]]:
    """Make the node dial us while we dial it.

    Yields its connection, on which we have not answered hello yet, and ours.
    """
    nodeid = nodeid_form % random.getrandbits(48)
    with node.join() as friend, Home(node, nodeid) as home:
        friend.send("addr", peers=[home.entry])
        theirs = home.accept()
        if theirs is None:
            raise Skipped("it did not dial us; see rule 8")
        with theirs, node.join(nodeid) as ours:
            yield theirs, ours


@rule(FULL, 3)
def of_two_alike_the_first_stays(node: Node) -> None:
    """A second connection from a node is answered and gets bye duplicate; the first one stays."""
    with node.join() as first:
        with node.greet(first.nodeid.upper()) as second:
            second.expect_bye("duplicate")
        first.round_trip()


@rule(FULL, 3, seconds=2)
def who_has_answered_keeps_its_place(node: Node) -> None:
    """A peer that has answered a ping is not replaced from another host, not even in a tie."""
    if node.our_host != "127.0.0.1":
        raise Skipped("only on its own machine we have two addresses")
    nodeid = "00000000-0000-4000-8000-%012x" % random.getrandbits(48)
    with node.join() as friend, Home(node, nodeid) as home:
        friend.send("addr", peers=[home.entry])
        with home.expect_join() as first:
            first.round_trip()  # by now it has a pong of ours
            try:
                rival = node.dial(nodeid, source="127.0.0.2")
            except OSError:
                raise Skipped("this machine is 127.0.0.1 only") from None
            with rival:
                rival.send_hello()
                rival.expect("hello")
                rival.expect_bye("duplicate")
            first.round_trip()


@rule(FULL, 3, seconds=3)
def a_tie_that_we_win(node: Node) -> None:
    """When both have dialed, the connection dialed by the smaller nodeid stays: ours."""
    with tie(node, "00000000-0000-4000-8000-%012x") as (theirs, ours):
        theirs.send_hello()
        theirs.send("ping")
        for message in theirs.messages(1.0):
            if message["msgtype"] == "bye":
                break
        theirs.send_bye("duplicate")  # the side that dialed the winner closes the loser
        ours.read_for(1.5)  # time for the node to close the wrong one
        if ours.count("bye"):
            raise Broken("our connection to stay", ours.story())
        ours.round_trip()


@rule(FULL, 3, seconds=3)
def a_tie_that_it_wins(node: Node) -> None:
    """When both have dialed, the connection dialed by the smaller nodeid stays: the node's."""
    with tie(node, "ffffffff-ffff-4fff-bfff-%012x") as (theirs, ours):
        theirs.send_hello()
        theirs.round_trip()
        ours.expect_bye("duplicate", node.dial_patience)
        theirs.round_trip()
