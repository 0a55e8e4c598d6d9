"""What the status page answers for each path, and under which names."""

import gzip
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
from p2p_plain.web import pages
from p2p_plain.web.pages import StatusPage, html_page
from p2p_plain.web.response import Cached
from tests.support import PATIENCE, ROOT, wait_until
from tests.support.http_client import HttpClient, get
from tests.support.page_node import PageNode, full_mesh

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


@pytest.mark.parametrize("path", sorted(PATHS))
def test_head_gets_the_headers_of_get_and_no_body(serve, path):
    page = serve()
    got = get(page, path)
    assert (got.code, got.phrase, got.version) == (200, "OK", "HTTP/1.1")
    assert got.headers["content-type"] == PATHS[path]
    assert got.headers["cache-control"] == "no-store"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["referrer-policy"] == "no-referrer"
    assert int(got.headers["content-length"]) == len(got.body) > 0
    with HttpClient(page) as client:
        client.request(path, "HEAD")
        head = client.reply(body=False)
        assert head.code == 200
        different = [n for n in got.headers if got.headers[n] != head.headers.get(n)]
        assert set(different) <= {"date", "content-length"}
        client.request("/healthz")  # a body of the HEAD would be in the middle of this
        assert client.reply().body == b"ok\n"


def test_the_page_may_load_nothing_but_itself(serve):
    """Its policy allows its one script and its one style, by hash, and no other source."""
    got = get(serve(), "/")
    policy = dict(part.strip().split(" ", 1) for part in got.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert "unsafe" not in got.headers["content-security-policy"]
    assert got.body.count(b"<script>") == got.body.count(b"<style>") == 1
    assert not re.search(rb'(src|href)="(?!data:)|url\(|@import|innerHTML|document\.write', got.body)


def test_the_page_is_small_and_runs_in_browsers_of_2016():
    page = html_page().body.decode("utf-8")
    script = page.partition("<script>")[2].partition("</script>")[0]
    assert len(page.encode("utf-8")) < 40000
    for new in ("=>", "`", "fetch(", "let ", "const ", "async ", "?.", "...", "??"):
        assert new not in script, new
    assert "grid-template" not in page and "var(--" not in page


def test_the_page_is_found_inside_a_zip(tmp_path):
    path = shutil.make_archive(str(tmp_path / "p2p"), "zip", ROOT, "p2p_plain")
    code = "from p2p_plain.web import pages; print(len(pages.html_page().body), pages.__file__)"
    said = subprocess.check_output(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, cwd=str(tmp_path)
    ).decode()
    assert int(said.split()[0]) > 1000 and "p2p.zip" in said


def test_query_and_fragment_are_ignored(serve):
    assert get(serve(), "/healthz?x=1#y").body == b"ok\n"


def test_an_unknown_path_is_404(serve):
    page = serve()
    for path in ("/nothing", "/../etc/passwd", "/status.json/", "/%2e%2e/", "*"):
        assert get(page, path).code == 404


def test_the_rows_of_real_nodes_are_served_with_ages_and_verdicts(make_node, serve):
    first = make_node(name="first", ping_interval=0.2)
    second = make_node(name="second", bootstrap=first, ping_interval=0.2)
    page = serve(first)

    def both():
        told = get(page, "/matrix.json").json()
        return told if len(told["rows"]) == 2 and all(row["links"] for row in told["rows"]) else None

    matrix = wait_until(both)
    assert matrix["stale_after"] == first.stale_after() == pytest.approx(0.6)
    assert [row["nodeid"] for row in matrix["rows"]] == [first.nodeid, second.nodeid]
    assert matrix["nodeid"] == first.nodeid
    assert 0 <= matrix["rows"][1]["age"] < 10
    assert matrix["rows"][0]["links"][0]["nodeid"] == second.nodeid
    assert matrix["verdicts"] and matrix["summary"].startswith("2 nodes")
    status = get(page, "/status.json").json()
    assert status["name"] == "first"
    assert [peer["nodeid"] for peer in status["peers"]] == [second.nodeid]
    assert status["counters"]["messages"]["in"]["hello"] >= 1
    cells = wait_until(lambda: [c for row in get(page, "/page.json").json()["cells"] for c in row if c])
    assert {cell[0] for cell in cells} <= {"ok", "in", "?"}


def test_the_page_gets_the_words_for_failures(serve):
    said = get(serve(), "/page.json").json()
    assert said["failures"]["timeout"] == ["!T", "timed out"]
    assert said["whys"]["no-pong"] == "it does not answer pings"


def test_cluster_is_200_while_all_is_well(serve):
    got = get(serve(), "/cluster")
    assert got.code == 200
    assert got.json()["ok"] is True
    assert [verdict["kind"] for verdict in got.json()["verdicts"]] == ["well"]
    assert (got.json()["up"], got.json()["down"]) == (6, 0)


def test_cluster_is_503_with_the_directions_that_are_down(serve):
    rows = full_mesh(["a", "b", "c"])
    rows[0].links[1]["dial"] = "refused"
    got = get(serve(PageNode(rows)), "/cluster")
    assert (got.code, got.json()["ok"], got.json()["down"]) == (503, False, 1)
    assert got.json()["directions_down"] == [{"from": "a", "to": "c", "dial": "refused"}]
    assert any("refused" in verdict["text"] for verdict in got.json()["verdicts"])


def test_what_is_unknown_for_too_long_is_503_and_marked(serve):
    rows = [
        row._replace(probe_interval=5.0, links=tuple(dict(link, up_s=600.0) for link in row.links))
        for row in full_mesh(["a", "b", "c"])
    ]
    rows[0].links[1].update(direction="none", dial="unknown")
    rows[2].links[0].update(direction="none")
    page = serve(PageNode(rows))
    got = get(page, "/cluster")
    assert (got.code, got.json()["ok"], got.json()["down"]) == (503, False, 0)
    assert got.json()["verdicts"][0]["text"].startswith("a -> c: nothing known ")
    assert get(page, "/page.json").json()["cells"][0][2] == ["!?", 0, None, None, None]


def test_sd_has_a_target_for_each_node_with_a_page_this_one_included(serve):
    rows = full_mesh(["a", "b", "c"])
    page = serve(PageNode(rows, http={rows[1].nodeid: "192.0.2.2:8080"}))
    assert get(page, "/sd").json() == [
        {"targets": ["127.0.0.1:%d" % page.port], "labels": {"node": "a", "network": "lab"}},
        {"targets": ["192.0.2.2:8080"], "labels": {"node": "b", "network": "lab"}},
    ]


def test_a_page_on_all_addresses_is_a_target_at_the_nodes_address(serve):
    page = serve(host="0.0.0.0")
    (target,) = get(page, "/sd").json()
    assert target["targets"] == ["192.0.2.1:%d" % page.port]
    assert page.public_port((Address("192.0.2.1", 6000),)) == page.port


def test_the_page_listens_on_loopback_by_default_and_is_advertised_there_only(serve):
    page = serve()
    assert page.address.host == "127.0.0.1"
    assert page.public_port((Address("192.0.2.1", 6000),)) is None
    assert page.public_port((Address("127.0.0.1", 6000),)) == page.port


def test_large_responses_are_compressed_for_clients_that_accept_gzip(serve):
    page = serve()
    plain = get(page, "/", headers=[("Accept-Encoding", "identity, gzip;q=0")])
    assert "content-encoding" not in plain.headers
    small = get(page, "/", headers=[("Accept-Encoding", "deflate, gzip")])
    assert small.headers["content-encoding"] == "gzip"
    assert small.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(small.body) == plain.body


def test_no_name_can_end_a_string_or_a_header(serve):
    """Names are the peers' choice, and come out of JSON as they went in."""
    evil = "<img src=x onerror=alert(1)>\u2028\"'\ud800"
    page = serve(PageNode(full_mesh(["a", "b", evil])))
    for path in PATHS:
        got = get(page, path)
        if path not in ("/", "/metrics"):
            assert got.body.decode("ascii")
        assert "onerror" not in str(got.headers)
    assert get(page, "/matrix.json").json()["rows"][2]["name"] == evil


def test_clients_that_ask_at_once_share_one_computation():
    made = []
    gate = threading.Event()

    def make():
        gate.wait(PATIENCE)
        made.append(len(made))
        return made[-1]

    cached = Cached(make)
    found = []
    threads = [threading.Thread(target=lambda: found.append(cached.get())) for _ in range(5)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == [0] * 5


# -- the Host header ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:80", "10.1.2.3:8080", "[::1]", "[::1]:80", "[fe80::1]:1", "localhost",
     "LOCALHOST:80", "localhost.", "[::ffff:127.0.0.1]:9"],
)  # fmt: skip
def test_addresses_and_localhost_are_served(serve, host):
    assert get(serve(), "/", host=host).code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "", ":80",
     "[evil.example]", "[::1].evil.example", "127.0.0.1@evil.example", "::1", "127.0.0.1:80:80", "[]",
     "evil.example#127.0.0.1", "127.0.0.1, evil.example", "0x7f.1", "[127.0.0.1]", "127.0.0.1%evil"],
)  # fmt: skip
def test_any_other_name_is_403(serve, host):
    """A web site that points its own name at this address (DNS rebinding) cannot read the page."""
    got = get(serve(), "/", host=host)
    assert got.code == 403
    assert b"<script" not in got.body


