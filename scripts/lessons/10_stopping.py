#!/usr/bin/env python3
r"""Lesson 10: stopping.

New         Ending takes as much care as beginning.  The others should hear that we leave on
            purpose (bye), and each thread should end, soon.  `close` gives the number of a socket
            back, but it does not wake a thread that waits in `recv` on it.  `shutdown` ends the
            connection itself: that thread gets b"", and can close.
Terminal 1  python3 scripts/lessons/10_stopping.py --naive
Terminal 2  python3 scripts/lessons/10_stopping.py --break
See         When terminal 2 is connected, press Ctrl-C in terminal 1.  It closes its socket, and a
            second later its thread still waits in `recv`.  As long as it does, the kernel keeps
            the connection.  Terminal 2 notices nothing for that second, and then the end, without
            a word.  Was it a crash?
Then        Run both again, terminal 1 without --naive, and press Ctrl-C.  First bye, then
            half-closed (lesson 2).  Terminal 2 hears why, sees the end, and closes too.  At once
            no thread is left.  (Closing outright while some bytes have not been read yet would
            break the connection off with a reset, and that can destroy the bye on its way.)
And         All ten ideas in one node: scripts/lessons/whole.py.
For real    p2p_plain/node/node.py       Node.stop
            p2p_plain/node/session.py    Session.close
            p2p_plain/node/session.py    Session._linger
            p2p_plain/node/transport.py  Transport.cut

         our end                                 their end

    send(bye)           ------ bye\n ------>   recv() -> bye\n
    shutdown(SHUT_WR)   ----- the end ----->   recv() -> b""
                                               "they send no more"

                           half-closed:
    recv() -> pong\n    <----- pong\n ------   send(pong) still works

    recv() -> b""       <---- the end ------   close()
    close()
"""

import contextlib
import threading
import time
import uuid
from socket import SHUT_RDWR, SHUT_WR, create_connection

from classroom import NAIVE, report, run
from wire import BROKEN, HOST, hear, listen, say, start

ME = str(uuid.uuid4())
lock = threading.Lock()
peers = {}  # nodeid: connection; left out here: dialing, ping, discovery


def node(port):
    """Be a node until Ctrl-C."""
    listener = listen(port)
    report("I am %s, listening on port %d" % (ME[:8], listener.getsockname()[1]))
    try:
        while True:
            start(talk, listener.accept()[0])
    finally:
        listener.close()
        stop()


def stop():
    """End all connections, and wait for their threads."""
    everyone = list(peers.values())
    report("stopping; peers: %d" % len(everyone))
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
    report("stopped; threads that still wait in recv: %d" % len(peers))


def wait(seconds):
    """Wait at most that long for the threads; each takes its peer out when it ends."""
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
    report("%s: %s; peers: %d" % (who[:8] + " is gone" if who else "no peer", end, len(peers)))


def greet(connection, hello):
    """Return the nodeid of the other end, if it may stay.  Raises `ValueError` if not."""
    who = hello["nodeid"]
    say(connection, "hello", nodeid=ME)
    with lock:
        if who == ME or who in peers:
            raise ValueError("it is me, or here already")
        peers[who] = connection
    report("%s is here; peers: %d" % (who[:8], len(peers)))
    return who


def break_it(port):
    """Listen to the end."""
    connection = create_connection((HOST, port))
    say(connection, "hello", nodeid=str(uuid.uuid4()))
    try:
        for message in hear(connection):
            report("they say %s %s" % (message["msgtype"], message.get("reason", "")))
    except OSError as error:
        report("it broke: %s" % error)
    report("they say no more")
    connection.close()


if __name__ == "__main__":
    run(node, break_it)

# Exercises (answers in ANSWERS.rst)
#
# 1. Put `time.sleep(3)` before the last line of `break_it`: a peer that does not close.  How long
#    does terminal 1 take to stop?  Then replace `shutdown(SHUT_RDWR)` by `pass`.  What is left?
# 2. Stop the lesson with `kill` instead of Ctrl-C: no bye.  Then import signal and let `node`
#    begin with `signal.signal(signal.SIGTERM, signal.default_int_handler)`.  What has changed?
# 3. Take the line with SO_REUSEADDR out of wire.py, stop the lesson while --break is connected,
#    and start it again: "Address already in use" for a minute, although nothing listens.  Why?
#    (After exercise 2 as well: take another port here, and one more when you go on.)
