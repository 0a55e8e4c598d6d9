"""A slow line: carries frames between two interfaces as late as a modem or a poor radio link does.

``python3 slow_line.py INTERFACE INTERFACE BITS_A_SECOND SHORTEST LONGEST STALL`` runs until it is
killed, and prints a line once it carries.  The numbers are the fields of ``Slowness``.  It loses
nothing: its queue has no end.  (The token bucket of ``tc`` would not do: it lets small packets such
as pings through at once.  ``netem`` is missing from many kernels.)
"""

import heapq
import os
import random
import select
import socket
import sys
import time
from typing import Callable, List, NamedTuple, Tuple

PROGRAM = os.path.abspath(__file__)

BETWEEN_STALLS = 2.0, 6.0
"""Least and most seconds from the end of a stall to the next.  Some of the packets of every node meet
one within seconds, and the line mostly works."""

EVERY_PROTOCOL = 3
"""ETH_P_ALL."""

SOL_PACKET, PACKET_VNET_HDR = 263, 15
"""With this option a frame carries the work that its sender left to the network card, such as the
checksum; see packet(7)."""

LARGEST_FRAME = 1 << 17

SO_RCVBUFFORCE = 33
KERNEL_QUEUE = 16 << 20
"""Bytes that wait for us while other programs have the processor.  The default holds 200 frames."""


class Slowness(NamedTuple):
    """How slow a line is.  Zeros stand for a line without that fault."""

    bits_a_second: float = 0.0
    shortest: float = 0.0
    longest: float = 0.0
    """Seconds by which each frame is late, drawn for each alone, so that frames overtake others."""
    stall: float = 0.0
    """Seconds for which nothing arrives in either direction, now and then."""


class Line:
    """Says when frames arrive.  ``draw(a, b)`` returns a random number between the two."""

    def __init__(
        self, slowness: Slowness, now: float, draw: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._slowness = slowness
        self._draw = draw
        self._free_at = {True: now, False: now}
        """By direction, when its last frame has been sent."""
        self._stall_ends = now
        self._next_stall = now + draw(*BETWEEN_STALLS)

    def arrival(self, outward: bool, size: int, now: float) -> float:
        """Return when a frame of so many bytes would arrive if no stall came between."""
        bits_a_second, shortest, longest, _ = self._slowness
        if bits_a_second:
            now = max(self._free_at[outward], now) + 8 * size / bits_a_second
            self._free_at[outward] = now
        return now + self._draw(shortest, longest)

    def stalled_until(self, now: float) -> float:
        """Return when the stall ends that there is now, or a time that has passed."""
        if self._slowness.stall and now >= self._next_stall:
            self._stall_ends = now + self._slowness.stall
            self._next_stall = self._stall_ends + self._draw(*BETWEEN_STALLS)
        return self._stall_ends


def plug(interface: str) -> socket.socket:
    """Return a socket that receives and sends whole frames on an interface."""
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
    end.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    try:
        end.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, KERNEL_QUEUE)
    except PermissionError:
        pass  # older kernels allow it to the real root only
    end.bind((interface, EVERY_PROTOCOL))
    return end


def carry(near: socket.socket, far: socket.socket, line: Line) -> None:
    """Carry frames in both directions, for ever."""
    under_way: List[Tuple[float, int, socket.socket, bytes]] = []
    """A heap: when each frame arrives, a number for the order of those that arrive together, where."""
    number = 0
    while True:
        now = time.monotonic()
        stalled_until = line.stalled_until(now)
        while under_way and max(under_way[0][0], stalled_until) <= now:
            _, _, there, frame = heapq.heappop(under_way)
            try:
                there.send(frame)
            except OSError:
                pass  # a cable is unplugged
        wait = max(under_way[0][0], stalled_until) - now if under_way else None
        for here in select.select([near, far], [], [], wait)[0]:
            try:
                frame, (_, _, kind, _, _) = here.recvfrom(LARGEST_FRAME)
            except OSError:
                continue  # a cable is unplugged
            if kind != socket.PACKET_OUTGOING:
                outward = here is near
                arrival = line.arrival(outward, len(frame), time.monotonic())
                number += 1
                heapq.heappush(under_way, (arrival, number, far if outward else near, frame))


if __name__ == "__main__":
    ends = plug(sys.argv[1]), plug(sys.argv[2])
    print("carries", flush=True)
    carry(*ends, Line(Slowness(*map(float, sys.argv[3:])), time.monotonic()))
