"""Claims of peers: each is probed once, soon, a few at a time, and nobody can claim a whole street."""

import random

import pytest

from p2p_plain.common.address import Address
from p2p_plain.node.knocks import UNPROVEN_A_SECOND, UNPROVEN_AT_ONCE
from p2p_plain.node.claims import (
    AT_ONCE, CLAIM_AGAIN_AFTER, CLAIMS_A_PEER, LEISURE, PATIENT_AT_ONCE, QUICK_TIMEOUT, Claim, Claims,
)
from tests.support import new_id

PEER = new_id()


def claim(number, nodeid=PEER, host="10.0.0.1"):
    return Claim(nodeid, Address("192.0.2.%d" % number, 6000), host)


def ends(claims, *probed):
    """The probes are over, and have found whom they should."""
    for one in probed:
        claims.over(one.nodeid, one.address)


@pytest.fixture(params=range(3))
def claims(request):
    return Claims(random.Random(request.param))


def test_a_claim_is_probed_once(claims):
    claims.note(claim(1), 0.0)
    claims.note(claim(1), 0.0)
    assert claims.due(0.0) == [claim(1)]
    ends(claims, claim(1))
    claims.note(claim(1), 1.0)
    assert claims.due(1000.0) == []


def test_a_claim_that_can_wait_is_probed_in_a_few_seconds(claims):
    claims.note(claim(1), 0.0, at_leisure=True)
    assert claims.due(LEISURE[0] - 0.01) == []
    assert claims.due(LEISURE[1]) == [claim(1)]


def test_a_few_are_probed_at_once_and_the_others_when_those_have_ended(claims):
    for number in range(2 * AT_ONCE):
        claims.note(claim(number, new_id()), 0.0)
    first = claims.due(0.0)
    assert len(first) == AT_ONCE
    assert claims.due(0.0) == []
    ends(claims, *first)
    assert len(claims.due(0.0)) == AT_ONCE


def test_the_first_claim_of_each_peer_comes_before_any_second_one(claims):
    """A crowd that claims four addresses each, where nobody answers, delays a newcomer little."""
    liars = [new_id() for _ in range(AT_ONCE)]
    for number in range(CLAIMS_A_PEER):
        for liar in liars:
            claims.note(claim(number, liar), 0.0)
    ends(claims, *claims.due(0.0))
    claims.note(claim(9), 1.0)
    assert claims.due(1.0)[0] == claim(9)


def test_a_peer_can_claim_only_so_many_addresses(claims):
    for number in range(50):
        claims.note(claim(number), 0.0)
    begun = []
    while True:
        due = claims.due(1.0)
        if not due:
            break
        ends(claims, *due)
        begun += due
    assert begun == [claim(number) for number in range(CLAIMS_A_PEER)]


def test_a_peer_that_has_moved_again_is_probed_where_it_is_now(claims):
    for number in range(10):
        now = number * CLAIM_AGAIN_AFTER
        claims.note(claim(number), now)
        assert claims.due(now) == [claim(number)]
        ends(claims, claim(number))


def test_a_crowd_that_comes_and_goes_is_probed_at_a_bounded_rate(claims):
    tried, now = 0, 0.0
    while now < 100.0:
        crowd = [new_id() for _ in range(2 * AT_ONCE)]
        for number, nodeid in enumerate(crowd):
            claims.note(claim(number, nodeid), now)
        for begun in claims.due(now):
            tried += 1
            ends(claims, begun)
        for nodeid in crowd:
            claims.forget(nodeid)
        now += 0.2
    assert tried <= UNPROVEN_AT_ONCE + 100 * UNPROVEN_A_SECOND + 1


def test_a_peer_that_is_gone_is_forgotten_but_its_probe_keeps_its_place(claims):
    """Otherwise a crowd that connects and leaves in a hurry could have us dial without bound."""
    for number in range(AT_ONCE):
        nodeid = new_id()
        claims.note(claim(number, nodeid), 0.0)
        claims.due(0.0)
        claims.forget(nodeid)
    claims.note(claim(9), 0.0)
    assert claims.due(0.0) == []
    claims.note(claim(8, "gone"), 0.0)
    claims.forget("gone")
    assert "gone" not in [one.nodeid for one in claims.due(1000.0)]


def waits(claims, wanted, now=0.0):
    """Return the seconds until ``wanted`` is probed, if nobody answers any probe."""
    while True:
        begun = claims.due(now)
        if wanted in begun:
            return now
        now += QUICK_TIMEOUT
        for one in begun:
            claims.over(one.nodeid, one.address, late=not one.patient)


@pytest.mark.parametrize("host, most", [("10.0.0.%d", 0.0), ("2001:db8::%d", 0.0), ("10.0.0.1", 14.0)])
def test_a_crowd_of_silent_claims_delays_a_newcomer_little(claims, host, most):
    """At its own address it need not wait at all, whatever the crowd has claimed before."""
    crowd = [new_id() for _ in range(40)]
    for number in range(CLAIMS_A_PEER):
        for place, liar in enumerate(crowd):
            claims.note(claim(number, liar, host % place if "%" in host else host), 0.0)
    for _ in range(200):  # a while before the newcomer comes
        for one in claims.due(0.0):
            claims.over(one.nodeid, one.address, late=True)
    for place, liar in enumerate(crowd):  # and again
        claims.note(claim(9, liar, host % place if "%" in host else host), CLAIM_AGAIN_AFTER)
    newcomer = claim(200, host="10.0.9.9" if most == 0.0 else host)
    claims.note(newcomer, CLAIM_AGAIN_AFTER)
    waited = waits(claims, newcomer, CLAIM_AGAIN_AFTER) - CLAIM_AGAIN_AFTER
    assert waited <= most


def test_a_crowd_that_comes_back_has_had_its_turn(claims):
    for number in range(30):
        liar = new_id()
        claims.note(claim(number, liar), 0.0)
        ends(claims, *claims.due(0.0))
        claims.forget(liar)
    for number in range(30):
        claims.note(claim(number, new_id()), 1.0)
    claims.note(claim(99, host="10.0.9.9"), 1.0)
    assert claim(99, host="10.0.9.9") in claims.due(1.0)


def test_a_claim_that_was_late_is_probed_once_more_with_patience(claims):
    """A lost packet and a long way are no lies.  Those that have not had their turn come first."""
    claims.note(claim(1), 0.0)
    (quick,) = claims.due(0.0)
    assert quick.timeout == QUICK_TIMEOUT
    claims.over(quick.nodeid, quick.address, late=True)
    others = [claim(number, new_id()) for number in range(2, 2 + AT_ONCE)]
    for other in others:
        claims.note(other, 1.0)
    begun = claims.due(1.0)
    patient = begun.pop()
    assert sorted(begun) == sorted(others)
    assert (patient.address, patient.timeout) == (quick.address, None)
    claims.over(patient.nodeid, patient.address)
    ends(claims, *others)
    assert claims.due(1000.0) == []


def test_few_of_those_that_are_probed_at_once_may_take_long(claims):
    for number in range(3 * AT_ONCE):
        claims.note(claim(number, new_id()), 0.0)
    patient = []
    for _ in range(10):
        for one in claims.due(0.0):
            if one.patient:
                patient.append(one)
            else:
                claims.over(one.nodeid, one.address, late=True)
    assert len(patient) == PATIENT_AT_ONCE
    claims.note(claim(200, new_id()), 1.0)
    assert [one.address for one in claims.due(1.0)] == [claim(200).address]
