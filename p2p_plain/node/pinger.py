"""The Timer of the node: it ticks several times a second, and each tick does what is due.

It is called pinger for its most frequent work: ``Membership.tick`` sends the pings that are due.
One ``threading.Timer`` serves all peers.  Every Timer is a thread, and one for each of 2,000 peers
would take 45 MB.  A tick never waits for a peer: a ping is a ``send`` that takes as many bytes as fit
at once, so fifty stalled peers do not delay the ping of the fifty-first.

A plain Timer runs once.  If each run started the next Timer, every tick would be a new thread, and one
exception would end the chain.  So ``run`` is a loop.
"""

import threading

from ..common.typing import Callable


class Pinger(threading.Timer):
    """Calls ``function`` every ``interval`` seconds, from ``start()`` until ``cancel()``.

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
        """Tick.  ``finished`` is the Timer's own event, which ``cancel`` sets."""
        while not self.finished.wait(self.interval):
            try:
                self.function()
            except Exception:  # a bug of ours; without this line the pings would end here
                self._report("the pinger's tick")
