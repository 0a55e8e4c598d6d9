"""Measuring and judging: which node can reach which, how fast, and what is wrong with the network.

Every node measures one row of the matrix and sends it to its peers, so each of them knows the whole.
This floor stands on ``node`` and uses what that offers; ``terminal``, ``web`` and ``commands`` show
what comes out.  Read it in the order in which a measurement travels:

    ``met``           what is remembered of each node
    ``reach``         dials each known node again and again: which ones can be dialed now?
    ``train``         has some probes send more than a hello, so that lost packets show
    ``packet_loss``   how many packets are lost on the way to each node
    ``holes``         has trains end with a large ping, and finds the size from which on all is lost
    ``losses``        remembers which connections broke, and keeps idle ones busy
    ``row_messages``  rows on the wire: ``getlinks`` and ``links``
    ``rows``          keeps the last row of every node, and decides which ones to believe
    ``row_exchange``  sends and asks for rows, and answers those who ask
    ``belief``        which nodes count, and which may have been invented by one peer
    ``unmet``         which nodes exist that this one has not met, by the rows of others
    ``survey``        all of that on the hooks of one node: what it measures, sends and hears
    ``restarts``      which nodes crashed and were started again, under another nodeid
    ``entries``       what one row says of one other node
    ``view``          puts the rows together: which nodes there are, and the state of each direction
    ``labels``        what to call the nodes, given names that strangers chose
    ``verdict``       what a verdict is, and the phrases it is made of
    ``grouping``      what many pairs of nodes have in common
    ``gaps``          directions of which nothing is known, and verdicts on those that stay open
    ``summary``       the network in one line
    ``outages``       verdicts on nodes that are down or cut off, and on splits
    ``blockages``     verdicts on dials that fail between live nodes
    ``hole_verdicts`` verdicts on paths where large packets are lost
    ``stability``     verdicts on connections that keep breaking
    ``lossy``         verdicts on paths that lose packets
    ``slowness``      verdicts on slow and late nodes, and on slow pairs
    ``judge``         all verdicts, the gravest first; a ``Judgement`` has rows, view and verdicts, and
                      says whether the network is ok

From ``view`` on there are no sockets, threads or clocks: the same rows give the same verdicts.
"""
