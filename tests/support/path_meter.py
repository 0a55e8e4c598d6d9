"""Measures what the laboratory's network does to packets, without any node.

``python3 -m tests.support.path_meter HOSTS BEHIND_NAT STEP...`` builds a laboratory and takes steps.
Besides those of the laboratory there are the methods of ``Meter``: ``loss h1 h2``.  It prints a line of
JSON for each of these.
"""

import ctypes
import errno
import json
import os
import select
import socket
import struct
import sys
import time
from typing import Any, Callable, Dict, List

from scripts.laboratory.lab import Lab
from scripts.laboratory.private_world import enter_private_world
from scripts.laboratory.steps import read_step

CLONE_NEWNET = 1 << 30
SO_RCVBUFFORCE = 33
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2
"""Sets DF: a packet that is too large for a cable is not cut in two."""
TCP_INFO, TCP_INFO_SIZE = 11, 232

QUIET = 0.3
"""Seconds after which a datagram that has not arrived does not: more than any path takes, but for stalls."""

LATE = 1.0
"""Seconds in which a text arrives, and its receiver reports what came twice."""

IP_AND_UDP = 20 + 8

LONGEST = 60.0
"""Seconds that an exchange may take."""


def on(host: str, make: Callable[[], socket.socket]) -> socket.socket:
    """A socket on a host: it stays there wherever it is used."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open("/var/run/netns/" + host, os.O_RDONLY)
    try:
        assert libc.setns(there, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        return make()
    finally:
        libc.setns(here, CLONE_NEWNET)
        os.close(here)
        os.close(there)


def tcp_info(sock: socket.socket) -> Dict[str, int]:
    """The counters of one end: segments with data, those sent again, and those that came twice."""
    info = sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, TCP_INFO_SIZE)
    (retrans,) = struct.unpack_from("I", info, 100)
    (segs,) = struct.unpack_from("I", info, 156)
    (dsacks,) = struct.unpack_from("I", info, 216)
    return {"retrans": retrans, "dsacks": dsacks, "segs": segs}


class Meter:
    """Its methods are steps."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def _address(self, host: str, ipv6: bool) -> str:
        return next(one for one in self._lab.hosts[host].addresses if (":" in one) == ipv6)

    def loss(self, source: str, target: str, count: str = "4000", family: str = "4") -> Any:
        """Per cent of small datagrams that do not arrive."""
        return round(100 - 100 * self._datagrams(source, target, 100, int(count), family) / int(count), 2)

    def sizes(self, source: str, target: str, family: str, *sizes: str) -> Any:
        """Those sizes that arrive, in bytes with the IP header; or the error, if the sender gets one."""
        try:
            return [int(size) for size in sizes if self._datagrams(source, target, int(size), 1, family)]
        except OSError as error:
            return errno.errorcode[error.errno]

    def _datagrams(self, source: str, target: str, size: int, count: int, family: str) -> int:
        """How many of ``count`` datagrams of so many bytes in all arrive."""
        kind = socket.AF_INET6 if family == "6" else socket.AF_INET
        receiver = on(target, lambda: socket.socket(kind, socket.SOCK_DGRAM))
        sender = on(source, lambda: socket.socket(kind, socket.SOCK_DGRAM))
        with receiver, sender:
            receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
            receiver.bind((self._address(target, family == "6"), 0))
            sender.connect(receiver.getsockname()[:2])
            if family == "4":
                sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
            data = bytes(size - IP_AND_UDP - (20 if family == "6" else 0))
            arrived = sent = 0
            while True:
                for _ in range(min(50, count - sent)):  # no more than queues on the way hold
                    sender.send(data)
                    sent += 1
                wait = 0.0 if sent < count else QUIET
                while select.select([receiver], [], [], wait)[0]:
                    receiver.recv(65536)
                    arrived += 1
                if sent == count:
                    return arrived

    def exchange(
        self, source: str, target: str, lines: str = "20", connections: str = "50", pause: str = "0"
    ) -> Any:
        """Small lines there and back, on many connections; each says the next so long after the last.

        ``there`` and ``back`` are the sums of the counters at either end, since they were connected.
        """
        nears, fars = self._connect(source, target, int(connections))
        before = _sum(nears), _sum(fars)
        left = {near: int(lines) for near in nears}
        sent_at, rtts = {}, []  # type: Dict[socket.socket, float], List[float]
        due = dict.fromkeys(nears, 0.0)
        """When those say their next line that do not wait for an answer."""
        sockets = {sock.fileno(): sock for sock in nears + fars}
        poll = select.poll()
        for number in sockets:
            poll.register(number, select.POLLIN)
        deadline = time.monotonic() + LONGEST
        while any(left.values()) and time.monotonic() < deadline:
            for near in [near for near, at in due.items() if at <= time.monotonic()]:
                del due[near]
                sent_at[near] = time.monotonic()
                near.sendall(b"ping")
            for number, _ in poll.poll(10):
                sock = sockets[number]
                sock.recv(4096)
                if sock not in left:
                    sock.sendall(b"pong")
                    continue
                rtts.append(time.monotonic() - sent_at[sock])
                left[sock] -= 1
                if left[sock]:
                    due[sock] = time.monotonic() + float(pause)
        time.sleep(LATE)
        found = {"there": _since(before[0], _sum(nears)), "back": _since(before[1], _sum(fars))}
        rtts.sort()
        found["rtts_ms"] = [round(1000 * rtts[int(part * (len(rtts) - 1))], 3) for part in (0, 0.5, 1)]
        found["unfinished"] = sum(left.values())
        for sock in sockets.values():
            sock.close()
        return found

    def text(self, source: str, target: str, size: str) -> Any:
        """How many bytes of one text arrive, and how many segments of it are sent again meanwhile."""
        (near,), (far,) = self._connect(source, target, 1)
        with near, far:
            near.sendall(bytes(int(size)))
            far.settimeout(LATE)
            arrived = 0
            try:
                while arrived < int(size):
                    arrived += len(far.recv(65536))
            except socket.timeout:
                pass
            return [arrived, tcp_info(near)["retrans"]]

    def _connect(self, source: str, target: str, count: int) -> List[List[socket.socket]]:
        """The near and the far ends, connected all at once: where packets get lost, each takes seconds."""
        with on(target, socket.socket) as listener:
            listener.bind((self._address(target, False), 0))
            listener.listen(count)
            nears = [on(source, socket.socket) for _ in range(count)]
            for near in nears:
                near.setblocking(False)
                near.connect_ex(listener.getsockname())
            fars = [listener.accept()[0] for _ in nears]
        for near in nears:
            select.select([], [near], [])
            near.setblocking(True)
        for end in nears + fars:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return [nears, fars]


def _sum(ends: List[socket.socket]) -> Dict[str, int]:
    infos = [tcp_info(end) for end in ends]
    return {key: sum(info[key] for info in infos) for key in ("retrans", "dsacks", "segs")}


def _since(before: Dict[str, int], now: Dict[str, int]) -> Dict[str, float]:
    found = {key: now[key] - before[key] for key in now}  # type: Dict[str, float]
    found["loss_pct"] = round(100 * (found["retrans"] - found["dsacks"]) / found["segs"], 2)
    return found


def main(hosts: str, behind_nat: str, *steps: str) -> None:
    enter_private_world()
    with Lab(hosts=int(hosts), behind_nat=int(behind_nat), start=False) as lab:
        meter = Meter(lab)
        for step in steps:
            words = step.split()
            measure = getattr(meter, words[0], None)  # type: Any
            if measure is None:
                read_step(words, list(lab.devices)).take(lab)
            else:
                print(json.dumps(measure(*words[1:])), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
