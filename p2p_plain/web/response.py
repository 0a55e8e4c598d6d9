"""An HTTP response, and responses that are kept for a moment.  Any thread."""

import threading
import time
from http import HTTPStatus

from ..common.typing import Any, Callable, Optional, Tuple

Headers = Tuple[Tuple[str, str], ...]

try:
    import gzip
except ImportError:  # a Python built without zlib
    gzip = None  # type: ignore[assignment]

GZIP_FROM = 1024
"""Bytes of a body from which it is compressed, for clients that accept that."""

FRESH = 0.3
"""Seconds for which a made value is given to other clients as well."""

SHARE = 10
"""A value that took long to make is kept ten times as long.  So however many clients ask, making it
takes at most a tenth of the time."""

TEXT, JSON = "text/plain; charset=utf-8", "application/json"


class Response:
    """The part of a response that is the same for every client."""

    def __init__(
        self, type: str, body: bytes, status: HTTPStatus = HTTPStatus.OK, headers: Headers = ()
    ) -> None:
        self.type = type
        self.body = body
        self.status = status
        self.headers = headers
        self._compressed: Optional[bytes] = None

    @property
    def size(self) -> int:
        """How many bytes it takes here."""
        return len(self.body) + len(self._compressed or b"")

    def compressed(self) -> Optional[bytes]:
        """Return the body for clients that accept gzip; ``None`` if it is too small for that.

        If two threads compress it at once, one of the results is dropped.
        """
        if self._compressed is None and gzip is not None and len(self.body) >= GZIP_FROM:
            self._compressed = gzip.compress(self.body, 1)
        return self._compressed


def text_response(status: HTTPStatus, text: str, headers: Headers = ()) -> Response:
    """Return a response of one line of plain text."""
    return Response(TEXT, text.encode("utf-8", "backslashreplace") + b"\n", status, headers)


class Cached:
    """A value that is costly to make: ``make()`` is called again only when the last one is old."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        # Held while the value is made, on purpose: threads that ask in that time wait and get the same
        # value.  ``make`` may use another cached value, but never this one, so no thread waits for
        # itself.
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._value: Any = None
        self._expires = float("-inf")

    def get(self) -> Any:
        """Return the last value, or a new one."""
        with self._lock:
            begun = time.monotonic()
            if begun >= self._expires:
                self._value = None  # nobody needs the old one while the new one takes memory too
                self._value = self._make()
                now = time.monotonic()
                self._expires = now + max(FRESH, SHARE * (now - begun))
            return self._value
