"""The status page: what a node knows, over HTTP, for browsers, scrapers and scripts (``--http``).

Nothing below this floor knows of it, and ``full_node`` imports it only for ``--http``: ``http.server``
takes as long to import as all the rest of the program.  Read it in this order:

    ``response``    a response, and responses that are kept for a moment
    ``clients``     the connections: how many there may be, each with its deadline
    ``feed``        the last events, numbered, for clients that follow them
    ``handler``     one connection: read requests, send responses or the stream of events
    ``server``      accepts connections, and starts a thread for each
    ``metrics``     the node in the words of Prometheus
    ``pages``       the responses of each path, made from what the node knows
    ``page.html``   the page itself: one file that loads nothing but itself

The paths and the metrics are listed in ``page.rst`` (``help page``).
"""
