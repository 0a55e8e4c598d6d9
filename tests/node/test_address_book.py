"""The address book: whom to dial next, whom to believe, and what survives a crash."""

import json
import os
import random

import pytest

from p2p_plain.common.address import Address
from p2p_plain.common.errors import CannotStart
from p2p_plain.node.address_book import (
    BACKOFF_FIRST,
    BACKOFF_MAX,
    BACKOFF_MAX_ALONE,
    DIALS_A_SECOND,
    DIALS_AT_ONCE,
    FORGET_AFTER,
    HEARD_AGAIN_AFTER,
    MAX_BOOK,
    MAX_HEARD_PER_PEER,
    REPLACED_AFTER,
    STABLE_AFTER,
    UNPROVEN_A_SECOND,
    UNPROVEN_AT_ONCE,
    AddressBook,
    HeardAddress,
    Kept,
    KeptAddress,
)
from p2p_plain.node.peers_file import MAX_FILE, SAVE_INTERVAL, load, save, sweep

NOBODY = frozenset()
A, B, C = (Address("192.0.2.%d" % n, 6000) for n in (1, 2, 3))
NODE, OTHER, TELLER = ("%08d-0000-4000-8000-000000000000" % n for n in (1, 2, 3))
LATER = 1e9


@pytest.fixture(params=range(3))
def book(request):
    """Each test with three dice: what is promised must not hang on how they fall."""
    return AddressBook(random.Random(request.param))


def address(number):
    return Address("10.%d.%d.%d" % (number >> 16, number >> 8 & 255, number & 255), 6000)


def due(book, now, connected=NOBODY, most=100):
    return book.due(now, connected, most)


def next_try(book, wanted, start, until=LATER, step=0.25):
    """When ``wanted`` is next due, asking every ``step`` seconds; nobody else may be."""
    now = start
    while now < until:
        found = due(book, now)
        if found:
            assert found == [wanted]
            return now
        now += step
    return None


# -- what is due ------------------------------------------------------------------


def test_an_empty_book_has_nobody_to_dial(book):
    assert due(book, LATER) == []
    assert len(book) == 0


def test_a_new_address_is_due_at_once_and_only_once(book):
    assert book.heard(A, NODE, TELLER, 5.0) is True
    assert due(book, 5.0) == [A]
    assert due(book, LATER) == []


@pytest.mark.parametrize("learn", ["heard", "bootstrap", "noted", "kept"])
def test_however_an_address_was_learnt_it_is_dialed(book, learn):
    if learn == "heard":
        book.heard(A, None, TELLER, 5.0)
    elif learn == "bootstrap":
        book.add_bootstrap([A], 5.0)
    elif learn == "noted":
        book.note(A, 5.0)
    else:
        book.add_kept(Kept([KeptAddress(A, NODE, 100.0)]), 5.0)
    assert due(book, 4.9) == []
    assert due(book, 5.0) == [A]


def test_no_more_are_dialed_than_asked_for_and_the_rest_stay_due(book):
    for number in range(10):
        book.heard(address(number), None, TELLER, 0.0)
    assert due(book, 0.0, most=0) == []
    assert due(book, 0.0, most=-3) == []
    first, rest = due(book, 0.0, most=4), due(book, 0.0)
    assert len(first) == 4
    assert sorted(first + rest) == [address(number) for number in range(10)]


def test_proven_are_dialed_before_bootstrap_and_bootstrap_before_heard(book):
    for number in range(20):
        book.heard(address(number), None, TELLER, 0.0)
    book.add_bootstrap([B], 0.0)
    book.found(A, NODE, 0.0)
    assert due(book, 0.0, most=2) == [A, B]


def test_which_of_many_equals_is_dialed_first_is_chance():
    """Else every newcomer dials the same one first."""
    firsts = set()
    for seed in range(20):
        book = AddressBook(random.Random(seed))
        for number in range(10):
            book.heard(address(number), None, TELLER, 0.0)
        firsts.update(due(book, 0.0, most=1))
    assert len(firsts) > 3


def test_who_is_connected_is_not_dialed_until_it_is_gone(book):
    book.heard(A, NODE, TELLER, 0.0)
    assert due(book, 0.0, frozenset([NODE])) == []
    book.wake()
    assert due(book, 1.0) == [A]


