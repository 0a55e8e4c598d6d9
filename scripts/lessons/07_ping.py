#!/usr/bin/env python3
"""Lesson 7: ping, and the dead.

New         When a program ends, its kernel closes its connections, and `recv` returns b"".  When
            a cable is pulled or the power fails, nothing arrives at all: a dead peer looks just
            like one that has nothing to say.  So every node asks its peers now and then, ping,
            and each of them must answer, pong.  A peer that stays silent is dead.
Terminal 1  python3 scripts/lessons/07_ping.py --naive
Terminal 2  python3 scripts/lessons/07_ping.py --break
See         Terminal 2 says hello, answers for two seconds, and then its cable is pulled: it stays
            connected, and does and says nothing.  Terminal 1 counts it as a peer until the
            program in terminal 2 ends, five seconds later.
Then        Press Ctrl-C in terminal 1 and run both again, terminal 1 without --naive.  It asks
            every second.  After three seconds of silence it drops the peer.
And         This is a real node already.  In terminal 2
              python3 -m p2p_plain --port 6000 --name real
            and in terminal 1, with the port to dial after our own,
              python3 scripts/lessons/07_ping.py 7001 6000
            Stop the real one with Ctrl-C: it says bye.  Start both again and stop it with Ctrl-Z
            instead (`fg` wakes it): it is dead.
For real    p2p_plain/node/pinger.py      Pinger.run
            p2p_plain/node/membership.py  Membership.tick
            p2p_plain/node/peer_table.py  PeerTable.silent
"""

import threading
import time
import uuid
from socket import create_connection

from classroom import NAIVE, report, run
from wire import BROKEN, HOST, hear, listen, say, start

ME = str(uuid.uuid4())
SILENCE = None if NAIVE else 3.0  # seconds that a peer may say nothing, although it is asked
lock = threading.Lock()
peers = {}  # nodeid: connection


def node(port, friend=None):
    """Listen, ping, and dial a friend if there is one."""
    listener = listen(port)
    report("I am %s, listening on port %d" % (ME[:8], listener.getsockname()[1]))
    if not NAIVE:
        start(ping)
    if friend:
        start(dial, friend)
    while True:
        connection, _ = listener.accept()
        start(talk, connection, False)


def ping():
    """Ping every peer, again and again; on a thread of its own."""
    while True:
        with lock:
            everyone = list(peers.values())  # a copy: no thread waits for the lock while we send
        for connection in everyone:
            try:
                say(connection, "ping")
            except OSError:
                pass  # broken: its own thread notices that as well
        time.sleep(1)


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
            say(connection, "hello", nodeid=ME)
        for message in hear(connection, SILENCE):
            if who is None:
                who = greet(connection, message, we_dialed)
            elif message["msgtype"] == "ping":
                say(connection, "pong")
            elif message["msgtype"] == "bye":
                end = "bye, %s" % message["reason"]
    except BROKEN as error:
        end = str(error)
    connection.close()
    with lock:
        peers.pop(who, None)
    report("%s: %s; peers: %d" % (who[:8] + " is gone" if who else "no peer", end, len(peers)))


def greet(connection, hello, we_dialed):
    """Return the nodeid of the other end, if it may stay.  Raises `ValueError` if not."""
    who = hello["nodeid"]
    if not we_dialed:
        say(connection, "hello", nodeid=ME)
    with lock:
        if who == ME or who in peers:
            raise ValueError("it is me, or here already")
        peers[who] = connection
    report("%s is here; peers: %d" % (who[:8], len(peers)))
    return who


def break_it(port):
    """Answer for two seconds, and then do nothing any more."""
    connection = create_connection((HOST, port))
    say(connection, "hello", nodeid="dead0000-0000-4000-8000-000000000001")
    alive_until = time.monotonic() + 2
    try:
        for message in hear(connection, 2):
            if message["msgtype"] == "ping":
                say(connection, "pong")
            if time.monotonic() > alive_until:
                break
    except OSError:
        pass  # no ping has come
    report("my cable is pulled")
    time.sleep(5)
    report("and is put back")


if __name__ == "__main__":
    run(node, break_it, most_ports=2)

# Exercises (answers in ANSWERS.rst)
#
# 1. Let --break send "getaddr" every second and never "pong".  It counts as alive: this lesson is
#    content with any message.  How could it count pongs only, as the package does?
# 2. Think of a peer that never reads.  Its buffers fill, and `sendall` waits until there is room,
#    or until the timeout.  (The 3 s that `hear` has set apply to it too.)  Who else waits then?
# 3. Two threads send on one connection: this one pings, the other one answers pings.  What if both
#    are half-way through a long line?  Try it with socket.socketpair(): two threads that send
#    b"a" * 200000 + b"\n" and the same of b"b" twenty times, and one that reads.
