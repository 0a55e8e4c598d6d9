#!/usr/bin/env python3
"""Send a live node broken input, and check that it answers well and that nobody else notices.

    python3 scripts/fuzz.py --seed 7 --lines 200000             a node of this Python
    python3 scripts/fuzz.py --seed 7 --lines 200000 --python /usr/bin/python3.6
    python3 scripts/fuzz.py --seed 7 --only 4711                one conversation alone
    python3 scripts/fuzz.py --cases                             each kind of bad input, timed

The same seed sends the same bytes, apart from the node's nodeid and the ports.  All traffic stays
on this machine.  scripts/FUZZING.rst says more; the work is done in scripts/fuzzing.

Exit codes: 0 all is well, 1 something is not, 2 wrong usage.
"""

import argparse
import ipaddress
import os
import shutil
import signal
import sys
from typing import Tuple

from fuzzing.cases import run_cases
from fuzzing.isolation import enter_private_network
from fuzzing.loop import Options
from fuzzing.run import Run
from fuzzing.target import Target


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    given = read_arguments()
    if given.against is not None:
        where = "against %s:%d" % given.against
    elif enter_private_network():
        where = "%s, in a network of its own" % given.python
    else:
        where = "%s, in this machine's network" % given.python
    target = Target(given.seed, given.python, given.against)
    run = Run(target, Options(given.lines, given.connections, given.only))
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        print("seed %d, %s" % (given.seed, where), flush=True)
        run_cases(target) if given.cases else run.run()
    except KeyboardInterrupt:
        print("interrupted")
    except OSError as error:  # no descriptor is left, or --python cannot be run
        target.complain("cannot go on: %s" % error)
    finally:
        # What follows takes a moment, and a second Ctrl-C would spoil it.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        target.stop()
    if not given.cases:
        run.report()
    if target.failures:
        print("%d failed; seed %d" % (len(target.failures), given.seed))
        return 1
    print("all is well; seed %d" % given.seed)
    return 0


def read_arguments() -> argparse.Namespace:
    """Return the checked command line; ends the program with 2 if it makes no sense."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seed", type=int, default=0, metavar="N", help="decides what is sent (0)")
    add("--lines", type=int, default=20000, metavar="M", help="how many to send (20000)")
    add("--connections", type=int, default=24, metavar="K", help="at once, 1 to 200 (24)")
    add("--python", default=sys.executable, metavar="PATH", help="runs the node (this Python)")
    add("--only", type=int, metavar="N", help="hold only that conversation of the seed")
    add("--cases", action="store_true", help="send each kind of bad input alone, and time it")
    add(
        "--against",
        type=loopback,
        metavar="HOST:PORT",
        help="test a node that runs on this machine already; its process is not watched",
    )
    given = parser.parse_args()
    if given.lines < 1:
        parser.error("--lines %d is too few; at least 1" % given.lines)
    if not 1 <= given.connections <= 200:
        parser.error("--connections %d is not in 1 to 200" % given.connections)
    if shutil.which(given.python) is None:
        parser.error("--python %s is no program" % given.python)
    return given


def loopback(text: str) -> Tuple[str, int]:
    """Return ``127.0.0.1:PORT`` as a pair; an error for anything beyond this machine."""
    host, _, port = text.rpartition(":")
    if not ipaddress.ip_address(host).is_loopback:
        raise argparse.ArgumentTypeError("%s must be a loopback address: traffic stays here" % host)
    if not 1 <= int(port) <= 65535:
        raise ValueError(text)
    return host, int(port)


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
