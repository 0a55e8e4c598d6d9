"""The options of the program: one table, from which the command line is read and ``--help`` made.

``argparse`` knows every way in which a command line can be written or be wrong, and says so;
importing it and setting it up is also a fifth of the whole start.  So ``read_plainly`` reads what
nearly everyone types, ``--name value`` and ``--name=value``, and leaves everything else to
``usage``, which is argparse over the same table.  The tests hold the two against each other.
"""

import os
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from .. import __commit__, __version__
from ..common.errors import CannotStart, UsageError


class Option(NamedTuple):
    """``--name METAVAR``; a flag if it has no ``metavar``, a list if ``repeats``.

    ``read`` makes a value of a text, or raises ``ValueError``.
    """

    name: str
    metavar: Optional[str]
    help: str
    read: Callable[[str], Any] = str
    repeats: bool = False
    choices: Tuple[str, ...] = ()

    @property
    def setting(self) -> str:
        """``ping_interval`` for ``--ping-interval``."""
        return self.name[2:].replace("-", "_")


LEVELS = ("debug", "info", "warning", "error", "critical")

OPTIONS = (
    Option("--port", "N", "listening TCP port (6000); 0 picks a free one", int),
    Option("--bind", "ADDR", "address to listen on (all, IPv6 and IPv4)"),
    Option(
        "--bootstrap",
        "HOST:PORT",
        "a node to begin with; repeat it or separate by comma; HOST alone means our own port",
        repeats=True,
    ),
    Option("--advertise", "HOST:PORT", "the address that others should dial (found out)"),
    Option("--name", "LABEL", "what to call this node (the host name)"),
    Option("--network", "NAME", "nodes of other networks are refused (none)"),
    Option("--ping-interval", "S", "seconds between pings (60)", float),
    Option("--ping-timeout", "S", "a peer without pong is dropped (20)", float),
    Option("--probe-interval", "S", "seconds between test dials (60)", float),
    Option("--max-peers", "N", "peers at the most (256)", int),
    Option("--max-rate", "N", "messages a second from each (200; 0: any)", float),
    Option("--peers-file", "PATH", "where to keep the address book (nowhere)"),
    Option("--http", "[HOST:]PORT", "status page and metrics (off); loopback if HOST is not given"),
    Option("--json", None, "events as JSON lines"),
    Option("--trace", None, "every line on the wire, to stderr"),
    Option("--log-level", "LEVEL", ", ".join(LEVELS) + "; to stderr (warning)", choices=LEVELS),
)


def read_plainly(words: List[str]) -> Optional[Dict[str, Any]]:
    """Every setting by name, ``None`` if it was not given; or ``None`` if argparse should look.

    It should for ``--help``, and for all that is unusual or wrong.
    """
    options = {option.name: option for option in OPTIONS}
    found: Dict[str, Any] = {
        option.setting: False if option.metavar is None else None for option in OPTIONS
    }
    rest = iter(words)
    for word in rest:
        name, equals, text = word.partition("=")
        option = options.get(name)
        if option is None:
            return None
        if option.metavar is None:
            if equals:
                return None
            found[option.setting] = True
            continue
        if not equals:
            text = next(rest, "-")  # at the end nothing is left, which looks as wrong as an option
            if text.startswith("-"):
                return None
        if option.choices and text not in option.choices:
            return None
        try:
            value = option.read(text)
        except ValueError:
            return None
        if option.repeats:
            found[option.setting] = (found[option.setting] or []) + [value]
        else:
            found[option.setting] = value
    return found


def expand_files(argv: List[str]) -> List[str]:
    """Replace each ``@file`` by the options in it, one a line; ``#`` begins a comment.

    Raises ``CannotStart`` if it cannot be read, ``UsageError`` if it makes no sense.
    """
    found: List[str] = []
    for word in argv:
        if not word.startswith("@"):
            found.append(word)
            continue
        import shlex  # few have such a file

        try:
            with open(word[1:], encoding="utf-8") as file:
                text = file.read(1000000)
            found.extend(shlex.split(text, comments=True))
        except OSError as error:
            raise CannotStart("cannot read %s: %s" % (word[1:], error.strerror)) from error
        except ValueError as error:  # not UTF-8, or a quote that does not end
            raise UsageError(word, str(error)) from error
    return found


def as_typed(word: str) -> str:
    """Undo what Python does to arguments outside ASCII where the locale is plain ``C``."""
    try:
        return os.fsencode(word).decode("utf-8")
    except UnicodeError:
        return word


def program() -> str:
    """How to run the same program elsewhere: ``python3 -m p2p_plain``, or the one file."""
    return "python3 " + (one_file() or "-m p2p_plain")


def one_file() -> str:
    """The name of the file that the whole program is in; empty if it is in a folder."""
    # What our package is in: a folder, or an archive, which is a file.
    place = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    return os.path.basename(place) if os.path.isfile(place) else ""


def version() -> str:
    """``p2p_plain 1.2.3``; in the one file also the commit that it was made from."""
    made = "p2p_plain " + __version__
    return "%s (%s)" % (made, __commit__) if __commit__ else made
