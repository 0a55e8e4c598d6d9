"""What the command lines of ``lab.py`` and ``soak.py`` have in common."""

import argparse
import functools
import os
import re
import shutil
from typing import Any, Callable, Dict, List, Optional

from .errors import WrongUsage
from .steps import split_words


class Parser(argparse.ArgumentParser):
    """Has ``--python``, ``--folder`` and ``--node``, and raises ``WrongUsage``, which is one line."""

    def __init__(self, node: str, node_help: str, **how: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **how)
        self.add_argument("--node", default=node, metavar="OPTIONS", help=node_help)
        add = functools.partial(self.add_argument, action="append", default=[])
        python = "the Python that runs the nodes, all or those of HOSTS (this one); repeat it"
        add("--python", metavar="[HOSTS=]PATH", help=python)
        folder = "the folder with the p2p_plain that they run (this one); repeat it"
        add("--folder", metavar="[HOSTS=]PATH", help=folder)

    def read(self, argv: List[str]) -> argparse.Namespace:
        """Return the arguments, with ``node`` in words, and ``python`` and ``folder`` by host."""
        if "--node" in argv[:-1]:
            # argparse would take a single option in the next argument for one of its own.
            at = argv.index("--node")
            argv = argv[:at] + ["--node=" + argv[at + 1]] + argv[at + 2 :]
        options = self.parse_args(argv)
        options.python = _by_host("--python", options.python, shutil.which, "program")
        options.folder = _by_host("--folder", options.folder, _with_program, "p2p_plain")
        options.node = split_words(options.node)
        return options

    def error(self, message: str) -> Any:
        """Called by argparse."""
        raise WrongUsage(message + "; see --help")


def _by_host(
    option: str, given: List[str], find: Callable[[str], Optional[str]], what: str
) -> Dict[str, str]:
    """Return an absolute path for each host that is named, and under "" the one for all others."""
    paths: Dict[str, str] = {}
    for word in given:
        hosts, path = re.match(r"(?:((?:[fhn][0-9]+,?)+)=)?(.*)", word).groups("")  # type: ignore[union-attr]
        found = find(path)
        if found is None:
            raise WrongUsage("%s %s: there is no such %s" % (option, word, what))
        paths.update(dict.fromkeys(hosts.split(","), os.path.abspath(found)))
    return paths


def _with_program(folder: str) -> Optional[str]:
    return folder if os.path.exists(os.path.join(folder, "p2p_plain", "__main__.py")) else None
