#!/usr/bin/env python3
"""The whole: all ten ideas in one node, on two pages.

    python3 scripts/lessons/whole.py [PORT [PORT_TO_DIAL]]

With wire.py it is a full member of the network, as small as it can be.  In another terminal:

    python3 -m p2p_plain --port 6000 --bootstrap 127.0.0.1:7001
    python3 -m p2p_plain ping 127.0.0.1:7001
    python3 scripts/conformance.py 127.0.0.1:7001 --level core

The package does more: it passes on only addresses that it has dialed itself, tries again after a
failure, waits for no slow reader, bounds everything, measures, and reports what happens.
"""

import contextlib
import socket
import threading
import time
import uuid

from classroom import report, run
from wire import BROKEN, HOST, hear, listen, ping, say, start

ME = str(uuid.uuid4())
lock = threading.Lock()  # guards the tables; no thread sends while it holds it
talks = set()  # all connections; each has a thread
ours = set()  # those that we dialed
peers = {}  # nodeid: connection
homes = {}  # nodeid: the port where it listens, or None
here = {"nodeid": ME}  # the fields of our hello


def node(port, friend=None):
    """Be a node until Ctrl-C."""
    listener = listen(port)
    here["port"] = listener.getsockname()[1]
    report("I am %s, listening on port %d" % (ME[:8], here["port"]))
    start(ping, peers)
    if friend:
        start(dial, friend)
    try:
        while True:
            start(talk, listener.accept()[0])
    finally:
        listener.close()
        stop()


def stop():
    """Say goodbye, let the others close, and wait for every thread."""
    report("stopping; connections: %d" % len(talks))
    for connection in list(talks):
        hang_up(connection, "stopping")
    deadline = time.monotonic() + 1
    while talks and time.monotonic() < deadline:
        time.sleep(0.01)
    report("stopped; threads that still wait: %d" % len(talks))


def hang_up(connection, reason):
    """Say bye and half-close: they close when they see the end, and then our thread sees it too."""
    with contextlib.suppress(OSError):
        say(connection, "bye", reason=reason)
        connection.shutdown(socket.SHUT_WR)


def dial(port):
    """Connect to a node and talk to it; on a thread of its own."""
    with contextlib.suppress(OSError):
        connection = socket.create_connection((HOST, port), 5)
        ours.add(connection)
        talk(connection)


def talk(connection):
    """One connection, from hello to the end."""
    who, end = None, "the stream ended"
    talks.add(connection)
    try:
        if connection in ours:
            say(connection, "hello", **here)
        for message in hear(connection, 3):
            if message["msgtype"] == "bye":
                end = "bye, %s" % message["reason"]
            elif who is None:
                who = greet(connection, message)
                say(connection, "getaddr")
            else:
                answer(connection, who, message)
    except BROKEN as error:
        end = str(error)
    connection.close()
    with lock:
        talks.discard(connection)
        ours.discard(connection)
        if who in peers and peers[who] is connection:
            del peers[who], homes[who]
            report("%s is gone: %s; peers: %d" % (who[:8], end, len(peers)))


def greet(connection, hello):
    """Return the nodeid of the other end, if it may stay.  Raises `ValueError` if not."""
    if hello["msgtype"] != "hello":
        raise ValueError("the first message was not hello")
    who, we_dialed = str(uuid.UUID(hello["nodeid"])), connection in ours
    if not we_dialed:
        say(connection, "hello", **here)
    if hello.get("probe"):  # a guest: it asks, and does not become a peer
        return who
    home = connection.getpeername()[1] if we_dialed else hello.get("port")
    with lock:
        old = peers.get(who)
        wins = who != ME and (old is None or beats(connection, old, who))
        if wins:
            peers[who], homes[who] = connection, home
    if not wins:
        hang_up(connection, "self" if who == ME else "duplicate")
        raise ValueError("it is me, or here already")
    report("%s is here; peers: %d" % (who[:8], len(peers)))
    if old and we_dialed:
        hang_up(old, "duplicate")
    return who


def beats(new, old, who):
    """True if each end has dialed one of the two, and the smaller nodeid has dialed the new one."""
    return (new in ours) != (old in ours) and (new in ours) == (who > ME)


def answer(connection, who, message):
    """React to a message after hello."""
    kind = message["msgtype"]
    if kind == "hello":
        raise ValueError("a second hello")
    if kind == "ping":
        say(connection, "pong")
    elif kind == "getaddr":
        known = [(home, other) for other, home in list(homes.items()) if home and other != who]
        say(connection, "addr", peers=[["%s:%d" % (HOST, home), other] for home, other in known])
    elif kind == "addr":
        for address, other in message["peers"]:
            host, port = address.rsplit(":", 1)
            if host == HOST and other != ME and other not in peers:  # stay on this machine
                start(dial, int(port))


if __name__ == "__main__":
    run(node, most_ports=2)
