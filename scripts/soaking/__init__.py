"""The soak's judgement: what happens when, and what it may do to a node.

A network in the laboratory lives through random trouble, and must recover each time.  The program
that does all this is ``scripts/soak.py``.  In reading order:

``plan``       what happens when, drawn from a seed before anything happens
``ledger``     what the nodes report, and where their reports contradict each other
``resources``  memory, threads and descriptors of a node, and how much of them it may use
"""
