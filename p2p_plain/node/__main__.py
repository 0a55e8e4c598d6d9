"""``python3 -m p2p_plain.node``: the article's node alone, a member of any network of ours.

It bootstraps, says hello, pings, finds other nodes, and reports the same events.  It holds every
rule of the wire but those about rows: it measures nothing for the matrix, answers no ``getlinks``
and reads no ``links``.  Others measure it, and show ``no row`` for its own view.  It serves no page.
"""

import sys

from ..common.config import Config
from ..common.options import Parser, add_node_options, add_output_options
from ..common.program import main, run_node, take_output_options
from ..common.typing import List
from .node import Node

EPILOG = """\
examples:
  python3 -m p2p_plain.node --port 6000
  python3 -m p2p_plain.node --port 6001 --bootstrap 127.0.0.1:6000
"""


def run(words: List[str]) -> int:
    """Run a node until a stop signal.  Return the exit code."""
    parser = Parser("python3 -m p2p_plain.node", "The node of the article, alone.", EPILOG)
    add_node_options(parser)
    add_output_options(parser)
    settings = parser.settings(words)
    output = take_output_options(settings)
    return run_node(Node(Config(**settings)), output)


if __name__ == "__main__":
    sys.exit(main(run, sys.argv[1:]))
