#!/usr/bin/env python3
"""Lesson 3: many at once.

New         `recv` waits.  If each caller has a thread of its own, one that says nothing keeps
            nobody else waiting.  But threads share their data, and data that several of them
            change needs a lock.
Terminal 1  python3 scripts/lessons/03_threads.py --naive
Terminal 2  python3 scripts/lessons/03_threads.py --break
See         In terminal 2 the first caller connects and says nothing.  Terminal 1 waits for it in
            `recv`.  The two others wait in the queue (lesson 1) and get no answer for 3 s.  When
            all have given up, terminal 1 takes the two out of the queue one by one.  Each had
            sent one payment before it gave up.  The kernel kept the bytes, so now they are paid:
            99 and 101 after the first, 100 and 100 after the second.
Then        Press Ctrl-C in terminal 1 and run both again, terminal 1 without --naive: a thread
            for each connection.  The silent one costs a thread, and nobody waits for it.  Each
            time a caller leaves, the two balances together are 200.
Also        Each account has a lock, and a payment holds two.  If one thread took ann's lock and
            then bob's, and another bob's and then ann's, each could get its first lock and wait
            forever for its second: a deadlock.  So every thread takes them in one order, here
            the alphabet's.  Exercise 1 takes the order away.
For real    p2p_plain/node/listener.py    Listener.process_request
            p2p_plain/common/threads.py   Crew.start
            p2p_plain/node/peer_table.py  PeerTable
            The package has the other cure: a thread that holds a lock takes no second one.

     thread 1 pays bob from ann        thread 2 pays ann from bob

       takes ann's lock                  takes bob's lock
       waits for bob's lock              waits for ann's lock


                           waits for
           +----------+ --------------> +------------+
           | thread 1 |                 | bob's lock |
           +----------+                 +------------+
                ^                             |
        held by |                             | held by
                |                             v
          +------------+                 +----------+
          | ann's lock | <-------------- | thread 2 |
          +------------+    waits for    +----------+
"""

import socket
import threading
import time

from classroom import NAIVE, report, run

balance = {"ann": 100, "bob": 100}
locks = {"ann": threading.Lock(), "bob": threading.Lock()}  # each guards one balance


def listen(port):
    """Serve payments: lines like "1 ann bob"."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    report("listening on port %d" % listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        if NAIVE:
            serve(connection)  # the mistake: no other call is accepted meanwhile
        else:
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


def serve(connection):
    """One caller, from the first line to the last."""
    held = b""
    try:
        for chunk in iter(lambda: connection.recv(4096), b""):  # until recv returns b""
            *lines, held = (held + chunk).split(b"\n")
            for line in lines:
                amount, source, target = line.decode().split()
                pay(int(amount), source, target)
                connection.sendall(b"paid\n")
    except (OSError, ValueError, KeyError) as error:  # this caller's fault: others go on
        report("hanging up on a caller: %s" % error)
    connection.close()
    with locks["ann"], locks["bob"]:  # without them we could look in the middle of a payment
        seen = dict(balance)
    report("a caller is gone; %r" % seen)


def pay(amount, source, target):
    """Move money.  No thread ever sees it in both places, or in neither."""
    first, second = sorted([source, target])  # one order for every thread
    with locks[first]:
        time.sleep(0.001)  # another thread may run at any moment; here it surely does
        with locks[second]:
            balance[source] -= amount
            balance[target] += amount


def break_it(port):
    """One caller that says nothing, and two that pay each other."""
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
        report("%s paid %s a hundred times" % (source, target))
    except socket.timeout:
        report("%s pays %s: no answer for 3 s" % (source, target))


if __name__ == "__main__":
    run(listen, break_it)

# Exercises (answers in ANSWERS.rst)
#
# 1. Replace `sorted([source, target])` by `[source, target]`: each thread takes the payer's lock
#    first.  What do you see in both terminals?  Which threads wait, and for how long?
# 2. Take all three `with` lines away, and let `pay` read the balance, sleep a moment, and write it
#    back: `old = balance[source]; time.sleep(0.001); balance[source] = old - amount`.  The two
#    balances together are not 200 any more.  Why?
# 3. Let --break connect 500 silent callers and keep them in a list.  It works, but takes some
#    seconds.  Why, and what does `listener.listen(1024)` change?  Who pays for 500 threads?
