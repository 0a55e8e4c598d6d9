"""The fuzzer: many conversations with a node, some lines of them broken, and a judge of each.

Four parties take part, in three processes::

    node           python -m p2p_plain --json --network fuzz ..., without a rate limit
    polite peers   three peers that keep to the rules and measure how soon pings are answered
    fuzzer         one select loop that holds many conversations with the node at once,
                   and accepts the connections that the node makes to addresses it was given

In reading order:

``wire``          what the fuzzer knows of the protocol, written independently of ``p2p_plain``
``world``         the ports that lines may name, and the check that lines name no others
``grammar``       valid lines, drawn from a seed
``mutator``       broken lines made of valid ones, with what the node must do with each
``expectation``   what a conversation must lead to, and whether it did: the judge
``conversation``  a whole conversation: lines, how they are cut into sends, and how it ends
``dialog``        a conversation on its socket
``loop``          all dialogs at once
``node``          the process of the node under test
``polite``        the process of the polite peers
``target``        both processes together, and the list of failures
``run``           a fuzzing run, from the first measurement to the report
``cases``         each kind of bad input alone, timed
``isolation``     the network namespace that keeps all of this on this machine
"""