def test_two_addresses_of_one_node_are_never_dialed_at_once(book):
    book.heard(A, NODE, TELLER, 0.0)
    book.heard(B, NODE, TELLER, 0.0)
    book.heard(C, OTHER, TELLER, 0.0)
    first = due(book, 0.0)
    assert len(first) == 2
    assert C in first
    assert due(book, 0.0) == []
    tried = first[0] if first[1] == C else first[1]
    book.failed(tried, 0.0, peers=5)
    book.wake()
    assert due(book, 0.0) == [B if tried == A else A]


def test_addresses_of_which_nobody_knows_the_node_do_not_wait_for_each_other(book):
    book.heard(A, None, TELLER, 0.0)
    book.heard(B, None, TELLER, 0.0)
    assert sorted(due(book, 0.0)) == [A, B]


def test_the_second_address_of_a_node_gets_its_turn_when_the_first_has_failed(book):
    """A node that has moved: its old address was proven, the new one is only heard of."""
    book.found(A, NODE, 0.0)
    book.heard(B, NODE, TELLER, 0.0)
    dialed, under_way, now = [], [], 0.0
    while now < 600.0:
        for began, tried in list(under_way):
            if now - began >= 3.0:  # no answer in time
                under_way.remove((began, tried))
                book.failed(tried, now, peers=5)
        for tried in due(book, now):
            dialed.append(tried)
            under_way.append((now, tried))
        now += 0.25
    assert B in dialed


def test_a_dial_that_our_user_asked_for_is_not_begun_twice(book):
    book.note(A, 0.0)
    assert book.begin(A) is True
    assert book.begin(A) is False
    assert due(book, 0.0) == []
    book.failed(A, 0.0, peers=5)
    assert book.begin(A) is True


def connected(book, failures=5):
    """After some failures a dial of ``A`` has led to a peer, at 10.0."""
    book.heard(A, NODE, TELLER, 0.0)
    for _ in range(failures):
        book.begin(A)
        book.failed(A, 0.0, peers=5)
    book.begin(A)
    book.found(A, NODE, 10.0)
    book.welcomed(A, 10.0)


def test_a_welcome_ends_the_dial_and_a_connection_that_stood_the_backoff(book):
    connected(book)
    assert book.begin(A) is True
    book.failed(A, 10.0, peers=5)
    connected(book, failures=0)
    book.lost(NODE, 10.0 + STABLE_AFTER, stopping=False)
    assert next_try(book, A, 40.0) <= 40.0 + BACKOFF_FIRST


def test_whoever_lets_us_in_and_hangs_up_is_dialed_less_and_less_often(book):
    """The first time it may be chance."""
    connected(book, failures=0)
    waits, now = [], 10.0
    for _ in range(6):
        book.lost(NODE, now, stopping=False)
        before, now = now, next_try(book, A, now, now + 2 * BACKOFF_MAX)
        waits.append(now - before)
        book.begin(A)
        book.welcomed(A, now)
    assert waits[0] <= BACKOFF_FIRST
    assert waits[5] > 10.0
    assert waits[1:] == sorted(waits[1:])


# -- backoff ----------------------------------------------------------------------


def delays(book, times, peers=5, now=0.0):
    """How long ``A`` waits after each of so many failures; ends where it is dropped."""
    found = []
    for _ in range(times):
        book.failed(A, now, peers)
        before, now = now, next_try(book, A, now, now + 2 * BACKOFF_MAX)
        found.append(now - before)
    return found


def test_each_failure_doubles_the_wait_up_to_the_ceiling(book):
    book.add_bootstrap([A], 0.0)
    due(book, 0.0)
    for failure, waited in enumerate(delays(book, 14)):
        least = min(BACKOFF_FIRST * 2 ** failure, BACKOFF_MAX)
        assert least <= waited <= least * 1.5 + 0.25


def test_no_number_of_failures_overflows(book):
    book.add_bootstrap([A], 0.0)
    for _ in range(3000):
        book.failed(A, 0.0, peers=5)
    assert next_try(book, A, 0.0) <= BACKOFF_MAX * 1.5 + 0.25


def test_the_wait_is_spread_by_chance():
    """After a power cut a hundred nodes must not dial the first one in step."""
    waits = []
    for seed in range(50):
        book = AddressBook(random.Random(seed))
        book.heard(A, None, TELLER, 0.0)
        due(book, 0.0)
        book.failed(A, 0.0, peers=5)
        waits.append(next_try(book, A, 0.0, step=0.01))
    assert 1.0 <= min(waits) < 1.1
    assert 1.4 < max(waits) <= 1.51


