"""``matrix HOST:PORT``: which node can reach which, and what is wrong, as one node knows it.

Main thread only; Ctrl-C and SIGTERM arrive as ``KeyboardInterrupt``.
"""

import json
import shutil
import sys

from ..common.errors import P2PError
from ..common.output import Output
from ..common.program import DONE, NO, complain
from ..common.typing import List
from ..monitor.judge import Judgement
from ..terminal.matrix_table import draw
from .asking import parser, positive, read_secret
from .guest import Asker, in_words

PIPE_WIDTH = 200
"""Columns of the matrix where stdout is not a terminal."""


def matrix(argv: List[str]) -> int:
    """Print the matrix and the verdicts.  Return ``NO`` if the node does not answer."""
    options = parser(
        "matrix",
        "Which node can reach which, how fast, and what is wrong, as one node knows it.",
        "matrix 192.0.2.2:6000",
    )
    add = options.add_argument
    add("--width", type=positive, metavar="N", help="characters in a line of the table (the terminal's)")
    add("--json", action="store_true", help="print everything as one JSON object")
    given = options.parse_args(argv)
    asker = Asker(given.address, given.network, "matrix", secret=read_secret(given))
    try:
        answer = asker.ask()
    except P2PError as error:
        complain("%s: %s" % (given.address, in_words(error)))
        return NO
    finally:
        asker.close()
    judged = Judgement(answer.rows, answer.stale_after)
    view = judged.view
    out = Output(sys.stdout)
    if given.json:
        nodes = [view.node_as_dict(nodeid) for nodeid in sorted(view.fate)]
        out.write(json.dumps(dict(judged.as_dict(), nodes=nodes)))
    else:
        terminal = sys.stdout is not None and sys.stdout.isatty()
        columns = shutil.get_terminal_size().columns if terminal else PIPE_WIDTH
        drawn = draw(view, given.width or columns, out.colour, out.encoding)
        out.write("\n".join([*drawn, "", *(verdict.text for verdict in judged.verdicts)]))
    if out.problem:  # a reader of that file must not take a part for the answer
        complain("cannot write the answer: %s" % out.problem)
    return NO if out.problem else DONE
