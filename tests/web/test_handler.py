"""One connection: which requests are answered, and how long a client may take."""

import socket
import threading
import time

import pytest

from p2p_plain.web import handler
from tests.support import PATIENCE, wait_until
from tests.support.http_client import HttpClient, get
from tests.support.page_node import PageNode, full_mesh


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "get"])
@pytest.mark.parametrize("path", ["/", "/events", "/nothing"])
def test_nothing_can_be_changed(serve, method, path):
    got = get(serve(), path, method)
    assert got.code == 405
    assert got.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("request_line", ["OPTIONS / HTTP/1.0", "OPTIONS * HTTP/1.0", "OPTIONS /x HTTP/1.0"])
def test_a_load_balancer_may_ask_for_the_options(serve, request_line):
    """``OPTIONS / HTTP/1.0`` without a header is the health check that haproxy has by default."""
    with HttpClient(serve()) as client:
        client.send(request_line + "\r\n\r\n")
        got = client.reply()
        assert (got.code, got.body) == (200, b"")
        assert got.headers["allow"] == "GET, HEAD, OPTIONS"
        assert client.is_closed()
    assert get(serve(), "/", "OPTIONS", host="evil.example").code == 403


HIDDEN = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 0", "Content-Length: %d" % len(HIDDEN)],
        ["Content-Length: 0", "Content-Length: 0"],
        ["Content-Length : %d" % len(HIDDEN)],
        ["Content-Length\t: %d" % len(HIDDEN)],
        [" Content-Length: %d" % len(HIDDEN)],
        ["X: y", "\tContent-Length: %d" % len(HIDDEN)],
        ["X: y", " z"],
        ["Content-Length: 0, %d" % len(HIDDEN)],
        ["Content-Length: +%d" % len(HIDDEN)],
        ["Content-Length: -1"],
        ["Content-Length: 0x0"],
        ["Content-Length:"],
        ["Content-Length: 0", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: %d" % len(HIDDEN)],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: chunked, gzip"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding:"],
        ["X: a\rContent-Length: %d" % len(HIDDEN)],
        ["X: a\x00b"],
        ["X: a\x0bb"],
        ["no colon"],
        [": no name"],
        ["X\x00: y"],
        ["X y: z"],
        ["Content_Length\xa0: 5"],
    ],
    ids=repr,
)
def test_a_request_that_may_hide_another_one_gets_400_and_no_more(serve, lines):
    with HttpClient(serve()) as client:
        text = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n\r\n"
        client.send(text % "\r\n".join(lines) + HIDDEN)
        got = client.reply()
        assert (got.code, got.headers["connection"]) == (400, "close")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_closed()
        assert client.buffer == b""


@pytest.mark.parametrize(
    "line",
    [
        "GET  /healthz HTTP/1.1",
        "GET\t/healthz HTTP/1.1",
        " GET /healthz HTTP/1.1",
        "GET /healthz HTTP/1.1 ",
        "GET /health\x0bz HTTP/1.1",
        "GET /healthz\rX HTTP/1.1",
        "G(T /healthz HTTP/1.1",
        "GET /healthz HTTP/1.10",
        "GET /healthz http/1.1",
    ],
)
def test_a_request_line_that_others_may_read_otherwise_gets_400(serve, line):
    with HttpClient(serve()) as client:
        client.send(line + "\r\nHost: 127.0.0.1\r\n\r\n" + HIDDEN)
        assert client.reply().code == 400
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_closed()
        assert client.buffer == b""


@pytest.mark.parametrize("lines", [["Transfer-Encoding: chunked"], ["Content-Length: 5"]])
def test_after_a_body_the_connection_ends(serve, lines):
    """A body is not read, so what follows must not be taken for a request."""
    with HttpClient(serve()) as client:
        text = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n\r\n"
        client.send(text % lines[0] + HIDDEN)
        got = client.reply()
        assert (got.code, got.headers["connection"]) == (200, "close")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_closed()
        assert client.buffer == b""


def test_http_1_0_has_no_transfer_encoding(serve):
    with HttpClient(serve()) as client:
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert client.reply().code == 400


@pytest.mark.parametrize(
    "line", ["Content-Length: 0", "content-length:\t00 ", "X:", "X-Y: \xe9\t!", "Cookie: a=b; c"]
)
def test_odd_but_clear_headers_are_fine(serve, line):
    with HttpClient(serve()) as client:
        client.send("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n\r\n" % line)
        assert client.reply().code == 200


def test_a_large_body_gets_405_and_no_reset(serve):
    with HttpClient(serve()) as client:
        client.request("/", "POST", headers=[("Content-Length", "50000"), ("Expect", "100-continue")])
        client.send(b"x" * 50000)
        got = client.reply()
        assert got.code == 405
        assert got.headers["connection"] == "close"
        assert not client.receive()  # a reset would raise


