"""Connections that keep breaking, in the laboratory: named with number, reason and interval; and healed."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.scripts.test_lab import oldest_python, play
from tests.support import reason_for_no_lab

SLOWER = ("--node", "--ping-interval 8 --ping-timeout 2 --probe-interval 8", "--hosts", "2")
FLAP = ("unplug h3", "apart", "plug h3", "mesh")


def forgetful(answer):
    return (
        *(*SLOWER, "--python", "h2=" + oldest_python(), "--no-nodes"),
        *("forget 3 h2" + answer, "start", "mesh"),
        *("agree unstable about h1,h2 saying idle within 90", "open h1", "wait 15"),
        *("never peer_down on h1", "never peer_down on h2"),
    )


RUNS = {
    "resets": forgetful(" with tcp-reset"),
    "drops": forgetful(""),
    "remembers": (*SLOWER, "forget 3 h2", "remember h2", "mesh", "wait 20"),
    "loose cable": ("--hosts", "3", "mesh", *(3 * FLAP), "agree unstable about h3"),
}

pytestmark = [
    pytest.mark.long,
    pytest.mark.once,
    pytest.mark.skipif(bool(reason_for_no_lab()), reason=reason_for_no_lab()),
]


@pytest.fixture(scope="module")
def runs():
    """By name, the future of each run: they mostly wait, so all are played at once."""
    with ThreadPoolExecutor(len(RUNS)) as pool:
        yield {name: pool.submit(play, *words) for name, words in RUNS.items()}


@pytest.mark.parametrize("answer", ["drops", "resets"])
def test_firewall_that_forgets_idle_connections_is_named_and_then_they_are_kept_busy(answer, runs):
    """The pair is named with the number, the reason and the interval, by all nodes; then it heals."""
    (said,) = runs[answer].result().results("said", "said")
    pattern = (
        r"h1 <-> h2 lost their connection \d+ times in ten minutes, each time after [\d.]+ s without "
        r"traffic \(.*\): something on the way forgets idle connections; kept busy every [\d.]+ s since$"
    )
    for host in said.values():  # on a busy machine there may be others besides
        assert any(re.match(pattern, one) for one in host["verdicts"]), host["verdicts"]


def test_cable_that_is_loose_is_named_as_one_unstable_node(runs):
    (said,) = runs["loose cable"].result().results("said", "said")
    (sentence,) = said["h1"]["verdicts"]
    assert sentence == "h3: lost its connections to h1, h2 3 times in ten minutes (timed out)"


def test_firewall_that_forgets_can_be_told_to_remember(runs):
    assert runs["remembers"].result().events("peer_down") == []
