"""Prints what nodes report and what the laboratory does, for people or as JSON lines."""

import json
import os
import signal
import sys
from typing import Any, Dict, List

from .agreement import OUTPUTS, SAYS_NOTHING
from .events import EVENTS, Record, as_word

HIDDEN = {"nodeid", "name", "peers", "up_seconds", "uptime_seconds"}
"""Fields that lines for people leave out."""

LEGEND = [
    "> it dialed that one   < it was dialed   . not connected   - no node runs here",
    "x its last test dial of that one failed",
]


class Show:
    """Prints one record at each call.  The journal calls it under its lock."""

    def __init__(self, as_json: bool, quiet: bool, everything: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._everything = everything

    def __call__(self, record: Record) -> None:
        """Print one record."""
        if "stderr" in record:
            print("%(host)s: %(stderr)s" % record, file=sys.stderr, flush=True)
        elif self._quiet and "host" in record:
            pass
        elif self._as_json:
            _print(json.dumps({key: record[key] for key in record if key != "about"}))
        elif self._everything or record.get("event") != "rtt":
            _print(for_people(record))


def _print(text: str) -> None:
    """Print, or end the laboratory if nobody reads any more (``lab.py ... | head``)."""
    try:
        print(text.encode("ascii", "backslashreplace").decode(), flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        os.kill(os.getpid(), signal.SIGTERM)


def for_people(record: Record) -> str:
    """Return a line such as ``  12.345  h3   peer_down  h1   timeout  10.77.0.1:6000``."""
    at = "%8.3f  " % record["at"]
    if "step" in record:
        return at + "---- " + str(record["step"])
    if record.get("result") == "show":
        return _table(record["table"])
    if record.get("result") in ("ask", "run"):
        return "\n".join("    " + line for line in record["said"].splitlines())
    if record.get("result") == "said":
        return _said(record["said"])
    if "result" in record:
        return at + "     %s: %.3f s after the last change" % (record["result"], record["seconds"])
    if "ended" in record:
        return at + "%-4s ended      exit code %d" % (record["host"], record["ended"])
    event = record["event"]
    fields = [name for name in EVENTS.get(event, record) if name in record and name not in HIDDEN]
    values = "  ".join(as_word(record[name]) for name in fields)
    return at + ("%-4s %-10s %-4s %s" % (record["host"], event, record["about"], values)).rstrip()


def _table(table: Dict[str, Dict[str, str]]) -> str:
    """Return a row for each host, with a column for each other one."""
    rows = [[""] + list(table)]
    rows += [[name] + [marks.get(other, "") for other in table] for name, marks in table.items()]
    lines = [" ".join("%4s" % word for word in row).rstrip() for row in rows]
    return "\n".join("    " + line for line in lines + LEGEND)


def _said(said: Dict[str, Dict[str, Any]]) -> str:
    """Return a line for each verdict of each node, or its outputs where they differ."""
    lines: List[str] = []
    for host, one in said.items():
        found = {one[output] for output in OUTPUTS} - {SAYS_NOTHING}
        words = ["%s: %s" % (output, one[output]) for output in OUTPUTS]
        lines.append("%-4s %s" % (host, found.pop() if len(found) == 1 else ", ".join(words)))
        lines += ["       " + text for text in one["verdicts"]]
    return "\n".join("    " + line for line in lines)