def test_only_http_1_0_may_leave_the_host_out(serve):
    page = serve()
    for version, code in (("1.0", 200), ("1.1", 400)):
        with HttpClient(page) as client:
            client.send("GET /healthz HTTP/%s\r\n\r\n" % version)
            assert client.reply().code == code
            assert client.is_closed()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("GET /\r\n\r\n", 400),
        ("nonsense\r\n", 400),
        ("\x16\x03\x01\x02\r\n\r\n", 400),
        ("GET / HTTP/1.1 more\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + "X: y\r\n" * 200 + "\r\n", 431),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + "y" * 40000 + "\r\n\r\n", 431),
        ("GET /" + "y" * 40000 + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 431),
        ("GET /" + "y" * 40000, 431),
    ],
)
def test_an_invalid_request_gets_an_error_and_nothing_is_printed(serve, capfd, text, code):
    with HttpClient(serve()) as client:
        client.send(text)
        got = client.reply()
        assert got.code == code
        assert got.headers["content-type"] == "text/plain; charset=utf-8"
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_closed()
    assert capfd.readouterr() == ("", "")


def test_an_unfinished_request_is_not_answered(serve, capfd):
    """Half a ``Host`` does not count as a whole one."""
    with HttpClient(serve()) as client:
        client.send("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_closed()
        assert client.buffer == b""
    assert capfd.readouterr() == ("", "")


def test_requests_share_a_connection_even_if_sent_at_once(serve):
    with HttpClient(serve()) as client:
        for _ in range(3):
            client.request("/healthz")
            assert client.reply().headers["connection"] == "keep-alive"
        client.request("/healthz")
        client.request("/cluster")
        client.send("\r\n")
        client.request("/healthz", headers=[("Connection", "close")])
        assert [client.reply().code for _ in range(3)] == [200, 200, 200]
        assert client.is_closed()


# -- deadlines ---------------------------------------------------------------------------------


def test_a_request_has_one_deadline_however_slowly_it_comes(serve, monkeypatch):
    monkeypatch.setattr(handler, "REQUEST_TIMEOUT", 0.3)
    page = serve()
    begun = time.monotonic()
    with HttpClient(page) as client:
        ended = threading.Event()

        def drip():
            try:
                client.send("GET / HTTP/1.1\r\nX: ")
                while not ended.wait(0.02):
                    client.send("y")
            except OSError:
                pass

        thread = threading.Thread(target=drip)
        thread.start()
        assert client.is_closed()
        assert 0.25 < time.monotonic() - begun < PATIENCE
        ended.set()
        thread.join()
    wait_until(lambda: len(page.clients) == 0)


def test_an_idle_connection_is_closed_in_the_end(serve, monkeypatch):
    monkeypatch.setattr(handler, "IDLE_TIMEOUT", 0.1)
    with HttpClient(serve()) as client:
        client.request("/healthz")
        client.reply()
        assert client.is_closed()


def test_a_client_that_does_not_take_its_response_is_dropped(serve, monkeypatch):
    monkeypatch.setattr(handler, "RESPONSE_TIMEOUT", 0.2)
    page = serve()
    with HttpClient(page) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sock.setblocking(False)

        def dropped():
            try:
                client.sock.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 100)
            except BlockingIOError:
                pass
            except ConnectionError:
                return True
            return len(page.clients) == 0

        wait_until(dropped)
    assert get(page, "/healthz").code == 200


# -- the stream of events ----------------------------------------------------------------------


def test_events_arrive_as_they_happen(serve):
    node = PageNode(full_mesh(["a", "b"]))
    with HttpClient(serve(node)) as client:
        assert client.follow().headers["connection"] == "close"
        node.emit("message", body="a\nb\u2028c", nodeid=node.nodeid)
        assert client.event()[1]["body"] == "a\nb\u2028c"


def test_a_client_that_reconnects_gets_what_it_missed(serve):
    node = PageNode(full_mesh(["a", "b"]))
    page = serve(node)
    for number in range(3):
        node.emit("self", address="192.0.2.%d:6000" % number)
    with HttpClient(page) as client:
        client.follow()
        events = [client.event() for _ in range(3)]
    assert [data["address"][8] for _, data in events] == ["0", "1", "2"]
    with HttpClient(page) as client:
        client.follow(last_event_id=events[1][0])
        assert client.event() == events[2]


def test_a_head_of_events_ends(serve):
    with HttpClient(serve()) as client:
        client.request("/events", "HEAD")
        assert client.reply(body=False).code == 200
        assert client.is_closed() and client.buffer == b""


def test_a_comment_is_sent_now_and_then_while_nothing_happens(serve, monkeypatch):
    monkeypatch.setattr(handler, "KEEP_ALIVE", 0.05)
    with HttpClient(serve()) as client:
        client.follow()
        assert client.until(b"\n\n") == client.until(b"\n\n") == b": still here"


def test_a_client_that_does_not_read_events_is_dropped_and_delays_nobody(serve, monkeypatch):
    monkeypatch.setattr(handler, "RESPONSE_TIMEOUT", 0.2)
    node = PageNode(full_mesh(["a", "b"]))
    page = serve(node)
    with HttpClient(page) as deaf, HttpClient(page) as good:
        deaf.follow()
        good.follow()
        slowest = 0.0

        def dropped():
            nonlocal slowest
            begun = time.monotonic()
            node.emit("message", body="x" * 60000)
            slowest = max(slowest, time.monotonic() - begun)
            good.event()
            return len(page.clients) == 1

        wait_until(dropped, 20)
        assert slowest < 0.2
        node.emit("self", address="192.0.2.1:6000")
        assert good.event()[1]["event"] == "self"


def test_events_end_when_the_page_stops(serve):
    page = serve()
    with HttpClient(page) as client:
        client.follow()
        page.stop()
        assert client.is_closed()
