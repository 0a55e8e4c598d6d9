"""A node made of a listening socket, for the commands that ask one."""

import json
import socket
import threading

from p2p_plain.common.address import Address
from tests.support import RawListener, RawPeer


def link(nodeid, name, **fields):
    """An entry of a row: all is well, unless told otherwise."""
    made = {
        "nodeid": nodeid,
        "name": name,
        "address": "127.0.0.1:6000",
        "direction": "outbound",
        "rtt_ms": 0.3,
        "rtt_p50_ms": 0.3,
        "rtt_max_ms": 1.2,
        "jitter_ms": 0.1,
        "dial": "ok",
        "dial_ms": 0.2,
        "up_s": 61.5,
    }
    made.update(fields)
    return made


def ids(count):
    """``count`` nodeids that sort by their number."""
    return ["%08x-0000-4000-8000-000000000000" % number for number in range(1, count + 1)]


def mesh(count, name="node-%02d"):
    """The rows of ``count`` nodes among which all is well, as they are said on the wire."""
    nodes = ids(count)
    return [
        {
            "msgtype": "links",
            "nodeid": me,
            "name": name % (number + 1),
            "age": 0.5,
            "links": [
                link(other, name % (n + 1)) for n, other in enumerate(nodes) if other != me
            ],
        }
        for number, me in enumerate(nodes)
    ]


def with_dial(rows, source, target, dial):
    """The rows, with another outcome of the dial in one direction."""
    (entry,) = [e for e in rows[source]["links"] if e["nodeid"] == rows[target]["nodeid"]]
    entry["dial"] = dial
    return rows


class FakeNode:
    """A node that says what the test wants: ``rows`` as given, or what ``play(peer, n)`` does.

    ``play`` gets each connection, the first one with ``n`` 1, and returns ``True`` to have the
    rest of it answered as a node would.
    """

    def __init__(self, rows=None, play=None, network="", name="node-01", stale_after=None):
        self.rows = mesh(3) if rows is None else rows
        self.end = {} if stale_after is None else {"stale_after": stale_after}
        self.nodeid = ids(1)[0]
        self.network = network
        self.name = name
        self.hellos = []
        self.connections = 0
        self._play = play
        self._home = RawListener()
        self._open = []
        self.port = self._home.port
        self.address = Address("127.0.0.1", self.port)
        self.text = str(self.address)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Not close alone: a thread in accept() would go on to hold the port.
        for sock in [self._home.sock, *(peer.sock for peer in self._open)]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def _accept(self):
        self._home.sock.settimeout(None)
        while True:
            try:
                peer = RawPeer(self._home.sock.accept()[0], self.nodeid)
            except OSError:
                return
            peer.sock.settimeout(60)
            self._open.append(peer)
            self.connections += 1
            threading.Thread(target=self._serve, args=(peer, self.connections), daemon=True).start()

    def _serve(self, peer, number):
        try:
            if self._play is None or self._play(peer, number):
                self.greet(peer)
                while self.answer(peer):
                    pass
        except (OSError, AssertionError):
            pass  # the client has hung up
        finally:
            peer.sock.close()

    def greet(self, peer):
        self.hellos.append(peer.hear_any())
        peer.hello(name=self.name, network=self.network, version=1)

    def answer(self, peer):
        """One message, as a node would; ``False`` at the end."""
        line = peer.hear_line()
        if line is None:
            return False
        said = json.loads(line.decode())["msgtype"]
        if said == "ping":
            peer.say("pong")
        elif said == "getlinks":
            lines = [json.dumps(row) for row in self.rows]
            end = dict(self.end, msgtype="links", nodeid=self.nodeid, end=True, links=[])
            lines.append(json.dumps(end))
            peer.say_raw("".join(line + "\n" for line in lines).encode())
        return True


def greeted_then(act):
    """A ``play`` that says hello and then does ``act(peer)``."""

    def play(peer, number):
        peer.hear("hello")
        peer.hello(name="node-01")
        act(peer)

    return play


def wait_for_the_end(peer):
    """Say nothing until the client hangs up."""
    while peer.hear_line() is not None:
        pass
