"""Rows on the wire: ``getlinks`` asks for the matrix, each ``links`` carries one row of it.

A *row* is what one node has measured: a *link* for each other node that it knows of.  Importing this
module registers both messages, each field checked on arrival (see ``node.messages``).

**Nobody is punished for a third party's text.**  A row may come from another node than its author, and
the names and addresses in it are those of other nodes again.  A node that reads more strictly than
the one before it (another version, another language) would hang up on a neighbour that only passed
something on.  So the sender answers for the line, and for what a row is: ``nodeid``, ``age``, a list of
links.  Anything else that is wrong is left out, and noted as the author's mistake in ``Links.wrong``.
The words of third nodes in a link (``HEARSAY``) are left out without a note.

**Unknown fields are dropped on arrival.**  They have no bounds: as Python objects the 64 KiB of one line
can take a hundred times the room.  So a row of a third node is forwarded without them.

No sockets, no threads, no clock.  Any thread.
"""

import functools
import re

from ..common.address import parse_wire
from ..common.errors import MessageTooLong, PeerMisbehaved
from ..common.outcomes import OUTCOMES
from ..common.typing import Any, Callable, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Tuple
from ..node import codec
from ..node.fields import Fields, is_name, is_nodeid
from ..node.messages import Bare, register

Link = Dict[str, Any]
"""A link of a row: the fields of ``LINK_FIELDS``, those that are known."""

MAX_LINKS = 256
"""Links in one row: as many as a node has peers."""

LATE_MS = 100.0
"""A node that runs later than this cannot measure a network of milliseconds."""


class GetLinks(Bare):
    """Asks for every row of the matrix that the receiver has."""


class Links(NamedTuple):
    """One node's row of the matrix; with ``end``, the last line of an answer to ``getlinks``."""

    nodeid: str
    links: Tuple[Link, ...]
    name: Optional[str] = None
    age: float = 0.0
    """Seconds since it was measured."""
    lag_ms: Optional[float] = None
    """How late its node itself ran."""
    end: bool = False
    line: bytes = b""
    """The line that it came in, without its newline."""
    stale_after: Optional[float] = None
    """The age in seconds from which on this row says nothing about now; with ``end``, any row that does
    not say it itself."""
    probe_interval: Optional[float] = None
    """Seconds from one dial of each node to the next.  Rows without it come from programs that report
    only on nodes they have met."""
    changes: Optional[int] = None
    """A number that grows whenever a peer of the row's node comes or goes."""
    up_s: Optional[float] = None
    """How long its node has been running, in seconds."""
    loss_unmeasured: bool = False
    """True if the system of its node does not count lost packets."""
    replaced: Mapping[str, str] = {}
    """Nodes that were restarted under a new nodeid, and that nodeid (see ``restarts``): only where a
    node of the same name is down.  It was not replaced by any of these."""
    wrong: str = ""
    """What its author got wrong first and was left out; empty if nothing was."""

    def running_for(self) -> float:
        """Return for how long its node had been running, in seconds; at least, if it does not say so."""
        if self.up_s is not None:
            return self.up_s
        return float(max((link.get("up_s") or 0.0 for link in self.links), default=0.0))

    @property
    def measures_loss(self) -> bool:
        """True if its node measures how many packets are lost.  Older programs do not, nor say ``up_s``."""
        return self.up_s is not None and not self.loss_unmeasured

    def as_dict(self) -> Dict[str, Any]:
        """Return the row for JSON."""
        return {
            "nodeid": self.nodeid,
            "name": self.name,
            "age": round(self.age, 1),
            "lag_ms": self.lag_ms,
            "stale_after": self.stale_after,
            "probe_interval": self.probe_interval,
            "links": list(self.links),
        }


def is_connected(link: Link) -> bool:
    """True if the link says that a connection stands, whichever end dialed it."""
    return bool(link.get("direction", "none") != "none")


GETLINKS = codec.encode({"msgtype": "getlinks"})

BEGINNING = b'{"msgtype":"links",'
"""How the rows begin that this program sends.  Most rows of peers are kept and never parsed."""

DIRECTIONS = frozenset(("outbound", "inbound", "none"))
_AUTHOR = re.compile(re.escape(BEGINNING) + rb'"nodeid":"([0-9a-f-]{36})","age":')
_NUMBERS = (
    "rtt_ms", "rtt_p50_ms", "rtt_max_ms", "jitter_ms", "held_ms", "dial_ms", "up_s", "known_s",
    "lost", "lost_every_s", "lost_quiet_s", "busy_s", "loss_pct", "loss_segs", "loss_events",
    "big_passed", "big_lost", "back_passed", "back_lost",
)

_OF_ROW = (
    "changes", "name", "lag_ms", "stale_after", "probe_interval", "up_s", "loss_unmeasured", "replaced",
)

HEARSAY = ("name", "address", "why")
"""Fields of a link that may be the words of the node at its other end."""

_WORDS = ("why", "lost_why", "big", "back")

LINK_FIELDS = ("nodeid", "name", "address", "direction", "dial") + _WORDS + _NUMBERS


