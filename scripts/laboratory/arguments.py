"""What the command lines of ``lab.py`` and ``soak.py`` have in common."""

import argparse
import os
import shutil
import sys
from typing import Any, List

from .errors import WrongUsage
from .steps import split_words


class Parser(argparse.ArgumentParser):
    """Has ``--python`` and ``--node``, and raises ``WrongUsage``, which is one line."""

    def __init__(self, node: str, node_help: str, **how: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **how)
        self.add_argument("--node", default=node, metavar="OPTIONS", help=node_help)
        self.add_argument(
            "--python", default=sys.executable, metavar="PATH", help="the Python that runs the nodes"
        )

    def read(self, argv: List[str]) -> argparse.Namespace:
        """Return the arguments, with ``node`` in words and ``python`` as an absolute path."""
        if "--node" in argv[:-1]:
            # argparse would take a single option in the next argument for one of its own.
            at = argv.index("--node")
            argv = argv[:at] + ["--node=" + argv[at + 1]] + argv[at + 2 :]
        options = self.parse_args(argv)
        python = shutil.which(options.python)
        if python is None:
            raise WrongUsage("--python %s: there is no such program" % options.python)
        options.python = os.path.abspath(python)
        options.node = split_words(options.node)
        return options

    def error(self, message: str) -> Any:
        """Called by argparse."""
        raise WrongUsage(message + "; see --help")
