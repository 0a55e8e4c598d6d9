"""The fields of a message, each checked as it is taken out.

``messages`` reads with this, and so does code that registers messages of its own.  An error says
which field of which message is wrong, for the author of the other program.  Any thread.
"""

import re

from ..common.address import Address, parse_wire
from ..common.config import MAX_NAME
from ..common.errors import PeerMisbehaved
from ..common.names import is_printable, shows_something
from ..common.typing import Any, Dict, List, Optional

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


def is_nodeid(text: object) -> bool:
    """True if ``text`` is a UUID as RFC 9562 section 4 writes it, in either case."""
    return isinstance(text, str) and _UUID.match(text) is not None


def is_name(text: object) -> bool:
    """True if ``text`` is a label that can be shown to people, and that they can see."""
    sound = isinstance(text, str) and len(text) <= MAX_NAME and is_printable(text)
    return sound and shows_something(str(text))


class Fields:
    """The fields of one message; each method returns one of them, or raises ``PeerMisbehaved``.

    ``uuid``, ``raw`` and ``array`` are for fields that must be there.  For the others an absent field is
    ``None``, or false for ``flag``.
    """

    def __init__(self, msgtype: str, fields: Dict[str, Any], line: bytes = b"") -> None:
        self._msgtype = msgtype
        self._fields = fields
        self.line = line
        """The line that the message came in, without its newline."""

    def wrong(self, field: str, expected: str) -> PeerMisbehaved:
        """Return the error that says what is wrong with ``field``."""
        problem = "is not %s" % expected if field in self._fields else "is missing"
        return PeerMisbehaved("%s: %s %s" % (self._msgtype, field, problem))

    def has(self, field: str) -> bool:
        """True if the message has ``field``, whatever its value."""
        return field in self._fields

    def raw(self, field: str) -> Any:
        """Return any JSON value."""
        if field not in self._fields:
            raise self.wrong(field, "")
        return self._fields[field]

    def uuid(self, field: str) -> str:
        """Return a UUID in lower case."""
        value = self._fields.get(field)
        if not is_nodeid(value):
            raise self.wrong(field, "a UUID")
        return str(value).lower()

    def port(self, field: str) -> Optional[int]:
        """Return a port from 1 to 65535."""
        return self._integer(field, 1, 65535, "a port from 1 to 65535")

    def integer(self, field: str) -> Optional[int]:
        """Return an integer of 0 or more."""
        return self._integer(field, 0, float("inf"), "an integer of 0 or more")

    def _integer(self, field: str, least: int, most: float, expected: str) -> Optional[int]:
        value = self._fields.get(field, least)
        # type(), because isinstance(True, int) holds and true is not a number.
        if type(value) is not int or not least <= value <= most:
            raise self.wrong(field, expected)
        return value if field in self._fields else None

    def flag(self, field: str) -> bool:
        """Return true or false."""
        value = self._fields.get(field, False)
        if not isinstance(value, bool):
            raise self.wrong(field, "true or false")
        return value

    def text(self, field: str, limit: int, least: int = 0) -> Optional[str]:
        """Return a string of ``least`` to ``limit`` characters."""
        value = self._fields.get(field)
        if field not in self._fields:
            return None
        if not isinstance(value, str) or not least <= len(value) <= limit:
            raise self.wrong(field, "a string of %d to %d characters" % (least, limit))
        return value

    def name(self) -> Optional[str]:
        """Return the field ``name``: a printable label.  One that shows nothing counts as absent."""
        value = self.text("name", MAX_NAME, 1)
        if value is not None and not is_printable(value):
            raise self.wrong("name", "printable")
        return value if is_name(value) else None

    def number(self, field: str) -> Optional[float]:
        """Return a number of 0 or more.

        Null counts as absent: a long line of the monitor has null where nothing was measured.
        """
        value = self._fields.get(field)
        if value is None:
            return None
        if type(value) not in (int, float) or value < 0:
            raise self.wrong(field, "a number of 0 or more")
        return float(value)

    def array(self, field: str, limit: int) -> List[Any]:
        """Return a list of at most ``limit`` values."""
        value = self._fields.get(field)
        if not isinstance(value, list) or len(value) > limit:
            raise self.wrong(field, "a list of at most %d" % limit)
        return value

    def address(self, field: str) -> Optional[Address]:
        """Return an ``ip:port``."""
        if field not in self._fields:
            return None
        try:
            return parse_wire(self._fields[field])
        except ValueError:
            raise self.wrong(field, '"ip:port"') from None
