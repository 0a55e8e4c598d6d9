"""The clients that load a contestant, and measure how long it takes to answer.

They run in the benchmark's process, so with two cores the contestant has the other one.  They send
and compare bytes without parsing, to be faster than the contestant; ``Load.busy`` shows if not.
"""

import json
import select
import socket
import time
import uuid
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

PING = b'{"msgtype":"ping"}\n'
PONG = b'{"msgtype":"pong"}\n'

clock = time.perf_counter


def hello() -> bytes:
    """Return the hello of a new node that does not listen."""
    said = {"msgtype": "hello", "nodeid": str(uuid.uuid4()), "network": "bench"}
    return json.dumps(said).encode() + b"\n"


def connect(port: int, receive_buffer: Optional[int] = None) -> socket.socket:
    """Return a new connection, before hello."""
    sock = socket.socket()
    sock.settimeout(10)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.connect(("127.0.0.1", port))
    return sock


class Peer:
    """A connection that has exchanged hellos and answered the first ping."""

    def __init__(self, port: int, receive_buffer: Optional[int] = None) -> None:
        self.sock = connect(port, receive_buffer)
        self._held = b""
        said = hello()
        self.nodeid = json.loads(said.decode())["nodeid"]
        self.sock.sendall(said)
        while b'"ping"' not in self.line():
            pass
        self.sock.sendall(PONG)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def say(self, **message: Any) -> None:
        """Send one message."""
        self.sock.sendall(json.dumps(message).encode() + b"\n")

    def line(self) -> bytes:
        """Return the next line."""
        while b"\n" not in self._held:
            chunk = self.sock.recv(65536)
            if not chunk:
                raise ConnectionError("the other end has hung up")
            self._held += chunk
        line, _, self._held = self._held.partition(b"\n")
        return line

    def round_trip(self, pings: int = 1) -> float:
        """Send that many pings at once; return the seconds until the last pong."""
        began = clock()
        self.sock.sendall(PING * pings)
        while pings:
            line = self.line()
            if b'"pong"' in line:
                pings -= 1
            elif b'"ping"' in line:
                self.sock.sendall(PONG)
        return clock() - began


def round_trips(peer: Peer, seconds: float, pings: int = 1, pause: float = 0.0) -> List[float]:
    """Return the round trips of that many seconds, one after the other, sorted."""
    found = []
    end = clock() + seconds
    while clock() < end:
        found.append(peer.round_trip(pings))
        if pause:
            time.sleep(pause)
    return sorted(found)


