"""Two nodes that dial each other at the same moment settle on one connection, without a flap."""

import threading

from p2p_plain import Node
from p2p_plain.node.peer import ADMITTED, GREETING
from tests.support import free_port, wait_until

ROUNDS = 100


def watch(node):
    """Every peer_up and peer_down of a node, in order."""
    found = []
    node.on("peer_up", lambda event: found.append("up"))
    node.on("peer_down", lambda event: found.append("down"))
    return found


def settled(first, second):
    """Both ends have each other, by one and the same connection, and no dial is half-way."""
    sessions = first._sessions.all() + second._sessions.all()
    if any(session.state in (GREETING, ADMITTED) for session in sessions):
        return False
    ours, theirs = first.peers(), second.peers()
    return (
        [p.nodeid for p in ours] == [second.nodeid]
        and [p.nodeid for p in theirs] == [first.nodeid]
        and {ours[0].direction, theirs[0].direction} == {"inbound", "outbound"}
    )


def test_nodes_that_dial_each_other_at_once_settle_without_a_flap_a_hundred_times(make_node):
    """Exactly one peer_up at each end and no peer_down, whoever wins the race."""
    kept = {dial_at_once(make_node(), make_node()) for _ in range(ROUNDS)}
    assert kept == {"inbound", "outbound"}  # both outcomes were tried


def dial_at_once(first, second):
    """One round; the direction, as the first node sees it, of the connection that stays."""
    seen = watch(first), watch(second)
    dials = [
        threading.Thread(target=node.dial, args=("127.0.0.1:%d" % other.port,))
        for node, other in ((first, second), (second, first))
    ]
    for dial in dials:
        dial.start()
    for dial in dials:
        dial.join()
    wait_until(lambda: settled(first, second))
    # Let what is still under way arrive: each end has answered a ping on what it kept.
    wait_until(lambda: first.peers()[0].rtt_ms and second.peers()[0].rtt_ms)
    wait_until(lambda: settled(first, second))  # a probe may be half-way
    kept = first.peers()[0].direction
    first.stop()
    second.stop()
    assert seen == (["up", "down"], ["up", "down"])  # down, because they were stopped
    return kept


def test_what_is_said_during_a_tie_arrives_exactly_once(make_node):
    """A broadcast on the connection that then loses the tie is not lost with it."""
    for _ in range(20):
        talk_during_a_tie(make_node)


def talk_during_a_tie(make_node):
    port, other_port = free_port(), free_port()
    first = make_node(port=port)
    second = Node(port=other_port, bind="127.0.0.1", bootstrap="127.0.0.1:%d" % port)
    heard = []
    first.on("message", heard.append)
    with second:
        first.dial("127.0.0.1:%d" % other_port)
        second.broadcast("early")
        wait_until(lambda: settled(first, second))
        second.broadcast("late")
        wait_until(lambda: len(heard) >= 2)
        assert sorted(event["body"] for event in heard) == ["early", "late"]
    first.stop()
