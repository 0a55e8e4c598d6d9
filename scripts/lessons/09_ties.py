#!/usr/bin/env python3
"""Lesson 9: two dial at once.

New         Two nodes that hear of each other at the same moment both dial, and have two
            connections.  One must go, and both ends must come to the same answer without asking,
            for asking takes time.  "The first stays" will not do: each end sees another one first.
Terminal 1  python3 scripts/lessons/09_ties.py --naive 7001 7002
Terminal 2  python3 scripts/lessons/09_ties.py --naive 7002 7001
See         Each dials the other at the same moment, every four seconds by the clock, and hello
            takes a second on its way.  Each keeps the connection that it has and closes the new
            one; what one keeps the other has closed.  Both are gone, and soon it begins anew.
Then        Ctrl-C in both, and both again without --naive.  The connection that was dialed by the
            node with the smaller nodeid stays, by a rule that needs no asking: both know both.
            (As two locks need an order, in lesson 3: so that all decide alike.)
And         A real node keeps the same rule:
              python3 -m p2p_plain --port 7002 --bootstrap 127.0.0.1:7001
            instead of terminal 2.  (Both dial one time in four; start it again until they do.)
For real    `peer_table.PeerTable.admit`, `peer_table.PeerTable._beats`; the docstring of `overlay`
            has the whole race, step by step
"""

import contextlib
import threading
import time
import uuid
from socket import SHUT_WR, create_connection

from classroom import NAIVE, run, tell
from wire import BROKEN, HOST, hear, listen, say, start

ME = str(uuid.uuid4())
lock = threading.Lock()
peers = {}  # nodeid: connection; left out here: ping and discovery
ours = set()  # the connections that we dialed


def node(port, friend=7002):
    """Listen, and dial a friend until there is a connection."""
    listener = listen(port)
    tell("I am %s, listening on port %d" % (ME[:8], listener.getsockname()[1]))
    start(dial, friend)
    while True:
        start(talk, listener.accept()[0])


def dial(friend):
    """Dial each four seconds, unless there is a connection.  So does the other, by one clock."""
    while True:
        time.sleep(4 - time.time() % 4)
        if not peers:
            start(talk, None, friend)


def from_afar(messages):
    """Hello and bye a second later, as if the other end were far away."""
    for message in messages:
        if message["msgtype"] in ("hello", "bye"):
            time.sleep(1.0)
        yield message


def talk(connection, dialed=None):
    """One connection, from hello to the end; `dialed` is the port if it was us."""
    who, end = None, "the stream ended"
    try:
        if dialed:
            connection = create_connection((HOST, dialed))
            ours.add(connection)
            say(connection, "hello", nodeid=ME)
        for message in from_afar(hear(connection)):
            if who is None:
                who = greet(connection, message, dialed)
            elif message["msgtype"] == "ping":
                say(connection, "pong")
            elif message["msgtype"] == "bye":
                end = "bye, %s" % message["reason"]
    except BROKEN as error:
        end = str(error)
    if connection:
        connection.close()
    with lock:
        ours.discard(connection)
        was_peer = who in peers and peers[who] is connection
        if was_peer:
            del peers[who]
    name = who[:8] + " is gone" if was_peer else "not this connection"
    tell("%s: %s; peers: %d" % (name, end, len(peers)))


def greet(connection, hello, dialed):
    """Who it is, if it may stay.  Raises `ValueError` if not."""
    who = hello["nodeid"]
    if not dialed:
        say(connection, "hello", nodeid=ME)
    with lock:
        old = peers.get(who)
        wins = old is None or (not NAIVE and beats(connection, old, who))
        if wins:
            peers[who] = connection
    if not wins:
        say(connection, "bye", reason="duplicate")
        raise ValueError("we have another one")
    tell("%s is here, %s dialed; peers: %d" % (who[:8], "we" if dialed else "they", len(peers)))
    if old and dialed:  # who dialed the winner ends the loser
        with contextlib.suppress(OSError):
            say(old, "bye", reason="duplicate")
            old.shutdown(SHUT_WR)  # half-closed: they see the end, and close
    return who


def beats(new, old, who):
    """Whether both have dialed, and the new one was dialed by the smaller nodeid."""
    return (new in ours) != (old in ours) and (new in ours) == (who > ME)


if __name__ == "__main__":
    run(node, most_ports=2)

# Exercises
#
# 1. Let `from_afar` sleep 0.0 instead of 1.0, and be naive.  Start both a few times: sometimes one
#    stays, sometimes both are gone.  And here the clock lets them dial in the same millisecond.
#    Let `dial` sleep `4 * random.random()` instead, and the mistake hides: in one house a tie is
#    rare.  It shows when the first two nodes live on two continents.
# 2. Let `beats` return `(new in ours) != (old in ours)`: "the last one stays".  Better than "the
#    first one stays", or just as bad?
# 3. Turn `who > ME` around in terminal 1 only (in a copy).  Such a rule is a part of the wire: two
#    who keep different ones lose both.
