#!/usr/bin/env python3
"""Lesson 4: silence.

New         A program that waits for the network needs a limit.  A timeout limits one wait.  A
            deadline limits all of them together.
Terminal 1  python3 scripts/lessons/04_silence.py --naive
Terminal 2  python3 scripts/lessons/04_silence.py --break
See         Every caller must send its name within 2 s.  Terminal 1 has set a timeout of 2 s, for
            each `recv`.  It drops the silent caller.  The dripping one sends a letter each half
            second, so no `recv` waits long, and it keeps a thread busy as long as it likes.  A
            few thousand of those leave no room for anyone else.
Then        Press Ctrl-C in terminal 1 and run both again, terminal 1 without --naive.  It
            computes the time left until the deadline before each `recv`, and drops both callers
            after 2 s.
For real    p2p_plain/node/session.py   Session._converse
            p2p_plain/node/peer.py  HANDSHAKE_TIMEOUT
"""

import socket
import threading
import time

from classroom import NAIVE, report, run

PATIENCE = 2.0  # seconds


def listen(port):
    """Ask every caller for a name."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    report("listening on port %d" % listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def serve(connection):
    """One caller, on a thread of its own."""
    with connection:  # closes it at the end, whatever happens
        try:
            name = read_line(connection)
            report("welcome, %r" % name)
            connection.sendall(b"welcome\n")
        except socket.timeout:
            report("no name in time; hanging up")
        except OSError as error:
            report("broken off: %s" % error)


def read_line(connection):
    """Return one line.  Raises `socket.timeout` if it takes too long."""
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
    """One caller that says nothing, and one that never finishes its line."""
    callers = [threading.Thread(target=call, args=(port, word)) for word in ("silent", "dripping")]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()


def call(port, kind):
    """Stay for 5 s, if they allow it."""
    caller = socket.create_connection(("127.0.0.1", port))
    caller.settimeout(0.5)
    for _ in range(10):
        try:
            if kind == "dripping":
                caller.sendall(b"x")
            caller.recv(100)  # they send nothing here: this is the b"" of the end
            report("%s: they hung up" % kind)
            return
        except socket.timeout:
            continue
        except OSError:  # we sent after they had closed
            report("%s: they hung up" % kind)
            return
    report("%s: still there after 5 s" % kind)


if __name__ == "__main__":
    run(listen, break_it)

# Exercises (answers in ANSWERS.rst)
#
# 1. Replace `settimeout(max(left, 0.001))` by `settimeout(None)`, the state of a new socket.  How
#    long does the silent caller stay now?
# 2. Why `max`?  In a Python shell, connect a socket to the lesson and try `settimeout(-1)`, and
#    `settimeout(0)` with a `recv` after it.
# 3. Put a line `deadline += 3600` under `deadline = ...`: both callers stay.  The same happens with
#    `time.time()` when somebody sets the clock back by an hour.  What does `monotonic` promise?
