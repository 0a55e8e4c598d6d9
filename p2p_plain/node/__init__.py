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

Three kinds of code are never mixed:

* *Words* (``codec``, ``fields``, ``messages``, ``myself``, ``seal``, ``handshake``): no sockets, threads or clock.
* *Judgement* (``peer``, ``round_trips``, ``peer_table``, ``lateness``, ``book_entries``, ``knocks``,
  ``shelf``, ``address_book``, ``claims``, ``discovery``, ``rivals``, ``membership``, ``talk``, ``overlay``): no
  sockets or threads.  Clock, randomness and ``dial`` are passed in, so the tests run whole networks in one thread.  (Only the
  library's callers wait on the real clock, in ``wait_for`` and ``wait_until_taken``.)
* *Plumbing* (``transport``, ``tcp_info``, ``listener``, ``outbox``, ``answers``, ``session``, ``member_session``, ``sessions``, ``connector``, ``pinger``,
  ``peers_file``, ``node``): no decisions about peers and addresses, only limits of connections.

Read it in this order
=====================

===================  ==================================================================
``codec``            bytes to lines of JSON, and back: one ``recv`` is not one message
``transport``        bytes in and out of one socket; ``shutdown`` against ``close``
``tcp_info``         the kernel's counts of a connection
``listener``         a listening socket, and a thread for each connection it accepts
``outbox``           what waits to be sent on one connection, and on all of them
``answers``          answers too long to be sent at once
``session``          one connection's life, from the first byte to the closed socket
``member_session``   the same in a network for members only
``fields``           a message's fields, each checked on arrival
``messages``         the vocabulary
``seal``             what keeps others from changing what members say
``handshake``        how two members show each other that they have the key
``pace``             how fast broadcasts go out on one link, and whose turn it is
``peer``             a connection as the rules see it, and the node at its other end
``lateness``         how late this node itself runs
``round_trips``      what the network took, without the programs at both ends
``peer_table``       the peers that are connected now; which connection a tie leaves
``myself``           what a node says about itself
``book_entries``     what the address book holds, and what the peers file keeps
``knocks``           how often this node dials, and each host because of what others say
``shelf``            where the address book keeps its entries, within bounds
``address_book``     every address heard of, and when to try it again
``claims``           addresses that peers claim: proven by a probe before anyone else hears
``hooks``            what a monitor can listen to
``parts``            what the rules share
``discovery``        getaddr and addr, which addresses to trust, and whom to dial
``failures``         connections that became no peer: which are reported, and when
``rivals``           two connections that say one nodeid: of one node, or of two?
``membership``       hello, ties, ping, bye
``talk``             messages of applications
``overlay``          the rules as one object
``connector``        the pool of threads that dial
``pinger``           the ``threading.Timer`` that ticks for the whole node
``peers_file``       what the address book keeps on disk
``sessions``         every open connection: what must be closed at the end
``node``             builds the parts, starts them in order, stops them in reverse
===================  ==================================================================
"""
