"""What the commands that ask a running node share: their options, and what they call the node.

Nothing here judges an answer, so ``ping`` need not import what judges a network.  Main thread only.
"""

from argparse import ArgumentTypeError, Namespace
from importlib import import_module

from ..common import config
from ..common.config import DEFAULT_PORT, Config, dialable
from ..common.errors import UsageError
from ..common.escape import printable
from ..common.options import Parser, as_typed, number, program, whole_number
from ..common.typing import TYPE_CHECKING, Any, Callable, Optional
from ..node.messages import Hello
from ..terminal.event_lines import SHORT_ID

if TYPE_CHECKING:
    from ..node.handshake import Secret


def parser(command: str, description: str, example: str) -> Parser:
    """Return a parser that takes ``HOST:PORT`` and ``--network``, and whose help has an example."""
    made = Parser(
        "%s %s" % (program(), command),
        description + "\nDefaults are in parentheses.",
        "example:\n  %s %s" % (program(), example),
    )
    made.add_argument(
        "address",
        type=_as_setting(lambda text: dialable("", text, DEFAULT_PORT)),
        metavar="HOST:PORT",
        help="the node to ask; HOST alone means port %d" % DEFAULT_PORT,
    )
    network = _as_setting(lambda text: Config(network=text).network)
    help = "the node's network (none)"
    made.add_argument("--network", type=network, metavar="NAME", default="", help=help)
    file = _as_setting(lambda text: Config(secret_file=text).secret_file[0])
    help = "the network's key, if it is for members only (none)"
    made.add_argument("--secret-file", type=file, action="append", metavar="PATH", help=help)
    return made


def read_secret(given: Namespace) -> "Optional[Secret]":
    """Return the keys of ``--secret-file``, if it was given.  Raises ``CannotStart``."""
    if not given.secret_file:
        return None
    # Imported only where it is wanted: cryptography takes 3 ms.
    secret: "Secret" = import_module("p2p_plain.node.handshake").Secret(given.secret_file)
    return secret


def seconds(least: float = 0.001) -> Callable[[str], float]:
    """Return the ``type`` of an option that takes at least so many seconds."""
    return _as_setting(lambda text: config.seconds("", number(text), least))


def positive(text: str) -> int:
    """Read an option that counts something: the ``type`` of that option."""
    value = whole_number(text)
    if not 1 <= value <= 1000000000:
        raise ArgumentTypeError("%s is not a number of 1 or more" % text)
    return value


def _as_setting(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return the ``type`` of an option that ``read`` converts.  It may raise ``UsageError``."""

    def convert(text: str) -> Any:
        try:
            return read(as_typed(text))
        except UsageError as error:
            raise ArgumentTypeError(error.problem) from error

    return convert


def who(hello: Hello) -> str:
    """Return ``alpha 176571dc``, a node's name and the beginning of its nodeid."""
    return " ".join(filter(None, (printable(hello.name or "", 64), hello.nodeid[:SHORT_ID])))
