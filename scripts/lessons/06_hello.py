#!/usr/bin/env python3
"""Lesson 6: saying hello, and recognising oneself.

New         From here on all are equal: a node listens and dials, and its peers are the nodes at
            the other ends.  Which node is at the other end?  The address that a call comes from
            does not say, since its port is picked at random (lesson 1).  So each node gives
            itself a random name when it starts, a nodeid, and sends it first of all: hello.  The
            side that dialed says hello at once.  The other side answers with its own.
The code    A connection begins in one of two ways.  The listener accepts it, or `dial` connects.
            Both end in `talk`, on a thread of its own; `we_dialed` says which way it was.
            Messages are JSON now, one a line.  wire.py has what lessons 1 to 5 have built:
            `listen` makes a listening socket, `start(f, x)` calls f(x) on a new thread, `say`
            sends one message, `hear` yields each message that arrives.
Terminal 1  python3 scripts/lessons/06_hello.py --naive
Terminal 2  python3 scripts/lessons/06_hello.py --break
See         All nodes start with the same list of addresses, so terminal 1 dials itself as well.
            It takes the address for the name, and has two peers at once.  Both are itself: the
            end that dialed and the end that was dialed.  Then terminal 2 dials twice, and counts
            as two more.
Then        Press Ctrl-C in terminal 1 and run both again, terminal 1 without --naive.  Both ends
            of its call to itself report "that is me": the hello has their own nodeid.  A hello
            with a known nodeid comes from a peer that is here already.  So terminal 2 is one
            peer, although it has dialed twice.
For real    p2p_plain/node/membership.py  Membership.accepted
            p2p_plain/node/membership.py  Membership.dialed
            p2p_plain/node/messages.py    new_uuid
"""

import threading
import uuid
from socket import create_connection

from classroom import NAIVE, report, run
from wire import BROKEN, HOST, hear, listen, say, start

ME = str(uuid.uuid4())
lock = threading.Lock()  # guards the peers: each connection has its own thread
peers = {}  # nodeid: connection


def node(port):
    """Listen, and dial every address on the list."""
    listener = listen(port)
    port = listener.getsockname()[1]
    report("I am %s, listening on port %d" % (ME[:8], port))
    for friend in [port]:  # the list that all nodes have; our own port is on it too
        start(dial, friend)
    while True:
        connection, _ = listener.accept()
        start(talk, connection, False)


def dial(port):
    """Connect to a node and talk to it.  On a thread of its own: connecting can take long."""
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
            say(connection, "hello", nodeid=ME)
        for message in hear(connection):
            if who is None:
                who = greet(connection, message, we_dialed)
    except BROKEN as error:
        end = str(error)
    connection.close()
    with lock:
        peers.pop(who, None)
    report("%s: %s; peers: %d" % (who[:15] + " is gone" if who else "no peer", end, len(peers)))


def greet(connection, hello, we_dialed):
    """Return the name of the other end, if it may stay.  Raises `ValueError` if not."""
    who = "%s:%d" % connection.getpeername() if NAIVE else hello["nodeid"]  # mistake, cure
    if not we_dialed:
        say(connection, "hello", nodeid=ME)
    if who == ME:
        say(connection, "bye", reason="self")
        raise ValueError("that is me")
    with lock:  # look and put in, in one step: another thread may do the same
        is_new = who not in peers
        if is_new:
            peers[who] = connection
    if not is_new:
        say(connection, "bye", reason="duplicate")
        raise ValueError("%s is here already" % who[:15])
    report("%s is here; peers: %d" % (who[:15], len(peers)))
    return who


def break_it(port):
    """One node that dials twice."""
    connections = [create_connection((HOST, port)) for _ in range(2)]
    for connection in connections:
        say(connection, "hello", nodeid="c0ffee00-0000-4000-8000-000000000001")
    for connection in connections:
        try:
            for message in hear(connection, 1):
                report("they say %r" % message)
        except OSError:
            report("and nothing more")  # for a second


if __name__ == "__main__":
    run(node, break_it)

# Exercises (answers in ANSWERS.rst)
#
# 1. In `greet`, replace `with lock:` by `if True:`, and put `time.sleep(0.1)` on a line of its own
#    after `is_new = ...` (and import time).  Run --break: the same node "is here" twice.  Why?
# 2. Say hello by hand, if you have `nc`: nc 127.0.0.1 7001, and paste within ten seconds
#    (wire.HELLO_WITHIN) {"msgtype": "hello", "nodeid": "my-name-is-bob"}.  Without nc, in a Python
#    shell: import socket; s = socket.create_connection(("127.0.0.1", 7001)); then s.sendall(b'...')
#    with that and a \n, and s.recv(999).  Say it a second time: what should a node do?  Send
#    rubbish: what happens, and to whom?
# 3. A nodeid is no secret, and no proof.  Say the same hello in a third terminal as well: "here
#    already".  But what if bob's first connection is dead, bob calls again, and the node has not
#    noticed yet?
