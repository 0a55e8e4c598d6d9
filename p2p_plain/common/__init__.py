"""The ground floor: what the node needs and every floor above it uses too.  It knows no peers.

There is no need to read it first: look into a module when a name from there appears.

===================  ==================================================================
``errors``           what can go wrong, sorted by whose fault it is
``address``          ``host:port``, and which addresses make sense to dial
``outcomes``         what can become of a dial: one word for each outcome
``config``           the settings of a node, each checked in one place
``keys``             what the members of a network share, and the files that hold it
``threads``          how threads are started, named, and waited for at the end
``tcp_server``       accepts connections: the base class of both servers
``machine``          the addresses of this machine, its name, its limits
``events``           what happened, reported without delaying anyone
``event_types``      the types of events, for type checkers
``file_lock``        shows other programs that a file is in use
``token_bucket``     a rate limit
``counters``         messages, bytes, round trips, failed dials
``escape``           text of strangers, made safe to show
``names``            which characters a name may hold, on every Python
``words``            numbers, durations and names as people read them
``typing``           the names of ``typing``, without its price
===================  ==================================================================

The rest turns a node into a program:

===================  ==================================================================
``output``           stdout as it may be: closed, stalled, ASCII only
``signals``          Ctrl-C, SIGTERM and SIGHUP, and waiting for them
``options``          the parser of the command line, and the options of a node
``program``          from options to exit code
===================  ==================================================================
"""