def encode_links(row: Links) -> bytes:
    """Return the line of a row.  If it is too long, fields are left out that verdicts can do without.

    Names go first: they are in their own nodes' rows as well.  With the longest names, 256 links take
    80 KiB.  A node that is left out would count as not connected.
    """
    said: Dict[str, Any] = {"msgtype": "links", "nodeid": row.nodeid, "age": round(row.age, 1)}
    for field in _OF_ROW:
        value = getattr(row, field)
        if value not in (None, "", {}) and value is not False:
            said[field] = value
    links = list(row.links[:MAX_LINKS])
    needless = [
        ("name",),
        ("up_s", "dial_ms", "rtt_max_ms"),
        ("lost_why", "lost_every_s", "lost_quiet_s", "loss_events"),
        ("address",),
    ]
    while True:
        said["links"] = links
        try:
            return codec.encode(said)
        except MessageTooLong:
            if not needless:
                links = links[: len(links) * 3 // 4]
                continue
            without = needless.pop(0)
            links = [{key: link[key] for key in link if key not in without} for link in links]


def encode_end_of_links(nodeid: str, stale_after: float) -> bytes:
    """Return the last line of an answer to ``getlinks``.

    It has ``stale_after`` because the other end cannot know how often we measure.
    """
    said = {"msgtype": "links", "nodeid": nodeid, "end": True, "links": []}
    return codec.encode(dict(said, stale_after=round(stale_after, 1)))


def encode_kept(row: Links) -> bytes:
    """Return the line in which a row is kept, without its newline: its age is 0, all fields are known."""
    return encode_links(row._replace(age=0.0))[:-1]


def encode_aged(nodeid: str, kept: bytes, age: float) -> bytes:
    """Return the line of a row with its age.  ``kept`` is what ``encode_kept`` made of that row."""
    new = beginning_of_row(nodeid)
    aged = BEGINNING + b'"nodeid":"%s","age":%.1f,' % (nodeid.encode("ascii"), age)
    return aged + kept[len(new) :] + b"\n"


def author_in(line: bytes) -> str:
    """Return whose row is on a line, if a node of this program wrote the line; otherwise ``""``."""
    found = _AUTHOR.match(line)
    return "" if found is None else found.group(1).decode("ascii")


def beginning_of_row(nodeid: str, changes: Optional[int] = None) -> bytes:
    """Return how the row of ``nodeid`` itself begins, as ``encode_links`` writes it when it is new."""
    beginning = BEGINNING + b'"nodeid":"%s","age":0.0,' % nodeid.encode("ascii")
    return beginning if changes is None else beginning + b'"changes":%d,' % changes


def _read_links(said: Fields) -> Links:
    links = said.array("links", MAX_LINKS)
    problems: List[str] = []

    def or_nothing(read: Callable[..., Any], *args: Any) -> Any:
        try:
            return read(*args)
        except PeerMisbehaved as problem:
            problems.append(str(problem))
            return None

    read = [or_nothing(_read_link, link, problems) for link in links]
    row = Links(
        nodeid=said.uuid("nodeid"),
        links=tuple(link for link in read if link is not None),
        name=or_nothing(said.name),
        age=said.number("age") or 0.0,
        lag_ms=or_nothing(said.number, "lag_ms"),
        end=said.flag("end"),
        line=said.line,
        stale_after=or_nothing(said.number, "stale_after"),
        probe_interval=or_nothing(said.number, "probe_interval"),
        changes=or_nothing(said.integer, "changes"),
        up_s=or_nothing(said.number, "up_s"),
        loss_unmeasured=bool(or_nothing(said.flag, "loss_unmeasured")),
        replaced=or_nothing(_read_replaced, said) or {},
    )
    return row._replace(wrong=problems[0]) if problems else row


def _read_replaced(said: Fields) -> Dict[str, str]:
    pairs = said.raw("replaced") if said.has("replaced") else {}
    sound = isinstance(pairs, dict) and len(pairs) <= MAX_LINKS
    if not sound or not all(is_nodeid(nodeid) for pair in pairs.items() for nodeid in pair):
        raise said.wrong("replaced", "an object of at most %d UUIDs" % MAX_LINKS)
    return {old.lower(): new.lower() for old, new in pairs.items()}


def _read_link(link: Any, problems: List[str]) -> Link:
    """Return the known fields that are not wrong, and add the author's mistakes to ``problems``.

    Raises ``PeerMisbehaved`` if nothing is left of it.
    """
    if not isinstance(link, dict):
        raise PeerMisbehaved("links: links is not a list of objects")
    if not is_nodeid(link.get("nodeid")):
        raise Fields("links", link).wrong("nodeid", "a UUID")
    sound = {"nodeid": link["nodeid"].lower()}
    for field, value in link.items():
        if field not in _CHECKS:
            continue
        is_right, expected = _CHECKS[field]
        if is_right(value):
            sound[field] = value
        elif field not in HEARSAY:
            problems.append(str(Fields("links", link).wrong(field, expected)))
    return sound


@functools.lru_cache(maxsize=1024)  # each is in everyone's row
def _is_address(text: str) -> bool:
    try:
        parse_wire(text)
    except ValueError:
        return False
    return True


def _is_measured(value: object) -> bool:
    return value is None or (type(value) in (int, float) and value >= 0)  # type: ignore[operator]


def _one_of(words: FrozenSet[str]) -> Tuple[Callable[[Any], bool], str]:
    expected = "one of " + ", ".join(sorted(words))
    return (lambda value: isinstance(value, str) and value in words), expected


_CHECKS: Dict[str, Tuple[Callable[[Any], bool], str]] = {
    "name": (is_name, "printable"),
    "address": (lambda value: isinstance(value, str) and _is_address(value), '"ip:port"'),
    "direction": _one_of(DIRECTIONS),
    "dial": _one_of(OUTCOMES),
}
_CHECKS.update(dict.fromkeys(_WORDS, (is_name, "printable")))
_CHECKS.update(dict.fromkeys(_NUMBERS, (_is_measured, "a number of 0 or more")))
"""What is checked of each field of a link, and how an error describes it.  Others are ignored."""

register("getlinks", GetLinks, lambda said: GetLinks())
register("links", Links, _read_links)
