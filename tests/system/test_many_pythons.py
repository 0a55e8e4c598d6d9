"""Nodes on different Pythons in one network: what one finds right, all do."""

import pytest

from scripts.test import find_pythons
from tests.support import Program, wait_until

FACE = "\U0001fae8"
"""Of Unicode 15: Python 3.12 and newer find it printable, older ones do not."""


def test_a_name_that_an_older_python_cannot_show_costs_nobody_a_peer():
    """It travels in hello and in everyone's row, and each node asks the others for all rows."""
    pythons = find_pythons()
    oldest, newest = pythons[min(pythons)], pythons[max(pythons)]
    if min(pythons) >= (3, 12) or max(pythons) < (3, 12):
        pytest.skip("needs a Python older than 3.12 and one that is not")
    local = ("--port", "0", "--bind", "127.0.0.1", "--ping-interval", "1")
    with Program(*local, "--name", "plain", python=oldest) as old:
        join = local + ("--bootstrap", "127.0.0.1:%d" % old.port)
        with Program(*join, "--name", FACE, python=newest) as new, Program(
            *join, "--name", "too " + FACE, python=oldest
        ) as other:
            programs = (old, new, other)
            wait_until(lambda: all(len(program.peers()) == 2 for program in programs))
            # A first row goes out within a second, the next ones with the pings.
            wait_until(lambda: all(len(program.events("rtt")) >= 8 for program in programs))
            names = sorted(event["name"] for event in old.events("peer_up"))
            assert names == ["too " + FACE, FACE]
            for program in programs:
                assert program.events("peer_down") == []
                assert program.events("refused") == []
