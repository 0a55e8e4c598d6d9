"""Dialing: its outcomes, how it is given up, and how many threads do it."""

import errno
import gc
import socket
import threading
import time
import weakref

import pytest

from p2p_plain.common.address import Address
from p2p_plain.common.errors import DialFailed
from p2p_plain.common.threads import Crew
from p2p_plain.node import connector
from p2p_plain.node.connector import Connector, dial
from p2p_plain.node.discovery import MAX_DIALS
from p2p_plain.node.peer import Order
from tests.support import RawListener, free_port, wait_until


def test_dial_connects():
    with RawListener() as home:
        sock, seconds = dial(Address("127.0.0.1", home.port), 5)
        with sock:
            assert sock.getpeername() == ("127.0.0.1", home.port)
        assert 0 < seconds < 5


def test_each_address_of_a_name_is_tried(monkeypatch):
    """localhost may be ::1 first, where nobody listens, and 127.0.0.1 next."""
    with RawListener() as home:
        places = [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", free_port())),
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", home.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args: places)
        with dial(Address("two-addresses.test", home.port), 5)[0] as sock:
            assert sock.getpeername()[1] == home.port


def test_addresses_of_a_name_that_are_our_own_are_passed_over(monkeypatch):
    """One name of a whole cluster, given to every node, leads each node to itself too."""
    with RawListener() as home, RawListener() as mine:
        places = [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", mine.port)),
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", home.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args: places)
        name = Address("cluster.test", 6000)
        ours = {Address("127.0.0.1", mine.port)}
        with dial(name, 5, is_mine=ours.__contains__)[0] as sock:
            assert sock.getpeername()[1] == home.port
        # Where all are our own, perhaps the first leads elsewhere by now: behind a load balancer.
        with dial(name, 5, is_mine=lambda address: True)[0] as sock:
            assert sock.getpeername()[1] == mine.port


def test_an_address_without_an_answer_leaves_time_for_the_next(monkeypatch, full_listener):
    """For example IPv6 that goes nowhere, before IPv4 that works."""
    with RawListener() as home:
        places = [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", tuple(full_listener)),
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", home.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args: places)
        sock, seconds = dial(Address("two-addresses.test", 6000), 1.0)
        with sock:
            assert sock.getpeername()[1] == home.port
        assert seconds < 0.4  # of the address that answered, not of the wait for the other


def failure(address, timeout=5.0, stopping=None):
    with pytest.raises(DialFailed) as failed:
        dial(address, timeout, stopping)
    return failed.value


def test_a_port_on_which_nobody_listens_is_refused():
    assert failure(Address("127.0.0.1", free_port())).outcome == "refused"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "nowhere.invalid"])
def test_nothing_is_kept_of_a_failed_dial(monkeypatch, host):
    """It is freed at once: while a network is apart there are dozens a minute, each with its socket."""
    ends = {
        "127.0.0.1": ["127.0.0.1"],
        "localhost": ["127.0.0.2", "127.0.0.1"],
        "nowhere.invalid": [],
    }
    port = free_port()
    places = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (ip, port)) for ip in ends[host]]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: places)
    gc.collect()
    gc.disable()
    try:
        try:
            dial(Address(host, port), 5)
        except DialFailed as failed:
            ended = weakref.ref(failed)
        assert ended() is None
    finally:
        gc.enable()


def test_a_name_that_does_not_resolve_is_unknown_and_in_the_detail(monkeypatch):
    def no_such_name(*args):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    failed = failure(Address("no-such-host.invalid", 6000))
    assert failed.outcome == "unknown"
    assert "no-such-host.invalid" in failed.detail


def test_a_host_name_that_cannot_be_encoded_is_unknown():
    assert failure(Address("x" * 70 + ".example", 6000)).outcome == "unknown"


