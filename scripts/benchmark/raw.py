#!/usr/bin/env python3
"""The baseline ``raw``: one thread for each connection, which answers lines with fixed bytes.

    python3 scripts/benchmark/raw.py

It is the floor: it parses nothing, checks nothing and keeps nothing, so it costs what sockets and
threads cost in Python.  Do not write a program like this.
"""

import socket
import threading

# The same messages as a node's answer to hello, so that both send equally much.
HELLO = (
    b'{"msgtype":"hello","nodeid":"00000000-0000-4000-8000-000000000000","version":1,"port":6000,'
    b'"name":"raw","network":"bench","agent":"raw","observed":"127.0.0.1:50000"}\n'
)
ADDR = b'{"msgtype":"addr","peers":[["127.0.0.1:6000","00000000-0000-4000-8000-000000000000"]]}\n'
WELCOME = HELLO + ADDR + b'{"msgtype":"getaddr"}\n{"msgtype":"ping"}\n'
PONG = b'{"msgtype":"pong"}\n'


def serve(sock: socket.socket) -> None:
    """Run one connection: answer all lines of a chunk with one send."""
    rest = b""
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                chunk = sock.recv(4096)
            except ConnectionError:
                return
            if not chunk:
                return
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            answers = []
            for line in lines:
                if b'"ping"' in line:
                    answers.append(PONG)
                elif b'"hello"' in line:
                    answers.append(WELCOME)
            if answers:
                try:
                    sock.sendall(b"".join(answers))
                except ConnectionError:
                    return


def main() -> None:
    """Accept connections on a free port until killed."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    port = listening.getsockname()[1]
    print('{"event": "listening", "addresses": ["127.0.0.1:%d"]}' % port, flush=True)
    while True:
        sock, _ = listening.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    main()
