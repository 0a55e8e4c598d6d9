"""Doors: listening sockets that a node may be made to dial.

They are those of a victim, of a thief, or of made-up nodes.
"""

import contextlib
import json
import selectors
import socket
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from ..conformity.grammar import encode

from .node import NETWORK

Place = Tuple[str, int]
"""Host and port of a door."""


class Knock(NamedTuple):
    """A connection that somebody made to a door."""

    at: float
    place: Place
    source: str
    """The host that it came from."""


Answer = Callable[[Place, Dict[str, Any]], Optional[bytes]]
"""Returns what to say to a message that came through a door."""


def nobody(place: Place, message: Dict[str, Any]) -> Optional[bytes]:
    """Listen, and never speak."""
    return None


def slam(place: Place, message: Dict[str, Any]) -> Optional[bytes]:
    """Never called: ``Doors`` closes each connection at once if this is its answer."""
    return None


def as_nodes(nodeids: Dict[Place, str], **fields: Any) -> Answer:
    """Answer as nodes do, each with its nodeid, and take part in nothing."""

    def answer(place: Place, message: Dict[str, Any]) -> Optional[bytes]:
        if message["msgtype"] == "hello":
            return encode("hello", nodeid=nodeids[place], network=NETWORK, port=place[1], **fields)
        return encode("pong") if message["msgtype"] == "ping" else None

    return answer


class Doors:
    """Any number of listening sockets, served by one thread.  Closed by ``close``."""

    def __init__(self, places: List[Place], answer: Answer = nobody) -> None:
        self.knocks: List[Knock] = []
        self.said: List[Tuple[Place, bytes]] = []
        """Every line that came, and through which door."""
        self.places: List[Place] = []
        """Where the doors are; a port of 0 has become a real one."""
        self._answer = answer
        self._selector = selectors.DefaultSelector()
        self._open: List[socket.socket] = []
        self._held: Dict[socket.socket, bytes] = {}
        self._lock = threading.Lock()
        """Held while a socket is opened or closed, because any thread may call ``shut``."""
        self._closed = False
        for host, port in places:
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen(128)
            sock.setblocking(False)
            place = (host, int(sock.getsockname()[1]))
            self.places.append(place)
            self._open.append(sock)
            self._selector.register(sock, selectors.EVENT_READ, (place, True))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self, answer: Optional[Answer] = None) -> "Doors":
        """Begin to serve; ``answer`` replaces the one that was given before."""
        self._answer = answer or self._answer
        self._thread.start()
        return self

    def address(self, number: int = 0) -> str:
        """Return ``host:port`` of a door."""
        return "%s:%d" % self.places[number]

    def since(self, moment: float) -> int:
        """Return how many connections were made since then (monotonic)."""
        return sum(knock.at >= moment for knock in list(self.knocks))

    def hellos(self) -> List[Dict[str, Any]]:
        """Return the hellos that were said here."""
        lines = [json.loads(line.decode()) for _, line in list(self.said)]
        return [message for message in lines if message["msgtype"] == "hello"]

    def shut(self) -> None:
        """Close or reset all sockets without a word.  Any thread."""
        with self._lock:
            self._closed = True
            for sock in self._open:
                sock.close()

    def close(self) -> None:
        """Close all sockets and end the thread."""
        self.shut()
        if self._thread.is_alive():
            self._thread.join(5.0)
        self._selector.close()

    def _serve(self) -> None:
        while not self._closed:
            for key, _ in self._selector.select(0.2):
                with self._lock, contextlib.suppress(OSError):
                    if self._closed:
                        return
                    self._turn(key)

    def _turn(self, key: selectors.SelectorKey) -> None:
        sock: Any = key.fileobj
        place, listens = key.data
        if listens:
            found, source = sock.accept()
            if self._answer is slam:
                self.knocks.append(Knock(time.monotonic(), place, source[0]))
                found.close()
                return
            found.setblocking(False)
            self._open.append(found)
            self._held[found] = b""
            self._selector.register(found, selectors.EVENT_READ, (place, False))
            self.knocks.append(Knock(time.monotonic(), place, source[0]))
            return
        try:
            chunk = sock.recv(65536)
        except OSError:
            chunk = b""
        if not chunk:
            self._selector.unregister(sock)
            self._open.remove(sock)
            del self._held[sock]
            sock.close()
            return
        *lines, self._held[sock] = (self._held[sock] + chunk).split(b"\n")
        for line in lines:
            self.said.append((place, line))
            reply = self._answer(place, json.loads(line.decode()))
            if reply:
                sock.send(reply)
