#!/usr/bin/env python3
"""Lesson 9: two dial at once.

New         Two nodes that hear of each other at the same moment both dial, and have two
            connections.  One must go.  Both ends must choose the same one without asking, because
            asking takes time.  "The first one stays" does not work: each end sees another one
            first.
Terminal 1  python3 scripts/lessons/09_ties.py --naive 7001 7002
Terminal 2  python3 scripts/lessons/09_ties.py --naive 7002 7001
See         Each dials the other at the same moment, every four seconds by the clock, and a hello
            takes a second on its way.  Each keeps the connection that it has and closes the new
            one.  But the one that it keeps is the one that the other closes.  Both are gone, and
            soon it begins anew.
Then        Press Ctrl-C in both and run both again without --naive.  The connection that the
            node with the smaller nodeid dialed stays.  Both ends know both nodeids, so they need
            not ask.  The other one ends as "not this connection", with or without a reset: as it
            should.  (In lesson 3 two locks needed an order for the same reason: all must decide
            alike.)
And         A real node keeps the same rule:
              python3 -m p2p_plain --port 7002 --bootstrap 127.0.0.1:7001
            instead of terminal 2.  (Both dial one time in four; start it again until they do.)
For real    p2p_plain/node/peer_table.py  PeerTable.admit
            p2p_plain/node/peer_table.py  PeerTable._beats

       node 2d22                                   node 9f01
      (the smaller
        nodeid)
                  ---- A: dialed by 2d22 ---->
                  <--- B: dialed by 9f01 -----

    "the first one stays": each end accepted a hello before its own
    was answered, so each keeps the connection that it accepted.

      keeps B, closes A                        keeps A, closes B
                     both connections are lost

    "the one that the smaller nodeid dialed stays": both ends know
    both nodeids, so both choose A.

      keeps A                                  keeps A
      says "bye duplicate" on B                waits for that bye
                     one connection is left
"""

import contextlib
import threading
import time
import uuid
from socket import SHUT_WR, create_connection

from classroom import NAIVE, report, run
from wire import BROKEN, HOST, hear, listen, say, start

ME = str(uuid.uuid4())
lock = threading.Lock()
peers = {}  # nodeid: connection; left out here: ping and discovery
ours = set()  # the connections that we dialed


def node(port, friend=7002):
    """Listen, and dial a friend until there is a connection."""
    listener = listen(port)
    report("I am %s, listening on port %d" % (ME[:8], listener.getsockname()[1]))
    start(dial, friend)
    while True:
        start(talk, listener.accept()[0])


def dial(friend):
    """Dial every four seconds while there is no peer.  The other node does so by the same clock."""
    while True:
        time.sleep(4 - time.time() % 4)
        if not peers:
            try:
                connection = create_connection((HOST, friend))
            except OSError as error:
                report("cannot dial port %d: %s" % (friend, error))
            else:
                ours.add(connection)
                start(talk, connection)


def from_afar(messages):
    """Delay hello and bye by a second, as if the other end were far away."""
    for message in messages:
        if message["msgtype"] in ("hello", "bye"):
            time.sleep(1.0)
        yield message


def talk(connection):
    """One connection, from hello to the end."""
    who, end = None, "the stream ended"
    try:
        if connection in ours:
            say(connection, "hello", nodeid=ME)
        for message in from_afar(hear(connection)):
            if who is None:
                who = greet(connection, message)
            elif message["msgtype"] == "ping":
                say(connection, "pong")
            elif message["msgtype"] == "bye":
                end = "bye, %s" % message["reason"]
    except BROKEN as error:
        end = str(error)
    connection.close()
    with lock:
        ours.discard(connection)
        was_peer = who in peers and peers[who] is connection
        if was_peer:
            del peers[who]
    name = who[:8] + " is gone" if was_peer else "not this connection"
    report("%s: %s; peers: %d" % (name, end, len(peers)))


def greet(connection, hello):
    """Return the nodeid of the other end, if it may stay.  Raises `ValueError` if not."""
    who, we_dialed = hello["nodeid"], connection in ours
    if not we_dialed:
        say(connection, "hello", nodeid=ME)
    with lock:
        old = peers.get(who)
        wins = old is None or (not NAIVE and beats(connection, old, who))
        if wins:
            peers[who] = connection
    if not wins:
        say(connection, "bye", reason="duplicate")
        raise ValueError("we have another one")
    dialer = "we" if we_dialed else "they"
    report("%s is here, %s dialed; peers: %d" % (who[:8], dialer, len(peers)))
    if old and we_dialed:  # the node that dialed the winner ends the loser
        with contextlib.suppress(OSError):
            say(old, "bye", reason="duplicate")
            old.shutdown(SHUT_WR)  # half-closed: they see the end, and close
    return who


def beats(new, old, who):
    """True if each end has dialed one of the two, and the smaller nodeid has dialed the new one."""
    return (new in ours) != (old in ours) and (new in ours) == (who > ME)


if __name__ == "__main__":
    run(node, most_ports=2)

# Exercises (answers in ANSWERS.rst)
#
# 1. Let `from_afar` sleep 0.0 instead of 1.0, and run the naive version a few times: sometimes one
#    connection stays, sometimes both are gone.  Then let `dial` sleep `4 * random.random()`
#    instead, and the mistake hides.  When would it show again?
# 2. Let `beats` return `(new in ours) != (old in ours)`: "the last one stays".  Is that better than
#    "the first one stays", or just as bad?
# 3. Turn `who > ME` around in terminal 1 only (in a copy).  What happens, and what does it say
#    about such rules?