def test_alone_the_ceiling_is_low(book):
    book.heard(A, None, TELLER, 0.0)
    due(book, 0.0)
    waits = delays(book, 12, peers=0)
    assert waits[0] <= 1.75
    assert all(waited <= BACKOFF_MAX_ALONE * 1.5 + 0.25 for waited in waits)
    assert waits[-1] >= BACKOFF_MAX_ALONE


def test_a_failure_at_an_address_that_is_not_here_is_nothing(book):
    book.failed(A, 0.0, peers=5)
    book.welcomed(A, 0.0)
    assert len(book) == 0


# -- forgetting -------------------------------------------------------------------


@pytest.mark.parametrize("proven", [False, True])
def test_a_day_of_failure_and_the_address_goes(book, proven):
    book.heard(A, NODE, TELLER, 0.0)
    if proven:
        book.found(A, NODE, 0.0)
    book.failed(A, 100.0, peers=5)
    book.failed(A, 100.0 + FORGET_AFTER, peers=5)
    assert len(book) == 1
    book.failed(A, 101.0 + FORGET_AFTER, peers=5)
    assert len(book) == 0
    assert book.proven([NODE]) == []
    assert due(book, LATER) == []


def test_a_bootstrap_address_is_never_forgotten(book):
    book.add_bootstrap([A], 0.0)
    for day in range(100):
        book.failed(A, day * FORGET_AFTER, peers=5)
    assert due(book, LATER) == [A]


def test_an_address_heard_of_first_and_bootstrap_later_is_never_forgotten(book):
    book.heard(A, None, TELLER, 0.0)
    book.add_bootstrap([A], 0.0)
    book.failed(A, 0.0, peers=5)
    book.failed(A, 2 * FORGET_AFTER, peers=5)
    assert len(book) == 1


@pytest.mark.parametrize("how", [{"peers": 0}, {"peers": 5, "blame": False}])
def test_failures_that_are_nobodys_fault_never_make_us_forget(book, how):
    """Our own cable is out; or the node is there, and full."""
    book.heard(A, NODE, TELLER, 0.0)
    for day in range(100):
        book.failed(A, day * FORGET_AFTER, **how)
    assert due(book, LATER) == [A]


def test_a_weekend_without_cable_is_not_charged_to_whom_failed_once_before_it(book):
    book.heard(A, NODE, TELLER, 0.0)
    book.failed(A, 0.0, peers=5)
    for hour in range(1, 60):
        book.failed(A, hour * 3600.0, peers=0)
    book.failed(A, 60 * 3600.0, peers=5)
    assert len(book) == 1


def test_an_answer_in_between_makes_good_for_earlier_failures(book):
    book.heard(A, NODE, TELLER, 0.0)
    book.failed(A, 0.0, peers=5)
    book.found(A, NODE, FORGET_AFTER)
    book.failed(A, FORGET_AFTER + 100.0, peers=5)
    assert len(book) == 1


# -- hearsay ----------------------------------------------------------------------


def test_only_the_first_to_tell_brings_news(book):
    assert book.heard(A, NODE, TELLER, 0.0) is True
    assert book.heard(A, NODE, TELLER, 0.0) is False
    assert book.heard(A, NODE, OTHER, 0.0) is False
    assert len(book) == 1


def test_one_peer_owns_so_many_unproven_addresses_and_no_more(book):
    told = [book.heard(address(n), None, TELLER, 0.0) for n in range(2 * MAX_HEARD_PER_PEER)]
    assert told == [True] * MAX_HEARD_PER_PEER + [False] * MAX_HEARD_PER_PEER
    assert len(book) == MAX_HEARD_PER_PEER
    assert book.heard(A, None, OTHER, 0.0) is True


def test_what_has_been_proven_counts_against_its_teller_no_longer(book):
    for number in range(MAX_HEARD_PER_PEER):
        book.heard(address(number), None, TELLER, 0.0)
    book.found(address(0), NODE, 0.0)
    book.add_bootstrap([address(1)], 0.0)
    assert book.heard(A, None, TELLER, 0.0) is True
    assert book.heard(B, None, TELLER, 0.0) is True
    assert book.heard(C, None, TELLER, 0.0) is False


