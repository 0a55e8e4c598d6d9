"""The article's node: bootstrap, hello, ping, discovery, in plain sockets and threads.

``python3 -m p2p_plain.node --port 6000`` runs it alone.  It knows nothing of the monitor, the page
and the commands, which are built on its ``hooks``.  Read it in this order:

===================  ==================================================================
``codec``            bytes to lines of JSON, and back: one ``recv`` is not one message
``transport``        bytes in and out of one socket; ``shutdown`` against ``close``
``listener``         a listening socket, and a thread for each connection it accepts
``session``          one connection's life, from the first byte to the closed socket
``fields``           a message's fields, each checked on arrival
``messages``         the vocabulary
``peer``             a connection as the rules see it, and the node at its other end
``peer_table``       the peers that are connected now; which connection a tie leaves
``lateness``         how late this node itself runs
``myself``           what a node says about itself
``membership``       hello, ties, ping, bye
``address_book``     every address heard of, and when to try it again
``claims``           addresses that peers claim: proven by a probe before anyone else hears
``hooks``            what those who build on the node can listen to
``discovery``        getaddr and addr, which addresses to trust, and whom to dial
``talk``             messages of applications: said once, forwarded once
``overlay``          the rules as one object
``connector``        the pool of threads that dial
``pinger``           the ``threading.Timer`` that ticks for the whole node
``peers_file``       what the address book keeps on disk
``sessions``         every open connection: what must be closed at the end
``node``             builds the parts, starts them in order, stops them in reverse
===================  ==================================================================

Three kinds of code are never mixed.  *Words* (``codec``, ``fields``, ``messages``, ``myself``): no
sockets, threads or clock.  *Judgement* (``peer_table`` to ``overlay``, but for ``myself``): no sockets
or threads; the clock, the randomness and ``dial`` are passed in, so that the same code runs a real
node and a simulated network.  *Plumbing* (the others): sockets, threads, timers, and no decisions.
"""