def percentile(ordered: List[float], percent: int) -> float:
    """Return the percentile of sorted values."""
    return ordered[len(ordered) * percent // 100]


class Load(NamedTuple):
    """What was done and what failed, in how many seconds, and the share of a core that the load took."""

    done: int
    failed: int
    seconds: float
    busy: float

    @property
    def a_second(self) -> float:
        """How many were done per second."""
        return self.done / self.seconds


def pings_in_flight(peers: List[Peer], in_flight: int, seconds: float) -> Load:
    """Keep that many pings unanswered on each connection, and count the pongs.

    Each chunk of answers is followed by as many pings in one send.  Every line counts as a pong:
    the few others (a ping a minute) do not matter.
    """
    block = PING * in_flight
    socks = {peer.sock.fileno(): peer.sock for peer in peers}
    poller = select.poll()
    for number, sock in socks.items():
        poller.register(number, select.POLLIN)
        sock.sendall(block)
    alone = [(number, 0) for number in socks] if len(socks) == 1 else None
    answered = 0
    began, processor = clock(), time.process_time()
    now = began
    while now < began + seconds:
        for number, _ in alone or poller.poll(1000):
            sock = socks[number]
            chunk = sock.recv(65536)
            if not chunk:
                raise ConnectionError("the other end has hung up")
            lines = chunk.count(b"\n")
            sock.sendall(block[: lines * len(PING)])
            answered += lines
        now = clock()
    took = now - began
    return Load(answered, 0, took, (time.process_time() - processor) / took)


def handshakes(port: int, at_once: int, seconds: float) -> Load:
    """Connect, exchange hellos, answer the first ping, close, and begin again.

    ``at_once`` connections are under way at any moment.
    """
    poller = select.poll()
    under_way: Dict[int, Tuple[socket.socket, bytes]] = {}

    def begin() -> None:
        sock = connect(port)
        sock.sendall(hello())
        under_way[sock.fileno()] = (sock, b"")
        poller.register(sock.fileno(), select.POLLIN)

    done = failed = 0
    began, processor = clock(), time.process_time()
    end = began + seconds
    for _ in range(at_once):
        begin()
    while under_way:
        ready = poller.poll(5000)
        for number, _ in ready or [(number, 0) for number in under_way]:
            sock, heard = under_way[number]
            try:
                chunk = sock.recv(65536, socket.MSG_DONTWAIT)
                if chunk and b'"ping"' not in heard + chunk:
                    under_way[number] = (sock, heard + chunk)
                    continue
                sock.sendall(PONG if chunk else b"")
            except OSError:
                chunk = b""
            done += bool(chunk)
            failed += not chunk
            poller.unregister(number)
            del under_way[number]
            sock.close()
            if clock() < end:
                begin()
    took = clock() - began
    return Load(done, failed, took, (time.process_time() - processor) / took)


def ping_each_second(peers: List[Peer], seconds: float) -> Load:
    """Ping each peer once a second, spread evenly, and read all answers."""
    socks = {peer.sock.fileno(): peer.sock for peer in peers}
    poller = select.poll()
    for number in socks:
        poller.register(number, select.POLLIN)
    sent = answered = 0
    began, processor = clock(), time.process_time()
    while True:
        passed = min(clock() - began, seconds)
        while sent < int(passed * len(peers)):
            peers[sent % len(peers)].sock.sendall(PING)
            sent += 1
        over = passed >= seconds
        ready = poller.poll(1000 if over else 0)
        for number, _ in ready:
            chunk = socks[number].recv(65536)
            answered += chunk.count(b'"pong"')
            if b'"ping"' in chunk:
                socks[number].sendall(PONG)
        if over and (answered == sent or not ready):
            break
        if not over:
            time.sleep(0.005)
    took = clock() - began
    return Load(answered, sent - answered, took, (time.process_time() - processor) / took)


class Pinged(NamedTuple):
    """The pings that came, and the seconds between two pings on one connection, sorted."""

    pings: int
    gaps: List[float]


def answer_pings(peers: List[Peer], seconds: float) -> Pinged:
    """Answer every ping immediately, and return when they came."""
    socks = {peer.sock.fileno(): peer.sock for peer in peers}
    poller = select.poll()
    for number in socks:
        poller.register(number, select.POLLIN)
    began = now = clock()
    last = dict.fromkeys(socks, began)
    gaps = []
    pings = 0
    while now < began + seconds:
        for number, _ in poller.poll(100):
            chunk = socks[number].recv(65536)
            if not chunk:
                raise ConnectionError("the other end has hung up")
            heard = chunk.count(b'"ping"')
            if heard:
                socks[number].sendall(PONG * heard)
                pings += heard
                now = clock()
                gaps.append(now - last[number])
                last[number] = now
        now = clock()
    # A connection that still waits for its next ping has a gap as well.
    return Pinged(pings, sorted(gaps + [now - since for since in last.values()]))


# -- attackers: each runs in a process of its own until it is killed --------------------------


def flood(port: int) -> None:
    """Send pings as fast as they are taken, and read the answers."""
    sock = Peer(port).sock
    sock.setblocking(False)
    poller = select.poll()
    poller.register(sock, select.POLLIN | select.POLLOUT)
    block = PING * 1000
    left = block
    while True:
        for _, happened in poller.poll():
            if happened & select.POLLIN and not sock.recv(65536):
                return
            if happened & select.POLLOUT:
                # Continue where the last send stopped: half a ping would be bad input.
                left = left[sock.send(left) :] or block


def stall(port: int, number: int = 50) -> None:
    """Open that many connections that ask for rows and pongs and never read the answers."""
    block = b'{"msgtype":"getlinks"}\n' + PING * 100
    waiting = {}
    for _ in range(number):
        sock = Peer(port, receive_buffer=4096).sock
        sock.setblocking(False)
        waiting[sock] = block
    while waiting:
        for sock, left in list(waiting.items()):
            try:
                waiting[sock] = left[sock.send(left) :] or block
            except BlockingIOError:
                pass
            except OSError:  # the node has dropped us
                del waiting[sock]
        time.sleep(0.01)
