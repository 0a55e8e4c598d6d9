"""What can become of a rule."""

import contextlib
from typing import Iterator, NamedTuple, Tuple

OK, BROKEN, SKIPPED = "ok", "BROKEN", "skipped"


class Outcome(NamedTuple):
    """One of the three words, and lines that explain it."""

    word: str
    detail: Tuple[str, ...] = ()


class Broken(Exception):
    """The node broke a rule."""

    def __init__(self, expected: str, came: str) -> None:
        super().__init__("expected %s; came %s" % (expected, came))
        self.expected = expected
        self.came = came


class Skipped(Exception):
    """A rule could not be tried."""


@contextlib.contextmanager
def about(what: object) -> Iterator[None]:
    """Add to a ``Broken`` that is raised inside which of several inputs it is about."""
    try:
        yield
    except Broken as broken:
        raise Broken(broken.expected, "%s, for %s" % (broken.came, what)) from None
