"""The events that nodes report, and patterns for the ``expect`` and ``never`` steps."""

import json
from typing import Any, Dict, NamedTuple

from .errors import WrongUsage

Record = Dict[str, Any]
"""A node's event with ``host``, ``at`` and ``about`` added, or a report of the laboratory itself."""

EVENTS = {
    "listening": ["addresses", "nodeid", "name"],
    "peer_up": ["direction", "address", "nodeid", "name", "peers"],
    "peer_down": ["reason", "address", "nodeid", "name", "peers", "up_seconds"],
    "self": ["address"],
    "conflict": ["address", "other", "nodeid", "name"],
    "refused": ["reason", "address"],
    "rtt": ["rtt_ms", "nodeid", "name"],
    "reach": ["dial", "was", "address", "nodeid", "name"],
    "message": ["body", "from", "nodeid"],
    "stopped": ["reason", "peers", "uptime_seconds"],
}
"""Events and their fields.  Steps are checked against them: a misspelt ``never`` always holds."""


class Wanted(NamedTuple):
    """A pattern for events: ``peer_down on h1 about h2 reason=timeout``."""

    event: str
    host: str
    about: str  # "" for any
    fields: Dict[str, str]

    def matches(self, record: Record) -> bool:
        """True if ``record`` is such an event."""
        return (
            record.get("event") == self.event
            and record["host"] == self.host
            and self.about in ("", record["about"])
            and all(as_word(record.get(field)) == value for field, value in self.fields.items())
        )

    def __str__(self) -> str:
        about = ["about " + self.about] if self.about else []
        fields = ["%s=%s" % field for field in sorted(self.fields.items())]
        return " ".join([self.event, "on", self.host] + about + fields)


def wanted(event: str, host: str, about: str, fields: Dict[str, str]) -> Wanted:
    """Return the pattern.  Raises ``WrongUsage`` if the event or a field does not exist."""
    if event not in EVENTS:
        raise WrongUsage("no event is called %r; there are %s" % (event, ", ".join(EVENTS)))
    for field in fields:
        if field not in EVENTS[event]:
            known = ", ".join(EVENTS[event])
            raise WrongUsage("%s has no field %r; it has %s" % (event, field, known))
    return Wanted(event, host, about, fields)


def as_word(value: Any) -> str:
    """Return a field's value as a user types it."""
    return value if isinstance(value, str) else json.dumps(value)
