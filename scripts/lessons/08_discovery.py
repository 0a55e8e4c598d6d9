#!/usr/bin/env python3
"""Lesson 8: which nodes do you know?

New         A node that knows one other node asks it for more (getaddr), receives addresses (addr),
            and dials them.  But which addresses?  A peer that we dialed lives where we dialed it.
            A peer that dialed us comes from a random port (lesson 1), on which nothing listens.
            It must tell us in its hello where it listens.
Terminal 1  python3 scripts/lessons/08_discovery.py --naive
Terminal 2  python3 scripts/lessons/08_discovery.py --break
See         Terminal 2 is two nodes.  The first one joins.  The second one is new, asks, and dials
            the address that it gets: the port that the first one's call came from.  Refused.
Then        Press Ctrl-C in terminal 1 and run both again, terminal 1 without --naive: a node
            answers there.
And         One address is enough.  In three terminals
              python3 -m p2p_plain --port 6000 --name real
              python3 scripts/lessons/08_discovery.py 7002 6000
              python3 scripts/lessons/08_discovery.py 7003 7002
            The last one gets the address of the second alone, and finds the real one too.  (The
            real one also dials each port that it is told, to see whether a node is there.  That
            connection ends at once; it is called a probe.)
For real    p2p_plain/node/discovery.py  Discovery.addresses_for
            p2p_plain/node/discovery.py  Discovery.receive_addr
            p2p_plain/node/claims.py     Claims.note
            The package passes a port on only when it has found the node there itself.
"""

import threading
import uuid
from socket import create_connection

from classroom import NAIVE, report, run
from wire import BROKEN, HOST, hear, listen, ping, say, start

ME = str(uuid.uuid4())
lock = threading.Lock()  # guards the two below
peers = {}  # nodeid: connection
homes = {}  # nodeid: the port where it listens, or None
here = {"nodeid": ME}  # the fields of our hello


def node(port, friend=None):
    """Listen, ping, and dial a friend if there is one."""
    listener = listen(port)
    here["port"] = listener.getsockname()[1]
    report("I am %s, listening on port %d" % (ME[:8], here["port"]))
    start(ping, peers)
    if friend:
        start(dial, friend)
    while True:
        connection, _ = listener.accept()
        start(talk, connection, False)


def dial(port):
    """Connect to a node and talk to it, as in lesson 6."""
    try:
        connection = create_connection((HOST, port))
    except OSError as error:
        report("cannot dial port %d: %s" % (port, error))
    else:
        talk(connection, True)


def talk(connection, we_dialed):
    """One connection, from hello to the end."""
    who, end = None, "the stream ended"
    try:
        if we_dialed:
            say(connection, "hello", **here)
        for message in hear(connection, 3):
            if who is None:
                who = greet(connection, message, we_dialed)
                say(connection, "getaddr")
            else:
                answer(connection, who, message)
    except BROKEN as error:
        end = str(error)
    connection.close()
    with lock:
        peers.pop(who, None)
        homes.pop(who, None)
    report("%s: %s; peers: %d" % (who[:8] + " is gone" if who else "no peer", end, len(peers)))


def greet(connection, hello, we_dialed):
    """Return the nodeid of the other end, if it may stay.  Raises `ValueError` if not."""
    who = hello["nodeid"]
    if not we_dialed:
        say(connection, "hello", **here)
    their_end = connection.getpeername()[1]  # the port that we dialed, or the one they called from
    home = their_end if we_dialed or NAIVE else hello.get("port")
    with lock:
        if who == ME or who in peers or hello.get("probe"):  # a probe only looks who is here
            raise ValueError("it is me, or here already, or only a probe")
        peers[who], homes[who] = connection, home
    report("%s is here; peers: %d" % (who[:8], len(peers)))
    return who


def answer(connection, who, message):
    """React to a message after hello."""
    if message["msgtype"] == "ping":
        say(connection, "pong")
    elif message["msgtype"] == "getaddr":
        known = [(home, other) for other, home in list(homes.items()) if home and other != who]
        say(connection, "addr", peers=[["%s:%d" % (HOST, home), other] for home, other in known])
    elif message["msgtype"] == "addr":
        for address, other in message["peers"]:
            host, port = address.rsplit(":", 1)
            if host == HOST and other != ME and other not in peers:  # stay on this machine
                report("I hear that %s lives at port %s" % (other[:8], port))
                start(dial, int(port))


def break_it(port):
    """A node that can be dialed, and a newcomer that asks for it."""
    home = listen(0)
    first, newcomer = create_connection((HOST, port)), create_connection((HOST, port))
    say(first, "hello", nodeid=str(uuid.uuid4()), port=home.getsockname()[1])
    next(message for message in hear(first) if message["msgtype"] == "getaddr")  # we are in
    say(newcomer, "hello", nodeid=str(uuid.uuid4()))
    say(newcomer, "getaddr")
    reply = next(message for message in hear(newcomer) if message["msgtype"] == "addr")
    for address, who in reply["peers"]:
        report("they say that %s lives at %s" % (who[:8], address))
        try:
            create_connection((HOST, int(address.rsplit(":")[1]))).close()
            report("I dialed it, and somebody answers")
        except OSError as error:
            report("I dialed it: %s" % error.strerror)


if __name__ == "__main__":
    run(node, break_it, most_ports=2)

# Exercises (answers in ANSWERS.rst)
#
# 1. Start three nodes and kill the first, the one that the others joined by.  The two others still
#    have each other.  Start it again: it knows no node, and no node dials it.  What should the
#    others remember, and for how long?
# 2. Let --break send a wrong port in its hello.  Now our node passes on a lie.  How could it know?
# 3. Let --break send an "addr" with a thousand pairs ["127.0.0.1:7001", str(uuid.uuid4())].  The
#    node dials itself a thousand times at once.  What is missing?