@pytest.fixture
def full_listener():
    """A port that never answers: its queue is full, so the kernel drops further attempts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        crowd = []
        for _ in range(8):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            crowd.append(sock)
        yield Address("127.0.0.1", listener.getsockname()[1])
        for sock in crowd:
            sock.close()


def test_no_answer_is_a_timeout(full_listener):
    began = time.monotonic()
    assert failure(full_listener, 0.3).outcome == "timeout"
    assert time.monotonic() - began < 3


def test_a_dial_is_given_up_when_the_node_stops(full_listener):
    stopping = threading.Event()
    threading.Timer(0.1, stopping.set).start()
    began = time.monotonic()
    failure(full_listener, 30, stopping)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "error, seconds, outcome, reason",
    [
        (errno.EHOSTUNREACH, 0.0, "unreachable", "rejected"),  # iptables: icmp-admin-prohibited
        (errno.EACCES, 0.0, "unreachable", "rejected"),  # ip route add prohibit
        (errno.EPERM, 0.0, "unreachable", "rejected"),
        (errno.ENOPROTOOPT, 0.0, "unreachable", "rejected"),  # iptables: icmp-proto-unreachable
        (errno.EINVAL, 0.0, "unreachable", "rejected"),  # ip route add blackhole
        (errno.EHOSTUNREACH, 3.1, "unreachable", ""),  # nobody answers ARP: the host is off
        (errno.ENETUNREACH, 0.0, "unreachable", ""),  # no route on this machine
        (errno.EHOSTDOWN, 0.0, "unreachable", ""),  # macOS remembers that nobody answered ARP
        (errno.ECONNREFUSED, 0.0, "refused", ""),
        (errno.ENOBUFS, 0.0, "unknown", ""),  # that is this machine
    ],
)
def test_an_error_at_once_is_a_firewall_that_rejects(monkeypatch, error, seconds, outcome, reason):
    now = [100.0]

    def connect_ex(sock, sockaddr):
        now[0] += seconds
        return error

    monkeypatch.setattr(socket.socket, "connect_ex", connect_ex)
    monkeypatch.setattr(connector.time, "monotonic", lambda: now[0])
    failed = failure(Address("192.0.2.1", 6000))
    assert (failed.outcome, failed.why) == (outcome, reason)


def test_a_socket_connected_to_itself_is_refused(monkeypatch):
    """That happens if nobody listens on the port and the kernel picks it for our end too."""
    real = socket.socket.connect_ex

    def connect_from_the_target(sock, sockaddr):
        sock.bind(sockaddr)
        return real(sock, sockaddr)

    monkeypatch.setattr(socket.socket, "connect_ex", connect_from_the_target)
    assert failure(Address("127.0.0.1", free_port())).outcome == "refused"


class Pool:
    """A connector whose outcomes are collected."""

    def __init__(self):
        self.errors, self.connected, self.failed = [], [], []
        self.crew = Crew(self.errors.append)
        self.connector = Connector(
            self.crew,
            MAX_DIALS,
            lambda order, sock, seconds: self.connected.append((order, sock)),
            lambda order, failed: self.failed.append((order, failed.outcome)),
            lambda address: False,
        )

    def stop(self):
        self.connector.stop()
        assert self.crew.wait(time.monotonic() + 5) == 0
        for _, sock in self.connected:
            sock.close()
        assert self.errors == []


@pytest.fixture
def pool():
    made = Pool()
    yield made
    made.stop()


def test_each_order_ends_in_one_call(pool):
    with RawListener() as home:
        pool.connector.order(Order(Address("127.0.0.1", home.port)))
        nobody = Address("127.0.0.1", free_port())
        pool.connector.order(Order(nobody, True, "someone"))
        wait_until(lambda: pool.connected and pool.failed)
        assert pool.connected[0][0] == Order(Address("127.0.0.1", home.port))
        assert pool.failed[0] == (Order(nobody, True, "someone"), "refused")


def test_there_are_no_more_threads_than_the_bound(pool, full_listener):
    for _ in range(3 * MAX_DIALS):
        pool.connector.order(Order(full_listener))
    assert wait_until(lambda: pool.crew.wait(0)) <= MAX_DIALS
    began = time.monotonic()
    pool.stop()
    assert time.monotonic() - began < 2


def test_one_dial_at_a_time_needs_one_thread(pool):
    nobody = Address("127.0.0.1", free_port())
    for count in range(1, 20):
        pool.connector.order(Order(nobody))
        wait_until(lambda count=count: len(pool.failed) == count and pool.connector._idle == 1)
    assert pool.crew.wait(0) == 1


def test_idle_threads_end_and_new_ones_come_with_new_orders(pool, monkeypatch):
    monkeypatch.setattr(connector, "IDLE_TIMEOUT", 0.02)
    nobody = Address("127.0.0.1", free_port())
    for _ in range(30):
        for _ in range(3):
            pool.connector.order(Order(nobody))
        wait_until(lambda: pool.crew.wait(0) == 0)
        assert (pool.connector._threads, pool.connector._idle) == (0, 0)
    assert len(pool.failed) == 90


def test_without_a_thread_an_order_waits_for_the_next_tick(pool, monkeypatch):
    start = pool.crew.start

    def refuse(*args):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(pool.crew, "start", refuse)
    pool.connector.order(Order(Address("127.0.0.1", free_port())))
    pool.connector.tick()
    assert pool.crew.wait(0) == 0
    monkeypatch.setattr(pool.crew, "start", start)
    pool.connector.tick()
    wait_until(lambda: len(pool.failed) == 1)


@pytest.mark.skipif(not hasattr(socket, "TCP_MAXSEG"), reason="Windows cannot")
def test_a_narrow_dial_bounds_the_segments_of_both_ends():
    """Said in the SYN, so that nothing needs to be set at the other end."""
    with RawListener() as home:
        sock, _ = dial(Address("127.0.0.1", home.port), 5, mss=536)
        with sock, home.accept().sock as theirs:
            for end in sock, theirs:
                assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 536
        sock, _ = dial(Address("127.0.0.1", home.port), 5)
        with sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) > 536
