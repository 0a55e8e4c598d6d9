"""The benchmark behind ``scripts/bench.py``.  Read it in this order:

``raw``, ``asyncio_node``  the two baselines, programs of their own
``processes``              runs a contestant as a process and reads what it costs
``load``                   clients: what loads a contestant, and how long it takes
``cases``                  each case: start a contestant, load it, return the figures
``siege``                  the round trip of a good peer beside attackers
``targets``                the figures' names and targets
``results``                runs a case in turns, compares the figures and prints them
"""
