#!/usr/bin/env python3
"""Lesson 3: many at once.

New         `recv` waits.  Who waits for one caller in a thread of its own does not keep the others
            waiting.  But threads share their data; what several of them change needs a lock.
Terminal 1  python3 scripts/lessons/03_threads.py --naive
Terminal 2  python3 scripts/lessons/03_threads.py --break
See         In terminal 2 the first caller connects and says nothing.  Terminal 1 waits for it in
            `recv`; the two others are in the queue (lesson 1) and get no answer.
Then        Ctrl-C in terminal 1, and both again, terminal 1 without --naive: a thread for each
            connection.  The silent one costs a thread, and nobody waits for it.  Whatever the
            balances are when a caller goes, together they are 200.
Also        Each account has a lock, and a payment holds two.  If one thread took ann's and then
            bob's, and another one bob's and then ann's, each could get its first and wait for
            its second: for ever, since the other has it.  So everyone takes them in one order,
            here that of the alphabet; exercise 1 takes the order away.
For real    `listener.Listener.process_request`, `threads.Crew.start`.  The package's locks need
            no order: who holds one takes no second one.  `peer_table.PeerTable` says so where it
            makes its lock; see "Threads" in p2p_plain/architecture.rst, too
"""

import socket
import threading
import time

from classroom import NAIVE, run, tell

balance = {"ann": 100, "bob": 100}
locks = {"ann": threading.Lock(), "bob": threading.Lock()}  # each guards one balance


def listen(port):
    """Serve payments: lines like "1 ann bob"."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    tell("listening on port %d" % listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        if NAIVE:
            serve(connection)  # the mistake: nobody else is accepted meanwhile
        else:
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


def serve(connection):
    """One caller, from the first line to the last."""
    held = b""
    try:
        for chunk in iter(lambda: connection.recv(4096), b""):  # until recv brings b""
            *lines, held = (held + chunk).split(b"\n")
            for line in lines:
                amount, source, target = line.decode().split()
                pay(int(amount), source, target)
                connection.sendall(b"paid\n")
    except (OSError, ValueError, KeyError) as error:  # its doing; nobody else is concerned
        tell("hanging up on a caller: %s" % error)
    connection.close()
    with locks["ann"], locks["bob"]:  # or we might look while a payment is half done
        seen = dict(balance)
    tell("a caller is gone; %r" % seen)


def pay(amount, source, target):
    """Move money; nobody ever sees it in both places, or in neither."""
    first, second = sorted([source, target])  # one order for everyone
    with locks[first]:
        time.sleep(0.001)  # another thread may run at any moment; here it surely does
        with locks[second]:
            balance[source] -= amount
            balance[target] += amount


def break_it(port):
    """One who says nothing, and two who pay each other."""
    silent = socket.create_connection(("127.0.0.1", port))
    pairs = (("ann", "bob"), ("bob", "ann"))
    callers = [threading.Thread(target=pay_often, args=(port,) + pair) for pair in pairs]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    silent.close()


def pay_often(port, source, target):
    """Pay 1 a hundred times."""
    caller = socket.create_connection(("127.0.0.1", port))
    caller.settimeout(3)
    try:
        for _ in range(100):
            caller.sendall(b"1 %s %s\n" % (source.encode(), target.encode()))
            caller.recv(100)
        tell("%s paid %s a hundred times" % (source, target))
    except socket.timeout:
        tell("%s pays %s: no answer for 3 s" % (source, target))


if __name__ == "__main__":
    run(listen, break_it)

# Exercises
#
# 1. Replace `sorted([source, target])` by `[source, target]`: each takes the payer's lock first.
#    Now ann to bob and bob to ann wait for each other, and so does whoever comes after them.
#    That is a deadlock; no error is shown, and it lasts until you end the program (Ctrl-C).
# 2. Take all three `with` lines away, and let `pay` read the balance, sleep a moment, and write it
#    back (`old = balance[source]; time.sleep(0.001); balance[source] = old - amount`).  Together
#    they are not 200 any more: two threads have read the same old balance.
# 3. Let --break connect 500 silent callers and keep them in a list.  It works, and may take some
#    seconds: when the queue (lesson 1) is full, a caller must try again after a second.  Make room
#    with `listener.listen(1024)`.  And who pays for 500 threads?  (Lesson 4.)
