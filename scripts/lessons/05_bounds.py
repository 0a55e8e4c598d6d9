#!/usr/bin/env python3
"""Lesson 5: endless lines.

New         Whatever a stranger can make grow needs a bound.  We keep a line until its newline
            arrives (lesson 2).  What if it never does?
Terminal 1  python3 scripts/lessons/05_bounds.py --naive
Terminal 2  python3 scripts/lessons/05_bounds.py --break
See         Terminal 2 sends x, eight million times, and no newline.  Terminal 1 keeps all of it.
            That is one caller for a second or two.  Ten callers for a minute leave no memory for
            anyone.  (It also becomes slower and slower: each `held + chunk` copies all of it.)
Then        Press Ctrl-C in terminal 1 and run both again, terminal 1 without --naive.  From
            65,536 bytes on it hangs up.  (It may hold a little more by then, from the last
            `recv`.)  An honest caller never notices, since no honest line is that long.
For real    p2p_plain/node/codec.py     LineSplitter.feed
            p2p_plain/node/codec.py  MAX_LINE
"""

import socket
import threading

from classroom import NAIVE, report, run

MAX_LINE = 64 * 1024  # bytes
MEGABYTE = 1024 * 1024


def listen(port):
    """Read lines from every caller."""
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
    with connection:
        try:
            for line in read(connection):
                report("a line of %d bytes" % len(line))
        except (OSError, ValueError) as error:
            report("hanging up: %s" % error)


def read(connection):
    """Yield each line.  Raises `ValueError` when one gets too long."""
    connection.settimeout(10)
    held = b""
    reported = 0
    for chunk in iter(lambda: connection.recv(64 * 1024), b""):
        *lines, held = (held + chunk).split(b"\n")
        yield from lines
        if len(held) >= MAX_LINE and not NAIVE:
            raise ValueError("a line of %d bytes, and no end to it" % len(held))
        if len(held) >= reported + 2 * MEGABYTE:
            reported = len(held)
            report("I hold %d MB of one line" % (reported // MEGABYTE))


def break_it(port):
    """Begin a line and never end it."""
    caller = socket.create_connection(("127.0.0.1", port))
    caller.settimeout(30)
    caller.sendall(b"an honest line\n")
    sent = 0
    try:
        while sent < 8 * MEGABYTE:
            sent += caller.send(b"x" * 64 * 1024)
        caller.shutdown(socket.SHUT_WR)
        caller.recv(1)  # returns when they have read it all and close
        report("I sent 8 MB, and they took it all")
    except OSError:
        report("they hung up; I had got rid of %d kB" % (sent // 1024))


if __name__ == "__main__":
    run(listen, break_it)

# Exercises (answers in ANSWERS.rst)
#
# 1. Run --break without --naive in terminal 1.  "I had got rid of" is far more than the bound.
#    Where was the rest?
# 2. Many lines are too much as well.  Let --break send `(b"x" * 1023 + b"\n") * 64` in its loop.
#    In `serve`, replace the line with `report("a line` by `time.sleep(0.002)` (and import time).
#    Now 8192 lines take terminal 2 a quarter of a minute.  Why does it have to wait?
# 3. What else in lessons 3 and 4 can a stranger make grow?