def test_at_its_bound_a_peer_may_replace_what_has_failed_for_a_minute(book):
    for number in range(MAX_HEARD_PER_PEER):
        book.heard(address(number), None, TELLER, 0.0)
    book.failed(address(9), 0.0, peers=5)

    def tell_a_hundred(now):
        return [book.heard(address(n), None, TELLER, now) for n in range(1000, 1100)].count(True)

    assert tell_a_hundred(REPLACED_AFTER - 1) == 0
    assert tell_a_hundred(REPLACED_AFTER) == 1
    assert address(9) not in due(book, LATER)
    assert len(book) == MAX_HEARD_PER_PEER


def test_hearsay_is_dialed_at_a_bounded_rate_and_what_is_known_at_once(book):
    """Many tellers, each of them new: together they cannot make a hammer of us."""
    for number in range(2000):
        teller = "%08d-0000-4000-8000-000000000009" % number
        book.heard(address(number), None, teller, 0.0)
    dialed, now = 0, 0.0
    while now < 10.0:
        for found in due(book, now, most=16):
            dialed += 1
            book.failed(found, now, peers=5)
        now += 0.05
    assert dialed == pytest.approx(UNPROVEN_AT_ONCE + 10 * UNPROVEN_A_SECOND, abs=20)
    book.add_bootstrap([A], now)
    book.found(B, NODE, now)
    assert {A, B} <= set(due(book, now))


def test_what_is_being_dialed_is_not_replaced(book):
    for number in range(MAX_HEARD_PER_PEER):
        book.heard(address(number), None, TELLER, 0.0)
    book.failed(address(7), 0.0, peers=5)
    book.begin(address(7))
    for _ in range(MAX_HEARD_PER_PEER):
        assert book.heard(A, None, TELLER, 100.0) is False
    book.failed(address(7), 0.0, peers=5)
    assert book.begin(address(7)) is True


def fill_with_proven(book, number):
    for n in range(number):
        assert book.found(address(n), "node %d" % n, 0.0) is True


def test_a_full_book_gives_the_oldest_hearsay_for_what_is_new(book):
    fill_with_proven(book, MAX_BOOK - 2)
    book.heard(A, OTHER, TELLER, 0.0)
    book.heard(B, OTHER, TELLER, 0.0)
    assert book.heard(C, OTHER, TELLER, 1.0) is True
    assert len(book) == MAX_BOOK
    assert [book.nodeid_at(told) for told in (A, B, C)] == [None, OTHER, OTHER]
    new = Address("192.0.2.9", 6000)
    assert book.found(new, NODE, 1.0) is True
    assert book.proven([NODE]) == [(new, NODE)]
    assert len(book) == MAX_BOOK


def test_in_a_full_book_nothing_proven_is_displaced(book):
    fill_with_proven(book, MAX_BOOK)
    assert book.heard(A, None, TELLER, 0.0) is False
    assert book.found(B, NODE, 0.0) is False
    book.note(C, 0.0)
    book.add_kept(Kept([KeptAddress(C, NODE, 0.0)]), 0.0)
    assert len(book) == MAX_BOOK
    assert len(book.kept(0.0).proven) == MAX_BOOK
    assert book.begin(C) is True


def test_in_a_full_book_neither_bootstrap_nor_a_dial_under_way_is_displaced(book):
    fill_with_proven(book, MAX_BOOK - 2)
    book.add_bootstrap([A], 0.0)
    book.heard(B, None, TELLER, 0.0)
    book.begin(B)
    assert book.heard(C, None, OTHER, 0.0) is False
    book.failed(B, 0.0, peers=5)
    assert book.heard(C, None, OTHER, 0.0) is True
    assert A in due(book, LATER, most=MAX_BOOK)


def test_bootstrap_finds_room_in_a_full_book(book):
    fill_with_proven(book, MAX_BOOK)
    book.add_bootstrap([A], 0.0)
    assert A in due(book, 0.0, most=2 * MAX_BOOK)


def test_hearsay_does_not_change_who_was_found(book):
    book.found(A, NODE, 0.0)
    book.heard(A, OTHER, TELLER, 1.0)
    assert book.nodeid_at(A) == NODE
    assert book.has_proven(A, NODE)
    assert not book.has_proven(A, OTHER)


def test_hearsay_may_say_later_who_is_there(book):
    book.add_bootstrap([A], 0.0)
    book.heard(A, NODE, TELLER, 0.0)
    assert book.nodeid_at(A) == NODE
    book.heard(A, None, TELLER, 0.0)
    assert book.nodeid_at(A) == NODE


