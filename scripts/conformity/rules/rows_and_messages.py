"""Rows of the matrix, and messages of programs."""

import json
import time
from typing import Any, Dict

from ..grammar import new_id
from ..node import Node
from ..outcome import Broken
from ..rule import FULL, rule


@rule(FULL, 0)
def getlinks_gets_rows(node: Node) -> None:
    """A getlinks is answered with a links for each node, its own first, and one with end."""
    with node.join() as peer:
        deadline = time.monotonic() + node.patience
        while True:  # a node may answer from a copy that is a moment old
            rows = peer.ask_rows()
            if not rows or rows[0]["nodeid"].lower() != node.nodeid:
                raise Broken("its own row first", json.dumps(rows)[:200])
            if peer.nodeid in [link["nodeid"].lower() for link in rows[0]["links"]]:
                return
            if time.monotonic() > deadline:
                raise Broken("a link to us in its row", json.dumps(rows[0])[:200])
            time.sleep(0.2)


@rule(FULL, 0, seconds=5)
def its_row_goes_to_who_wants_it(node: Node) -> None:
    """A node sends its row to peers whose hello has a version, and not to others."""
    with node.join() as other, node.join(version=1) as reader:
        reader.expect("links", 6 * node.patience, nodeid=node.hello["nodeid"])
        other.read_for(0.5)
        if other.count("links"):
            raise Broken("no links without a version", other.story(1))


@rule(FULL, 0, seconds=2)
def a_message_goes_to_everyone_once(node: Node) -> None:
    """A message to everyone is passed on unchanged, to each other peer, and once."""
    with node.join() as author, node.join() as first, node.join() as second:
        sent: Dict[str, Any] = {"id": new_id(), "from": author.nodeid}
        sent.update({"body": {"a": [1, "\u00e9", None]}, "since": 1999})
        author.send("message", **sent)
        first.expect("message", **sent)
        second.expect("message", **sent)
        for peer in (author, first, second):
            peer.send("message", **sent)  # known by now, so it goes nowhere
            peer.round_trip()
        for peer, times in ((author, 0), (first, 1), (second, 1)):
            peer.read_for(0.5)
            count = peer.count("message", id=sent["id"])
            if count != times:
                who = "the others" if times else "its author"
                raise Broken("it %d times at %s" % (times, who), "it %d times" % count)


@rule(FULL, 0)
def a_message_to_one_stays_with_it(node: Node) -> None:
    """A message to one node is not passed on to others."""
    with node.join() as author, node.join() as other:
        sent = {"id": new_id(), "from": author.nodeid, "body": 1}
        author.send("message", to=node.nodeid, **sent)
        author.round_trip()
        other.read_for(0.5)
        if other.count("message", id=sent["id"]):
            raise Broken("nothing at others", "the message")
