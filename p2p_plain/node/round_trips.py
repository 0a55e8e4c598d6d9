"""How long the network took for a ping and its pong, without the time that either program took.

A program that waits for a pong looks at its clock when it gets round to it.  On an idle machine that is
0.1 ms after the pong arrived, which is more than a cable takes; on a busy one it is 10 ms and more.
But on Linux the kernel notes when it received each segment (``transport.arrived``), and a node that is
asked for it (the ping's ``t``) says how long it held the ping (the pong's ``held_us``)::

    our program        our kernel            its kernel        its program

    sent .................. ping ............... arrived  --+
                                                            | held_us
    looks at the clock      arrived ............ pong  <----+

    round trip  =  arrived (our kernel) - sent - held_us

The kernel's stamps are on the wall clock, which somebody may set meanwhile.  So each moment is noted on
both clocks, and a round trip in which they have not advanced alike is measured by the steady one alone.

What is taken out is each end's lateness; that of the other end is reported if it is not normal.

``session`` calls this, and ``guest`` in ``commands``.  No sockets, no threads.
"""

import time
from collections import deque

from ..common.typing import Deque, NamedTuple, Optional
from .lateness import LATE_SECONDS

BY_PROGRAM, ARRIVAL, NETWORK = range(3)
"""What a round trip contains: both ends' programs; the other end's (its pongs do not say ``held_us``);
or only the network.  The greater the more exact."""

STEP = 20e-6
"""Seconds by which the clocks may differ over one round trip.  Both run at the same speed on Linux, so
what remains is the time from reading one to reading the other."""

PROMPT = 150e-6
"""Seconds in which a ``send`` that nothing interrupts is over, on a slow machine too."""

RTT_SAMPLES = 120
"""Round trips remembered for each connection: two hours at one a minute."""

HELD_SAMPLES = 15
"""Pings of which we remember how long the other end held them: it may be late now, and not in an hour."""

MEDIAN_FROM = 3
"""Round trips from which on there is a median.  The first two are measured within a second of the
start, when a whole network may be starting, and say more about that."""

EXCUSED = 0.1
"""Seconds.  A round trip that one of the programs may have prolonged is left out if it is shorter, and
if there are exact ones.  A longer one counts if it may have been the network: a segment that was lost and
sent again arrives together with the next line, and then nobody can say how long it was held."""

MOST_LEFT_OUT = 5
"""Round trips left out one after the other until the less exact kind counts: old figures must not stand
for ever."""


class Moment(NamedTuple):
    """One moment on two clocks, in seconds."""

    steady: float
    """``time.monotonic``."""
    wall: float
    """``time.time``, the clock of the kernel's stamps."""


def this_moment() -> Moment:
    """Return now.  The wall clock is read last: next is the ``send`` that it is for."""
    return Moment(time.monotonic(), time.time())


def since(arrived: Optional[float]) -> Optional[float]:
    """Return the seconds since a stamp of the kernel; ``None`` if there is none."""
    if arrived is None:
        return None
    seconds = time.time() - arrived
    return seconds if seconds >= 0 else None  # somebody has set the clock back


class RoundTrip(NamedTuple):
    """One ping and its pong."""

    seconds: float
    kind: int = BY_PROGRAM
    held: float = 0.0
    """Seconds that the other end says it held the ping; they are taken out."""
    on_time: bool = False
    """True if the ping was acknowledged without delay: our kernel did not send anything again meanwhile, as
    it does after 0.2 s.  The acknowledgement of the other kernel does not wait for its program."""


def between(
    sent: Moment,
    arrived: Optional[float],
    seen: Moment,
    held: Optional[float],
    sending: float = 0.0,
) -> RoundTrip:
    """Return the round trip of a ping sent at ``sent`` whose pong our program saw at ``seen``.

    ``arrived`` is the kernel's stamp of the pong, ``held`` the seconds that the pong says; ``None`` if
    unknown.  What cannot be is ignored: so a liar can make its own figure wrong, but never less than 0.
    ``sending`` is how many seconds it took from ``sent`` until ``send`` returned.
    """
    whole = seen.steady - sent.steady
    if arrived is None or abs(seen.wall - sent.wall - whole) > STEP:
        return RoundTrip(whole)
    stamped = arrived - sent.wall
    if not 0.0 <= stamped <= whole + STEP:
        return RoundTrip(whole)
    if held is None or held > stamped:
        return RoundTrip(stamped, ARRIVAL)
    network = stamped - held
    if sending > PROMPT and network / 4 < sending < network + PROMPT:
        # On a busy machine three sends in ten are interrupted, nearly all after the packet has left.
        # If this one was interrupted before, that is most of the round trip.
        return RoundTrip(network, ARRIVAL, held)
    return RoundTrip(network, NETWORK, held)


class RoundTrips:
    """The last round trips on one connection, all of the most exact kind that it gives."""

    def __init__(self) -> None:
        self.seconds: Deque[float] = deque(maxlen=RTT_SAMPLES)
        """The latest last."""
        self._held: Deque[float] = deque(maxlen=HELD_SAMPLES)
        self._kind = BY_PROGRAM
        self._counted = 0
        self._left_out = 0
        """Less exact ones that were left out, one after the other."""

    @property
    def has_median(self) -> bool:
        """True if there were enough for a median."""
        return self._counted >= MEDIAN_FROM

    @property
    def are_exact(self) -> bool:
        """True if they do not contain what this program took."""
        return self._kind > BY_PROGRAM

    @property
    def held(self) -> Optional[float]:
        """For how many seconds the other end usually holds a ping; ``None`` if that is normal."""
        held = sorted(self._held)
        usual = held[len(held) // 2] if len(held) >= MEDIAN_FROM else 0.0
        return usual if usual > LATE_SECONDS else None

    def add(self, trip: RoundTrip) -> bool:
        """Remember a round trip; False if it is left out because there are more exact ones."""
        if trip.kind == NETWORK or trip.held:
            self._held.append(trip.held)
        self._left_out = self._left_out + 1 if trip.kind < self._kind else 0
        too_long_without = self._left_out > MOST_LEFT_OUT
        by_network = trip.seconds >= EXCUSED and not trip.on_time
        if self._left_out and not by_network and not too_long_without:
            return False
        if trip.kind > self._kind or too_long_without:
            self.seconds.clear()
            self._kind = trip.kind
            self._left_out = 0
        self._counted += 1
        self.seconds.append(trip.seconds)
        return True
