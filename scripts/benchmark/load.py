"""What loads a contestant, and looks at the clock meanwhile.

All of it runs in the process of the benchmark, and the contestant in another: with two cores each
has one.  It says and hears bytes and parses nothing, so that it is quicker than whoever answers;
where it is not, ``Load.busy`` tells.
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
    """The hello of a node that has not been seen before, and does not listen."""
    said = {"msgtype": "hello", "nodeid": str(uuid.uuid4()), "network": "bench"}
    return json.dumps(said).encode() + b"\n"


def connect(port: int, receive_buffer: Optional[int] = None) -> socket.socket:
    """A connection on which nothing has been said yet."""
    sock = socket.socket()
    sock.settimeout(10)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.connect(("127.0.0.1", port))
    return sock


class Peer:
    """A connection that has said hello and was let in."""

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
        """One message."""
        self.sock.sendall(json.dumps(message).encode() + b"\n")

    def line(self) -> bytes:
        """The next line."""
        while b"\n" not in self._held:
            chunk = self.sock.recv(65536)
            if not chunk:
                raise ConnectionError("the other end has hung up")
            self._held += chunk
        line, _, self._held = self._held.partition(b"\n")
        return line

    def round_trip(self, pings: int = 1) -> float:
        """Seconds from that many pings in one segment to the last of their pongs."""
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
    """One after the other, for that long; sorted."""
    found = []
    end = clock() + seconds
    while clock() < end:
        found.append(peer.round_trip(pings))
        if pause:
            time.sleep(pause)
    return sorted(found)


def percentile(ordered: List[float], percent: int) -> float:
    """Of sorted values, the one below which ``percent`` of them are."""
    return ordered[len(ordered) * percent // 100]


class Load(NamedTuple):
    """How many were done, how many not, in how many seconds, and the part of a core we took."""

    done: int
    failed: int
    seconds: float
    busy: float

    @property
    def a_second(self) -> float:
        """How many were done in a second."""
        return self.done / self.seconds


def pings_in_flight(peers: List[Peer], in_flight: int, seconds: float) -> Load:
    """Keep so many pings unanswered on each connection, and count the pongs.

    Each chunk of answers is followed by as many pings in one send.  What else comes is counted as
    well: a ping a minute among a hundred thousand pongs.
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
    """Connect, say hello, wait for its hello and first ping, answer that, hang up; and again.

    ``at_once`` of them are under way at any moment.
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
    """Ping each of them once a second, evenly, and read the answers, the last ones included."""
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
    """How many pings came, and the seconds between two on one connection: each, sorted."""

    pings: int
    gaps: List[float]


def answer_pings(peers: List[Peer], seconds: float) -> Pinged:
    """Answer every ping at once; when they came."""
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
    # Who waits still has waited as long.
    return Pinged(pings, sorted(gaps + [now - since for since in last.values()]))


# -- bad neighbours: each runs in a process of its own until it is killed ------------------------


def flood(port: int) -> None:
    """Pings as fast as they are taken, the answers read."""
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
                # From where the last one was cut off, or half of a ping would be bad input.
                left = left[sock.send(left) :] or block


def stall(port: int, number: int = 50) -> None:
    """So many peers that ask and ask, never read, and stay.

    Rows are what a node has the longest answers for; the others are asked for pongs.
    """
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
            except OSError:  # it has lost its patience with us
                del waiting[sock]
        time.sleep(0.01)
