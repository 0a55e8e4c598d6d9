"""HTTP as clients see it: what is answered, to whom, and what the unruly among them can do."""

import gzip
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from p2p_plain.common.address import Address
from p2p_plain.common.errors import CannotStart
from p2p_plain.common.threads import Crew
from p2p_plain.web import server as web
from p2p_plain.web.feed import News
from p2p_plain.web.pages import Status
from p2p_plain.web.server import MAX_CLIENTS, Kept
from tests.support import PATIENCE, ROOT, wait_until
from tests.support.page_node import Fake, full_mesh

PATHS = {
    "/": "text/html; charset=utf-8",
    "/status.json": "application/json",
    "/matrix.json": "application/json",
    "/page.json": "application/json",
    "/metrics": "text/plain; version=0.0.4; charset=utf-8",
    "/sd": "application/json",
    "/healthz": "text/plain; charset=utf-8",
    "/cluster": "application/json",
}


@pytest.fixture
def crew():
    complaints = []
    crew = Crew(complaints.append)
    yield crew
    assert crew.wait(time.monotonic() + PATIENCE) == 0
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def serve(crew):
    """``serve(node)``: its status on a free port of 127.0.0.1."""
    made = []

    def start(node=None, host=None):
        status = Status(node or Fake(full_mesh(["a", "b", "c"])), host, 0, crew)
        made.append(status)
        status.start()
        return status

    yield start
    for status in made:
        status.stop()


class Reply:
    def __init__(self, head, body):
        lines = head.decode("ascii").split("\r\n")
        self.version, code, self.phrase = lines[0].split(" ", 2)
        self.code = int(code)
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            assert name.lower() not in self.headers, "twice: " + name
            self.headers[name.lower()] = value
        self.body = body

    def json(self):
        return json.loads(self.body.decode("ascii"))


class Connection:
    """A client made of a bare socket."""

    def __init__(self, status):
        self.sock = socket.create_connection(("127.0.0.1", status.port), PATIENCE)
        self.held = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def say(self, text):
        self.sock.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))

    def ask(self, path, method="GET", host="127.0.0.1", headers=()):
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: " + host]
        lines += ["%s: %s" % pair for pair in headers]
        self.say("\r\n".join(lines) + "\r\n\r\n")

    def more(self):
        chunk = self.sock.recv(65536)
        self.held += chunk
        return bool(chunk)

    def until(self, mark):
        while mark not in self.held:
            assert self.more(), "ended with %r" % self.held[-200:]
        found, _, self.held = self.held.partition(mark)
        return found

    def hear(self, body=True):
        head = self.until(b"\r\n\r\n")
        found = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)", head)
        length = int(found.group(1)) if found and body else 0
        while len(self.held) < length:
            assert self.more(), "the body is cut off"
        content, self.held = self.held[:length], self.held[length:]
        return Reply(head, content)

    def is_over(self):
        """Read to the end of the stream; a reset counts."""
        try:
            while self.more():
                pass
        except ConnectionError:
            pass
        return True


def ask(status, path, method="GET", host="127.0.0.1", headers=()):
    with Connection(status) as client:
        client.ask(path, method, host, headers)
        return client.hear(body=method != "HEAD")


# -- what is answered --------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(PATHS))
def test_each_path_is_answered_alike_for_get_and_head(serve, path):
    status = serve()
    got = ask(status, path)
    assert (got.code, got.phrase, got.version) == (200, "OK", "HTTP/1.1")
    assert got.headers["content-type"] == PATHS[path]
    assert got.headers["cache-control"] == "no-store"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["referrer-policy"] == "no-referrer"
    assert int(got.headers["content-length"]) == len(got.body) > 0
    with Connection(status) as client:
        client.ask(path, "HEAD")
        head = client.hear(body=False)
        assert head.code == 200
        different = [n for n in got.headers if got.headers[n] != head.headers.get(n)]
        assert set(different) <= {"date", "content-length"}
        client.ask("/healthz")  # had a body followed, this would be in the middle of it
        assert client.hear().body == b"ok\n"


