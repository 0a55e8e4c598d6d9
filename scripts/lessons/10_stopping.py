#!/usr/bin/env python3
"""Lesson 10: stopping.

New         Ending takes as much care as beginning.  The others should hear that we leave on
            purpose (bye), and each thread should end, soon.  `close` gives the number of a socket
            back, and does not wake the thread that waits in `recv` on it.  `shutdown` ends the
            connection itself: that thread gets b"", and can close.
Terminal 1  python3 scripts/lessons/10_stopping.py --naive
Terminal 2  python3 scripts/lessons/10_stopping.py --break
See         When terminal 2 is connected, press Ctrl-C in terminal 1.  It closes its socket, and a
            second later its thread still waits in `recv`; as long as it does, the kernel keeps
            the connection.  Terminal 2 notices nothing in that second, and then the end, without
            a word: was it a crash?
Then        Both again, terminal 1 without --naive, and Ctrl-C.  First bye, then half-closed (lesson
            2): so terminal 2 hears why, sees the end, and closes too; no thread is left, at once.
            (To close outright while something has not been read yet would break the connection
            off, by what is called a reset, and that may destroy the bye on its way.)
And         All ten ideas in one node: scripts/lessons/whole.py.
For real    `node.Node.stop`, `session.Session.close`, `session.Session._drain`,
            `transport.Transport.cut`
"""

import contextlib
import threading
import time
import uuid
from socket import SHUT_RDWR, SHUT_WR, create_connection

from classroom import NAIVE, run, tell
from wire import BROKEN, HOST, hear, listen, say, start

ME = str(uuid.uuid4())
lock = threading.Lock()
peers = {}  # nodeid: connection; left out here: dialing, ping, discovery


def node(port):
    """Be a node until Ctrl-C."""
    listener = listen(port)
    tell("I am %s, listening on port %d" % (ME[:8], listener.getsockname()[1]))
    try:
        while True:
            start(talk, listener.accept()[0])
    finally:
        listener.close()
        stop()


def stop():
    """End all connections, and see their threads end."""
    everyone = list(peers.values())
    tell("stopping; peers: %d" % len(everyone))
    for connection in everyone:
        with contextlib.suppress(OSError):
            if NAIVE:
                connection.close()
            else:
                say(connection, "bye", reason="stopping")
                connection.shutdown(SHUT_WR)
    wait(0.5)
    for connection in everyone:
        with contextlib.suppress(OSError):
            connection.shutdown(SHUT_RDWR)  # some never close: cut them off
    wait(0.5)
    tell("stopped; threads that still wait in recv: %d" % len(peers))


def wait(seconds):
    """Let the threads end, for that long at the most; each takes its peer out at the end."""
    deadline = time.monotonic() + seconds
    while peers and time.monotonic() < deadline:
        time.sleep(0.01)


def talk(connection):
    """One connection, from hello to the end; on a thread of its own."""
    who, end = None, "the stream ended"
    try:
        for message in hear(connection):
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
        peers.pop(who, None)
    tell("%s: %s; peers: %d" % (who[:8] + " is gone" if who else "no peer", end, len(peers)))


def greet(connection, hello):
    """Who it is, if it may stay.  Raises `ValueError` if not."""
    who = hello["nodeid"]
    say(connection, "hello", nodeid=ME)
    with lock:
        if who == ME or who in peers:
            raise ValueError("it is me, or here already")
        peers[who] = connection
    tell("%s is here; peers: %d" % (who[:8], len(peers)))
    return who


def break_it(port):
    """Listen to the end."""
    connection = create_connection((HOST, port))
    say(connection, "hello", nodeid=str(uuid.uuid4()))
    try:
        for message in hear(connection):
            tell("they say %s %s" % (message["msgtype"], message.get("reason", "")))
    except OSError as error:
        tell("it broke: %s" % error)
    tell("they say no more")
    connection.close()


if __name__ == "__main__":
    run(node, break_it)

# Exercises
#
# 1. Put `time.sleep(3)` before the last line of `break_it`: a peer that will not close.  Now it
#    takes half a second, and then `shutdown(SHUT_RDWR)` wakes our own thread.  Replace that by
#    `pass`: one thread is left.  Who waits for all threads without a limit waits for ever.
# 2. Stop the lesson with `kill` instead of Ctrl-C: no bye.  Then import signal and let `node`
#    begin with `signal.signal(signal.SIGTERM, signal.default_int_handler)`.
# 3. Take the line with SO_REUSEADDR out of wire.py, stop the lesson while --break is connected,
#    and start it again: "Address already in use" for a minute, although nobody listens.  The
#    kernel still guards the old connection's ports against late packets (TIME_WAIT).  (So it does
#    after exercise 2: take another port here, and one more when you go on.)
