#!/usr/bin/env python3
"""Lesson 1: a listener that says one line.

New         A program uses the network through sockets, which it gets from the kernel (the core
            of the operating system).  An address is a machine and a port.  127.0.0.1 is always
            your own machine.  The port is a number that tells the programs on it apart.
            A listening socket has a port and a queue, and waits for calls.  It never carries a
            byte.  `accept` takes one call out of the queue and returns a new socket for it, the
            connection.  That one carries bytes in both directions.  (The drawing shows it.)
Terminal 1  python3 scripts/lessons/01_listen.py --naive
Terminal 2  python3 scripts/lessons/01_listen.py --break
See         Terminal 1 sends on its listening socket and gets an error: that socket has no other
            end.  And yet terminal 2 is connected, three times.  The kernel completes each call
            by itself and puts it into the queue.  The program never takes the calls out, so the
            callers hear nothing.
Then        Press Ctrl-C in terminal 1 and run both again, terminal 1 without --naive.  Each
            caller is greeted.  All three called the same port.  Look at the ports that they
            called from.  The kernel picks a free one for each outgoing connection, so that the
            two ends together tell this connection from every other.  Nothing listens on it.  The
            kernel picks at random (though three in a row may be neighbours), because whoever can
            guess the port can slip forged bytes into the connection (RFC 6056).
For real    p2p_plain/node/listener.py   Listener
            p2p_plain/node/connector.py  dial
            (`01_listen.py --help` adds the lines.)

         callers               kernel                program

                        port 6000
                      +------------------+
                      | listening socket |   carries no bytes
                      |                  |
    10.0.0.9:33377    | queue of calls:  |
           connect -->|  10.0.0.9:33377  |
                      |  10.0.0.6:50110  |---> accept() takes the
                      +------------------+     oldest call out and
                                               returns a new socket
                      +------------------+              |
    10.0.0.8:40023    | connected socket |              |
          bytes <====>|  6000 <-> 40023  |<-------------+
                      +------------------+   recv, send
                      +------------------+
    10.0.0.7:51812    | connected socket |
          bytes <====>|  6000 <-> 51812  |   recv, send
                      +------------------+
"""

import socket
import time

from classroom import NAIVE, report, run


def listen(port):
    """Greet every caller."""
    listener = socket.socket()  # TCP: all bytes arrive, in order, or the connection breaks
    # Allow taking the port again at once, although old connections to it are still fading away.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))  # only this machine can reach it; port 0 is any free port
    listener.listen()
    report("listening on port %d" % listener.getsockname()[1])
    while NAIVE:
        try:
            listener.sendall(b"hello\n")  # the mistake: there is no other end
        except OSError as error:
            report("cannot send on the listening socket: %s" % error.strerror)
        time.sleep(1)
    while True:
        connection, (_, their_port) = listener.accept()
        report("accepted a call: our end is port %d, their end is port %d"
               % (connection.getsockname()[1], their_port))
        connection.sendall(b"hello, port %d\n" % their_port)
        connection.close()


def break_it(port):
    """Call three times, and report what comes back."""
    callers = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    for caller in callers:
        report("connected to port %d; I called from port %d"
               % (caller.getpeername()[1], caller.getsockname()[1]))
    for caller in callers:
        caller.settimeout(1)
        try:
            report("I hear %r" % caller.recv(100))
        except socket.timeout:
            report("I hear nothing")


if __name__ == "__main__":
    run(listen, break_it)

# Exercises (answers in ANSWERS.rst)
#
# 1. Start the lesson in a third terminal while it runs: "Address already in use".  One port has
#    one listening socket.  With port 0 (01_listen.py 0) it starts.  Why?
# 2. Replace `listener.listen()` by `time.sleep(60)`, start the lesson, and run --break within that
#    minute: "nothing listens there", although the program runs and has the port.  Why?
# 3. Call one of the ports that --break said it called from:
#    python3 scripts/lessons/01_listen.py --break THAT_PORT.  Nothing listens there either.
#    How can a program tell others where to call it?
