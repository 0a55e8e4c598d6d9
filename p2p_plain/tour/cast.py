"""The cast: the nodes of the tour, strangers made of a bare socket, and cables.

``guide`` creates them for the scenes.  Main thread only, except where a method says otherwise.
"""

import select
import socket
import threading
from collections import Counter

from ..common.address import parse
from ..common.errors import PeerMisbehaved
from ..common.events import EVERYTHING, Event
from ..common.typing import Any, Dict, List
from ..full_node import Node
from ..node.address_book import AddressBook
from ..node.codec import MAX_LINE, LineSplitter, decode, encode

LOOPBACK = "127.0.0.1"

NETWORK = "tour"

SOCKET_TIMEOUT = 15.0
"""Seconds for connecting to a node of this program, which takes microseconds on an idle machine."""

LOOK_AGAIN = 0.01
"""Seconds between two looks at something that is expected to happen."""


class Actor:
    """A node of the tour, with a record of all that it reported.

    The node's own thread appends to the record and the main thread copies it.  Each is one step
    for Python, so no lock is needed.
    """

    def __init__(self, name: str, network: str, **settings: Any) -> None:
        self.name = name
        self.lines: List[Event] = []
        """Every line that it sent or received: its ``trace`` events."""
        self.events: List[Any] = []
        self.node = Node(name=name, network=network, port=0, bind=LOOPBACK, **settings)
        self.nodeid = self.node.nodeid
        self.node.on("trace", self.lines.append)
        self.node.on(EVERYTHING, self.events.append)

    def close(self) -> None:
        """Stop the node."""
        self.node.stop("the tour has ended")

    @property
    def address(self) -> str:
        """The address where it listens."""
        return str(self.node.addresses[0])

    def reported(self, event: str, **fields: Any) -> List[Event]:
        """Return its events of that name with these fields."""
        return [
            one
            for one in list(self.events)
            if one["event"] == event and all(one[key] == value for key, value in fields.items())
        ]

    def wire(self, way: str = "<>", kinds: str = "", peer: str = "", since: int = 0) -> List[Event]:
        """Return the lines that it sent (``>``), received (``<``) or both.

        ``kinds`` and ``peer`` select types of messages and a connection.  ``since`` skips lines.
        """
        return [
            line
            for line in self.lines[since:]
            if line["direction"] in way
            and peer in ("", line["peer"])
            and (not kinds or kind(line) in kinds.split())
        ]

    def summary(self, mark: int) -> str:
        """Return the names of the events after the first ``mark`` events, in words."""
        names = Counter(event["event"] for event in self.events[mark:])
        return ", ".join("%d %s" % (names[name], name) for name in sorted(names)) or "nothing"

    # The library hides these parts.  The tour looks inside, as a debugger would.

    def knows(self, other: "Actor") -> bool:
        """True if it has found the other node at that node's address."""
        return (parse(other.address), other.nodeid) in self.book().proven([other.nodeid])

    def connections(self) -> int:
        """Return the number of open connections."""
        return len(self.node._sessions.all())

    def book(self) -> AddressBook:
        """Return its address book."""
        return self.node._book

    def threads(self) -> List[str]:
        """Return the names of its threads."""
        node = self.node
        own = [thread.name for thread in (node._dispatcher, node._pinger) if thread.is_alive()]
        return sorted(own + node._crew.names())


class Stranger:
    """A bare socket, connected to a node.  It sends what the scene wants, and nothing by itself."""

    def __init__(self, node: Node, nodeid: str) -> None:
        self.nodeid = nodeid
        self._sock = socket.create_connection((LOOPBACK, node.port), SOCKET_TIMEOUT)
        self._sock.setblocking(False)
        self.address = "%s:%d" % self._sock.getsockname()
        """Its end of the connection, as the node sees it."""
        self._splitter = LineSplitter(MAX_LINE)
        self._received: List[Dict[str, Any]] = []
        self.ended = False
        """True once the node will send no more."""

    def send(self, msgtype: str, **fields: Any) -> None:
        """Send one message."""
        message: Dict[str, Any] = {"msgtype": msgtype}
        message.update(fields)
        self.send_raw(encode(message))

    def send_raw(self, data: bytes) -> None:
        """Send these bytes as they are."""
        self._sock.sendall(data)

    def received(self, msgtype: str) -> List[Dict[str, Any]]:
        """Return all messages of that type that have arrived so far."""
        try:
            while not self.ended:
                chunk = self._sock.recv(4096)
                self.ended = not chunk
                self._received += [decode(line) for line in self._splitter.feed(chunk)]
        except BlockingIOError:
            pass  # no more for now
        except OSError:
            self.ended = True
        return [message for message in self._received if message["msgtype"] == msgtype]

    def finish(self) -> None:
        """Half-close the connection: send no more, but still receive."""
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


class Cable:
    """An address that leads to a node, but carries nothing before the cable is open.

    It stands for what lies between real machines: a router that forwards a port, or a distance in
    which neither end knows yet what the other has sent.  It serves one connection.
    """

    def __init__(self, node: Node) -> None:
        self._port = node.port
        self._listening = socket.socket()
        self._listening.bind((LOOPBACK, 0))
        self._listening.listen(1)
        self.address = "%s:%d" % self._listening.getsockname()
        self._open = threading.Event()
        self._cut = False
        threading.Thread(target=self._carry, name="cable", daemon=True).start()

    def open(self) -> "Cable":
        """Carry bytes from now on, first those that have waited."""
        self._open.set()
        return self

    def close(self) -> None:
        """Cut the cable.  Its thread ends a moment later."""
        self._cut = True
        self._open.set()

    def _carry(self) -> None:
        """Wait for the connection, carry both ways, close all sockets.  The cable's own thread."""
        ends = [self._listening]
        try:
            self._readable(ends)
            ends.append(self._listening.accept()[0])
            ends.append(socket.create_connection((LOOPBACK, self._port), SOCKET_TIMEOUT))
            self._open.wait()
            ways = {ends[1]: ends[2], ends[2]: ends[1]}
            while ways:
                for source in self._readable(list(ways)):
                    portion = source.recv(4096)
                    if portion:
                        ways[source].sendall(portion)
                    else:  # this direction of the connection has ended
                        ways.pop(source).shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the cable is cut, or one of the two ends is gone
        finally:
            for end in ends:
                end.close()

    def _readable(self, ends: List[socket.socket]) -> List[socket.socket]:
        """Wait until some of ``ends`` have data and return them.  Raises ``OSError`` if cut."""
        while not self._cut:
            found = select.select(ends, [], [], LOOK_AGAIN)[0]
            if found:
                return found
        raise ConnectionAbortedError


def message_of(line: Event) -> Dict[str, Any]:
    """Return the message on a traced line; empty if it is no message."""
    try:
        return decode(line["line"].encode("utf-8", "replace"))
    except PeerMisbehaved:
        return {}


def kind(line: Event) -> str:
    """Return the ``msgtype`` of a traced line; ``?`` if it is no message."""
    return str(message_of(line).get("msgtype", "?"))
