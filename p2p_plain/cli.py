"""The command line: which command is meant, and what to say of one that fails.

Exit codes: 0 done or stopped by a signal, 1 the answer is no, 2 wrong usage, 3 cannot start.
Whatever goes wrong is one line on stderr that says what, and what to do.

Here, and only here, modules of the package are imported inside functions: nobody should wait for
what another command needs.  (Of the standard library's a few are elsewhere, too.)  In the one file
(``scripts/build.py``) that is most of the start, since Python compiles anew whatever it imports from
there.
"""

import gc
import sys
from typing import List, Optional

from .commands.options import expand_files, read_plainly, version
from .common.errors import CannotStart, UsageError
from .terminal.output import Output, finish, let_go

DONE, NO, WRONG_USAGE, CANNOT_START = 0, 1, 2, 3

COMMANDS = ("ping", "matrix", "check", "watch", "tour", "help")
"""First words that do something else than to run a node: most of them ask one."""


def main(argv: Optional[List[str]] = None) -> int:
    """Run the program; the exit code."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except UsageError as error:
        where = _option(error.setting) + ": " if error.setting else ""
        _complain("%s%s; see --help" % (where, error.problem))
        return WRONG_USAGE
    except CannotStart as error:
        _complain(str(error))
        return CANNOT_START
    except KeyboardInterrupt:  # before there was anything to stop
        let_go(sys.stdout)
        return DONE
    finally:
        finish(sys.stdout)


def _complain(text: str) -> None:
    """One line on stderr, if there is one."""
    from .node.codec import printable

    if sys.stderr is not None:
        Output(sys.stderr).write("p2p_plain: " + printable(text, 1000))


def _option(setting: str) -> str:
    return setting if setting.startswith(("-", "@")) else "--" + setting.replace("_", "-")


def _run(argv: List[str]) -> int:
    words = expand_files(argv)
    if words == ["--version"]:
        Output(sys.stdout).write(version())
        return DONE
    from .terminal.signals import Held, treat_all_like_ctrl_c

    treat_all_like_ctrl_c()
    if words and not words[0].startswith("-"):
        return _command(words[0], words[1:])
    options = read_plainly(words)
    if options is None:
        with Held():
            from .commands.usage import read_fully
        options = read_fully(words)
    # Of what is imported nothing is thrown away: to look for it again and again takes 1.5 ms of 42.
    gc.disable()
    with Held():
        from .commands.run import run
    gc.enable()
    run(options)
    return DONE


def _command(word: str, rest: List[str]) -> int:
    from .terminal.signals import Held

    if word not in COMMANDS:
        found = ", ".join(COMMANDS)
        raise UsageError("", "there is no command %r; the commands are %s" % (word, found))
    try:
        with Held():
            if word == "watch":
                from .commands.watch import watch as command
            elif word == "tour":
                from .tour.tour import tour as command
            elif word == "help":
                from .commands.help import help_on as command
            elif word == "ping":
                from .commands.ping import ping as command
            elif word == "check":
                from .commands.check import check as command
            else:
                from .commands.check import matrix as command
        return command(rest)
    except KeyboardInterrupt:
        let_go(sys.stdout)  # if it was that which took so long
        return NO  # the question has no answer
