"""An HTTP client made of a bare socket, so that a test can misbehave at exactly one point."""

import json
import re
import socket

from tests.support import PATIENCE


class Reply:
    """A response as it came."""

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


class HttpClient:
    """One connection to a status page."""

    def __init__(self, page):
        self.sock = socket.create_connection(("127.0.0.1", page.port), PATIENCE)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, text):
        self.sock.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))

    def request(self, path, method="GET", host="127.0.0.1", headers=()):
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: " + host]
        lines += ["%s: %s" % pair for pair in headers]
        self.send("\r\n".join(lines) + "\r\n\r\n")

    def receive(self):
        """Receive more bytes; False at the end of the stream."""
        chunk = self.sock.recv(65536)
        self.buffer += chunk
        return bool(chunk)

    def until(self, mark):
        """Return all bytes before ``mark``."""
        while mark not in self.buffer:
            assert self.receive(), "ended with %r" % self.buffer[-200:]
        found, _, self.buffer = self.buffer.partition(mark)
        return found

    def reply(self, body=True):
        """Return the next response; without its body if it is one to HEAD."""
        head = self.until(b"\r\n\r\n")
        found = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)", head)
        length = int(found.group(1)) if found and body else 0
        while len(self.buffer) < length:
            assert self.receive(), "the body is cut off"
        content, self.buffer = self.buffer[:length], self.buffer[length:]
        return Reply(head, content)

    def is_closed(self):
        """Read to the end of the stream; a reset counts as one."""
        try:
            while self.receive():
                pass
        except ConnectionError:
            pass
        return True

    def follow(self, last_event_id=None):
        """Follow the events: the stream is open when this returns."""
        headers = [] if last_event_id is None else [("Last-Event-ID", last_event_id)]
        self.request("/events", headers=headers)
        head = self.reply(body=False)
        assert head.headers["content-type"] == "text/event-stream"
        assert self.until(b"\n\n") == b"retry: 2000"
        return head

    def event(self):
        """Return the id and the data of the next event."""
        id, data = self.until(b"\n\n").decode("ascii").split("\n")
        assert id.startswith("id: ") and data.startswith("data: ")
        return id[4:], json.loads(data[6:])


def get(page, path, method="GET", host="127.0.0.1", headers=()):
    """Return the response to one request on a connection of its own."""
    with HttpClient(page) as client:
        client.request(path, method, host, headers)
        return client.reply(body=method != "HEAD")
