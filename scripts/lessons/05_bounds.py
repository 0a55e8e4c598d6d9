#!/usr/bin/env python3
"""Lesson 5: endless lines.

New         What a stranger can make grow needs a bound.  We hold a line until its newline comes
            (lesson 2); what if it never does?
Terminal 1  python3 scripts/lessons/05_bounds.py --naive
Terminal 2  python3 scripts/lessons/05_bounds.py --break
See         Terminal 2 says x, eight million times, and no newline.  Terminal 1 holds all of it.
            That is one caller for a second; let it be ten for a minute, and no memory is left
            for anyone.  (And see how it becomes slower: each `held + chunk` copies all of it.)
Then        Ctrl-C in terminal 1, and both again, terminal 1 without --naive: from 65,536 bytes on
            it hangs up (it may hold a little more by then: what the last `recv` brought).  An
            honest caller never notices, since no honest line is that long.
For real    `codec.LineSplitter.feed`, with `config.MAX_LINE`; what else is bounded stands in
            `config`, each bound with its reason
"""

import socket
import threading

from classroom import NAIVE, run, tell

MAX_LINE = 64 * 1024  # bytes
MEGABYTE = 1024 * 1024


def listen(port):
    """Hear lines from everyone."""
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
    with connection:
        try:
            for line in read(connection):
                tell("a line of %d bytes" % len(line))
        except (OSError, ValueError) as error:
            tell("hanging up: %s" % error)


def read(connection):
    """Yield each line.  Raises `ValueError` when one gets too long."""
    connection.settimeout(10)
    held = b""
    told = 0
    for chunk in iter(lambda: connection.recv(64 * 1024), b""):
        *lines, held = (held + chunk).split(b"\n")
        yield from lines
        if len(held) >= MAX_LINE and not NAIVE:
            raise ValueError("a line of %d bytes, and no end to it" % len(held))
        if len(held) >= told + 2 * MEGABYTE:
            told = len(held)
            tell("I hold %d MB of one line" % (told // MEGABYTE))


def break_it(port):
    """Begin a line and never end it."""
    caller = socket.create_connection(("127.0.0.1", port))
    caller.settimeout(30)
    caller.sendall(b"an honest line\n")
    said = 0
    try:
        while said < 8 * MEGABYTE:
            said += caller.send(b"x" * 64 * 1024)
        caller.shutdown(socket.SHUT_WR)
        caller.recv(1)  # returns when they have read it all and close
        tell("I said 8 MB, and they took it all")
    except OSError:
        tell("they hung up; I had got rid of %d kB" % (said // 1024))


if __name__ == "__main__":
    run(listen, break_it)

# Exercises
#
# 1. Run --break without --naive.  "I had got rid of" is far more than the bound: the rest was in
#    the kernel's buffers at both ends, on its way.  How much do they hold on your machine?
# 2. Many lines are too much as well.  Let --break say `(b"x" * 1023 + b"\n") * 64`, and in `serve`
#    replace the line with `tell("a line` by `time.sleep(0.002)` (and import time).  8000 lines take
#    terminal 2 a quarter of a minute and not a moment: who is read slowly has to wait, since the
#    buffers are full.  So we need not hang up.  (The package does that: pace.TokenBucket.)
# 3. What else in lessons 3 and 4 can a stranger make grow?  (Threads.  The package has
#    session.Sessions and config.MAX_UNGREETED for that.)