def test_the_page_may_load_nothing_but_itself(serve):
    """Its one script and one style are named by their hashes; a changed one would not run."""
    got = ask(serve(), "/")
    policy = dict(part.strip().split(" ", 1) for part in got.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert "unsafe" not in got.headers["content-security-policy"]
    assert got.body.count(b"<script>") == got.body.count(b"<style>") == 1
    assert not re.search(rb'(src|href)="(?!data:)|url\(|@import|innerHTML|document\.write', got.body)


def test_query_and_fragment_are_of_no_consequence(serve):
    assert ask(serve(), "/healthz?x=1#y").body == b"ok\n"


def test_what_is_not_there_is_404(serve):
    status = serve()
    for path in ("/nothing", "/../etc/passwd", "/status.json/", "/%2e%2e/", "*"):
        assert ask(status, path).code == 404


def test_rows_of_real_nodes_are_told_with_ages_and_verdicts(make_node, serve):
    first = make_node(name="first", ping_interval=0.2)
    assert first.stale_after() == pytest.approx(0.6)
    second = make_node(name="second", bootstrap=first, ping_interval=0.2)
    status = serve(first)

    def both():
        told = ask(status, "/matrix.json").json()
        return told if len(told["rows"]) == 2 and all(row["links"] for row in told["rows"]) else None

    told = wait_until(both)
    assert told["stale_after"] == first.stale_after()
    assert [row["nodeid"] for row in told["rows"]] == [first.nodeid, second.nodeid]
    assert told["nodeid"] == first.nodeid
    assert 0 <= told["rows"][1]["age"] < 10
    assert told["rows"][0]["links"][0]["nodeid"] == second.nodeid
    assert told["verdicts"] and told["summary"].startswith("2 nodes")
    peers = ask(status, "/status.json").json()
    assert peers["name"] == "first"
    assert [peer["nodeid"] for peer in peers["peers"]] == [second.nodeid]
    assert peers["counters"]["messages"]["in"]["hello"] >= 1
    page = wait_until(lambda: [cell for row in ask(status, "/page.json").json()["cells"] for cell in row if cell])
    assert {cell[0] for cell in page} <= {"ok", "in", "?"}
    assert ask(status, "/page.json").json()["failures"]["timeout"] == ["!T", "timed out"]


def test_cluster_is_200_while_every_known_direction_is_up(serve):
    got = ask(serve(), "/cluster")
    assert got.code == 200
    assert got.json()["ok"] is True
    assert (got.json()["up"], got.json()["down"]) == (6, 0)


def test_cluster_is_503_with_the_list_of_what_is_down(serve):
    rows = full_mesh(["a", "b", "c"])
    rows[0].links[1]["dial"] = "refused"
    got = ask(serve(Fake(rows)), "/cluster")
    assert (got.code, got.json()["ok"], got.json()["down"]) == (503, False, 1)
    assert got.json()["directions_down"] == [{"from": "a", "to": "c", "dial": "refused"}]
    assert any("refused" in verdict["text"] for verdict in got.json()["verdicts"])


def test_sd_names_every_node_that_serves_http_this_one_included(serve):
    rows = full_mesh(["a", "b", "c"])
    status = serve(Fake(rows, http={rows[1].nodeid: "192.0.2.2:8080"}))
    assert ask(status, "/sd").json() == [
        {"targets": ["127.0.0.1:%d" % status.port], "labels": {"node": "a", "network": "lab"}},
        {"targets": ["192.0.2.2:8080"], "labels": {"node": "b", "network": "lab"}},
    ]


def test_on_all_addresses_others_are_told_the_one_they_dial(serve):
    status = serve(host="0.0.0.0")
    assert status.target() == "192.0.2.1:%d" % status.port
    assert status.public_port((Address("192.0.2.1", 6000),)) == status.port


def test_loopback_is_the_default_and_told_to_nobody_elsewhere(serve):
    status = serve()
    assert status.address.host == "127.0.0.1"
    assert status.public_port((Address("192.0.2.1", 6000),)) is None
    near = (Address("127.0.0.1", 6000),)  # a node on loopback has only neighbours
    assert status.public_port(near) == status.port


def test_large_answers_are_compressed_for_those_who_like_that(serve):
    status = serve()
    plain = ask(status, "/", headers=[("Accept-Encoding", "identity, gzip;q=0")])
    assert "content-encoding" not in plain.headers
    small = ask(status, "/", headers=[("Accept-Encoding", "deflate, gzip")])
    assert small.headers["content-encoding"] == "gzip"
    assert small.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(small.body) == plain.body


def test_what_peers_chose_is_escaped(serve):
    """No name can end a string, a header or a line."""
    evil = "<img src=x onerror=alert(1)>\u2028\"'\ud800"
    rows = full_mesh(["a", "b", evil])
    status = serve(Fake(rows))
    for path in PATHS:
        got = ask(status, path)
        if path != "/metrics":
            assert got.body.decode("ascii" if path != "/" else "utf-8")
        assert path != "/" or b"<img" not in got.body
        assert "onerror" not in str(got.headers)
    assert ask(status, "/matrix.json").json()["rows"][2]["name"] == evil


# -- who is answered ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"])
@pytest.mark.parametrize("path", ["/", "/events", "/nothing"])
def test_nothing_can_be_changed(serve, method, path):
    got = ask(serve(), path, method)
    assert got.code == 405
    assert got.headers["allow"] == "GET, HEAD"


def test_a_large_body_is_told_405_and_not_reset(serve):
    with Connection(serve()) as client:
        client.ask("/", "POST", headers=[("Content-Length", "50000"), ("Expect", "100-continue")])
        client.say(b"x" * 50000)
        got = client.hear()
        assert got.code == 405
        assert got.headers["connection"] == "close"
        assert client.is_over()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:80", "10.1.2.3:8080", "[::1]", "[::1]:80", "[fe80::1]:1", "localhost",
     "LOCALHOST:80", "localhost.", "[::ffff:127.0.0.1]:9"],
)  # fmt: skip
def test_addresses_and_localhost_are_good_hosts(serve, host):
    assert ask(serve(), "/", host=host).code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "", ":80",
     "[evil.example]", "[::1].evil.example", "127.0.0.1@evil.example", "::1", "127.0.0.1:80:80", "[]",
     "evil.example#127.0.0.1", "127.0.0.1, evil.example", "0x7f.1", "[127.0.0.1]", "127.0.0.1%evil"],
)  # fmt: skip
def test_a_name_that_is_not_ours_is_403(serve, host):
    """DNS rebinding: the browser says the name that led it here."""
    got = ask(serve(), "/", host=host)
    assert got.code == 403
    assert b"<script" not in got.body


