"""Reasons to end a run early, each with its exit code."""

DONE, INTERRUPTED = 0, 130


class Problem(Exception):
    """Base class.  ``str(problem)`` is one line for the user."""

    exit_code = 1


class Failed(Problem):
    """An expectation was not met."""


class WrongUsage(Problem):
    """The command line or a step is wrong.  Nothing has been done."""

    exit_code = 2


class CannotBuild(Problem):
    """The machine lacks a program or a permission that the laboratory needs."""

    exit_code = 3