def test_the_host_of_the_http_option_is_served(serve):
    page = serve(host="LocalHost")
    assert page.allows("localhost:1")
    page.host = "status.example"
    assert page.allows("Status.Example.:8080") and page.allows("status.example")
    assert not page.allows("other.example")


def test_an_absolute_target_replaces_the_host(serve):
    page = serve()
    assert get(page, "http://127.0.0.1/healthz").body == b"ok\n"
    assert get(page, "http://evil.example/healthz").code == 403
    assert get(page, "http:///healthz").code == 403


# -- start and stop ----------------------------------------------------------------------------


def open_descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def test_a_port_that_cannot_be_had_is_reported_in_one_line(serve):
    port = serve().port
    with pytest.raises(CannotStart, match="--http: port %d is taken" % port):
        serve(port=port)
    with pytest.raises(CannotStart, match=r"--http .*no such host"):
        serve(host="no such host")


def test_the_page_is_served_on_ipv6(serve):
    try:
        page = serve(host="::1")
    except CannotStart:
        pytest.skip("no IPv6 here")
    with socket.create_connection(("::1", page.port), PATIENCE) as sock:
        sock.sendall(b"GET /sd HTTP/1.0\r\nHost: [::1]:%d\r\n\r\n" % page.port)
        answer = sock.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"[::1]:%d"' % page.port in answer


