"""Every kind of fault that the laboratory knows: named by its cause, nothing else named, all agree.

The nodes run on the oldest and the newest Python that are found here.  In each test a network gets
one fault after the other.  After each fault every surviving node must say the same in ``matrix``,
``check``, ``/cluster``, the page and the metrics; after the repair all must say that all is well.
"""

import os

import pytest

from scripts.laboratory import impostor, network, steps
from tests.support import ROOT, reason_for_no_lab
from tests.support.labs import on_oldest_and_newest, run, side_by_side, wanted

LAB = os.path.join(ROOT, "scripts", "lab.py")
QUICK = "--ping-interval 1 --ping-timeout 1.5 --probe-interval 1"

NAMED = " within 45"
"""Mostly it takes two to five seconds.  A node that runs late, on a machine that does other things as
well, measures nothing that counts until it runs well again."""

HEALED = ["agree well within 60"]
"""Half a minute after a repair a network is whole again; then rows must say so."""

AT_ONCE = 4
"""Laboratories that run side by side: they mostly wait."""

pytestmark = [
    pytest.mark.long,
    pytest.mark.once,
    pytest.mark.skipif(bool(reason_for_no_lab()), reason=reason_for_no_lab()),
]

ANSWERED = {
    "silent": "accepts connections and says nothing",
    "closes": "broken off before the hello",
    "resets": "broken off before the hello",
    "banner": "something else answers there",
    "http": "something else answers there",
    "echo": "sends back what it is sent",
    "flood": "something else answers there",
    "bye": "turns every connection away",
}
"""What is said of a node when a dial has found this impostor in its place."""

REJECTED = {
    "admin-prohibited": "unreachable",
    "host-unreachable": "unreachable",
    "no-route": "unreachable",
    "port-unreachable": "refused",
    "tcp-reset": "refused",
}


def impostors():
    """Each in the place of the last one.  The node that they replace is down all the while."""
    taken = ["kill h4", "agree down about h4 saying refused" + NAMED]
    for kind, words in ANSWERED.items():
        taken += ["impostor h4 " + kind, "agree down about h4 saying '%s'%s" % (words, NAMED)]
    # Where another node of the network lives, a node was restarted.
    assert set(steps.NODE_KINDS) == {"stranger", "foreign"}
    taken += ["impostor h4 foreign", "agree down about h4 saying 'another network'" + NAMED]
    taken += ["impostor h4 stranger", *HEALED]
    return [*taken, "start h4", *HEALED]


def firewalls():
    """Against everyone, and against one host; open connections stay."""
    taken = []
    for answer, words in REJECTED.items():
        taken += ["reject h4 with " + answer, "agree inbound-blocked about h4 saying %s%s" % (words, NAMED)]
        taken += ["open h4", *HEALED]
    taken += ["reject h4 from h3", "agree pair about h3,h4 saying 'by a firewall, or no route'" + NAMED]
    taken += ["open h4", *HEALED, "drop h4", "agree inbound-blocked about h4 saying 'timed out'" + NAMED]
    taken += ["open h4", *HEALED, "drop h3 from h2", "agree pair about h2,h3 saying 'timed out'" + NAMED]
    return [*taken, "open h3", *HEALED]


RUNS = {
    "cables": (
        "--hosts 4",
        *HEALED,
        *("unplug h4", "agree broken" + NAMED),
        "agree down about h4 on h1,h2,h3 saying 'no answer'" + NAMED,
        *("agree cut-off about h4 on h4" + NAMED, "plug h4", *HEALED),
        *("split h3,h4", "agree split about h1,h2,h3,h4" + NAMED, "heal", *HEALED),
    ),
    "flapping": (
        "--hosts 3",
        *HEALED,
        *["unplug h3", "agree down about h3 on h1,h2" + NAMED, "plug h3", "mesh"] * 3,
        "agree unstable about h3" + NAMED,
    ),
    "firewalls": ("--hosts 4", *HEALED, *firewalls()),
    "nat": ("--hosts 3 --behind-nat 1", "agree inbound-blocked about n1" + NAMED),
    "never met": (
        *("--hosts 3 --no-nodes", "drop h2 from h3", "drop h3 from h2", "start"),
        *("agree pair about h2,h3 saying 'timed out'" + NAMED, "open h2,h3", *HEALED),
    ),
    "never met, rejected": (
        *("--hosts 3 --no-nodes", "reject h2 from h3", "reject h3 from h2", "start"),
        *("agree pair about h2,h3 saying 'by a firewall, or no route'" + NAMED, "open h2,h3", *HEALED),
    ),
    "two networks": ("--hosts 3 --far 2", "agree group about f1,f2,h2,h3" + NAMED),
    "ends": (
        "--hosts 4",
        *HEALED,
        *("kill h4", "agree down about h4 saying 'nobody listens'" + NAMED, "start h4", *HEALED),
        *("stop h4", "agree well" + NAMED, "start h4", *HEALED, "restart h3", *HEALED),
        *("freeze h2", "agree down about h2" + NAMED, "thaw h2", *HEALED, "add", *HEALED),
    ),
    "crashes": (
        "--hosts 4",
        *HEALED,
        *("crash h1,h2,h3,h4", *HEALED, "crash h3 on 0 times 8", *HEALED, "crash h2,h4 on 0", *HEALED),
    ),
    "impostors": ("--hosts 4", *HEALED, *impostors()),
}


def played(name):
    """What has come of a run: the exit code and the output."""
    options, *taken = RUNS[name]
    return run(LAB, "--node", QUICK, *on_oldest_and_newest(), *options.split(), *taken)


@pytest.fixture(scope="module")
def results(request):
    with side_by_side(wanted(request, "name"), played, AT_ONCE) as found:
        yield found


@pytest.mark.parametrize("name", sorted(RUNS, key=lambda name: -len(RUNS[name])))
def test_fault(results, name):
    code, output = results[name].result()
    assert code == 0, output


def test_every_fault_is_tried():
    """Every step, every answer of a firewall, and every impostor.

    A slow line is tried in the laboratory's document: here all lines would be slow at times.  Lost
    packets are tried in a file of their own: on machines without ``TCP_INFO`` nobody can see them.
    So are firewalls that forget connections: those have to be idle for long.
    """
    words = {word for _, *taken in RUNS.values() for step in taken for word in step.split()}
    others = {"wait", "mesh", "apart", "expect", "never", "only", "show", "run", "ask", "partition"}
    others |= {"narrow", "wide", "jitter", "stall", "lose", "hole", "repair", "forget", "remember"}
    assert steps.STEPS.keys() - others <= words
    assert network.REJECTIONS.keys() == REJECTED.keys()
    assert impostor.KINDS.keys() == ANSWERED.keys()