def test_news_of_a_failed_address_has_it_tried_again_but_not_as_a_hammer(book):
    book.heard(A, None, TELLER, 0.0)
    for _ in range(10):
        book.failed(A, 0.0, peers=5)
    for second in range(5):
        book.heard(A, None, TELLER, second)
    assert next_try(book, A, 5.0) == HEARD_AGAIN_AFTER


def test_old_news_of_a_failed_address_has_it_tried_again_at_once(book):
    book.heard(A, None, TELLER, 0.0)
    for _ in range(10):
        book.failed(A, 0.0, peers=5)
    book.heard(A, None, TELLER, 100.0)
    assert due(book, 100.0) == [A]


def test_news_never_puts_a_try_off(book):
    """After its first failure an address waits a second or so; news must not make it ten."""
    book.heard(A, None, TELLER, 0.0)
    book.failed(A, 0.0, peers=5)
    book.heard(A, None, TELLER, 0.5)
    assert next_try(book, A, 0.5) <= BACKOFF_FIRST * 1.5 + 0.25


# -- who left, and who is ourselves ---------------------------------------------------


def test_who_said_that_it_stops_is_not_dialed_again(book):
    book.found(A, NODE, 0.0)
    book.lost(NODE, 10.0, stopping=True)
    assert due(book, LATER) == []


def test_who_left_is_dialed_again_once_heard_of(book):
    book.found(A, NODE, 0.0)
    book.welcomed(A, 0.0)
    book.lost(NODE, 100.0, stopping=True)
    assert book.heard(A, NODE, TELLER, 200.0) is False
    assert due(book, 200.0) == [A]


def test_who_left_and_was_found_again_is_dialed_again(book):
    book.found(A, NODE, 0.0)
    book.lost(NODE, 10.0, stopping=True)
    book.found(A, NODE, 20.0)
    assert due(book, 20.0) == [A]


def test_a_bootstrap_node_that_left_is_dialed_again(book):
    book.add_bootstrap([A], 0.0)
    book.found(A, NODE, 0.0)
    book.lost(NODE, 10.0, stopping=True)
    assert due(book, 12.0) == [A]


def test_who_was_lost_is_redialed_within_a_second_or_so(book):
    book.found(A, NODE, 0.0)
    assert due(book, 0.0) == [A]
    book.welcomed(A, 0.0)
    assert due(book, 99.0, frozenset([NODE])) == []
    book.lost(NODE, 100.0, stopping=False)
    assert 100.0 <= next_try(book, A, 100.0) <= 100.0 + BACKOFF_FIRST + 0.25


def test_losing_somebody_unknown_is_nothing(book):
    book.lost(NODE, 0.0, stopping=False)
    assert due(book, LATER) == []


@pytest.mark.parametrize("before", ["heard", "proven", "bootstrap", "unknown"])
def test_what_leads_to_ourselves_is_never_dialed(book, before):
    if before == "heard":
        book.heard(A, NODE, TELLER, 0.0)
    elif before == "proven":
        book.found(A, NODE, 0.0)
    elif before == "bootstrap":
        book.add_bootstrap([A], 0.0)
    due(book, 0.0)
    assert not book.knows_as_mine(A)
    book.note_mine(A, 1.0)
    book.failed(A, 1.0, peers=0, blame=False)
    book.heard(A, NODE, TELLER, 100.0)
    book.hurry(100.0, everyone=True)
    book.lost(NODE, 100.0, stopping=False)
    assert due(book, LATER) == []
    assert book.knows_as_mine(A)
    assert book.proven([NODE]) == []
    assert book.kept(LATER) == Kept([], [])


def test_an_address_that_was_ours_and_is_somebody_elses_now_is_dialed(book):
    book.note_mine(A, 0.0)
    book.found(A, NODE, 1.0)
    assert not book.knows_as_mine(A)
    assert due(book, 1.0) == [A]


# -- hurry ----------------------------------------------------------------------------


def fail_often(book):
    book.add_bootstrap([A], 0.0)
    book.heard(B, None, TELLER, 0.0)
    due(book, 0.0)
    for tried in (A, B):
        for _ in range(10):
            book.failed(tried, 0.0, peers=5)


def test_with_few_peers_left_bootstrap_does_not_wait_for_its_backoff(book):
    fail_often(book)
    book.hurry(20.0, everyone=False)
    assert due(book, 21.0) == [A]


def test_with_no_peer_left_nobody_waits(book):
    fail_often(book)
    book.hurry(20.0, everyone=True)
    assert sorted(due(book, 21.0)) == [A, B]


