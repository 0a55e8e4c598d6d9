"""The command line: the parser that every command uses, and the options of a node.

``python3 -m p2p_plain`` and ``python3 -m p2p_plain.node`` both take the options that
``add_node_options`` and ``add_output_options`` define.  Main thread only.
"""

import argparse
import functools
import os
import re
import sys

from .. import __commit__, __version__
from .errors import CannotStart, UsageError
from .output import Output
from .typing import Any, Dict, List, NoReturn

# argparse asks for translations of its own words.  There are none, and that takes 1 of the 45 ms of a
# start.
argparse._ = str  # type: ignore[attr-defined]

LEVELS = ("debug", "info", "warning", "error", "critical")


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that raises ``UsageError`` and survives a full disk under stdout."""

    def __init__(self, prog: str, description: str, epilog: str, usage: str = "") -> None:
        # argparse would import shutil to learn the width: 4 of the 60 ms of a start.
        width = (Output(sys.stdout).columns() or 80) - 2
        super().__init__(
            prog=prog,
            usage=usage.replace("%", "%%") or None,  # argparse formats it with %
            description=description,
            epilog=epilog,
            formatter_class=functools.partial(
                argparse.RawDescriptionHelpFormatter, max_help_position=26, width=width
            ),
            allow_abbrev=False,
        )

    def settings(self, words: List[str]) -> Dict[str, Any]:
        """Return the options given in ``words``: ``ping_interval`` for ``--ping-interval``.

        Raises ``UsageError``, or ``SystemExit`` after ``--help`` and ``--version``.
        """
        given = vars(self.parse_args(words))
        return {name: value for name, value in given.items() if value is not None}

    def _print_message(self, message: str, file: Any = None) -> None:
        Output(file or sys.stdout).write(message.rstrip("\n"))

    def error(self, message: str) -> NoReturn:
        """Raise ``UsageError`` with the option's name, where argparse gives one."""
        found = re.match(r"argument (\S+): (.*)", message, re.DOTALL)
        name, problem = found.groups() if found else ("", message)
        raise UsageError(name if name.startswith("-") else "", problem)


def whole_number(text: str) -> int:
    """Read the value of an option: the ``type`` of that option."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError("%r is not a whole number" % text) from None


def number(text: str) -> float:
    """Read the value of an option: the ``type`` of that option."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError("%r is not a number" % text) from None


def add_node_options(parser: argparse.ArgumentParser) -> None:
    """Add the settings of the article's node, as ``Config`` names them."""
    add = parser.add_argument
    add("--port", type=whole_number, metavar="N", help="listening TCP port (6000); 0 picks a free one")
    add("--bind", metavar="ADDR", help="address to listen on (all, IPv6 and IPv4)")
    first = "a node to dial first; repeat it or separate by comma; HOST alone means our own port"
    add("--bootstrap", action="append", metavar="HOST:PORT", help=first)
    add("--advertise", metavar="HOST:PORT", help="the address that others should dial (found out)")
    add("--name", type=as_typed, metavar="LABEL", help="what to call this node (the host name)")
    add("--network", type=as_typed, metavar="NAME", help="nodes of other networks are refused (none)")
    add("--ping-interval", type=number, metavar="S", help="seconds between pings (60)")
    add("--ping-timeout", type=number, metavar="S", help="a peer without pong is dropped (20)")
    add("--max-peers", type=whole_number, metavar="N", help="most peers at a time (256)")
    add("--max-per-ip", type=whole_number, metavar="N", help="most connections from one address (32)")
    add("--max-rate", type=number, metavar="N", help="messages a second from each peer (200; 0: any)")
    add("--peers-file", metavar="PATH", help="where to keep the address book (nowhere)")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add what a node that runs as a program prints, and ``--version``.

    ``program.take_output_options`` separates them from the settings of the node.
    """
    add = parser.add_argument
    add("--json", action="store_true", help="print events as JSON lines")
    add("--trace", action="store_true", help="print every line on the wire to stderr")
    levels = "%s; to stderr (warning)" % ", ".join(LEVELS)
    add("--log-level", choices=LEVELS, metavar="LEVEL", help=levels)
    add("--version", action="version", version=version(), help="print the version")


def expand_files(argv: List[str]) -> List[str]:
    """Return ``argv`` with each ``@file`` replaced by the options in it; ``#`` begins a comment.

    Raises ``CannotStart`` if a file cannot be read, ``UsageError`` if it cannot be understood.
    """
    found: List[str] = []
    for word in argv:
        if not word.startswith("@"):
            found.append(word)
            continue
        try:
            with open(word[1:], encoding="utf-8") as file:
                text = file.read(1000000)
            import shlex  # only such files need it

            found.extend(shlex.split(text, comments=True))
        except OSError as error:
            raise CannotStart("cannot read %s: %s" % (word[1:], error.strerror)) from error
        except ValueError as error:  # not UTF-8, or a quote that does not end
            raise UsageError(word, str(error)) from error
    return found


def as_typed(word: str) -> str:
    """Return an argument as the user typed it, also outside ASCII in the plain ``C`` locale."""
    try:
        return os.fsencode(word).decode("utf-8")
    except UnicodeError:
        return word


def program() -> str:
    """Return the command that runs us: ``python3 -m p2p_plain``, the one file, or ``p2p-plain``."""
    if os.path.basename(sys.argv[0]).startswith("p2p-plain"):  # pip made it; .exe on Windows
        return "p2p-plain"
    return "python3 " + (one_file() or "-m p2p_plain")


def one_file() -> str:
    """Return the name of the archive that holds the whole program; empty if it is in a folder."""
    place = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    return os.path.basename(place) if os.path.isfile(place) else ""


def version() -> str:
    """Return ``p2p_plain 1.2.3``, and in the one file also the commit that it was made from."""
    made = "p2p_plain " + __version__
    return "%s (%s)" % (made, __commit__) if __commit__ else made
