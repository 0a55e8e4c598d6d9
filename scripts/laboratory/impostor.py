"""An impostor: another program on the port where a node was.  Usage: ``impostor.py PORT KIND``.

It listens on all addresses, prints a line like a node's when it does, and serves until it is killed.
Each kind is a function that serves one connection, on a thread of its own.
"""

import json
import os
import socket
import socketserver
import struct
import sys
from typing import Callable, Dict

PROGRAM = os.path.abspath(__file__)

CHUNK = 4096

WEB_ANSWER = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def silent(sock: socket.socket) -> None:
    """Take everything and say nothing."""
    while sock.recv(CHUNK):
        pass


def closes(sock: socket.socket) -> None:
    """Close at once."""


def resets(sock: socket.socket) -> None:
    """Break the connection off at once, as a program does that crashes."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def banner(sock: socket.socket) -> None:
    """Say first who it is, as an SSH server does."""
    sock.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
    silent(sock)


def http(sock: socket.socket) -> None:
    """Answer what it does not understand, as a web server does."""
    if sock.recv(CHUNK):
        sock.sendall(WEB_ANSWER)


def echo(sock: socket.socket) -> None:
    """Send back what it is sent."""
    for chunk in iter(lambda: sock.recv(CHUNK), b""):
        sock.sendall(chunk)


def flood(sock: socket.socket) -> None:
    """Send without end, and no line ever ends."""
    while True:
        sock.sendall(b"x" * CHUNK)


def bye(sock: socket.socket) -> None:
    """Say goodbye in the node's language, but never who it is."""
    sock.sendall(b'{"msgtype": "bye", "reason": "stopping"}\n')
    silent(sock)


KINDS: Dict[str, Callable[[socket.socket], None]] = {
    kind.__name__: kind for kind in (silent, closes, resets, banner, http, echo, flood, bye)
}


class Server(socketserver.ThreadingTCPServer):
    """Serves each connection as ``kind`` does."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, kind: str) -> None:
        self._serve = KINDS[kind]
        super().__init__(("::", port), socketserver.BaseRequestHandler)

    def server_bind(self) -> None:
        """Listen for IPv4 as well."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Serve one connection, on its own thread."""
        try:
            self._serve(request)
        except OSError:
            pass  # the other end has broken it off


if __name__ == "__main__":
    with Server(int(sys.argv[1]), sys.argv[2]) as server:
        listening = {"event": "listening", "nodeid": "impostor", "addresses": []}
        print(json.dumps(listening), flush=True)
        server.serve_forever()
