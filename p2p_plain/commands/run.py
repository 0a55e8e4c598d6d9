"""``python3 -m p2p_plain`` without a command: the whole node, printing lines for people.

``common/program`` runs it: events out, a signal to the end.  Main thread only.
"""

import sys
import time

from ..common.events import REPORTED, Event
from ..common.options import program
from ..common.output import Output
from ..common.program import run_node, take_output_options
from ..common.typing import Any, Dict
from ..full_node import Node
from ..node.lateness import LATE_SECONDS
from ..terminal import event_lines

SWITCH_INTERVAL, WHEN_CROWDED = 0.005, 0.05
"""Seconds after which a waiting thread asks for the interpreter: Python's own value, and the value
for a node that runs late.  Each request is a wakeup of its own.  With 100 nodes of 200 threads each
on two cores, requests alone took all the time; with the larger value such nodes recover."""


def run(settings: Dict[str, Any]) -> int:
    """Run a node until a stop signal, or until nobody reads what it prints.  Return the exit code.

    ``settings`` are those of ``cli.node_parser``.  Raises ``UsageError`` and ``CannotStart``.
    """
    output = take_output_options(settings)
    node = Node(**settings)
    node.on(REPORTED, lambda _: ask_less_when_late(node.lateness()))

    def event_line(event: Event, out: Output) -> str:
        lines = [event_lines.human(event, time.localtime().tm_gmtoff, out.colour)]
        if event["event"] == "listening":
            network = node.config.network
            secret_file = "".join(node.config.secret_file[:1])
            lines += event_lines.invitation(event["addresses"], network, program(), secret_file)
            if "http" in event:
                lines.append("          status page: http://%s/" % event["http"])
        return "\n".join(lines)

    return run_node(node, output, event_line, trace_line)


def ask_less_when_late(lateness: float) -> None:
    """Set how long threads wait before they ask for the interpreter.  ``lateness`` in seconds.

    This concerns the whole process, so the program does it and not the library.
    """
    sys.setswitchinterval(WHEN_CROWDED if lateness > LATE_SECONDS else SWITCH_INTERVAL)


def trace_line(event: Event, started_at: float, err: Output) -> str:
    """Return a line of the wire as wide as the terminal."""
    return event_lines.trace(event, started_at, err.colour, err.columns())
