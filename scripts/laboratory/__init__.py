"""The laboratory: a network of hosts inside this machine, with a node on each host.

``scripts/lab.py`` runs it from the command line, and ``scripts/soak.py`` runs it for hours.  Read it
in this order:

``errors``         reasons to end a run, and the exit codes
``programs``       runs ``ip``, ``nft`` and ``mount``
``private_world``  moves the program into namespaces of its own
``events``         what nodes report, and patterns for it
``node``           one process of p2p_plain
``slow_line``      a program that carries frames as late as a modem or a poor radio link
``network``        switches, cables, firewalls, hosts and the router
``losses``         packets that the network loses
``impostor``       a program that takes the place of a node
``peering``        compares the peers that nodes have with those that the network allows
``questions``      a program that asks the node on its host, in all ways
``agreement``      compares what nodes say when they are asked
``journal``        collects the reports, and waits for them
``lab``            the laboratory: one method for each step
``steps``          the steps in words: grammar and help
``show``           prints reports
``arguments``      options that both programs have

One thread runs the steps.  Each node adds two reader threads, which write the journal.
"""
