"""A slow line: carries frames between two interfaces at so many bits a second, as a modem does.

``python3 slow_line.py INTERFACE INTERFACE BITS_A_SECOND`` runs until it is killed.  (The token
bucket of ``tc`` would not do: it lets small packets such as pings through at once.)
"""

import socket
import sys
import threading
import time

EVERY_PROTOCOL = 3
"""ETH_P_ALL."""

SOL_PACKET, PACKET_VNET_HDR = 263, 15
"""With this option a frame carries the work that its sender left to the network card, such as the
checksum and cutting it into packets; see packet(7)."""

LARGEST_FRAME = 1 << 17


def plug(interface: str) -> socket.socket:
    """Return a socket that receives and sends whole frames on an interface."""
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
    end.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    end.bind((interface, EVERY_PROTOCOL))
    return end


def carry(here: socket.socket, there: socket.socket, bits_a_second: float) -> None:
    """Carry frames in one direction, one after the other, each as long as its bits take."""
    free_at = 0.0
    while True:
        try:
            frame, (_, _, kind, _, _) = here.recvfrom(LARGEST_FRAME)
            if kind != socket.PACKET_OUTGOING:
                free_at = max(free_at, time.monotonic()) + 8 * len(frame) / bits_a_second
                time.sleep(max(0.0, free_at - time.monotonic()))
                there.send(frame)
        except OSError:
            pass  # a cable is unplugged


if __name__ == "__main__":
    near, far, rate = plug(sys.argv[1]), plug(sys.argv[2]), float(sys.argv[3])
    threading.Thread(target=carry, args=(far, near, rate), daemon=True).start()
    carry(near, far, rate)
