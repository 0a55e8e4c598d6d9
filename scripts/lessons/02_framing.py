#!/usr/bin/env python3
r"""Lesson 2: one read is not one message.

New         TCP carries a stream of bytes, not messages.  The borders between two `sendall` calls
            are lost on the way, and a `recv` returns whatever bytes are there.  So the messages
            themselves must say where they end.  Ours end with a newline.
Terminal 1  python3 scripts/lessons/02_framing.py --naive
Terminal 2  python3 scripts/lessons/02_framing.py --break
See         Terminal 2 sends five orders.  Terminal 1 takes one `recv` for one order.  Some orders
            are glued together, and of the order to pay 1000 it first sees "pay 10".  Small
            messages that are sent now and then nearly always arrive whole.  That is why this
            mistake passes every test on your own machine.
Then        Press Ctrl-C in terminal 1 and run both again, terminal 1 without --naive: five
            orders, each as it was.  Bytes without a newline are kept until the rest arrives.
Also        After its last order terminal 2 closes its own direction only (`shutdown`): the
            connection is half-closed.  In terminal 1 `recv` returns no bytes, b"": they send no
            more.  They can still receive, so terminal 1 answers.
For real    p2p_plain/node/codec.py      LineSplitter.feed
            p2p_plain/node/transport.py  Transport.half_close
            p2p_plain/node/session.py    Session._converse

    three sends    | pay 1000\n    | pay 5\n         | pay 70\n      |

    on the way       p a y   1 0 0 0 \n p a y   5 \n p a y   7 0 \n

    three reads    | pay 10        | 00\npay 5\npa   | y 70\n        |

    kept             pay 10          pa                (nothing)

    lines            (none)          pay 1000          pay 70
                                     pay 5
"""

import socket
import time

from classroom import NAIVE, report, run


def listen(port):
    """Take orders, one caller after the other."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    report("listening on port %d" % listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        count = 0
        for order in read_naively(connection) if NAIVE else read(connection):
            count += 1
            report("order %d: %r" % (count, order))
            time.sleep(0.2)  # the work that an order makes
        report("they send no more")
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
    """Yield each line, in however many pieces it arrives."""
    held = b""
    while True:
        chunk = connection.recv(4096)
        if not chunk:
            return
        held += chunk
        *lines, held = held.split(b"\n")  # the last piece has no newline yet; it may be empty
        yield from lines


def break_it(port):
    """Send five orders: four quickly, and one in two halves."""
    caller = socket.create_connection(("127.0.0.1", port))
    for order in (b"pay 5 to ann\n", b"pay 7 to bob\n", b"pay 9 to eve\n", b"pay 3 to joe\n"):
        caller.sendall(order)
    time.sleep(1.5)
    caller.sendall(b"pay 10")
    time.sleep(1.5)
    caller.sendall(b"00 to zoe\n")
    caller.shutdown(socket.SHUT_WR)
    report("I gave 5 orders, and send no more; now I only listen")
    answer = b"".join(iter(lambda: caller.recv(4096), b""))  # recv again and again, until b""
    report("they say: %r" % answer)


if __name__ == "__main__":
    run(listen, break_it)

# Exercises (answers in ANSWERS.rst)
#
# 1. Let --break send b"pay 1 to z" at last, without a newline, before its shutdown.  The order
#    never appears: it is still kept when the stream ends.  What should the program do with it?
# 2. Replace 4096 by 1 in `read`: every recv returns one byte, and all is still well.  What happens
#    in `read_naively`?  What does that say about programs that are right?
# 3. Replace `caller.shutdown(socket.SHUT_WR)` by `caller.close()`.  Terminal 2 ends with "Bad file
#    descriptor".  Why?
