"""Who can be dialed: rounds of probes, what they find, and when the next one is due."""

import random

import pytest

from p2p_plain.common.address import Address
from p2p_plain.monitor.met import MISSED_FOR, Reachable
from p2p_plain.monitor.reach import (
    ASK_AGAIN_AFTER, ASK_SOON_AGAIN_AFTER, DOUBT, HEARD_WAIT, MAX_PROBES, MOST_LOST, MOST_MISSED,
    SCOUT_AGAIN_AFTER, SCOUT_INTERVAL, Reach,
)
from p2p_plain.node.claims import CLAIM_AGAIN_AFTER, CLAIMS_A_PEER
from p2p_plain.node.connector import DIAL_TIMEOUT
from p2p_plain.node.hooks import DialEnd
from p2p_plain.node.peer import HANDSHAKE_TIMEOUT
from tests.support import new_id

INTERVAL = 60.0
A, B, C, D = (Address("192.0.2.%d" % n, 6000) for n in (1, 2, 3, 4))
NODE, OTHER = (new_id() for _ in range(2))
ALL = frozenset((NODE, OTHER))
NOBODY = frozenset()


class Told(list):
    """Events, as they are emitted."""

    def emit(self, event, **fields):
        assert event == "reach"
        self.append((fields["was"], fields["dial"], fields["address"]))


@pytest.fixture
def told():
    return Told()


@pytest.fixture(params=range(3))
def reach(request, told):
    """Each test with three dice."""
    return Reach(INTERVAL, random.Random(request.param), told.emit)


def meet(reach, nodeid=NODE, address=A, now=0.0):
    """Meet a node an interval ago: its first round is due now."""
    reach.met(nodeid, "a name", now - INTERVAL)
    reach.claimed(nodeid, address, now - INTERVAL)


def round_of(reach, now, connected=ALL, **outcomes):
    """Play a round: what was dialed, each answered as ``outcomes`` say by the last digit."""
    dialed = []
    while True:
        probes = reach.due(now, connected)
        if not probes:
            return dialed
        for probe in probes:
            dialed.append(probe.address)
            answer(reach, probe, outcomes["n" + probe.address.host[-1]], now)


def answer(reach, probe, verdict, now=0.0):
    reach.ended(DialEnd(probe.nodeid, probe.address, verdict, 0.001 if verdict == "ok" else None, True), now)


def test_a_node_is_probed_once_an_interval(reach):
    meet(reach)
    assert round_of(reach, 0.0, n1="ok") == [A]
    now, at = 0.0, []
    while now < 10 * INTERVAL:
        now += 0.5
        if round_of(reach, now, n1="ok"):
            at.append(now)
    gaps = [later - earlier for earlier, later in zip(at, at[1:])]
    assert all(0.9 * INTERVAL <= gap <= INTERVAL + 0.5 for gap in gaps)
    assert 0.1 * INTERVAL <= at[0] <= INTERVAL + 0.5


