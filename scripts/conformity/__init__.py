"""The judge of ``scripts/conformance.py``: every rule of the wire, played against a running node.

It shares no code with ``p2p_plain``, so that a misreading of the wire is not made twice.

In this order it reads best:

``outcome``   what can become of a rule: it held, it is broken, or it was skipped
``grammar``   messages as lines, and what a node may say in each of them
``peer``      our end of one connection
``node``      the node under test, and a listening socket that it may dial
``member``    the same where the network is for members only
``rule``      what a rule is, and the list of all of them
``rules``     the rules, one module for each part of the wire
``judge``     plays the rules, most of them side by side
"""
