"""How events look to people: one line each, aligned, with times and durations as people write them.

Pure functions to text, mostly from an event; ``run`` and the tour print what comes out.  Whatever a
peer chose (a name, a message) is escaped, so that it cannot play with the terminal.
"""

import json
from typing import Callable, Dict, List, Optional

from ..common.address import is_loopback, parse
from ..common.events import Event
from ..common.outcomes import FAILURES, OK, explain
from ..common.words import count_of, duration, milliseconds
from ..node.codec import printable

SHORT_ID = 8
"""Characters of a nodeid that are shown: the first group of the UUID."""

TRACE_WIDTH = 400
"""Characters of a traced line that are shown before it is cut, saying how long it was.  A hello
with all its fields has about 200."""

ROOMY = 100
"""Columns of a terminal from which on a trace has room for the longest thread and IPv4 address; on
a narrower one these are set closer, for the sake of the line itself."""

LEAST_TRACE = 16
"""Columns that a traced line gets on a terminal of any width."""

BODY_WIDTH = 500
"""Characters of a message's body that are shown."""

_COLOURS = {
    "listening": "1",
    "peer_up": "32",
    "peer_down": "31",
    "refused": "33",
    "reach": "33",
    "self": "2",
    "message": "36",
    "stopped": "1",
}
"""The codes of ECMA-48 "Select Graphic Rendition": 1 bold, 2 faint, 31 red and so on."""

_REFUSALS = {
    "closed": "closed without a word",
    "full": "full",
    "network": "belongs to another network",
    "protocol": "a rule of the wire was broken; --log-level info says which",
    "stopping": "is stopping",
    "unauthorised": "not authorised",
    "unknown": "cannot be dialed: no such name, or nothing left to dial with",
}


def human(event: Event, utc_offset: int = 0, colour: bool = False) -> str:
    """One event as a line, without newline; ``utc_offset`` of the local clock, in seconds."""
    word = event["event"].replace("_", " ")
    line = "%-10s %s" % (word, _TELL.get(event["event"], _tell_fields)(event))
    if colour and event["event"] in _COLOURS:
        line = "\x1b[%sm%s\x1b[0m" % (_COLOURS[event["event"]], line)
    return "%s  %s" % (clock(event["time"], utc_offset), line.rstrip())


def clock(moment: str, utc_offset: int) -> str:
    """The local time of day of an RFC 3339 moment in UTC."""
    hours, minutes, seconds = (int(part) for part in moment[11:19].split(":"))
    whole = (hours * 3600 + minutes * 60 + seconds + utc_offset) % 86400
    return "%02d:%02d:%02d" % (whole // 3600, whole // 60 % 60, whole % 60)


def trace(
    event: Event, started_at: float, colour: bool = False, width: Optional[int] = None
) -> str:
    """One line of the wire, in columns: seconds since the start, thread, peer, direction, line.

    No longer than ``width``, the columns of the terminal where there is one.  What is cut says how
    many characters it had.
    """
    line = event["line"]
    form = "%9.4f  %-14s %-21s %s " if width is None or width >= ROOMY else "%7.3f %-10s %-15s %s "
    head = form % (event["time"] - started_at, event["thread"], event["peer"], event["direction"])
    text = printable(line[:TRACE_WIDTH], TRACE_WIDTH)
    if width is not None:
        text = _fitted(text, max(width - len(head), LEAST_TRACE), len(line))
    elif len(line) > TRACE_WIDTH:
        text = "%s... (%d characters)" % (text, len(line))
    text = head + text
    if colour:
        return "\x1b[%sm%s\x1b[0m" % ("2" if event["direction"] == ">" else "36", text)
    return text


def _fitted(text: str, room: int, length: int) -> str:
    """The beginning of a line of ``length`` characters, in ``room`` columns, ``...(198)`` after it."""
    widths = [1 if character < "\u1100" else 2 for character in text]  # East Asian ones take two
    if length <= TRACE_WIDTH and sum(widths) <= room:
        return text
    mark = "...(%d)" % length
    kept = 0
    left = room - len(mark)
    while kept < len(text) and left >= widths[kept]:
        left -= widths[kept]
        kept += 1
    return text[:kept] + mark


def _who(event: Event) -> str:
    return "%-*s  %-16s" % (SHORT_ID, event["nodeid"][:SHORT_ID], printable(event["name"], 64))


def _tell_listening(event: Event) -> str:
    return "%s  on %s" % (_who(event), ", ".join(event["addresses"]))


def _tell_up(event: Event) -> str:
    return "%s  %-21s  %-8s  %s" % (
        _who(event),
        event["address"],
        event["direction"],
        count_of(event["peers"], "peer"),
    )


def _tell_down(event: Event) -> str:
    return "%s  %-21s  %-8s  %s left; was up %s" % (
        _who(event),
        event["address"],
        event["reason"],
        count_of(event["peers"], "peer"),
        duration(event["up_seconds"]),
    )


def _tell_rtt(event: Event) -> str:
    return "%s  %s" % (_who(event), milliseconds(event["rtt_ms"]))


def _tell_self(event: Event) -> str:
    return "%s is this node itself; not dialed again" % event["address"]


def _tell_refused(event: Event) -> str:
    return "%s  %s" % (event["address"], _reason(event["reason"]))


def _reason(reason: str) -> str:
    return explain(reason) if reason in FAILURES else _REFUSALS.get(reason, reason)


def _tell_reach(event: Event) -> str:
    return "%s  %-21s  %s (was %s)" % (
        _who(event),
        event["address"],
        "can be dialed" if event["dial"] == OK else "cannot be dialed, %s" % explain(event["dial"]),
        event["was"],
    )


def _tell_message(event: Event) -> str:
    body = json.dumps(event["body"], ensure_ascii=False)
    return "%s  %s" % (event["from"][:SHORT_ID], printable(body, BODY_WIDTH))


def _tell_stopped(event: Event) -> str:
    return "%s, after %s; said goodbye to %s" % (
        event["reason"],
        duration(event["uptime_seconds"]),
        count_of(event["peers"], "peer"),
    )


def _tell_fields(event: Event) -> str:
    fields = ["%s=%s" % (k, v) for k, v in event.items() if k not in ("event", "time")]
    return printable("  ".join(fields), BODY_WIDTH)


_TELL: Dict[str, Callable[[Event], str]] = {
    "listening": _tell_listening,
    "peer_up": _tell_up,
    "peer_down": _tell_down,
    "rtt": _tell_rtt,
    "self": _tell_self,
    "refused": _tell_refused,
    "reach": _tell_reach,
    "message": _tell_message,
    "stopped": _tell_stopped,
}


def invitation(addresses: List[str], network: str, program: str) -> List[str]:
    """What to type on another machine to join, as lines under ``listening``."""
    if not addresses:
        return []
    command = "%s --bootstrap %s" % (program, addresses[0])
    if network:
        command += " --network '%s'" % network.replace("'", "'\\''")
    if is_loopback(parse(addresses[0]).host):
        return ["          others on this machine join with:  %s --port 0" % command]
    return [
        "          others join with:  %s" % command,
        "          (on this machine add --port 0)",
    ]
