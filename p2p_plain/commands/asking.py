"""What the commands that ask a running node have in common: their words, and how they complain.

No answer is looked at here, so that ``ping`` need not import what judges a whole network.  Main
thread only.
"""

import argparse
import sys
from typing import Optional, Tuple

from ..common.address import Address
from ..common.config import DEFAULT_PORT, Config, dialable
from ..common.errors import UsageError
from ..common.options import Parser, as_typed, program
from ..common.output import Output
from ..node.codec import printable
from ..node.messages import Hello
from ..terminal.event_lines import SHORT_ID

YES, NO = 0, 1
"""Exit codes."""


def parser(command: str, description: str, example: str) -> argparse.ArgumentParser:
    """What all of these commands take: ``HOST:PORT``, ``--network``, ``--help`` with an example."""
    made = Parser(
        "%s %s" % (program(), command), description, "example:\n  %s %s" % (program(), example)
    )
    made.add_argument(
        "address", metavar="HOST:PORT", help="any node; HOST alone means port %d" % DEFAULT_PORT
    )
    made.add_argument("--network", metavar="NAME", default="", help="the node's network (none)")
    return made


def target(given: argparse.Namespace) -> Tuple[Address, str]:
    """The node's address and its network.  Raises ``UsageError``."""
    try:
        address = dialable("", as_typed(given.address), DEFAULT_PORT)
    except UsageError as error:
        raise UsageError("", error.problem) from error
    return address, Config(network=as_typed(given.network)).network


def seconds(option: str, value: float, least: float = 0.001) -> float:
    """``value`` if it is a time that can be waited for.  Raises ``UsageError``."""
    if not least <= value <= 1e9:  # NaN neither
        raise UsageError(option, "%g is not a time in seconds; at least %g" % (value, least))
    return value


def positive(option: str, value: Optional[int]) -> Optional[int]:
    """``value`` if it counts something.  Raises ``UsageError``."""
    if value is not None and not 1 <= value <= 1000000000:
        raise UsageError(option, "%d is not a number of 1 or more" % value)
    return value


def complain(address: Address, problem: str) -> None:
    """One line on stderr: what is wrong with the node that was asked."""
    Output(sys.stderr).write("p2p_plain: %s: %s" % (printable(str(address), 300), problem))


def who(hello: Hello) -> str:
    """``alpha 176571dc``."""
    return " ".join(filter(None, (printable(hello.name or "", 64), hello.nodeid[:SHORT_ID])))
