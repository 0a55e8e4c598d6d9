"""The types of events, for type checkers and editors.

``on("peer_up", callback)`` calls back with a ``PeerUpEvent``.  ``on("*", callback)`` and ``events()``
give an ``AnyEvent``, which ``event["event"]`` narrows down.  So a checker rejects
``event["nodeId"]``.  ``help options`` says what the fields mean.

The types are in ``event_types.pyi``.  Events are plain dicts when a program runs: it need not import
this module.
"""

ListeningEvent = PeerUpEvent = PeerDownEvent = RttEvent = ReachEvent = SelfEvent = dict
RefusedEvent = StoppedEvent = MessageEvent = AnyEvent = dict
