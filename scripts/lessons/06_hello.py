#!/usr/bin/env python3
"""Lesson 6: saying hello, and recognising oneself.

New         From here on all are equal: a node listens and dials, and its peers are the nodes at
            the other ends.  Who is that?  Not the address that a call comes from, since its port
            is picked at random (lesson 1).  So each node gives itself a random name when it
            starts, a nodeid, and says it first of all: hello.  Who dialed says it at once, who
            was dialed answers with its own.  (Messages are JSON now, one on a line.  What lessons
            1 to 5 have built is in wire.py: listen, start, say, hear.)
Terminal 1  python3 scripts/lessons/06_hello.py --naive
Terminal 2  python3 scripts/lessons/06_hello.py --break
See         Everyone starts with the same list of addresses; so terminal 1 dials itself as well.
            It takes the address for the name, and has two peers at once: both are itself, the one
            who dialed and the one who was dialed.  Terminal 2 then dials twice, and is two more.
Then        Ctrl-C in terminal 1, and both again, terminal 1 without --naive.  Who says my own
            nodeid is me; who says one that is here already is nobody new.  One peer, which is
            true.
For real    `overlay.Overlay._accepted`, `overlay.Overlay._dialed`, `messages.new_uuid`
"""

import threading
import uuid
from socket import create_connection

from classroom import NAIVE, run, tell
from wire import BROKEN, HOST, hear, listen, say, start

ME = str(uuid.uuid4())
lock = threading.Lock()  # guards the peers: each connection has its own thread
peers = {}  # nodeid: connection


def node(port):
    """Listen, and dial whoever is on the list."""
    listener = listen(port)
    port = listener.getsockname()[1]
    tell("I am %s, listening on port %d" % (ME[:8], port))
    for friend in [port]:  # the list that everyone has; we are on it too
        start(talk, None, friend)
    while True:
        start(talk, listener.accept()[0])


def talk(connection, dialed=None):
    """One connection, from hello to the end; `dialed` is the port if it was us."""
    who, end = None, "the stream ended"
    try:
        if dialed:
            connection = create_connection((HOST, dialed))
            say(connection, "hello", nodeid=ME)
        for message in hear(connection):
            if who is None:
                who = greet(connection, message, dialed)
    except BROKEN as error:
        end = str(error)
    if connection:
        connection.close()
    with lock:
        peers.pop(who, None)
    tell("%s: %s; peers: %d" % (who[:15] + " is gone" if who else "no peer", end, len(peers)))


def greet(connection, hello, dialed):
    """Who it is, if it may stay.  Raises `ValueError` if not."""
    who = "%s:%d" % connection.getpeername() if NAIVE else hello["nodeid"]  # mistake, cure
    if not dialed:
        say(connection, "hello", nodeid=ME)
    if who == ME:
        say(connection, "bye", reason="self")
        raise ValueError("that is me")
    with lock:  # look and put in, in one breath: another thread may be at it as well
        is_new = who not in peers
        if is_new:
            peers[who] = connection
    if not is_new:
        say(connection, "bye", reason="duplicate")
        raise ValueError("%s is here already" % who[:15])
    tell("%s is here; peers: %d" % (who[:15], len(peers)))
    return who


def break_it(port):
    """One node that dials twice."""
    connections = [create_connection((HOST, port)) for _ in range(2)]
    for connection in connections:
        say(connection, "hello", nodeid="c0ffee00-0000-4000-8000-000000000001")
    for connection in connections:
        try:
            for message in hear(connection, 1):
                tell("they say %r" % message)
        except OSError:
            tell("and nothing more")  # for a second


if __name__ == "__main__":
    run(node, break_it)

# Exercises
#
# 1. In `greet`, replace `with lock:` by `if True:`, and put `time.sleep(0.1)` on a line of its own
#    after `is_new = ...` (and import time).  Run --break: both threads look before either has put
#    anything in, and the same node "is here" twice.
# 2. Say hello by hand, where there is `nc`: nc 127.0.0.1 7001, and paste within ten seconds
#    (wire.HELLO_WITHIN) {"msgtype": "hello", "nodeid": "my-name-is-bob"}.  Without nc, in a Python
#    shell: import socket; s = socket.create_connection(("127.0.0.1", 7001)); then s.sendall(b'...')
#    with that and a \n, and s.recv(999).  Say it a second time; what should that be?  (For the
#    package it is an error.)  Say rubbish: you are hung up on, and only you.
# 3. A nodeid is no secret, and no proof.  Say the same hello in a third terminal as well: "here
#    already".  But what if bob's first connection is dead, it is he who calls again, and nobody
#    has noticed yet?  (The next lesson notices.)