def test_stop_is_quick_whatever_clients_do_and_frees_everything(crew):
    node = PageNode(full_mesh(["a", "b"]))
    threads, descriptors = threading.enumerate(), open_descriptors()
    page = StatusPage(node, None, 0, crew)
    page.start()
    clients = [HttpClient(page) for _ in range(30)]
    for number, client in enumerate(clients):
        if number % 3 == 1:
            client.send("GET / HT")
        elif number % 3 == 2:
            client.follow()
    wait_until(lambda: len(page.clients) == 30)
    begun = time.monotonic()
    page.stop()
    assert time.monotonic() - begun < 0.3
    assert len(page.clients) == 0
    assert crew.wait(time.monotonic() + PATIENCE) == 0
    for client in clients:
        assert client.is_closed()
        client.sock.close()
    assert threading.enumerate() == threads  # none of the crew's counts as a thread of threading
    wait_until(lambda: open_descriptors() == descriptors)
    page.stop()
    again = StatusPage(node, None, page.port, crew)  # the port is free at once
    again.stop()  # it was never started


def test_the_page_shows_a_bounded_number_of_nodes(serve, monkeypatch):
    """Its matrix has the square of that, and strangers can be as many as they like."""
    monkeypatch.setattr(pages, "MOST_SHOWN", 3)
    said = get(serve(PageNode(full_mesh("abcde"))), "/page.json").json()
    assert [len(row) for row in said["cells"]] == [3, 3, 3]
    assert (len(said["nodes"]), said["hidden"]) == (3, 2)
