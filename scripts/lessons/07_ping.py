#!/usr/bin/env python3
"""Lesson 7: ping, and the dead.

New         When a program ends, its kernel ends its connections, and `recv` brings b"".  When a
            cable is pulled or the power fails, nobody says anything: a dead peer looks just like
            one that has nothing to say.  So everyone asks everyone now and then: ping; and must
            answer: pong.  Who is silent all the same is dead.
Terminal 1  python3 scripts/lessons/07_ping.py --naive
Terminal 2  python3 scripts/lessons/07_ping.py --break
See         Terminal 2 says hello, answers for two seconds, and then its cable is pulled: it stays
            connected, and does and says nothing.  Terminal 1 counts it as a peer as long as you
            care to watch.
Then        Ctrl-C in terminal 1, and both again, terminal 1 without --naive.  Asked each second
            and silent for three: dead.
And         This is a real node already.  In terminal 2
              python3 -m p2p_plain --port 6000 --name real
            and in terminal 1, with the port to dial after our own,
              python3 scripts/lessons/07_ping.py 7001 6000
            Stop the real one with Ctrl-C: it says bye.  Start both again and stop it with Ctrl-Z
            instead (`fg` wakes it): it is dead.
For real    `pinger.Pinger`, `overlay.Overlay.tick`, `peer_table.PeerTable.silent`
"""

import threading
import time
import uuid
from socket import create_connection

from classroom import NAIVE, run, tell
from wire import BROKEN, HOST, hear, listen, say, start

ME = str(uuid.uuid4())
SILENCE = None if NAIVE else 3.0  # seconds that a peer may say nothing, although it is asked
lock = threading.Lock()
peers = {}  # nodeid: connection


def node(port, friend=None):
    """Listen, ping, and dial a friend if there is one."""
    listener = listen(port)
    tell("I am %s, listening on port %d" % (ME[:8], listener.getsockname()[1]))
    if not NAIVE:
        start(ping)
    if friend:
        start(talk, None, friend)
    while True:
        start(talk, listener.accept()[0])


def ping():
    """Ask everyone, again and again; on a thread of its own."""
    while True:
        with lock:
            everyone = list(peers.values())  # a copy, so that nobody waits for us while we talk
        for connection in everyone:
            try:
                say(connection, "ping")
            except OSError:
                pass  # broken: its own thread notices that as well
        time.sleep(1)


def talk(connection, dialed=None):
    """One connection, from hello to the end; `dialed` is the port if it was us."""
    who, end = None, "the stream ended"
    try:
        if dialed:
            connection = create_connection((HOST, dialed))
            say(connection, "hello", nodeid=ME)
        for message in hear(connection, SILENCE):
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
        peers.pop(who, None)
    tell("%s: %s; peers: %d" % (who[:8] + " is gone" if who else "no peer", end, len(peers)))


def greet(connection, hello, dialed):
    """Who it is, if it may stay.  Raises `ValueError` if not."""
    who = hello["nodeid"]
    if not dialed:
        say(connection, "hello", nodeid=ME)
    with lock:
        if who == ME or who in peers:
            raise ValueError("it is me, or here already")
        peers[who] = connection
    tell("%s is here; peers: %d" % (who[:8], len(peers)))
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
        pass  # never pinged
    tell("my cable is pulled")
    time.sleep(5)
    tell("and is put back")


if __name__ == "__main__":
    run(node, break_it, most_ports=2)

# Exercises
#
# 1. Let --break say "getaddr" every second and never "pong".  It counts as alive: any word will
#    do for us.  Count only pongs instead, as the package does: note in `talk` when the last one
#    came, and look at each message whether that is too long ago.
# 2. Think of a peer that never reads.  Its buffers fill, and `sendall` waits until there is room,
#    or until the timeout: the 3 s that `hear` has set hold for it too.  Who waits with it?
#    (Everyone behind it in the list of `ping`.  And if the list were gone through with the lock
#    held, everyone.  transport.Transport.send never waits.)
# 3. Two threads say things on one connection: this one says ping, the other one pong.  What if
#    both are half-way through a long line?  Try it: socket.socketpair(), two threads that say
#    b"a" * 200000 + b"\n" and the same of b"b" twenty times, one that reads.  Some lines are both.
#    (session.Session.send has a lock for that.)