def test_the_name_given_is_a_good_host(crew):
    status = Status(Fake(full_mesh(["a"])), "LocalHost", 0, crew)
    try:
        assert status.allows("localhost:1")
        status.host = "status.example"
        assert status.allows("Status.Example.:8080") and status.allows("status.example")
        assert not status.allows("other.example")
    finally:
        status.stop()


def test_an_old_client_may_leave_the_host_out(serve):
    status = serve()
    for version, code in (("1.0", 200), ("1.1", 400)):
        with Connection(status) as client:
            client.say("GET /healthz HTTP/%s\r\n\r\n" % version)
            assert client.hear().code == code
            assert client.is_over()


def test_the_host_of_an_absolute_target_counts(serve):
    status = serve()
    assert ask(status, "http://127.0.0.1/healthz").body == b"ok\n"
    assert ask(status, "http://evil.example/healthz").code == 403
    assert ask(status, "http:///healthz").code == 403


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
def test_what_makes_no_sense_is_told_so_and_printed_nowhere(serve, capfd, text, code):
    with Connection(serve()) as client:
        client.say(text)
        got = client.hear()
        assert got.code == code
        assert got.headers["content-type"] == "text/plain; charset=utf-8"
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_over()
    assert capfd.readouterr() == ("", "")


def test_a_request_that_is_cut_off_is_none(serve, capfd):
    """Half a Host must not be taken for a whole one."""
    status = serve()
    with Connection(status) as client:
        client.say("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_over()
        assert client.held == b""
    assert capfd.readouterr() == ("", "")


# -- connections -------------------------------------------------------------------------------


def test_requests_share_a_connection_also_all_at_once(serve):
    with Connection(serve()) as client:
        for _ in range(3):
            client.ask("/healthz")
            assert client.hear().headers["connection"] == "keep-alive"
        client.ask("/healthz")
        client.ask("/cluster")
        client.say("\r\n")
        client.ask("/healthz", headers=[("Connection", "close")])
        assert [client.hear().code for _ in range(3)] == [200, 200, 200]
        assert client.is_over()


def test_silent_clients_keep_nobody_out_and_cost_a_listener_nothing(serve):
    node = Fake(full_mesh(["a", "b"]))
    status = serve(node)
    with Connection(status) as listener:
        listener.ask("/events")
        listener.until(b"retry: 2000\n\n")
        silent = [Connection(status) for _ in range(2 * MAX_CLIENTS)]
        assert ask(status, "/healthz").body == b"ok\n"
        wait_until(lambda: status.clients.count() <= MAX_CLIENTS)
        node.emit("self", address="192.0.2.1:6000")
        listener.until(b'"event": "self"')
        for client in silent:
            client.sock.close()


def test_fifty_clients_that_drip_keep_nobody_out(serve):
    status = serve()
    dripping = [Connection(status) for _ in range(50)]
    for client in dripping:
        client.say("GET / HTT")
    assert ask(status, "/healthz").body == b"ok\n"
    for client in dripping:
        client.say("P/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert client.hear().code == 200
        client.sock.close()


def test_one_deadline_for_a_request_however_slowly_it_drips(serve, monkeypatch):
    monkeypatch.setattr(web, "REQUEST_TIMEOUT", 0.3)
    status = serve()
    begun = time.monotonic()
    with Connection(status) as client:
        ended = threading.Event()

        def drip():
            try:
                client.say("GET / HTTP/1.1\r\nX: ")
                while not ended.wait(0.02):
                    client.say("y")
            except OSError:
                pass

        thread = threading.Thread(target=drip)
        thread.start()
        assert client.is_over()
        assert 0.25 < time.monotonic() - begun < PATIENCE
        ended.set()
        thread.join()
    wait_until(lambda: status.clients.count() == 0)


def test_an_idle_connection_is_closed_in_the_end(serve, monkeypatch):
    monkeypatch.setattr(web, "IDLE_TIMEOUT", 0.2)
    with Connection(serve()) as client:
        client.ask("/healthz")
        client.hear()
        assert client.is_over()


def test_who_does_not_take_its_answer_is_cut(serve, monkeypatch):
    monkeypatch.setattr(web, "ANSWER_TIMEOUT", 0.3)
    status = serve()
    with Connection(status) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        client.sock.setblocking(False)

        def stuffed():
            try:
                client.sock.send(request.encode() * 100)
            except BlockingIOError:
                pass
            except ConnectionError:
                return True
            return status.clients.count() == 0

        wait_until(stuffed)
    assert ask(status, "/healthz").code == 200


def test_what_was_costly_to_make_is_given_to_all_who_ask():
    made = []
    gate = threading.Event()

    def make():
        gate.wait(PATIENCE)
        made.append(len(made))
        return made[-1]

    kept = Kept(make)
    found = []
    threads = [threading.Thread(target=lambda: found.append(kept.get())) for _ in range(5)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == [0] * 5


# -- events ------------------------------------------------------------------------------------


def data_of(piece):
    return json.loads(re.search(rb"(?m)^data: (.*)$", piece).group(1).decode("ascii"))


def id_of(piece):
    return re.search(rb"(?m)^id: (.*)$", piece).group(1).decode("ascii")


def test_events_come_with_numbers_and_go_on_where_one_was(serve):
    node = Fake(full_mesh(["a", "b"]))
    status = serve(node)
    for number in range(3):
        node.emit("self", address="192.0.2.%d:6000" % number)
    with Connection(status) as client:
        client.ask("/events")
        head = client.hear(body=False)
        assert head.headers["content-type"] == "text/event-stream"
        assert head.headers["connection"] == "close"
        assert client.until(b"\n\n") == b"retry: 2000"
        pieces = [client.until(b"\n\n") for _ in range(3)]
        assert [data_of(piece)["address"][8] for piece in pieces] == ["0", "1", "2"]
        node.emit("message", body="a\nb\u2028c", nodeid=node.nodeid)
        assert data_of(client.until(b"\n\n"))["body"] == "a\nb\u2028c"
    with Connection(status) as client:
        client.ask("/events", headers=[("Last-Event-ID", id_of(pieces[1]))])
        client.until(b"retry: 2000\n\n")
        assert data_of(client.until(b"\n\n"))["address"] == "192.0.2.2:6000"
    for other in ("deadbeef-2", "x", "2", node.nodeid[:8] + "-", node.nodeid[:8] + "--1"):
        with Connection(status) as client:
            client.ask("/events", headers=[("Last-Event-ID", other)])
            client.until(b"retry: 2000\n\n")
            assert data_of(client.until(b"\n\n"))["address"] == "192.0.2.0:6000"


def test_a_head_of_events_ends(serve):
    with Connection(serve()) as client:
        client.ask("/events", "HEAD")
        assert client.hear(body=False).code == 200
        assert client.is_over() and client.held == b""


def test_silence_is_filled_with_comments(serve, monkeypatch):
    monkeypatch.setattr(web, "KEEP_ALIVE", 0.05)
    with Connection(serve()) as client:
        client.ask("/events")
        client.until(b"retry: 2000\n\n")
        assert client.until(b"\n\n") == client.until(b"\n\n") == b": still here"


def test_who_does_not_read_events_is_dropped_and_delays_nobody(serve, monkeypatch):
    monkeypatch.setattr(web, "ANSWER_TIMEOUT", 0.3)
    node = Fake(full_mesh(["a", "b"]))
    status = serve(node)
    with Connection(status) as deaf, Connection(status) as good:
        for client in (deaf, good):
            client.ask("/events")
            client.until(b"retry: 2000\n\n")
        slowest = 0.0

        def shouted():
            nonlocal slowest
            begun = time.monotonic()
            node.emit("message", body="x" * 60000)
            slowest = max(slowest, time.monotonic() - begun)
            good.until(b"\n\n")
            return status.clients.count() == 1

        wait_until(shouted, 20)
        assert slowest < 0.2
        node.emit("self", address="192.0.2.1:6000")
        assert data_of(good.until(b"\n\n"))["event"] == "self"


def test_round_trips_do_not_push_out_what_happened():
    news = News("life")
    news.add({"event": "peer_up"})
    for _ in range(5000):
        news.add({"event": "rtt", "rtt_ms": 1.0})
    data, last = news.after(0, 0)
    assert data.startswith(b'id: life-1\ndata: {"event": "peer_up"}\n\n')
    assert (data.count(b"id: "), last) == (501, 5001)


def test_large_events_do_not_fill_the_memory():
    news = News("life")
    for _ in range(100):
        news.add({"event": "message", "body": "x" * 60000})
    assert len(news.after(0, 0)[0]) < 1100000


def open_descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


# -- life --------------------------------------------------------------------------------------


def test_stop_is_quick_whatever_clients_do_and_leaves_nothing(crew):
    node = Fake(full_mesh(["a", "b"]))
    threads, descriptors = threading.enumerate(), open_descriptors()
    status = Status(node, None, 0, crew)
    status.start()
    clients = [Connection(status) for _ in range(30)]
    for number, client in enumerate(clients):
        if number % 3 == 1:
            client.say("GET / HT")
        elif number % 3 == 2:
            client.ask("/events")
            client.until(b"retry: 2000\n\n")
    wait_until(lambda: status.clients.count() == 30)
    begun = time.monotonic()
    status.stop()
    assert time.monotonic() - begun < 0.3
    assert status.clients.count() == 0
    assert crew.wait(time.monotonic() + PATIENCE) == 0
    for client in clients:
        assert client.is_over()
        client.sock.close()
    assert threading.enumerate() == threads  # nor has any thread of the crew been taken for another
    wait_until(lambda: open_descriptors() == descriptors)
    status.stop()
    again = Status(node, None, status.port, crew)  # the port is free at once
    again.stop()  # never started


def test_events_end_when_the_node_stops(make_node, serve):
    node = make_node()
    status = serve(node)
    with Connection(status) as client:
        client.ask("/events")
        client.until(b"retry: 2000\n\n")
        status.stop()
        assert client.is_over()


def test_a_taken_port_is_said_in_one_line(serve, crew):
    port = serve().port
    with pytest.raises(CannotStart, match="--http: port %d is taken" % port):
        Status(Fake(full_mesh(["a"])), None, port, crew)
    with pytest.raises(CannotStart, match=r"--http .*no such host"):
        Status(Fake(full_mesh(["a"])), "no such host", 0, crew)


def test_ipv6(serve):
    try:
        status = serve(host="::1")
    except CannotStart:
        pytest.skip("no IPv6 here")
    assert status.target() == "[::1]:%d" % status.port
    with socket.create_connection(("::1", status.port), PATIENCE) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: [::1]:%d\r\n\r\n" % status.port)
        assert sock.recv(12) == b"HTTP/1.1 200"


def test_the_page_is_found_inside_a_zip(tmp_path):
    path = shutil.make_archive(str(tmp_path / "p2p"), "zip", ROOT, "p2p_plain")
    code = "import pkgutil; from p2p_plain.web import pages; print(len(pkgutil.get_data('p2p_plain.web', 'page.html')), pages.__file__)"
    said = subprocess.check_output(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, cwd=str(tmp_path)
    ).decode()
    assert int(said.split()[0]) > 1000 and "p2p.zip" in said
