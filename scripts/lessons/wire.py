"""What lessons 1 to 5 have built, for lessons 6 to 10: listen, start, say, hear.  And 7's ping.

From lesson 6 on a message is a JSON object on a line of its own, with a `msgtype`.  That is the
wire of the real node (p2p_plain/node/wire.rst).
"""

import contextlib
import json
import socket
import threading
import time

HOST = "127.0.0.1"
MAX_LINE = 64 * 1024  # bytes
HELLO_WITHIN = 10.0  # seconds
BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What a connection can raise: the network has failed, or the other end sent nonsense."""


def listen(port):
    """Return a listening socket (lesson 1)."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    listener.listen()
    return listener


def start(function, *args):
    """Call `function(*args)` on a new thread (lesson 3)."""
    threading.Thread(target=function, args=args, daemon=True).start()


def say(connection, msgtype, **fields):
    """Send one message (lesson 2)."""
    fields["msgtype"] = msgtype
    connection.sendall(json.dumps(fields).encode() + b"\n")


def hear(connection, silence=None):
    """Yield each message, a dict, until the other end sends no more (lesson 2).

    Raises `socket.timeout` if the first one is not complete in time (lesson 4), or nothing arrives
    for `silence` seconds after it.  Raises `ValueError` for a line that is no message or does not
    end (lesson 5).
    """
    deadline = time.monotonic() + HELLO_WITHIN
    connection.settimeout(HELLO_WITHIN)
    held = b""
    for chunk in iter(lambda: connection.recv(4096), b""):
        *lines, held = (held + chunk).split(b"\n")
        if len(held) >= MAX_LINE:
            raise ValueError("an endless line")
        for line in filter(None, map(bytes.strip, lines)):
            message = json.loads(line.decode())
            if not isinstance(message, dict) or not isinstance(message.get("msgtype"), str):
                raise ValueError("no message")
            deadline = None
            yield message
        left = silence if deadline is None else max(deadline - time.monotonic(), 0.001)
        connection.settimeout(left)


def ping(peers):
    """Ping every peer once a second (lesson 7); `peers` is a dict of connections."""
    while True:
        for connection in list(peers.values()):
            with contextlib.suppress(OSError):  # its own thread notices that it is broken
                say(connection, "ping")
        time.sleep(1)
