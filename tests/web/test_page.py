"""The page in a real browser: headless Chromium, led over its DevTools protocol."""

import base64
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import urllib.request
from typing import Any, Dict, List

import pytest

from p2p_plain.web import pages
from tests.support import PATIENCE, RawPeer, wait_until
from tests.support.page_node import PageNode, full_mesh

CHROMIUM = next(
    (found for found in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if found),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


class Tab:
    """One page of the browser: a web socket on which commands go out and events come in."""

    def __init__(self, url: str) -> None:
        host, _, path = url.partition("//")[2].partition("/")
        name, _, port = host.partition(":")
        self.sock = socket.create_connection((name, int(port)), PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(
            (
                "GET /%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % (path, host, key)
            ).encode()
        )
        self.stream = self.sock.makefile("rb")
        assert b" 101 " in self.stream.readline()
        while self.stream.readline() != b"\r\n":
            pass
        self.number = 0
        self.events = []  # type: List[Dict[str, Any]]
        for domain in ("Runtime", "Log", "Page", "Network"):
            self.call(domain + ".enable")

    def _send(self, data: bytes) -> None:
        """One frame of text (RFC 6455 section 5.2), masked with zeros, which changes nothing."""
        length = struct.pack("!BH", 0x80 | 126, len(data))
        if len(data) > 65535:
            length = struct.pack("!BQ", 0x80 | 127, len(data))
        self.sock.sendall(b"\x81" + length + bytes(4) + data)

    def _receive(self) -> Dict[str, Any]:
        text = b""
        while True:
            first, second = self.stream.read(2)
            length = second & 127
            if length > 125:
                length = int.from_bytes(self.stream.read(2 if length == 126 else 8), "big")
            text += self.stream.read(length)
            if first & 0x80:
                return dict(json.loads(text.decode("utf-8")))

    def call(self, method: str, **params: Any) -> Dict[str, Any]:
        """Its result; what is told meanwhile is kept in ``events``."""
        self.number += 1
        said = {"id": self.number, "method": method, "params": params}
        self._send(json.dumps(said).encode())
        while True:
            heard = self._receive()
            if heard.get("id") == self.number:
                assert "error" not in heard, heard
                return dict(heard["result"])
            self.events.append(heard)

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def open(self, url: str) -> None:
        self.events = []
        self.call("Page.navigate", url=url)
        there = "document.readyState === 'complete' && location.href === %s" % json.dumps(url)
        wait_until(lambda: self.run(there))

    def complaints(self) -> List[Any]:
        """Whatever the console shows."""
        self.run("0")
        found = []
        for event in self.events:
            if event["method"] in (
                "Runtime.exceptionThrown",
                "Runtime.consoleAPICalled",
                "Log.entryAdded",
            ):
                found.append(event["params"])
        return found

    def key(self, name: str, code: int) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code)

    def picture(self, path: str) -> None:
        found = self.call("Page.captureScreenshot", format="png")
        with open(path, "wb") as file:
            file.write(base64.b64decode(found["data"]))


class Browser:
    """Chromium as a process, with a profile of its own."""

    def __init__(self, folder: str) -> None:
        assert CHROMIUM is not None
        self.process = subprocess.Popen(
            [
                CHROMIUM,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--no-proxy-server",
                "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
                "--remote-debugging-port=0",
                "--user-data-dir=" + folder,
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        told = os.path.join(folder, "DevToolsActivePort")

        def port() -> Any:
            assert self.process.poll() is None, "Chromium ended"
            try:
                with open(told) as file:
                    return int(file.readline())
            except (OSError, ValueError):
                return None

        self.port = wait_until(port, 20)

    def tab(self) -> Tab:
        request = urllib.request.Request("http://127.0.0.1:%d/json/new" % self.port, method="PUT")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE) as answer:
            return Tab(json.loads(answer.read().decode())["webSocketDebuggerUrl"])

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(str(tmp_path_factory.mktemp("profile")))
    yield browser
    browser.close()


@pytest.fixture
def tab(browser):
    tab = browser.tab()
    yield tab
    tab.sock.close()


def url(status):
    return "http://127.0.0.1:%d/" % status.port


CELLS = """Array.prototype.map.call(document.querySelectorAll("#matrix tbody tr"), function (tr) {
  return Array.prototype.map.call(tr.querySelectorAll("td"), function (td) { return td.textContent; });
})"""
NAMES = """Array.prototype.map.call(document.querySelectorAll("#matrix tbody th .number + span"),
  function (span) { return span.textContent; })"""


def cells(tab):
    return [cell for row in tab.run(CELLS) for cell in row]


def test_four_nodes_are_shown_and_a_cell_turns_when_one_dies(make_node, serve, tab):
    """Loads without a word on the console, and keeps itself up to date."""
    fast = {"ping_interval": 0.3, "ping_timeout": 0.6, "probe_interval": 0.3}
    first = make_node(name="node-1", **fast)
    others = [make_node(name="node-%d" % n, bootstrap=first, **fast) for n in (2, 3, 4)]
    status = serve(first)
    wait_until(lambda: all(len(node.peers()) == 3 for node in others))
    tab.open(url(status))
    wait_until(lambda: tab.run(NAMES) == ["node-1", "node-2", "node-3", "node-4"])
    wait_until(lambda: len([c for c in cells(tab) if c[0].isdigit() or c == "ok"]) == 12)
    assert tab.run("document.querySelectorAll('#nodes .node').length") == 4
    assert tab.run("document.querySelectorAll('#peers tbody tr').length") == 3
    assert tab.run("document.getElementById('edges').getAttribute('d').split('M').length - 1") == 6
    # As by kill -9: no goodbye, and nobody listens any more.
    others[2]._listener.stop()
    for session in others[2]._sessions.all():
        session.cut()
    others[2]._connector.stop()
    wait_until(lambda: any(c.startswith("!") for c in cells(tab)), 20)
    wait_until(lambda: "node-4" in tab.run("document.getElementById('verdicts').textContent"))
    wait_until(lambda: tab.run("document.querySelectorAll('#events li').length") > 0)
    assert tab.run("document.title").startswith("(")
    assert tab.complaints() == []


def test_a_hostile_name_is_text(make_node, serve, tab):
    node = make_node(name="victim", ping_interval=0.3)
    status = serve(node)
    tab.open(url(status))
    wait_until(lambda: tab.run("document.getElementById('state').textContent").startswith("live"))
    name = "<img src=x onerror=alert(1)>"
    with RawPeer.dial(node) as peer:
        peer.become_peer(name=name, version=1)
        peer.say("message", id=peer.nodeid, body="</script><script>alert(2)</script>", **{"from": peer.nodeid})
        wait_until(lambda: name in tab.run("document.getElementById('peers').textContent"))
        wait_until(lambda: "alert(2)" in tab.run("document.getElementById('events').textContent"))
        wait_until(lambda: "onerror" in tab.run("document.getElementById('matrix').textContent"))
    assert tab.run("document.querySelectorAll('img, script').length") == 1
    assert not any(event["method"] == "Page.javascriptDialogOpening" for event in tab.events)
    assert tab.complaints() == []


def test_it_says_since_when_it_has_lost_its_node_and_finds_it_again(serve, tab):
    node = PageNode(full_mesh(["a", "b", "c"]))
    status = serve(node)
    tab.open(url(status))
    wait_until(lambda: len([c for c in cells(tab) if c == "0.3"]) == 6)
    assert not tab.run("document.getElementById('lost').offsetHeight")
    status.stop()
    wait_until(lambda: tab.run("document.getElementById('lost').offsetHeight"))
    said = tab.run("document.getElementById('lost').textContent")
    assert "Lost the node since" in said and said.count(":") == 2
    assert len(cells(tab)) == 9  # what was known stays
    serve(node, port=status.port)
    wait_until(lambda: not tab.run("document.getElementById('lost').offsetHeight"))


def test_a_keyboard_is_enough(serve, tab):
    rows = full_mesh(["a", "b", "c"])
    rows[0].links[1]["dial"] = "timeout"
    tab.open(url(serve(PageNode(rows))))
    wait_until(lambda: "!T" in cells(tab))
    tab.key("Tab", 9)
    assert tab.run("document.activeElement.tagName") == "TD"
    tab.key("ArrowRight", 39)
    said = tab.run("document.getElementById('detail').textContent")
    assert said.startswith("a \u2192 c: a fresh dial: timed out") and "a connection still stands" in said
    assert tab.run("document.activeElement.getAttribute('aria-label')") == said
    assert tab.run("document.querySelectorAll('#matrix td[tabindex=\"0\"]').length") == 1
    assert tab.run("document.querySelectorAll('#matrix th:not([scope])').length") == 0


def test_a_browser_without_event_sources_asks_again_and_again(serve, tab):
    rows = full_mesh(["a", "b", "c"])
    tab.call("Page.addScriptToEvaluateOnNewDocument", source="delete window.EventSource")
    tab.open(url(serve(PageNode(rows))))
    wait_until(lambda: "0.3" in cells(tab))
    rows[1].links[0]["dial"] = "refused"
    wait_until(lambda: "!R" in cells(tab))
    assert tab.complaints() == []


def test_a_hundred_nodes_stay_usable(serve, tab):
    """A whole update of ten thousand cells does not freeze the page, and the names stay in sight."""
    rows = full_mesh(["node-%03d" % number for number in range(100)])
    tab.open(url(serve(PageNode(rows))))
    wait_until(lambda: tab.run("document.querySelectorAll('#matrix td').length") == 10000)
    tab.run(
        "window.longest = 0; window.last = performance.now(); setInterval(function () {"
        "var now = performance.now(); longest = Math.max(longest, now - last); last = now; }, 5)"
    )
    state = tab.run("document.getElementById('state').textContent")
    for row in rows:
        row.links[0]["dial"] = "refused"
    # To ask the browser for all cells takes it a second, and longer where others run as well.
    wait_until(lambda: cells(tab).count("!R") == 100, 60.0)
    assert tab.run("document.getElementById('state').textContent") != state
    assert tab.run("longest") < 1000
    where = "document.querySelector('#matrix tbody tr:nth-child(90) th').getBoundingClientRect().left"
    before = tab.run(where)
    tab.run("document.querySelector('#matrix-box .scroll').scrollLeft = 500")
    assert tab.run(where) == before
    assert tab.run("document.documentElement.scrollWidth <= window.innerWidth")
    assert tab.complaints() == []


def test_the_file_is_small_and_its_source_is_of_2016():
    with open(os.path.join(os.path.dirname(pages.__file__), "page.html"), encoding="utf-8") as file:
        page = file.read()
    script = page.partition("<script>")[2].partition("</script>")[0]
    assert len(page.encode("utf-8")) < 40000
    for new in ("=>", "`", "fetch(", "let ", "const ", "async ", "?.", "...", "??"):
        assert new not in script, new
    assert "grid-template" not in page and "var(--" not in page
