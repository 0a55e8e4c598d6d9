"""The command line of ``python3 -m p2p_plain``: runs a node, or the command that the first word names.

Exit codes: 0 done or stopped by a signal, 1 the answer is no, 2 wrong usage, 3 cannot start.

Only here are modules of the package imported inside functions, so that no command waits for the
imports of another one: ``ping`` needs no node, and a node needs no tour.
"""

import gc
import sys
from importlib import import_module

from .common.errors import UsageError
from .common.options import Parser, add_node_options, add_output_options, number, program
from .common.program import main as run_program
from .common.signals import undisturbed
from .common.typing import Any, List, Optional

COMMANDS = {
    "ping": "commands.ping.ping",
    "matrix": "commands.matrix.matrix",
    "check": "commands.check.check",
    "watch": "commands.watch.watch",
    "tour": "tour.tour.tour",
    "keygen": "commands.keygen.keygen",
    "help": "commands.help.help_on",
}
"""The function of each command.  It takes the words after the command, and returns the exit code."""

EPILOG = """\
examples:
  {program} --port 6000
  {program} --port 6001 --bootstrap 127.0.0.1:6000
  {program} @node.args        (options from a file, one a line)

Runs until SIGINT (Ctrl-C), SIGTERM or SIGHUP (the terminal is gone).

commands that ask a running node (each has --help):
  {program} ping HOST:PORT       how long it takes to answer
  {program} matrix HOST:PORT     which can reach which, and what is wrong
  {program} check HOST:PORT      wait until all can: for scripts, cron and CI
  {program} watch HOST:PORT      the same, live

for a network that keeps strangers out:
  {program} keygen FILE          make a file with a new key

to learn from:
  {program} tour                 three nodes on this machine, scene by scene
  {program} help                 the documents: the wire, the library, events ...

Exit codes: 0 done, or stopped by a signal; 1 the answer is no; 2 wrong usage; 3 cannot start.
"""


def main(argv: Optional[List[str]] = None) -> int:
    """Run the program.  Return its exit code."""
    return run_program(_run, sys.argv[1:] if argv is None else argv)


def node_parser() -> Parser:
    """Return the parser of a command line that names no command: one that runs a node."""
    parser = Parser(
        program(),
        "A peer-to-peer node: finds every other node and watches it.\nDefaults are in parentheses.",
        EPILOG.format(program=program()),
        usage=program() + " [command] [options]",
    )
    add_node_options(parser)
    parser.add_argument(
        "--probe-interval", type=number, metavar="S", help="seconds between test dials (60)"
    )
    secret = "a key that all nodes of the network must have (none); see keygen"
    parser.add_argument("--secret-file", action="append", metavar="PATH", help=secret)
    parser.add_argument(
        "--http",
        metavar="[HOST:]PORT",
        help="status page and metrics (off); loopback if HOST is not given",
    )
    add_output_options(parser)
    return parser


def _run(words: List[str]) -> int:
    if not words or words[0].startswith("-"):
        settings = node_parser().settings(words)
        return int(_imported("commands.run.run")(settings))
    command = words[0]
    if command not in COMMANDS:
        known = ", ".join(COMMANDS)
        raise UsageError("", "there is no command %r; the commands are %s" % (command, known))
    return int(_imported(COMMANDS[command])(words[1:]))


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    found = undisturbed(lambda: getattr(import_module("p2p_plain." + module), name))
    if not gc.isenabled():  # see __main__
        gc.freeze()  # the first search after ``enable`` would go through all that was imported
        gc.enable()
    return found
