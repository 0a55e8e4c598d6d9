"""The article's node: bootstrap, hello, ping, discovery, in plain sockets and threads.

The article is benediktkr, "A simple p2p network in Python twisted" (2016).  ``python3 -m
p2p_plain.node --port 6000`` runs this node alone.  It knows nothing of the monitor, the page and the
commands, which are built on its ``hooks``.

Theory of operation
===================

Each connection has a thread, which runs its ``session``.  That one, the ``connector``, which dials, and
the ``pinger``, which ticks five times a second, report to the ``overlay`` what happened::

    receive(link, message)       a message arrived          on that connection's thread
    closed(link, reason)         a connection ended         on that connection's thread
    dial_failed(order, failure)  a dial failed              on the thread that tried
    tick()                       time has passed            on the pinger's thread

Behind it three parts decide, each with its own state and lock: ``membership`` (hello, ties, ping, bye),
``discovery`` (getaddr, addr, dialing) and ``talk`` (messages of applications).  They call out through
what they were given: ``dial`` puts an order into the connector's queue, ``link.send`` and ``link.close``
talk to the other end, ``emit`` reports an event to the user, and ``hooks`` serve the monitor.  None of
these ever blocks.

=================  ====================================================================
``listener``       the thread that accepts connections, and starts a thread for each
``inbound-N``      one for each connection that the other end dialed
``outbound-N``     one for each connection that this node dialed
``connector-N``    up to sixteen that dial
``pinger``         the timer: pings, timeouts, retries
``events``         calls the callbacks, feeds ``events()``, writes the log
``keeper``         writes the peers file, if there is one
=================  ====================================================================

Three kinds of code are never mixed.  The list below names the kind of each module:

* *Words*: bytes to messages and back.  No sockets, threads or clock.
* *Judgement*: whom to dial, to let in and to believe.  No sockets or threads.  Clock, randomness and
  ``dial`` are passed in, so the tests run whole networks in one thread.  (Only the library's callers
  wait on the real clock, in ``wait_for`` and ``wait_until_taken``.)
* *Plumbing*: sockets, threads and timers.  No decisions about peers and addresses, only limits of
  connections.

Read it in this order
=====================

===================  =========  ====================================================================
``codec``            words      bytes to lines of JSON, and back: one ``recv`` is not one message
``transport``        plumbing   bytes in and out of one socket; ``shutdown`` against ``close``
``tcp_info``         plumbing   the kernel's counts of a connection
``listener``         plumbing   a listening socket, and a thread for each connection it accepts
``outbox``           plumbing   what waits to be sent on one connection, and on all of them
``answers``          plumbing   answers too long to be sent at once
``session``          plumbing   one connection's life, from the first byte to the closed socket
``member_session``   plumbing   the same in a network for members only
``fields``           words      a message's fields, each checked on arrival
``messages``         words      the vocabulary
``seal``             words      what keeps others from changing what members say
``handshake``        words      how two members show each other that they have the key
``pace``             judgement  how fast broadcasts go out on one link, and whose turn it is
``peer``             judgement  a connection as the rules see it, and the node at its other end
``lateness``         judgement  how late this node itself runs
``round_trips``      judgement  what the network took, without the programs at both ends
``peer_table``       judgement  the peers that are connected now; which connection a tie leaves
``myself``           words      what a node says about itself
``book_entries``     judgement  what the address book holds, and what the peers file keeps
``knocks``           judgement  how often this node dials, and each host because of what others say
``shelf``            judgement  where the address book keeps its entries, within bounds
``address_book``     judgement  every address heard of, and when to try it again
``claims``           judgement  addresses that peers claim: proven by a probe before anyone else hears
``hooks``            judgement  what a monitor can listen to
``parts``            judgement  what the rules share
``discovery``        judgement  getaddr and addr, which addresses to trust, and whom to dial
``failures``         judgement  connections that became no peer: which are reported, and when
``rivals``           judgement  two connections that say one nodeid: of one node, or of two?
``membership``       judgement  hello, ties, ping, bye
``talk``             judgement  messages of applications
``overlay``          judgement  the rules as one object
``connector``        plumbing   the pool of threads that dial
``pinger``           plumbing   the ``threading.Timer`` that ticks for the whole node
``peers_file``       plumbing   what the address book keeps on disk
``sessions``         plumbing   every open connection: what must be closed at the end
``node``             plumbing   builds the parts, starts them in order, stops them in reverse
===================  =========  ====================================================================
"""
