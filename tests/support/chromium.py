"""Headless Chromium, driven over its DevTools protocol."""

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

from tests.support import PATIENCE, wait_until

CHROMIUM = next(
    (found for found in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if found),
    None,
)


class Tab:
    """One page of the browser: a web socket that takes commands and sends events."""

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
        """Send one frame of text (RFC 6455 section 5.2), masked with zeros: unchanged."""
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
        """Return the result of a command; events that come meanwhile are kept in ``events``."""
        self.number += 1
        command = {"id": self.number, "method": method, "params": params}
        self._send(json.dumps(command).encode())
        while True:
            answer = self._receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def run(self, script: str) -> Any:
        """Return the value of an expression on the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def open(self, url: str) -> None:
        """Load a page and wait until it is complete."""
        self.events = []
        self.call("Page.navigate", url=url)
        there = "document.readyState === 'complete' && location.href === %s" % json.dumps(url)
        wait_until(lambda: self.run(there))

    def complaints(self) -> List[Any]:
        """Return everything that the console shows."""
        self.run("0")
        shown = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event["params"] for event in self.events if event["method"] in shown]

    def press(self, name: str, code: int) -> None:
        """Press and release a key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code)

    def picture(self, path: str) -> None:
        """Save a screenshot as PNG."""
        found = self.call("Page.captureScreenshot", format="png")
        with open(path, "wb") as file:
            file.write(base64.b64decode(found["data"]))


class Browser:
    """Chromium as a process, with a profile in ``folder``."""

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
        port_file = os.path.join(folder, "DevToolsActivePort")

        def port() -> Any:
            assert self.process.poll() is None, "Chromium ended"
            try:
                with open(port_file) as file:
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
