"""The command line read by argparse: ``--help``, ``--version``, and what is wrong with the rest.

Imported only when ``options.read_plainly`` does not know what to make of a command line.
"""

import argparse
import sys
from typing import Any, Dict, List, NoReturn

from ..common.errors import UsageError
from ..terminal.output import Output
from .options import OPTIONS, program, version

EXAMPLES = """\
examples:
  {program} --port 6000
  {program} --port 6001 --bootstrap 127.0.0.1:6000
  {program} @node.args        (options from a file, one a line)

Runs until SIGINT (Ctrl-C) or SIGTERM.

commands that ask a running node (each has --help):
  {program} ping HOST:PORT       how long it takes to answer
  {program} matrix HOST:PORT     who can reach whom, and what is wrong
  {program} check HOST:PORT      wait until all can: for scripts, cron and CI
  {program} watch HOST:PORT      the same, live

to see what nodes say to each other, and learn sockets from it:
  {program} tour                 three nodes on this machine, scene by scene

documents (the wire, the library, the status page, services, the architecture ...):
  {program} help                 their list; help NAME prints one

Exit codes: 0 done, or stopped by a signal; 1 the answer is no; 2 wrong usage; 3 cannot start.
"""


class Parser(argparse.ArgumentParser):
    """argparse that says in one line what is wrong, and survives a full disk."""

    def _print_message(self, message: str, file: Any = None) -> None:
        Output(file or sys.stdout).write(message.rstrip("\n"))

    def error(self, message: str) -> NoReturn:
        """Raise ``UsageError``, naming the option if there is one."""
        what, colon, problem = message.partition(": ")
        if colon and what.startswith("argument "):
            raise UsageError(what[len("argument ") :], problem)
        raise UsageError("", message)


def read_fully(words: List[str]) -> Dict[str, Any]:
    """Every setting by name, ``None`` if it was not given.

    Raises ``UsageError``, or ``SystemExit`` after ``--help`` and ``--version``.
    """
    parser = Parser(
        prog="p2p_plain",
        # argparse formats it with %.
        usage=program().replace("%", "%%") + " [command] [options]",
        description="A peer-to-peer node: finds every other node and watches it.",
        epilog=EXAMPLES.format(program=program()),
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=26
        ),
        allow_abbrev=False,
    )
    for option in OPTIONS:
        if option.metavar is None:
            parser.add_argument(option.name, action="store_true", help=option.help)
        else:
            parser.add_argument(
                option.name,
                action="append" if option.repeats else "store",
                type=option.read,
                metavar=option.metavar,
                choices=option.choices or None,
                help=option.help,
            )
    parser.add_argument("--version", action="version", version=version())
    return vars(parser.parse_args(words))
