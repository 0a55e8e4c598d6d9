"""The Timer that beats for the whole node.

One ``threading.Timer`` and not one for each peer: every Timer is a thread, and 2,000 of them
take 45 MB.  It ticks often, asks what is due, and never waits for a peer: a ping is a
``send`` that takes what fits at once, so fifty stalled peers do not delay the fifty-first.

A plain Timer runs once.  Re-arming a new one at each tick would make a new thread each time,
and one exception would end the chain for good; so ``run`` is a loop.
"""

import threading
from typing import Callable


class Pinger(threading.Timer):
    """Calls ``function`` every ``interval`` seconds from ``start()`` until ``cancel()``.

    ``cancel`` does not wait for a call that is under way; ``join`` does.
    """

    def __init__(
        self, interval: float, function: Callable[[], None], report: Callable[[str], None]
    ) -> None:
        super().__init__(interval, function)
        self.name = "pinger"
        self.daemon = True
        self._report = report

    def run(self) -> None:
        """Beat.  ``finished`` is the Timer's own event: ``cancel`` sets it."""
        while not self.finished.wait(self.interval):
            try:
                self.function()
            except Exception:  # our bug; without this line the node would live on unpinged
                self._report("the pinger's beat")
