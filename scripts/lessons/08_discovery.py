#!/usr/bin/env python3
"""Lesson 8: whom do you know?

New         Who knows one node asks it for others (getaddr), is told addresses (addr), and dials
            them.  But which addresses?  A peer that we dialed lives where we dialed it.  One that
            dialed us comes from a random port (lesson 1), on which nobody listens: it must tell
            us in its hello where it does.
Terminal 1  python3 scripts/lessons/08_discovery.py --naive
Terminal 2  python3 scripts/lessons/08_discovery.py --break
See         Terminal 2 is two nodes.  The first one joins.  The second one is new, asks, and dials
            what it is told: the port that the first one's call came from.  Refused.
Then        Ctrl-C in terminal 1, and both again, terminal 1 without --naive: somebody answers.
And         One address is enough.  In three terminals
              python3 -m p2p_plain --port 6000 --name real
              python3 scripts/lessons/08_discovery.py 7002 6000
              python3 scripts/lessons/08_discovery.py 7003 7002
            The last one is given the address of the second alone, and finds the real one too.
            (The real one also dials what they say, only to see whether they are there: "a probe".)
For real    `overlay.Overlay._addr_for`, `overlay.Overlay._heard`; and it believes a port only when
            it has found the node there itself: `overlay.Overlay._claimed`, `reach.Reach`
"""

import threading
import uuid
from socket import create_connection

from classroom import NAIVE, run, tell
from wire import BROKEN, HOST, hear, listen, ping, say, start

ME = str(uuid.uuid4())
lock = threading.Lock()  # guards the two below
peers = {}  # nodeid: connection
homes = {}  # nodeid: the port where it listens, or None
here = {"nodeid": ME}  # what we say of ourselves


def node(port, friend=None):
    """Listen, ping, and dial a friend if there is one."""
    listener = listen(port)
    here["port"] = listener.getsockname()[1]
    tell("I am %s, listening on port %d" % (ME[:8], here["port"]))
    start(ping, peers)
    if friend:
        start(talk, None, friend)
    while True:
        start(talk, listener.accept()[0])


def talk(connection, dialed=None):
    """One connection, from hello to the end; `dialed` is the port if it was us."""
    who, end = None, "the stream ended"
    try:
        if dialed:
            connection = create_connection((HOST, dialed))
            say(connection, "hello", **here)
        for message in hear(connection, 3):
            if who is None:
                who = greet(connection, message, dialed)
                say(connection, "getaddr")
            else:
                answer(connection, who, message)
    except BROKEN as error:
        end = str(error)
    if connection:
        connection.close()
    with lock:
        peers.pop(who, None)
        homes.pop(who, None)
    tell("%s: %s; peers: %d" % (who[:8] + " is gone" if who else "no peer", end, len(peers)))


def greet(connection, hello, dialed):
    """Who it is, if it may stay.  Raises `ValueError` if not."""
    who = hello["nodeid"]
    if not dialed:
        say(connection, "hello", **here)
    home = dialed or (connection.getpeername()[1] if NAIVE else hello.get("port"))
    with lock:
        if who == ME or who in peers or hello.get("probe"):  # a probe only looks who is there
            raise ValueError("it is me, or here already, or only a probe")
        peers[who], homes[who] = connection, home
    tell("%s is here; peers: %d" % (who[:8], len(peers)))
    return who


def answer(connection, who, message):
    """What is said after hello."""
    if message["msgtype"] == "ping":
        say(connection, "pong")
    elif message["msgtype"] == "getaddr":
        known = [(home, other) for other, home in list(homes.items()) if home and other != who]
        say(connection, "addr", peers=[["%s:%d" % (HOST, home), other] for home, other in known])
    elif message["msgtype"] == "addr":
        for address, other in message["peers"]:
            host, port = address.rsplit(":", 1)
            if host == HOST and other != ME and other not in peers:  # stay on this machine
                tell("I hear that %s lives at port %s" % (other[:8], port))
                start(talk, None, int(port))


def break_it(port):
    """A node that can be dialed, and a newcomer that asks for it."""
    home = listen(0)
    first, newcomer = create_connection((HOST, port)), create_connection((HOST, port))
    say(first, "hello", nodeid=str(uuid.uuid4()), port=home.getsockname()[1])
    next(message for message in hear(first) if message["msgtype"] == "getaddr")  # we are in
    say(newcomer, "hello", nodeid=str(uuid.uuid4()))
    say(newcomer, "getaddr")
    told = next(message for message in hear(newcomer) if message["msgtype"] == "addr")
    for address, who in told["peers"]:
        tell("they say that %s lives at %s" % (who[:8], address))
        try:
            create_connection((HOST, int(address.rsplit(":")[1]))).close()
            tell("I dialed it, and somebody answers")
        except OSError as error:
            tell("I dialed it: %s" % error.strerror)


if __name__ == "__main__":
    run(node, break_it, most_ports=2)

# Exercises
#
# 1. Start three nodes and kill the first, the one that everyone joined by.  The two others still
#    have each other.  Start it again: it knows nobody, and nobody dials it.  What should they
#    remember, and for how long?  (address_book.AddressBook; config.BACKOFF_FIRST.)
# 2. Let --break tell a wrong port in its hello.  Now it is us who pass on a lie.  The package
#    dials the port itself before it tells anyone (p2p_plain/node/wire.rst, rules 6 and 7).
# 3. Let --break say an "addr" with a thousand pairs ["127.0.0.1:7001", str(uuid.uuid4())].  The
#    node dials itself a thousand times at once.  (The cure: config.MAX_BOOK, config.MAX_DIALS.)
