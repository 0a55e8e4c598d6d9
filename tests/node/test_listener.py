"""The listening socket: where it listens, how it ends, and failures that it survives."""

import errno
import socket
import subprocess
import sys
import time

import pytest

from p2p_plain.common import tcp_server
from p2p_plain.common.errors import CannotStart
from p2p_plain.common.machine import Listening, dialable_addresses
from p2p_plain.common.threads import Crew
from p2p_plain.node.listener import Listener
from tests.support import ROOT, wait_until


class Serving:
    """A listener that greets each connection and closes it."""

    def __init__(self, bind="127.0.0.1", port=0):
        self.errors = []
        self.crew = Crew(self.errors.append)
        self.listener = Listener(bind, port, self.crew, self.serve)
        self.listener.start()
        self.port = self.listener.listening.port

    def serve(self, sock, place):
        assert place == sock.getpeername()
        sock.sendall(b"hello")
        sock.close()

    def stop(self):
        self.listener.stop()
        assert self.crew.wait(time.monotonic() + 5) == 0


@pytest.fixture
def serve():
    made = []

    def go(**kwargs):
        made.append(Serving(**kwargs))
        return made[-1]

    yield go
    for serving in made:
        serving.stop()


def greeted(host, port):
    with socket.create_connection((host, port), 5) as sock:
        return sock.recv(100) == b"hello"


def test_each_connection_gets_its_own_thread(serve):
    serving = serve()
    silent = [socket.create_connection(("127.0.0.1", serving.port), 5) for _ in range(20)]
    assert greeted("127.0.0.1", serving.port)
    for sock in silent:
        sock.close()


def test_300_nodes_may_connect_at_once(serve):
    """With the queue of five that socketserver has, this took 48 s."""
    serving = serve()
    began = time.monotonic()
    socks = [socket.socket() for _ in range(300)]
    for sock in socks:
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", serving.port))
    for sock in socks:
        sock.settimeout(10)
        assert sock.recv(100) == b"hello"
        sock.close()
    assert time.monotonic() - began < 10


def test_after_a_stop_the_port_is_free_at_once(serve):
    serving = serve()
    greeted("127.0.0.1", serving.port)
    began = time.monotonic()
    serving.stop()
    assert time.monotonic() - began < 0.5
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", serving.port), 1)
    assert greeted("127.0.0.1", serve(port=serving.port).port)


def test_stop_right_after_start_does_not_hang(serve):
    for _ in range(20):
        Serving().stop()


def test_without_descriptors_it_waits_and_recovers(tmp_path):
    """With ``ulimit -n 40`` it neither ends nor spins."""
    program = tmp_path / "starve.py"
    program.write_text(
        """
import resource, socket, sys, time
sys.path[:0] = [%r, %r]
from p2p_plain.common.threads import end_a_first_thread
from test_listener import Serving, greeted
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
serving = Serving()
end_a_first_thread()  # as a node does; otherwise Python 3.6 aborts here
serving.serve = lambda sock: None
held = []
try:
    while True:
        held.append(socket.socket())
except OSError:
    pass
held.pop().close()
late = socket.socket()
late.connect(("127.0.0.1", serving.port))  # the kernel accepts; the listener cannot
cpu = time.process_time()
time.sleep(0.5)
assert time.process_time() - cpu < 0.2, "a busy loop"
for sock in held:
    sock.close()
late.settimeout(5)
assert late.recv(10) == b"hello"
serving.stop()
print("recovered")
"""
        % (ROOT, ROOT + "/tests/node")
    )
    run = subprocess.run(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60
    )
    assert run.stdout == b"recovered\n", run.stderr.decode()


def test_without_a_thread_for_it_only_that_connection_ends(serve, monkeypatch):
    serving = serve()
    start = serving.crew.start

    def refuse(*args):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(serving.crew, "start", refuse)
    with socket.create_connection(("127.0.0.1", serving.port), 5) as sock:
        assert sock.recv(100) == b""
    monkeypatch.setattr(serving.crew, "start", start)
    assert greeted("127.0.0.1", serving.port)


def test_a_bug_while_serving_is_reported_and_the_listener_goes_on(serve):
    serving = serve()
    good, serving.listener._serve = serving.listener._serve, lambda sock, place: 1 / 0
    with socket.create_connection(("127.0.0.1", serving.port), 5) as sock:
        assert sock.recv(100) == b""
    wait_until(lambda: serving.errors)
    assert "ZeroDivisionError" in serving.errors.pop()
    serving.listener._serve = good
    assert greeted("127.0.0.1", serving.port)


# -- where ------------------------------------------------------------------------------------


def test_without_bind_it_listens_on_ipv4_and_on_ipv6_if_there_is_one(
    serve, monkeypatch
):
    assert greeted("127.0.0.1", serve(bind=None).port)
    # IPv6 compiled in and switched off: getaddrinfo offers it, socket() fails.
    real = socket.socket

    def no_ipv6(family=socket.AF_INET, *args, **kwargs):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *args, **kwargs)

    monkeypatch.setattr(socket, "socket", no_ipv6)
    serving = serve(bind=None)
    monkeypatch.undo()
    assert serving.listener.listening.wildcard == (4,)
    assert greeted("127.0.0.1", serving.port)


def test_a_port_that_is_taken_is_not_shared(serve):
    serving = serve(bind=None)
    for bind in (None, "127.0.0.1", "0.0.0.0"):
        with pytest.raises(CannotStart) as error:
            Listener(bind, serving.port, serving.crew, serving.serve)
        assert "port %d is taken" % serving.port in str(error.value)


def test_on_windows_the_port_is_asked_for_exclusively(serve, monkeypatch):
    """There SO_REUSEADDR would let two processes share it."""
    asked = []

    class Fake(socket.socket):
        def setsockopt(self, *args):
            asked.append(args)

    monkeypatch.setattr(tcp_server, "exclusive_ports", lambda: True)
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", -5, raising=False)
    monkeypatch.setattr(socket, "socket", Fake)
    serving = serve()
    monkeypatch.undo()
    assert (socket.SOL_SOCKET, -5, 1) in asked
    assert not [args for args in asked if args[1] == socket.SO_REUSEADDR]
    assert serving.port


def test_there_is_always_a_dialable_address_and_it_is_no_wildcard():
    for wildcard in ((4,), (6,), (4, 6)):
        addresses = dialable_addresses(Listening(6000, "", wildcard))
        assert addresses
        for address in addresses:
            assert address.host not in ("0.0.0.0", "::")
            assert (":" in address.host) <= (6 in wildcard)
    assert [str(a) for a in dialable_addresses(Listening(6000, "::1", ()))] == ["[::1]:6000"]


def test_without_a_route_an_interface_or_loopback_is_dialable(monkeypatch):
    class Nowhere(socket.socket):
        def connect(self, address):
            raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "socket", Nowhere)
    addresses = dialable_addresses(Listening(6000, "", (4, 6)))
    assert addresses
    assert all(address.port == 6000 for address in addresses)
