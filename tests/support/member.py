"""Members of a network with a secret, played line by line, and what stands between two of them."""

import os
import socket
import threading

from p2p_plain.common.address import Address
from p2p_plain.common.keys import encode_key, make_key_file, read_keys
from p2p_plain.node.handshake import Handshake
from tests.support import RawPeer


def key_file(folder, name="network.key", key=None):
    """A new key file in ``folder``, with ``key`` or a new one: its path."""
    path = os.path.join(str(folder), name)
    if key is None:
        make_key_file(path)
    else:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(encode_key(key))
    return path


class MemberPeer(RawPeer):
    """The other end of a connection that knows the secret; ``say`` and ``hear`` seal and open."""

    def join(self, path, dialed=None, port=None):
        """Show the node that dialed us, or that we dialed, the key of that file."""
        self.handshake = Handshake(read_keys([path]), self.nodeid, port, dialed)
        self.sock.sendall(self.handshake.begin())
        while self.handshake.opening is None:
            line = RawPeer.hear_line(self)
            assert line is not None, "the connection ended in the handshake"
            self.sock.sendall(self.handshake.receive(line))
        return self

    @classmethod
    def dial_with(cls, node, path, nodeid=None, dialed=None, port=None):
        """Connect to a node and show it the key; ``dialed`` is the address that we say we have dialed."""
        peer = cls.dial(node, nodeid)
        return peer.join(path, dialed or Address("127.0.0.1", node.port), port)

    def say_raw(self, data):
        self.sock.sendall(self.handshake.sealing.seal(data))

    def hear_line(self):
        line = RawPeer.hear_line(self)
        return None if line is None else self.handshake.opening.open(line)


class Wire:
    """Listens, and carries each connection on to a node: a relay, honest unless ``change`` is not.

    ``change(upward, line)`` returns what becomes of a line, newline included.
    """

    def __init__(self, target, change=lambda upward, line: line, port=0):
        self._target, self._change = target, change
        self._sock = socket.socket()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind(("127.0.0.1", port))
        self._sock.listen(50)
        self.port = self._sock.getsockname()[1]
        self.address = "127.0.0.1:%d" % self.port
        self.carried = 0
        """Connections so far."""
        self._open = [self._sock]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, far = self._sock.accept()[0], socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self.carried += 1
            self._open += [near, far]
            for upward, source, sink in ((True, near, far), (False, far, near)):
                threading.Thread(target=self._carry, args=(upward, source, sink), daemon=True).start()

    def _carry(self, upward, source, sink):
        with source.makefile("rb") as lines:
            try:
                for line in lines:
                    sink.sendall(self._change(upward, line))
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in self._open:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
