#!/usr/bin/env python3
"""Lesson 2: one read is not one message.

New         TCP carries a stream of bytes and not messages.  Where one `sendall` ended and the
            next began is lost on the way: a `recv` brings what is there.  So the messages
            themselves must say where they end; ours do by a newline.
Terminal 1  python3 scripts/lessons/02_framing.py --naive
Terminal 2  python3 scripts/lessons/02_framing.py --break
See         Terminal 2 gives five orders.  Terminal 1 takes one `recv` for one order: some come
            glued together, and of the order to pay 1000 it sees "pay 10" first.  Small messages
            that are sent now and then arrive whole nearly always, which is why this mistake
            passes every test on one's own machine.
Then        Ctrl-C in terminal 1, and both again, terminal 1 without --naive: five orders, each
            as it was.  What has no newline yet is held until the rest of it comes.
Also        When terminal 2 has said all, it closes its direction only (`shutdown`): the
            connection is half-closed.  Terminal 1 sees that by a `recv` of no bytes, b"": they
            say no more.  They still listen; so it can answer, and does.
For real    `codec.LineSplitter.feed`; `transport.Transport.finish` half-closes, and
            `session.Session._converse` comes upon the b""
"""

import socket
import time

from classroom import NAIVE, run, tell


def listen(port):
    """Hear orders, one caller after the other."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    tell("listening on port %d" % listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        count = 0
        for order in read_naively(connection) if NAIVE else read(connection):
            count += 1
            tell("order %d: %r" % (count, order))
            time.sleep(0.2)  # the work that it makes
        tell("they will say no more")
        connection.sendall(b"I heard %d orders\n" % count)
        connection.close()


def read_naively(connection):
    """The mistake: one recv, one message."""
    while True:
        chunk = connection.recv(4096)  # at most 4096 bytes, at least one
        if not chunk:
            return
        yield chunk


def read(connection):
    """Yield each line, in however many pieces it comes."""
    held = b""
    while True:
        chunk = connection.recv(4096)
        if not chunk:
            return
        held += chunk
        *lines, held = held.split(b"\n")  # the last piece has no newline yet; it may be empty
        yield from lines


def break_it(port):
    """Say five orders: four quickly, and one in two halves."""
    caller = socket.create_connection(("127.0.0.1", port))
    for order in (b"pay 5 to ann\n", b"pay 7 to bob\n", b"pay 9 to eve\n", b"pay 3 to joe\n"):
        caller.sendall(order)
    time.sleep(1.5)
    caller.sendall(b"pay 10")
    time.sleep(1.5)
    caller.sendall(b"00 to zoe\n")
    caller.shutdown(socket.SHUT_WR)
    tell("I gave 5 orders, and say no more; now I only listen")
    answer = b"".join(iter(lambda: caller.recv(4096), b""))  # recv again and again, until b""
    tell("they say: %r" % answer)


if __name__ == "__main__":
    run(listen, break_it)

# Exercises
#
# 1. Let --break say b"pay 1 to z" at last, without a newline, before its shutdown.  The order is
#    never seen: it is still held when the stream ends.  What should be done about it?  (The
#    package calls it an error: codec.LineSplitter.end.)
# 2. Replace 4096 by 1 in `read`: every recv brings one byte, and all is still well.  In
#    `read_naively` it is a disaster.  A program that is right works with any number there.
# 3. Replace `caller.shutdown(socket.SHUT_WR)` by `caller.close()`: terminal 2 ends with "Bad file
#    descriptor", for it has no socket any more on which it could hear the answer.
