#!/usr/bin/env python3
"""The whole: all ten ideas in one node, on two pages.

    python3 scripts/lessons/whole.py [PORT [PORT_TO_DIAL]]

With wire.py it is a full member of the network, as small as can be.  In another terminal:

    python3 -m p2p_plain --port 6000 --bootstrap 127.0.0.1:7001
    python3 -m p2p_plain ping 127.0.0.1:7001
    python3 scripts/conformance.py 127.0.0.1:7001 --level core

What the package does beyond it: it passes on only addresses that it has dialed itself, tries again
what failed, waits for no slow reader, bounds everything, measures, and tells what happens.
"""

import contextlib
import socket
import threading
import time
import uuid

from classroom import run, tell
from wire import BROKEN, HOST, hear, listen, ping, say, start

ME = str(uuid.uuid4())
lock = threading.Lock()  # guards the tables; nobody talks while holding it
talks = set()  # all connections; each has a thread
ours = set()  # those that we dialed
peers = {}  # nodeid: connection
homes = {}  # nodeid: the port where it listens, or None
here = {"nodeid": ME}  # what we say of ourselves


def node(port, friend=None):
    """Be a node until Ctrl-C."""
    listener = listen(port)
    here["port"] = listener.getsockname()[1]
    tell("I am %s, listening on port %d" % (ME[:8], here["port"]))
    start(ping, peers)
    if friend:
        start(talk, None, friend)
    try:
        while True:
            start(talk, listener.accept()[0])
    finally:
        listener.close()
        stop()


def stop():
    """Say goodbye, let the others close, and see every thread end."""
    tell("stopping; connections: %d" % len(talks))
    for connection in list(talks):
        hang_up(connection, "stopping")
    deadline = time.monotonic() + 1
    while talks and time.monotonic() < deadline:
        time.sleep(0.01)
    tell("stopped; threads that still wait: %d" % len(talks))


def hang_up(connection, reason):
    """Say bye, and no more: they close when they see the end, and then our thread sees it too."""
    with contextlib.suppress(OSError):
        say(connection, "bye", reason=reason)
        connection.shutdown(socket.SHUT_WR)


def talk(connection, dialed=None):
    """One connection, from hello to the end; `dialed` is the port if it was us."""
    who, end = None, "the stream ended"
    try:
        if dialed:
            connection = socket.create_connection((HOST, dialed), 5)
            ours.add(connection)
            say(connection, "hello", **here)
        talks.add(connection)
        for message in hear(connection, 3):
            if message["msgtype"] == "bye":
                end = "bye, %s" % message["reason"]
            elif who is None:
                who = greet(connection, message, dialed)
                say(connection, "getaddr")
            else:
                answer(connection, who, message)
    except BROKEN as error:
        end = str(error)
    if connection:
        connection.close()
    with lock:
        talks.discard(connection)
        ours.discard(connection)
        if who in peers and peers[who] is connection:
            del peers[who], homes[who]
            tell("%s is gone: %s; peers: %d" % (who[:8], end, len(peers)))


def greet(connection, hello, dialed):
    """Who it is, if it may stay.  Raises `ValueError` if not."""
    if hello["msgtype"] != "hello":
        raise ValueError("the first message was not hello")
    who, is_guest = str(uuid.UUID(hello["nodeid"])), hello.get("probe")  # only looks who is here
    if not dialed:
        say(connection, "hello", **here)
    if is_guest:
        return who
    with lock:
        old = peers.get(who)
        wins = who != ME and (old is None or beats(connection, old, who))
        if wins:
            peers[who], homes[who] = connection, dialed or hello.get("port")
    if not wins:
        hang_up(connection, "self" if who == ME else "duplicate")
        raise ValueError("it is me, or here already")
    tell("%s is here; peers: %d" % (who[:8], len(peers)))
    if old and dialed:
        hang_up(old, "duplicate")
    return who


def beats(new, old, who):
    """Whether both have dialed, and the new one was dialed by the smaller nodeid."""
    return (new in ours) != (old in ours) and (new in ours) == (who > ME)


def answer(connection, who, message):
    """What is said after hello."""
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
                start(talk, None, int(port))


if __name__ == "__main__":
    run(node, most_ports=2)