def test_however_few_peers_are_left_nobody_is_tried_twice_in_ten_seconds(book):
    fail_often(book)
    book.hurry(3.0, everyone=True)
    assert due(book, 9.9) == []
    assert sorted(due(book, 10.0)) == [A, B]


def test_hurry_puts_nothing_off(book):
    book.add_bootstrap([A], 0.0)
    book.hurry(0.0, everyone=True)
    assert due(book, 0.0) == [A]


# -- proofs ---------------------------------------------------------------------------


def test_finding_a_node_is_news_once(book):
    assert book.found(A, NODE, 0.0) is True
    assert book.found(A, NODE, 1.0) is False
    assert book.proven([NODE, OTHER]) == [(A, NODE)]


def test_another_node_at_the_same_address_takes_its_place(book):
    book.found(A, NODE, 0.0)
    book.found(B, NODE, 0.0)
    assert book.found(A, OTHER, 1.0) is True
    assert book.proven([NODE]) == [(B, NODE)]
    assert book.proven([OTHER]) == [(A, OTHER)]
    assert book.nodeid_at(A) == OTHER


def test_hearsay_proves_nothing(book):
    book.heard(A, NODE, TELLER, 0.0)
    book.add_bootstrap([B], 0.0)
    assert book.proven([NODE, TELLER]) == []
    assert not book.has_proven(A, NODE)
    assert book.kept(0.0) == Kept([], [HeardAddress(A, NODE, TELLER)])


def test_what_means_nothing_elsewhere_is_neither_passed_on_nor_kept(book):
    book.found(Address("node.example", 6000), NODE, 0.0)
    book.found(Address("fe80::1%eth0", 6000), NODE, 0.0)
    assert book.proven([NODE]) == []
    assert book.kept(0.0) == Kept([], [])


def test_what_is_kept_is_what_was_proven_the_freshest_first(book):
    book.found(A, NODE, 10.0)
    book.found(B, OTHER, 30.0)
    book.heard(C, None, TELLER, 30.0)
    assert book.kept(40.0) == Kept(
        [KeptAddress(B, OTHER, 10.0), KeptAddress(A, NODE, 30.0)],
        [HeardAddress(C, None, TELLER)],
    )


def test_changes_grows_with_what_is_kept(book):
    seen = [book.changes()]
    for change in (
        lambda: book.heard(A, NODE, TELLER, 0.0),
        lambda: book.found(A, NODE, 1.0),
        lambda: book.found(A, NODE, 2.0),
        lambda: book.note_mine(A, 3.0),
        lambda: book.add_kept(Kept([KeptAddress(B, OTHER, 1.0)]), 3.0),
    ):
        change()
        assert book.changes() > seen[-1]
        seen.append(book.changes())


# -- nobody who is due is forgotten ----------------------------------------------------


def asleep(book, now, connected=NOBODY):
    """Nobody is due now, and the book knows it: it need not look again for long."""
    assert due(book, now, connected) == []


def test_another_node_where_a_peer_was_is_dialed(book):
    book.found(A, NODE, 0.0)
    asleep(book, 1.0, frozenset((NODE,)))
    book.found(A, OTHER, 50.0)
    assert due(book, 51.0, frozenset((NODE,))) == [A]


def test_where_another_node_is_said_to_be_than_before_is_dialed(book):
    book.heard(B, NODE, TELLER, 0.0)
    asleep(book, 1.0, frozenset((NODE,)))
    book.heard(B, OTHER, TELLER, 50.0)
    assert due(book, 51.0, frozenset((NODE,))) == [B]


def test_an_address_passed_over_for_another_of_the_same_node_is_dialed_when_that_was_none(book):
    book.heard(A, NODE, TELLER, 0.0)
    book.heard(B, NODE, TELLER, 0.0)
    (first,) = due(book, 0.0)
    (second,) = {A, B} - {first}
    book.found(first, OTHER, 1.0)
    book.welcomed(first, 1.0)
    assert due(book, 2.0, frozenset((OTHER,))) == [second]


def test_where_a_dial_of_ours_stands_nobody_is_dialed_until_it_ends(book):
    book.note(A, 0.0)
    assert due(book, 0.0) == [A]
    book.found(A, NODE, 0.0)
    book.welcomed(A, 0.0)
    book.found(A, OTHER, 10.0, probe=True)  # whoever it is today
    asleep(book, 1000.0, frozenset((NODE,)))
    book.lost(NODE, 1001.0, stopping=False)
    asleep(book, 1002.0)
    book.ended(A, 1003.0)
    assert due(book, 1004.0) == [A]


