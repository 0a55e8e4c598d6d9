#!/usr/bin/env python3
"""Lesson 4: silence.

New         Whoever waits for the network must know how long.  A timeout bounds one wait; a
            deadline bounds all of them together.
Terminal 1  python3 scripts/lessons/04_silence.py --naive
Terminal 2  python3 scripts/lessons/04_silence.py --break
See         Everyone must say a name within 2 s.  Terminal 1 has set a timeout of 2 s, for each
            `recv`.  The silent caller is sent away.  The dripping one says a letter each half
            second, so that no `recv` waits long, and keeps a thread busy as long as it likes.  A
            few thousand of those, and there is room for nobody else.
Then        Ctrl-C in terminal 1, and both again, terminal 1 without --naive: what is left until
            the deadline is worked out anew before each `recv`, and both are sent away after 2 s.
For real    `session.Session._converse`, with `config.HANDSHAKE_TIMEOUT`
"""

import socket
import threading
import time

from classroom import NAIVE, run, tell

PATIENCE = 2.0  # seconds


def listen(port):
    """Ask everyone for a name."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    tell("listening on port %d" % listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def serve(connection):
    """One caller, on a thread of its own."""
    with connection:  # closes it at the end, whatever happens
        try:
            name = read_line(connection)
            tell("welcome, %r" % name)
            connection.sendall(b"welcome\n")
        except socket.timeout:
            tell("no name in time; hanging up")
        except OSError as error:
            tell("broken off: %s" % error)


def read_line(connection):
    """One line; `socket.timeout` if it takes too long."""
    deadline = time.monotonic() + PATIENCE
    held = b""
    while b"\n" not in held:
        left = PATIENCE if NAIVE else deadline - time.monotonic()  # the mistake, and the cure
        connection.settimeout(max(left, 0.001))  # 0 would mean: do not wait at all
        chunk = connection.recv(4096)
        if not chunk:
            raise ConnectionError("the stream ended")
        held += chunk
    return held.partition(b"\n")[0]


def break_it(port):
    """One who says nothing, and one who never comes to the point."""
    callers = [threading.Thread(target=call, args=(port, word)) for word in ("silent", "dripping")]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()


def call(port, kind):
    """Stay for 5 s, if they let us."""
    caller = socket.create_connection(("127.0.0.1", port))
    caller.settimeout(0.5)
    for _ in range(10):
        try:
            if kind == "dripping":
                caller.sendall(b"x")
            caller.recv(100)  # nobody says anything here: it is the b"" of the end
            tell("%s: they hung up" % kind)
            return
        except socket.timeout:
            continue
        except OSError:  # sent, or waited for, after they had closed
            tell("%s: they hung up" % kind)
            return
    tell("%s: still there after 5 s" % kind)


if __name__ == "__main__":
    run(listen, break_it)

# Exercises
#
# 1. Replace `settimeout(max(left, 0.001))` by `settimeout(None)`: now the silent caller stays for
#    ever as well.  That is how a new socket is, and what most programs leave it at.
# 2. Why `max`?  In a Python shell, connect a socket to the lesson and try its `settimeout(-1)`, and
#    `settimeout(0)` with a `recv` after it: ValueError, and an error at once instead of waiting.
# 3. Put a line `deadline += 3600` under `deadline = ...`: both stay.  So it is with time.time()
#    for a clock when somebody sets that back an hour meanwhile.  What does `monotonic` promise?
