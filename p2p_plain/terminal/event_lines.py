"""Events as lines for people, aligned, and the lines of a trace.

Pure functions from an event to text.  ``run`` and the tour print what they return.  Text that a peer
chose (a name, a message) is escaped, so that it cannot control the terminal.
"""

import json

from ..common.address import is_loopback, parse
from ..common.escape import printable
from ..common.events import Event
from ..common.outcomes import FAILURES, OK, WHYS, explain
from ..common.program import plain_fields
from ..common.typing import Callable, Dict, List, Optional, Tuple
from ..common.words import count_of, duration, milliseconds
from .text import BOLD, CYAN, FAINT, GREEN, RED, YELLOW, clip, columns_of, paint

SHORT_ID = 8
"""Characters of a nodeid that are shown: the first group of the UUID."""

TRACE_WIDTH = 400
"""Most characters of a traced line that are shown.  A hello with all its fields has about 200."""

ROOMY = 100
"""Columns of a terminal with room for the longest thread name and IPv4 address in a trace.  On a
narrower one the columns are set closer, which leaves more for the line itself."""

LEAST_TRACE = 16
"""Columns that a traced line gets on a terminal of any width."""

BODY_WIDTH = 500
"""Most characters of a message's body that are shown."""

_REFUSALS = {
    "closed": "closed without a word",
    "duplicate": "says that it is connected to this node already: another program uses its nodeid",
    "network": "belongs to another network",
    "protocol": "not a node, or one that broke a rule of the wire; --log-level info says more",
    "stopping": "is stopping",
    "unauthorised": "not authorised",
    "unknown": "cannot be dialed: no such name, or nothing left to dial with",
}
"""Reasons of ``refused`` that are no outcome of a dial, where the word alone does not explain."""


def human(event: Event, utc_offset: int = 0, colour: bool = False) -> str:
    """Return an event as one line.  ``utc_offset`` is that of the local clock, in seconds."""
    name = event["event"]
    code, form = _FORMS.get(name, ("", plain_fields))
    line = paint(("%-10s %s" % (name.replace("_", " "), form(event))).rstrip(), code, colour)
    return "%s  %s" % (clock(event["time"], utc_offset), line)


def clock(moment: str, utc_offset: int) -> str:
    """Return the local time of day of an RFC 3339 moment in UTC."""
    hours, minutes, seconds = (int(part) for part in moment[11:19].split(":"))
    whole = (hours * 3600 + minutes * 60 + seconds + utc_offset) % 86400
    return "%02d:%02d:%02d" % (whole // 3600, whole // 60 % 60, whole % 60)


def trace(
    event: Event, started_at: float, colour: bool = False, width: Optional[int] = None
) -> str:
    """Return a line of the wire in columns: seconds since the start, thread, peer, direction, line.

    It is no longer than ``width``, the columns of a terminal.  A line that is cut shows its length.
    """
    line = event["line"]
    form = "%9.4f  %-14s %-21s %s " if width is None or width >= ROOMY else "%7.3f %-10s %-15s %s "
    head = form % (event["time"] - started_at, event["thread"], event["peer"], event["direction"])
    text = printable(line, TRACE_WIDTH)
    if width is not None:
        room = max(width - len(head), LEAST_TRACE)
        if len(line) > TRACE_WIDTH or columns_of(text) > room:
            mark = "...(%d)" % len(line)
            text = clip(text, room - len(mark)) + mark
    return paint(head + text, FAINT if event["direction"] == ">" else CYAN, colour)


def _who(event: Event) -> str:
    return "%-*s  %-16s" % (SHORT_ID, event["nodeid"][:SHORT_ID], printable(event["name"], 64))


def _peer_up(event: Event) -> str:
    peers = count_of(event["peers"], "peer")
    return "%s  %-21s  %-8s  %s" % (_who(event), event["address"], event["direction"], peers)


def _peer_down(event: Event) -> str:
    return "%s  %-21s  %-8s  %s left; was up %s" % (
        _who(event),
        event["address"],
        event["reason"],
        count_of(event["peers"], "peer"),
        duration(event["up_seconds"]),
    )


def _refused(event: Event) -> str:
    reason, why = event["reason"], event.get("why", "")
    shown = explain(reason, why) if reason in FAILURES else _REFUSALS.get(reason, reason)
    shown = WHYS[why] if why in WHYS and reason not in FAILURES else shown
    if "count" in event:
        more = count_of(event["count"], "inbound connection")
        return "%s  %s; %s more within a minute" % (event["address"], shown, more)
    return "%s  %s" % (event["address"], shown)


def _reach(event: Event) -> str:
    dial = event["dial"]
    shown = "can be dialed" if dial == OK else "cannot be dialed, " + explain(dial, event.get("why", ""))
    return "%s  %-21s  %s (was %s)" % (_who(event), event["address"], shown, event["was"])


def _conflict(event: Event) -> str:
    return "%s  %-21s  another program at %s says that it is this node" % (
        _who(event),
        event["address"],
        event["other"],
    )


def _message(event: Event) -> str:
    body = json.dumps(event["body"], ensure_ascii=False)
    return "%s  %s" % (event["from"][:SHORT_ID], printable(body, BODY_WIDTH))


def _stopped(event: Event) -> str:
    return "%s, after %s; said goodbye to %s" % (
        event["reason"],
        duration(event["uptime_seconds"]),
        count_of(event["peers"], "peer"),
    )


_FORMS: Dict[str, Tuple[str, Callable[[Event], str]]] = {
    "listening": (BOLD, lambda event: "%s  on %s" % (_who(event), ", ".join(event["addresses"]))),
    "peer_up": (GREEN, _peer_up),
    "peer_down": (RED, _peer_down),
    "rtt": ("", lambda event: "%s  %s" % (_who(event), milliseconds(event["rtt_ms"]))),
    "self": (FAINT, lambda event: "%s is this node itself; tried again later" % event["address"]),
    "conflict": (RED, _conflict),
    "refused": (YELLOW, _refused),
    "reach": (YELLOW, _reach),
    "message": (CYAN, _message),
    "stopped": (BOLD, _stopped),
}
"""The colour of each event, and what follows its name."""


def invitation(
    addresses: List[str], network: str, program: str, secret_file: str = ""
) -> List[str]:
    """Return the lines under ``listening``: the command with which other nodes join."""
    if not addresses:
        return []
    command = "%s --bootstrap %s" % (program, addresses[0])
    if network:
        command += " --network '%s'" % network.replace("'", "'\\''")
    if secret_file:
        command += " --secret-file '%s'" % printable(secret_file.replace("'", "'\\''"))
    if is_loopback(parse(addresses[0]).host):
        return ["          others on this machine join with:  %s --port 0" % command]
    return ["          others join with:  %s" % command, "          (on this machine add --port 0)"]