def test_a_node_that_is_alone_with_thousands_of_dead_addresses_dials_at_a_bounded_rate(book):
    for number in range(2000):
        book.found(address(number), "%08d-0000-4000-8000-000000000007" % number, 0.0)
    book.add_bootstrap([A], 0.0)
    dialed, boot, now = 0, 0, 0.0
    while now < 30.0:
        for found in due(book, now, most=16):
            dialed += 1
            boot += found == A
            book.failed(found, now, peers=0)
        now += 0.1
    assert dialed <= DIALS_AT_ONCE + 30 * DIALS_A_SECOND + boot
    assert boot >= 3


# -- on disk --------------------------------------------------------------------------

KEPT = [
    KeptAddress(A, NODE, 10.0),
    KeptAddress(Address("2001:db8::1", 65535), OTHER, 86400.0),
]
NOW = 1454587200.0


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "peers.json")


def test_what_is_saved_is_loaded_again_with_its_age(path):
    save(path, Kept(KEPT), NOW)
    assert load(path, NOW) == Kept(KEPT, [])
    assert [kept.age for kept in load(path, NOW + 50.0).proven] == [60.0, 86450.0]
    save(path, Kept(), NOW)
    assert load(path, NOW) == Kept([], [])


def test_heard_and_verified_are_kept_apart(path):
    """Whoever takes up the file believes no more of it than was proven."""
    heard = [HeardAddress(B, OTHER, TELLER), HeardAddress(C, None, TELLER)]
    save(path, Kept(KEPT, heard), NOW)
    assert load(path, NOW) == Kept(KEPT, heard)
    again = AddressBook(random.Random(1))
    again.add_kept(load(path, NOW), 0.0)
    assert again.proven([OTHER]) == [(KEPT[1].address, OTHER)]
    assert again.nodeid_at(B) == OTHER
    assert sorted(due(again, 0.0, most=2)) == sorted(kept.address for kept in KEPT)


def test_one_teller_owns_no_more_of_the_file_than_of_the_book(path):
    heard = [HeardAddress(address(n), None, TELLER) for n in range(1000)]
    save(path, Kept([], heard), NOW)
    again = AddressBook(random.Random(1))
    again.add_kept(load(path, NOW), 0.0)
    assert len(again) == MAX_HEARD_PER_PEER


def test_a_file_of_an_earlier_version_without_hearsay_is_read(path):
    with open(path, "wb") as file:
        file.write(entry())
    assert load(path, NOW).heard == []


def test_what_a_killed_process_left_is_swept_away_and_nothing_else(path):
    save(path, Kept(KEPT), NOW)
    for name in ("peers.json.123.tmp", "peers.json.tmp", "peers.json.x.tmp", "other.123.tmp"):
        with open(os.path.join(os.path.dirname(path), name), "w") as file:
            file.write("{")
        os.utime(file.name, (NOW, NOW))
    before = set(os.listdir(os.path.dirname(path)))
    sweep(path, NOW + SAVE_INTERVAL - 1)
    assert set(os.listdir(os.path.dirname(path))) == before
    sweep(path, NOW + SAVE_INTERVAL + 1)
    assert set(os.listdir(os.path.dirname(path))) == before - {"peers.json.123.tmp"}


def test_a_book_that_was_saved_knows_next_time_whom_to_dial(path):
    first, second = AddressBook(random.Random(1)), AddressBook(random.Random(2))
    first.found(A, NODE, 100.0)
    first.found(B, OTHER, 160.0)
    save(path, first.kept(160.0), NOW)
    second.add_kept(load(path, NOW + 40.0), 5.0)
    assert second.proven([NODE]) == [(A, NODE)]
    assert second.kept(5.0).proven == [KeptAddress(B, OTHER, 40.0), KeptAddress(A, NODE, 100.0)]
    assert sorted(due(second, 5.0)) == [A, B]


def test_a_full_book_fits_the_file(path):
    longest = Address("2001:db8:1111:2222:3333:4444:5555:6666", 65535)
    everything = Kept(
        [KeptAddress(longest, NODE, 0.0)] * MAX_BOOK,
        [HeardAddress(longest, NODE, TELLER)] * MAX_BOOK,
    )
    save(path, everything, NOW)
    assert os.path.getsize(path) < MAX_FILE
    assert load(path, NOW) == everything


