"""``check HOST:PORT``: wait until every node can dial every other one; for scripts, cron and CI.

That is more than that nothing is broken (``Judgement.ok``): nothing may be unknown either, but for
nodes that send no rows.

Main thread only; Ctrl-C and SIGTERM arrive as ``KeyboardInterrupt``.
"""

import itertools
import json
import sys
import time

from ..common.errors import P2PError
from ..common.outcomes import IN_WORDS, WHYS
from ..common.output import Output
from ..common.program import DONE, NO, complain
from ..common.typing import List, Optional, Tuple
from ..common.words import duration
from ..monitor.judge import Judgement
from ..monitor.verdict import Kind
from ..monitor.view import Direction, State
from .asking import parser, positive, read_secret, seconds
from .guest import REQUEST_TIMEOUT, STALE_AFTER, Asker, in_words

WITHIN = 30.0
"""Seconds that ``check`` waits.  A network that one script starts is complete in two or three."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between two questions, doubling: the answer of a large network is megabytes."""

LEAST_TRY = 0.5
"""Least seconds for the last question, so that ``check`` reports what the node says and not that it
had no time to answer."""

MANY = 100
"""Most directions that ``check`` lists; ``--json`` has all of them."""


def check(argv: List[str]) -> int:
    """Wait until all is well and everything is known.  Return ``NO`` if that takes too long."""
    options = parser(
        "check",
        "Wait until every node can dial every other one: for scripts, cron and CI.",
        "check 192.0.2.2:6000 --expect 12 --within 60",
    )
    add = options.add_argument
    add("--expect", type=positive, metavar="N", default=2, help="least number of nodes (2)")
    wait = "seconds to wait (%g)" % WITHIN
    add("--within", type=seconds(least=0), metavar="S", default=WITHIN, help=wait)
    add("--json", action="store_true", help="print the result as one JSON object")
    given = options.parse_args(argv)
    began = time.monotonic()
    deadline = began + given.within
    asker = Asker(given.address, given.network, "check", secret=read_secret(given))
    seen, problem = _wait_for_all(asker, given.expect, deadline)
    took = time.monotonic() - began
    judged = seen or Judgement([], STALE_AFTER)
    view = judged.view
    good = _is_good(judged, given.expect)
    out = Output(sys.stdout)
    if given.json:
        said = dict(
            judged.in_words(),
            ok=good,
            expected=given.expect,
            nodes=[view.node_as_dict(nodeid) for nodeid in sorted(view.fate)],
            directions=len(view.nodes) * (len(view.nodes) - 1),
            down=[
                {"from": one.source, "to": one.target, "state": one.state, "dial": one.dial}
                for one in not_up(judged)
            ],
            seconds=round(took, 3),
            problem=problem,
        )
        out.write(json.dumps(said))
    elif seen is None:
        complain("%s: %s; waited %s" % (given.address, problem, duration(took)))
    else:
        out.write("\n".join(_in_lines(judged, given.expect, problem, took)))
    return DONE if good else NO


def _is_good(judged: Judgement, expected: int) -> bool:
    return len(judged.view.nodes) >= expected and judged.ok and not judged.summary.pending


def not_up(judged: Judgement) -> List[Direction]:
    """Return every direction between two nodes that is not known to be up, in order of labels.

    Those of which nothing can be known are left out.
    """
    view, exempt = judged.view, judged.summary.gaps.exempt
    found = []
    ordered = sorted(view.nodes, key=view.label.__getitem__)
    for source, target in itertools.permutations(ordered, 2):
        unknown = Direction(source, target, State.UNKNOWN)
        direction = view.directions.get((source, target), unknown)
        if direction.state != State.UP and (source, target) not in exempt:
            found.append(direction)
    return found


def _in_lines(judged: Judgement, expected: int, problem: str, took: float) -> List[str]:
    """Return the answer, the verdicts, and the directions that are not up."""
    good, view = _is_good(judged, expected), judged.view
    said = "ok" if good else "not ok"
    lines = ["%s after %s: %s" % (said, duration(took), judged.summary.text())]
    if len(view.nodes) < expected:
        lines[0] += "; %d nodes are expected" % expected
    if problem:
        lines.append("the node does not answer any more: %s" % problem)
    lines += [verdict.text for verdict in judged.verdicts if verdict.kind != Kind.WELL]
    down = not_up(judged)
    for one in down[:MANY]:
        why = one.state
        if one.state == State.DOWN and one.dial in IN_WORDS:
            why = ": ".join(filter(None, (IN_WORDS[one.dial], WHYS.get(one.why))))
        lines.append("%s: %s" % (view.arrow(one.source, one.target), why))
    if len(down) > MANY:
        lines.append("... and %d more; --json has all" % (len(down) - MANY))
    return lines


def _wait_for_all(
    asker: Asker, expected: int, deadline: float
) -> Tuple[Optional[Judgement], str]:
    """Return what the last answer means, if there was one, and why the last question had none."""
    judged, problem, pause = None, "", FIRST_PAUSE
    while True:
        try:
            left = max(LEAST_TRY, deadline - time.monotonic())
            answer = asker.ask(min(REQUEST_TIMEOUT, left))
            judged, problem = Judgement(answer.rows, answer.stale_after), ""
            if _is_good(judged, expected):
                break
        except P2PError as error:
            problem = in_words(error)
        left = deadline - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE)
    asker.close()
    return judged, problem
