#!/usr/bin/env python3
r"""A laboratory: hosts, switches and a router inside this machine, with a node on each host.

The program builds them from network namespaces and virtual cables, starts ``python -m p2p_plain``
on each host, takes the steps that its arguments name, and shows what each node reports:

    python3 scripts/lab.py --hosts 6 --node "--ping-interval 2 --ping-timeout 1" \
        mesh "split h4,h5,h6" apart show heal mesh

Steps are taken one after the other.  Without any, the program asks for steps, or reads them from
standard input: one a line, ``#`` for comments.  Everything ends with the program, however that
ends.  ``scripts/LABORATORY.rst`` has a drawing and examples.
"""

import argparse
import shlex
import sys
from typing import List

from laboratory.arguments import Parser
from laboratory.errors import DONE, INTERRUPTED, Failed, Problem, WrongUsage
from laboratory.lab import Lab
from laboratory.network import MAX_HOSTS, REJECTIONS, ROUTER
from laboratory.private_world import enter_private_world
from laboratory.show import Show
from laboratory.steps import IMPOSTORS, Step, read_step, read_steps, split_words, steps_help

EXAMPLE = """
    --quiet --hosts 5 --behind-nat 1 --node "--ping-interval 3 --ping-timeout 3 --probe-interval 2"
    mesh "narrow h4 64kbit" "drop h3" "restart h4" "wait 21" "ask h1 matrix"
"""
"""What ``--example`` stands for.  The restart discards what was measured before the line was slow."""


def main(argv: List[str]) -> int:
    """Build the laboratory, take the steps, tidy up, and return the exit code."""
    try:
        options = read_arguments(argv[1:])
        enter_private_world()
        ask = not options.steps and sys.stdin.isatty()
        if not options.steps and not ask:
            options.steps = read_steps(sys.stdin, devices(options), "line %d: ")
        with Lab(
            options.hosts,
            options.behind_nat,
            options.far,
            options.ipv6_only,
            not options.no_nodes,
            options.node,
            options.python,
            options.folder,
            Show(options.json, options.quiet, options.all),
        ) as lab:
            return converse(lab) if ask else perform(lab, options.steps)
    except Problem as problem:
        complain(str(problem))
        return problem.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


def read_arguments(argv: List[str]) -> argparse.Namespace:
    """Return the command line, checked.  Raises ``WrongUsage``."""
    parser = Parser(
        node="",
        node_help="more options for every node, in one argument",
        prog="lab.py",
        description=__doc__,
        epilog="steps:\n" + steps_help() + EPILOG,
    )
    add = parser.add_argument
    add("steps", nargs="*", metavar="STEP", help="what to do, one argument each; see below")
    add("--hosts", type=int, default=4, metavar="N", help="hosts h1 to hN (4)")
    add("--behind-nat", type=int, default=0, metavar="K", help="hosts n1 to nK behind a router (0)")
    far = "hosts f1 to fM in a second network, where h1 has a cable too (0)"
    add("--far", type=int, default=0, metavar="M", help=far)
    add("--no-nodes", action="store_true", help="start no node; the step `start` does")
    add("--ipv6-only", action="store_true", help="no host has an IPv4 address")
    add("--json", action="store_true", help="print JSON lines")
    add("--quiet", action="store_true", help="do not show the nodes' events")
    add("--all", action="store_true", help="show round-trip times too")
    add("--example", action="store_true", help="a matrix of six hosts with three verdicts")
    if "--example" in argv:
        at = argv.index("--example")
        argv = argv[:at] + shlex.split(EXAMPLE) + argv[at + 1 :]
    options = parser.read(argv)
    if options.hosts < 1 or options.behind_nat < 0 or options.far < 0:
        raise WrongUsage("--hosts must be at least 1, --behind-nat and --far at least 0")
    if options.hosts + options.behind_nat + options.far > MAX_HOSTS:
        raise WrongUsage("there can be at most %d hosts in all" % MAX_HOSTS)
    if options.behind_nat and options.ipv6_only:
        raise WrongUsage("--behind-nat needs IPv4, so not together with --ipv6-only")
    options.steps = read_steps(options.steps, devices(options))
    return options


EPILOG = """

HOST is a name such as h1, HOSTS several names: h1,h2.  CABLES are those of hosts or of the router.
An EVENT and its FIELDs are those that `python3 -m p2p_plain --json` prints.
A VERDICT is `well`, `broken`, or a kind of verdict, as in `matrix --json`.
An ANSWER is one of:
    %s
An impostor's KIND is one of:
%s

exit codes: 0; 1 an expectation failed, or a node did not end well; 2 wrong usage;
3 the laboratory cannot be built here; 130 interrupted""" % (
    ", ".join(REJECTIONS),
    "\n".join("    %-10s %s" % item for item in IMPOSTORS.items()),
)


def devices(options: argparse.Namespace) -> List[str]:
    """Return the names of all devices at the start."""
    names = ["h%d" % number for number in range(1, options.hosts + 1)]
    names += ["n%d" % number for number in range(1, options.behind_nat + 1)]
    names += ["f%d" % number for number in range(1, options.far + 1)]
    return names + [ROUTER] if options.behind_nat else names


def perform(lab: Lab, steps: List[Step]) -> int:
    """Take steps until one fails, stop all nodes, and return the exit code."""
    problems = []
    try:
        for step in steps:
            step.take(lab)
    except Failed as failed:
        problems.append(str(failed))
    lab.journal.report(step="end")
    problems += lab.end()
    for problem in problems:
        complain(problem)
    return Failed.exit_code if problems else DONE


def converse(lab: Lab) -> int:
    """Ask for steps until Ctrl-D.  A step that fails does not end the laboratory."""
    try:
        import readline  # noqa: F401  (gives the prompt a history)
    except ImportError:
        pass
    print("type steps, `help`, or Ctrl-D to end")
    while True:
        try:
            words = split_words(input("lab> "))
            if words in (["help"], ["?"]):
                print(steps_help())
            elif words:
                read_step(words, list(lab.devices), "; Ctrl-D ends, help lists").take(lab)
        except EOFError:
            print()
            return perform(lab, [])
        except Problem as problem:
            complain(str(problem))


def complain(text: str) -> None:
    """Print one line on stderr."""
    print("lab: " + text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
