#!/usr/bin/env python3
"""Lesson 1: a listener that says one line.

New         A program talks over the network through sockets, which it gets from the kernel (the
            core of the operating system).  An address is a machine, 127.0.0.1 being always one's
            own, and a port: a number that tells the programs of one machine apart.
            A listening socket has a port and a queue, and waits for calls.  It never carries a
            byte.  `accept` takes one call out of the queue and returns a new socket for it, the
            connection; that one carries bytes, both ways.
Terminal 1  python3 scripts/lessons/01_listen.py --naive
Terminal 2  python3 scripts/lessons/01_listen.py --break
See         Terminal 1 speaks into its listening socket: an error, since nobody is at the other
            end of it.  And yet terminal 2 is connected, three times: the kernel answers calls by
            itself and puts them into the queue.  Nobody takes them out, and so they hear nothing.
Then        Ctrl-C in terminal 1, and both again, terminal 1 without --naive: everyone is greeted.
            All three called the same port.  Look at the ports that they called from: for each
            outgoing connection the kernel picks a free one, only so that the two ends together
            tell this connection from every other.  Nobody listens there.  It picks at random
            (though three in a row may be neighbours): who cannot guess the port cannot slip forged
            bytes into the connection (RFC 6056).
For real    `listener.Listener` accepts, `connector.dial` calls (that is, the class Listener in
            p2p_plain/node/listener.py, and the function dial in p2p_plain/node/connector.py).  What follows
            from the random ports stands at the head of `connector`
"""

import socket
import time

from classroom import NAIVE, run, tell


def listen(port):
    """Greet everyone who calls."""
    listener = socket.socket()  # TCP: all bytes arrive, in order, or it breaks
    # May take the port again at once, although old connections to it are still fading away.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))  # this machine alone can reach it; port 0 is any free one
    listener.listen()
    tell("listening on port %d" % listener.getsockname()[1])
    while NAIVE:
        try:
            listener.sendall(b"hello\n")  # the mistake: to whom?
        except OSError as error:
            tell("cannot send on the listening socket: %s" % error.strerror)
        time.sleep(1)
    while True:
        connection, (_, their_port) = listener.accept()
        tell("accepted a call: our end is port %d, their end is port %d"
             % (connection.getsockname()[1], their_port))
        connection.sendall(b"hello, port %d\n" % their_port)
        connection.close()


def break_it(port):
    """Call three times, and see what comes."""
    callers = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    for caller in callers:
        tell("connected to port %d; I called from port %d"
             % (caller.getpeername()[1], caller.getsockname()[1]))
    for caller in callers:
        caller.settimeout(1)
        try:
            tell("I hear %r" % caller.recv(100))
        except socket.timeout:
            tell("I hear nothing")


if __name__ == "__main__":
    run(listen, break_it)

# Exercises
#
# 1. Start the lesson while it runs already, in a third terminal.  One port, one listening
#    socket: "Address already in use".  But with 0 behind it, as the port, it starts; why?
# 2. Replace `listener.listen()` by `time.sleep(60)`, and run --break within that minute: "nobody
#    listens there".  A socket that has a port but does not listen has no queue.
# 3. Call one of the ports that --break said it called from:
#    python3 scripts/lessons/01_listen.py --break THAT_PORT.  Nobody listens there either.
#    So how would you tell somebody where to call you back?  (Lesson 8.)