def test_who_have_met_in_the_same_second_are_not_probed_again_in_the_same_second(told):
    reach = Reach(INTERVAL, random.Random(1), told.emit)
    nodeids = [new_id() for _ in range(MAX_PROBES // 2)]
    for number, nodeid in enumerate(nodeids):
        if number % 2:
            meet(reach, nodeid)
        else:  # dialed, and so found
            reach.met(nodeid, "a name", 0.0)
            reach.ended(DialEnd(nodeid, A, "ok", 0.001, False), 0.0)
    all_up = frozenset(nodeids)
    round_of(reach, 0.0, all_up, n1="ok")
    again = [now for now in range(int(INTERVAL) + 1) for _ in round_of(reach, now, all_up, n1="ok")]
    assert len(again) == len(nodeids)
    assert max(again) - min(again) > INTERVAL / 4


def test_that_all_is_well_at_first_is_no_news(reach, told):
    meet(reach)
    round_of(reach, 0.0, n1="ok")
    assert told == []
    assert reach.all() == {NODE: Reachable("ok", 0.001, A, "a name")}


def test_each_change_is_told_once(reach, told):
    meet(reach)
    for number, verdict in enumerate(["timeout", "timeout", "refused", "ok", "ok", "reset"]):
        round_of(reach, number * INTERVAL, n1=verdict)
    assert [(was, now) for was, now, _ in told] == [
        ("unknown", "timeout"),
        ("timeout", "refused"),
        ("refused", "ok"),
        ("ok", "reset"),
    ]
    assert reach.all() == {NODE: Reachable("reset", None, A, "a name")}


def test_what_went_wrong_on_our_side_is_no_verdict(reach, told):
    meet(reach)
    round_of(reach, 0.0, n1="ok")
    round_of(reach, INTERVAL, n1=None)
    assert told == []
    assert reach.all() == {NODE: Reachable("ok", 0.001, A, "a name")}
    assert round_of(reach, 2 * INTERVAL, n1="ok") == [A]  # and its turn comes again


def test_one_address_that_answers_is_enough(reach, told):
    """A node behind a forwarded port: where it connects from nobody listens."""
    meet(reach)
    reach.claimed(NODE, B, 0.0)
    assert round_of(reach, 0.0, n1="timeout", n2="ok") == [A, B]
    assert told == []
    assert round_of(reach, INTERVAL, n1="timeout", n2="ok") == [B]
    assert reach.all()[NODE].dial == "ok"


def test_where_none_answers_the_first_one_counts(reach, told):
    meet(reach)
    reach.claimed(NODE, B, 0.0)
    for number in range(5):
        assert round_of(reach, number * INTERVAL, n1="refused", n2="timeout") == [A, B]
    assert told == [("unknown", "refused", str(A))]


def test_where_a_dial_has_found_it_is_where_it_lives(reach):
    meet(reach)
    reach.claimed(NODE, B, 0.0)
    reach.ended(DialEnd(NODE, B, "ok", 0.1, False), 1.0)
    assert reach.all()[NODE].address == B
    assert round_of(reach, 1.0 + INTERVAL, n2="ok") == [B]


def test_one_node_has_only_so_many_claims(reach):
    meet(reach)
    for number in range(10, 50):
        reach.claimed(NODE, Address("192.0.2.%d" % number, 6000), 0.0)
    assert len(round_of(reach, 0.0, n1="timeout", n0="timeout", n2="timeout")) == CLAIMS_A_PEER


def test_the_probe_of_a_claim_is_as_good_as_a_round(reach, told):
    """The node itself probes a new claim; one answer is enough, and no answer is one when all failed."""
    reach.met(NODE, "a name", 0.0)
    for address in (A, B, C):
        reach.claimed(NODE, address, 0.0)
    reach.ended(DialEnd(NODE, A, "refused", None, True), 1.0)
    reach.ended(DialEnd(NODE, B, "timeout", None, True), 5.0)
    assert reach.all()[NODE].dial == "unknown"
    reach.ended(DialEnd(NODE, C, "timeout", None, True), 6.0)
    assert reach.all()[NODE].dial == "timeout"
    assert reach.due(7.0, ALL) == []
    reach.claimed(NODE, D, CLAIM_AGAIN_AFTER)
    reach.claimed(NODE, Address("192.0.2.5", 6000), CLAIM_AGAIN_AFTER)  # one too many
    reach.ended(DialEnd(NODE, D, "ok", 0.001, True), 16.0)
    assert reach.all()[NODE] == Reachable("ok", 0.001, D, "a name")


def test_what_answers_on_a_host_that_a_peer_only_claims_is_nobodys_business(reach, told):
    """Otherwise our row would tell a stranger which ports of any host are open."""
    reach.met(NODE, "a name", 0.0)
    for address in (A, B):
        reach.claimed(NODE, address, 0.0, elsewhere=True)
    reach.ended(DialEnd(NODE, A, "refused", None, True), 1.0)
    reach.ended(DialEnd(NODE, B, "reset", 0.1, True, "no-node"), 1.0)
    for number in range(1, 4):
        assert round_of(reach, 1.0 + number * INTERVAL, n1="refused", n2="timeout") == [A, B]
    assert (reach.all()[NODE].dial, reach.all()[NODE].why, told) == ("unknown", "", [])
    reach.ended(DialEnd(NODE, B, "ok", 0.1, True), 400.0)
    assert round_of(reach, 400.0 + INTERVAL, n1="refused", n2="timeout") == [B, A]
    assert (reach.all()[NODE].dial, told) == ("timeout", [("ok", "timeout", str(B))])


def test_where_a_forwarded_port_does_not_work_the_nodes_own_host_counts(reach, told):
    reach.met(NODE, "a name", 0.0)
    reach.claimed(NODE, A, 0.0)
    reach.claimed(NODE, B, 0.0, elsewhere=True)
    reach.ended(DialEnd(NODE, A, "refused", None, True), 1.0)
    reach.ended(DialEnd(NODE, B, "timeout", None, True), 5.0)
    assert round_of(reach, 5.0, n1="refused", n2="timeout") == [A, B]
    assert told == [("unknown", "refused", str(A))]


def test_a_node_that_has_moved_often_is_probed_where_it_is_now(reach):
    for number in range(8):
        now = number * CLAIM_AGAIN_AFTER
        place = Address("10.0.0.%d" % number, 6000)
        reach.met(NODE, "a name", now)
        reach.claimed(NODE, place, now)
        reach.ended(DialEnd(NODE, place, "ok", 0.001, True), now)
        assert reach.all()[NODE].address == place


def prove(reach, nodeid, address, now=0.0):
    """Have it found there once."""
    meet(reach, nodeid, address, now)
    reach.ended(DialEnd(nodeid, address, "ok", 0.001, False), now)


def test_only_so_many_probes_are_under_way_and_each_gets_its_turn(reach):
    ids = [new_id() for _ in range(3 * MAX_PROBES)]
    for number, nodeid in enumerate(ids):
        prove(reach, nodeid, Address("10.0.0.%d" % number, 6000))
    seen = []
    for _ in range(3):
        probes = reach.due(INTERVAL, frozenset(ids))
        assert len(probes) == MAX_PROBES
        assert reach.due(INTERVAL, frozenset(ids)) == []
        seen.extend(probe.nodeid for probe in probes)
        for probe in probes:
            answer(reach, probe, "ok", INTERVAL)
    assert sorted(seen) == sorted(ids)


def test_a_crowd_that_never_answers_keeps_nobody_from_being_looked_for(reach):
    """32 strangers, each claiming four addresses where a connection is accepted and that is all."""
    crowd = [new_id() for _ in range(32)]
    for number, nodeid in enumerate(crowd):
        for claim in range(4):
            meet(reach, nodeid, Address("10.0.%d.%d" % (number, claim), 6000))
    prove(reach, NODE, A)
    prove(reach, OTHER, B)
    everyone = frozenset(crowd + [NODE])  # OTHER is missing
    under_way, asked, now, newcomer = [], {}, 0.0, new_id()
    while now < 300.0:
        if now == 100.0:
            meet(reach, newcomer, C, now)
        for at, probe in [pair for pair in under_way if pair[0] <= now]:
            under_way.remove((at, probe))
            answer(reach, probe, "timeout", now)
        for probe in reach.due(now, everyone | {newcomer}):
            asked.setdefault(probe.nodeid, []).append(now)
            under_way.append((now + 10.0, probe))
        now += 0.5
    assert len(asked[NODE]) >= 4
    gaps = [later - earlier for earlier, later in zip(asked[OTHER], asked[OTHER][1:])]
    assert max(gaps) <= 10.0 + SCOUT_AGAIN_AFTER + 1
    assert asked[newcomer][0] - 100.0 <= 15.0


def test_a_node_that_comes_and_goes_keeps_its_place_until_the_outcome(reach):
    """Else whoever connects and leaves in a hurry could have us dial without bound."""
    begun = []
    for _ in range(5 * MAX_PROBES):
        nodeid = new_id()
        meet(reach, nodeid)
        begun += reach.due(0.0, ALL)
        reach.lost(nodeid, [], 0.0)
    assert len(begun) == MAX_PROBES // 2
    meet(reach)
    assert reach.due(0.0, ALL) == []
    for probe in begun:
        answer(reach, probe, "ok")
    (probe,) = reach.due(0.0, ALL)
    assert (probe.nodeid, probe.address) == (NODE, A)
    assert reach.all()[NODE].dial == "unknown"  # those answers were to other questions


def test_who_is_lost_is_looked_for_where_it_was_found(reach):
    meet(reach)
    reach.claimed(NODE, B, 0.0)
    reach.lost(NODE, [B], 0.0)
    assert round_of(reach, 0.0, NOBODY, n2="refused") == [B]
    assert round_of(reach, INTERVAL, NOBODY, n2="refused") == [B]


def test_who_is_lost_is_looked_for_at_once(reach, told):
    """The last probe, a moment ago, found it: that is no longer true."""
    meet(reach)
    assert round_of(reach, 0.0, n1="ok") == [A]
    assert reach.due(1.0, ALL) == []
    reach.lost(NODE, [A], 1.0)
    assert round_of(reach, 1.0, NOBODY, n1="refused") == [A]
    assert told == [("ok", "refused", str(A))]


@pytest.mark.parametrize("known_for", [1.0, 1000.0, 1e6])
def test_a_peer_that_was_never_found_is_missed_as_long_as_it_was_known(reach, known_for):
    """A host behind a router that crashes is down, like any other."""
    reach.met(NODE, "a name", 0.0)
    reach.lost(NODE, [], known_for)
    until = known_for + min(max(known_for, MISSED_FOR[0]), MISSED_FOR[1])
    assert reach.drop_all_but({}, until - 1) == []
    assert reach.all() == {NODE: Reachable("reset", None, None, "a name", "gone")}
    assert reach.drop_all_but({}, until) == [NODE]
    assert reach.all() == {}


def test_a_failure_of_a_peer_that_is_missed_stays(reach, told):
    meet(reach)
    assert round_of(reach, 0.0, n1="timeout") == [A]
    reach.lost(NODE, [], 1.0)
    assert reach.all()[NODE].dial == "timeout"
    assert round_of(reach, 1.0 + INTERVAL, NOBODY, n1="refused") == [A]
    assert reach.drop_all_but({}, 1.0 + INTERVAL) == []
    assert [outcome for _, outcome, _ in told] == ["timeout", "refused"]


@pytest.mark.parametrize("proven", [[], [A]])
def test_a_peer_that_is_gone_is_missed_as_long_as_it_was_known(reach, proven):
    """Whether a dial has ever found it or not; from the last one on that has."""
    least, _ = MISSED_FOR
    for known in (1.0, 5 * least):
        meet(reach, now=INTERVAL)  # at 0
        reach.lost(NODE, proven, known)
        last = known + max(known, least)
        assert reach.drop_all_but({}, last - 1.0) == []
        assert reach.drop_all_but({NODE: last}, last) == []  # somebody is connected to it
        assert reach.drop_all_but({}, last) == [NODE]
    meet(reach)
    reach.lost(NODE, proven, 1.0)
    assert round_of(reach, 1.0 + INTERVAL, NOBODY, n1="ok") == [A]
    assert reach.all()[NODE].dial == "ok"
    assert reach.drop_all_but({}, INTERVAL + least) == []
    assert reach.drop_all_but({}, 1.0 + INTERVAL + least) == [NODE]
    meet(reach)
    reach.lost(NODE, proven, 1.0)
    reach.met(NODE, "a name", 2.0)
    assert reach.drop_all_but({}, LATER) == []


def test_of_many_that_are_gone_those_that_were_known_longest_are_missed(reach):
    old = [new_id() for _ in range(MOST_LOST)]
    for number, nodeid in enumerate(old):
        meet(reach, nodeid)
        reach.lost(nodeid, [A], 1000.0 + number)
    for _ in range(20):
        nodeid = new_id()
        meet(reach, nodeid, now=1400.0)
        reach.lost(nodeid, [A], 1500.0)
    assert set(reach.all()) == set(old)


def test_so_many_are_missed_at_once(reach):
    """Those that came last: strangers can come and go as often as they like."""
    came = [new_id() for _ in range(MOST_MISSED + 10)]
    for nodeid in came:
        meet(reach, nodeid)
        reach.lost(nodeid, [], 0.0)
    assert list(reach.all()) == came[10:]


LATER = 1e6


def test_who_left_for_good_is_forgotten_even_in_the_middle_of_a_probe(reach, told):
    meet(reach)
    (probe,) = reach.due(0.0, ALL)
    reach.forget(NODE)
    answer(reach, probe, "refused", 1.0)
    assert told == []
    assert reach.due(LATER, NOBODY) == []


def scouts(reach, missing, seconds):
    """When each of ``missing`` is probed within ``seconds``, none of them answering."""
    at = {nodeid: [] for nodeid in missing}
    now = 1.0
    while now < seconds:
        for probe in reach.due(now, NOBODY):
            at[probe.nodeid].append(now)
            answer(reach, probe, "timeout", now)
        now += 0.2
    return at


@pytest.mark.parametrize("count", [1, 3, 10])
def test_the_missing_are_looked_for_in_turn(reach, count):
    """All at once, then one every five seconds, the same one every fifteen.

    So a cable that is back is noticed.
    """
    missing = [new_id() for _ in range(count)]
    for number, nodeid in enumerate(missing):
        address = Address("10.0.0.%d" % number, 6000)
        prove(reach, nodeid, address)
        reach.lost(nodeid, [address], 0.0)
    found = scouts(reach, missing, 600.0)
    together = sorted(moment for times in found.values() for moment in times)
    assert together[:count] == [1.0 + 0.2 * (n // MAX_PROBES) for n in range(count)]
    del together[: count - 1]
    assert together[1] - together[0] <= SCOUT_AGAIN_AFTER + 0.5
    del together[0]
    longest = max(later - earlier for earlier, later in zip(together, together[1:]))
    assert longest <= max(SCOUT_INTERVAL, SCOUT_AGAIN_AFTER / count) + 0.5
    for times in found.values():
        gaps = [later - earlier for earlier, later in zip(times, times[1:])]
        assert all(SCOUT_AGAIN_AFTER - 0.01 <= gap <= INTERVAL for gap in gaps)
    assert len(together) <= 600 / SCOUT_INTERVAL + 600 / INTERVAL * count + 1


def test_who_is_connected_is_not_looked_for_more_often(reach):
    meet(reach)
    round_of(reach, 0.0, n1="timeout")
    now = 0.0
    while now < 0.9 * INTERVAL - 1:
        now += 0.5
        assert reach.due(now, ALL) == []


def test_a_dial_that_made_a_peer_is_as_good_as_a_probe(reach, told):
    reach.met(NODE, "a name", 0.0)
    reach.ended(DialEnd(NODE, A, "ok", 0.002, False), 0.0)
    assert reach.all() == {NODE: Reachable("ok", 0.002, A, "a name")}
    assert reach.due(0.1 * INTERVAL - 1, ALL) == []
    assert round_of(reach, INTERVAL, n1="ok") == [A]
    assert told == []


def test_a_dial_that_made_no_peer_is_as_good_as_a_probe(reach, told):
    meet(reach)
    round_of(reach, 0.0, n1="ok")
    reach.lost(NODE, [A], 0.0)
    reach.ended(DialEnd(NODE, A, "refused", None, False), 1.0)
    assert told == [("ok", "refused", str(A))]
    reach.ended(DialEnd(NODE, A, None, None, False), 2.0)
    reach.ended(DialEnd(OTHER, A, "timeout", None, False), 2.0)
    assert len(told) == 1


def test_of_several_addresses_one_failed_dial_says_nothing(reach, told):
    meet(reach)
    reach.claimed(NODE, B, 0.0)
    reach.lost(NODE, [A, B], 0.0)
    reach.ended(DialEnd(NODE, A, "refused", None, False), 1.0)
    assert told == []


def test_a_dial_from_before_the_last_success_has_no_say_when_it_times_out(reach, told):
    """The cable is back, a new dial gets through; those that began before wait out their time."""
    meet(reach)
    round_of(reach, 0.0, n1="ok")
    reach.ended(DialEnd(NODE, A, "timeout", None, False), 100.0)
    reach.ended(DialEnd(NODE, A, "ok", 0.001, False), 101.0)
    told.clear()
    reach.ended(DialEnd(NODE, A, "timeout", None, False), 101.0 + DIAL_TIMEOUT - 0.1)
    (probe,) = reach.due(101.0 + INTERVAL, ALL)
    reach.ended(DialEnd(NODE, A, "ok", 0.001, False), 101.0 + INTERVAL + 1.0)
    answer(reach, probe, "timeout", 101.0 + INTERVAL + DIAL_TIMEOUT)
    assert told == []
    assert reach.all()[NODE].dial == "ok"
    reach.ended(DialEnd(NODE, A, "timeout", None, False), 300.0)
    assert told == [("ok", "timeout", str(A))]


# -- nodes that were only heard of ----------------------------------------------------------


def hear(reach, addresses=(A,), now=0.0, nodeid=NODE):
    assert reach.strangers({nodeid: now}, now) == {nodeid}
    reach.heard_of(nodeid, "a name", list(addresses), now)


def test_a_node_heard_of_is_probed_after_a_moment_and_then_once_an_interval(reach, told):
    hear(reach)
    assert reach.all() == {NODE: Reachable("unknown", None, A, "a name")}
    assert reach.due(0.7 * HEARD_WAIT, NOBODY) == []
    assert round_of(reach, HEARD_WAIT, NOBODY, n1="timeout") == [A]
    assert told == [("unknown", "timeout", str(A))]
    assert reach.due(HEARD_WAIT + 0.8 * INTERVAL, NOBODY) == []
    assert round_of(reach, HEARD_WAIT + INTERVAL, NOBODY, n1="ok") == [A]
    # And it is no missing node: nobody has lost it.
    assert reach.due(HEARD_WAIT + INTERVAL + 2 * SCOUT_AGAIN_AFTER, NOBODY) == []


def test_of_a_node_heard_of_a_dial_is_as_good_as_its_first_probe(reach, told):
    hear(reach, [A, B])
    reach.ended(DialEnd(NODE, A, "refused", None, False), 1.0)
    assert told == []  # it may be at the other address
    reach.ended(DialEnd(NODE, B, "timeout", None, False), 2.0)
    assert told == [("unknown", "timeout", str(B))]
    assert reach.due(HEARD_WAIT, NOBODY) == []


def test_a_node_to_which_nobody_is_connected_any_more_is_forgotten(reach):
    hear(reach)
    assert reach.strangers({NODE: 1.0}, 1.0) == NOBODY
    assert reach.drop_all_but({NODE: 1.0}, 1.0) == []
    assert reach.drop_all_but({}, 1.0) == [NODE]
    assert reach.all() == {}


def test_others_are_asked_again_where_a_node_is(reach):
    """After a moment if they did not know: somebody may be about to find it."""
    hear(reach, [])
    assert reach.strangers({NODE: 1.0}, ASK_SOON_AGAIN_AFTER - 1) == NOBODY
    hear(reach, [A], ASK_SOON_AGAIN_AFTER)
    assert reach.strangers({NODE: 1.0}, ASK_AGAIN_AFTER) == NOBODY
    hear(reach, [B], ASK_SOON_AGAIN_AFTER + ASK_AGAIN_AFTER)
    assert round_of(reach, 2 * INTERVAL, NOBODY, n2="timeout") == [B]


def test_a_node_heard_of_fails_once_somebody_still_has_it_since(reach, told):
    """It may just have left, and those who know are a row or two away."""
    hear(reach)
    round_of(reach, HEARD_WAIT, NOBODY, n1="ok")
    at = HEARD_WAIT + INTERVAL
    round_of(reach, at, NOBODY, n1="refused")
    assert reach.strangers({NODE: at - 1.0}, at + 1.0) == {NODE}
    assert (told, reach.all()[NODE].dial) == ([], "unknown")
    reach.strangers({NODE: at + DOUBT}, at + 2.0)
    assert told == [("ok", "refused", str(A))]


def test_a_node_that_is_met_says_itself_where_it_is(reach):
    hear(reach, [A, B])
    reach.met(NODE, "a name", 1.0)
    assert reach.drop_all_but({}, 1.0) == []
    assert reach.all() == {NODE: Reachable("unknown", None, None, "a name")}
    reach.heard_of(NODE, "another name", [C], 3.0)
    assert reach.all()[NODE] == Reachable("unknown", None, None, "a name")
    reach.claimed(NODE, D, 4.0)
    assert round_of(reach, 4.0 + INTERVAL, n4="ok") == [D]


def test_a_node_that_was_dropped_cannot_be_dialed_until_it_is_found_again(reach, told):
    """Its last probe, a moment before, was ok: the ping that it did not answer is newer."""
    meet(reach)
    round_of(reach, 0.0, n1="ok")
    reach.lost(NODE, [A], 5.0)
    reach.silent(NODE)
    assert reach.all()[NODE] == Reachable("timeout", None, A, "a name", "no-pong")
    assert told == [("ok", "timeout", str(A))]
    assert round_of(reach, 5.0, NOBODY, n1=None) == [A]
    assert reach.all()[NODE].why == "no-pong"
    assert round_of(reach, 65.0, NOBODY, n1="ok") == [A]
    assert reach.all()[NODE] == Reachable("ok", 0.001, A, "a name")


def test_a_frozen_node_accepts_connections_and_says_nothing(reach):
    meet(reach)
    round_of(reach, 0.0, n1="ok")
    reach.lost(NODE, [A], 5.0)
    reach.silent(NODE)
    assert [probe.address for probe in reach.due(5.0, NOBODY)] == [A]
    reach.ended(DialEnd(NODE, A, "timeout", 0.001, True, "hangs"), 5.0 + HANDSHAKE_TIMEOUT)
    assert (reach.all()[NODE].dial, reach.all()[NODE].why) == ("timeout", "hangs")


def test_a_dial_that_hung_from_before_the_last_success_has_no_say(reach, told):
    meet(reach)
    round_of(reach, 0.0, n1="ok")
    reach.ended(DialEnd(NODE, A, "ok", 0.001, False), 100.0)
    reach.ended(DialEnd(NODE, A, "timeout", 0.5, False, "hangs"), 100.4 + HANDSHAKE_TIMEOUT)
    assert told == []
    reach.ended(DialEnd(NODE, A, "timeout", 0.5, False, "hangs"), 100.6 + HANDSHAKE_TIMEOUT)
    assert told == [("ok", "timeout", str(A))]


def test_where_packets_are_lost_a_timeout_counts_only_if_the_next_dial_times_out_too(reach, told):
    """All SYNs of one dial may be lost by chance; a firewall drops those of the next one too."""
    meet(reach)
    round_of(reach, 0.0, n1="ok")
    now = INTERVAL
    for outcome, told_then in (("ok", []), ("timeout", [("ok", "timeout", str(A))])):
        for verdict in ("timeout", outcome):
            (probe,) = reach.due(now, ALL)
            now += DIAL_TIMEOUT
            seconds = 0.001 if verdict == "ok" else None
            reach.ended(DialEnd(NODE, probe.address, verdict, seconds, True), now, lossy=True)
        assert told == told_then
        assert reach.due(now, ALL) == []
        now += INTERVAL