def test_what_is_kept_does_not_overrule_what_is_known(book):
    book.add_bootstrap([A], 0.0)
    book.found(B, OTHER, 50.0)
    book.add_kept(Kept([KeptAddress(A, NODE, 10.0), KeptAddress(B, NODE, 10.0)]), 60.0)
    assert book.nodeid_at(B) == OTHER
    assert len(book) == 2


def test_no_file_is_an_empty_book(path):
    assert load(path, NOW) == Kept([], [])


def test_a_clock_that_was_set_back_gives_no_negative_age(path):
    save(path, Kept(KEPT), NOW)
    assert [kept.age for kept in load(path, NOW - 1e6).proven] == [0.0, 0.0]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_file_whole_and_nothing_else(path, monkeypatch, step):
    save(path, Kept(KEPT), NOW)
    with open(path, "rb") as file:
        before = file.read()

    def fails(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fails)
    with pytest.raises(OSError, match="No space left"):
        save(path, Kept(KEPT * 100), NOW)
    with open(path, "rb") as file:
        assert file.read() == before
    assert os.listdir(os.path.dirname(path)) == ["peers.json"]


def test_an_empty_file_is_one_to_be_filled(path):
    """``touch`` and ``mktemp`` make such files."""
    open(path, "w").close()
    assert load(path, NOW) == Kept([], [])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_not_a_file_is_not_read(tmp_path):
    """Opening a pipe would wait for ever; reading /dev/zero would not end."""
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    for odd in (pipe, "/dev/null", str(tmp_path)):
        with pytest.raises(CannotStart, match="regular file"):
            load(odd, NOW)


def test_a_save_into_no_folder_fails_plainly(path):
    with pytest.raises(OSError):
        save(os.path.join(path, "missing", "peers.json"), Kept(KEPT), NOW)


def test_a_successful_save_leaves_nothing_beside_the_file(path):
    save(path, Kept(KEPT), NOW)
    save(path, Kept(KEPT[:1]), NOW)
    assert os.listdir(os.path.dirname(path)) == ["peers.json"]
    assert load(path, NOW).proven == KEPT[:1]


def document(**changes):
    found = {"format": "p2p_plain peers", "version": 1, "peers": []}
    found.update(changes)
    return json.dumps(found).encode()


def entry(**changes):
    return document(peers=[dict({"address": str(A), "nodeid": NODE, "proven": 1}, **changes)])


@pytest.mark.parametrize(
    "content",
    [
        b"\x00" * 1000,
        b"\xff\xfe{",
        b"{",
        document()[:-1],
        b"[]",
        b"null",
        b"[" * 100000,
        b'{"a":' * 100000,
        b"{}",
        document(format="something else"),
        document(version=2),
        document(version=None),
        document(peers=None),
        document(peers={}),
        document(peers=[None]),
        document(peers=[[str(A), NODE]]),
        document(peers=[{}]),
        entry(nodeid=None),
        entry(nodeid="me"),
        entry(address=None),
        entry(address="node.example:6000"),
        entry(address="10.0.0.1"),
        entry(address="0.0.0.0:6000"),
        entry(address="10.0.0.1:0"),
        entry(proven=None),
        entry(proven=True),
        entry(proven="yesterday"),
        entry(proven=float("nan")),
        entry(proven=float("inf")),
        entry(proven=-float("inf")),
        entry(proven=10 ** 400),
        document(heard={}),
        document(heard=[None]),
        document(heard=[{"address": str(A), "nodeid": None}]),
        document(heard=[{"address": str(A), "nodeid": 1, "from": NODE}]),
        document(heard=[{"address": "0.0.0.0:1", "nodeid": None, "from": NODE}]),
        b" " * MAX_FILE + document(),
    ],
    ids=lambda content: ascii(content[-60:]),
)
def test_a_damaged_file_is_called_one(path, content):
    """``ValueError`` and nothing else: the node then moves it aside and starts."""
    with open(path, "wb") as file:
        file.write(content)
    with pytest.raises(ValueError):
        load(path, NOW)


def test_a_nodeid_edited_to_upper_case_is_the_same_node(path):
    nodeid = "abcdef00-0000-4000-8000-000000000000"
    with open(path, "wb") as file:
        file.write(entry(nodeid=nodeid.upper()))
    assert load(path, NOW).proven[0].nodeid == nodeid
