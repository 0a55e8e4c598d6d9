"""The address book: which address to dial next, and which peers to believe."""

import random

import pytest

from p2p_plain.common.address import Address
from p2p_plain.node.address_book import (
    BACKOFF_FIRST, BACKOFF_MAX, BACKOFF_MAX_ALONE, CHECKED_AFTER, FORGET_AFTER, HEARD_AGAIN_AFTER,
    HEARD_TRIES, MINE_FOR, STABLE_AFTER, AddressBook,
)
from p2p_plain.node.book_entries import HeardAddress, Kept, KeptAddress
from p2p_plain.node.knocks import (
    DIALS_A_SECOND, DIALS_AT_ONCE, UNPROVEN_A_SECOND, UNPROVEN_AT_ONCE,
)
from p2p_plain.node.messages import Hello
from p2p_plain.node.peer import Link, Peer
from p2p_plain.node.shelf import (
    MAX_BOOK, MAX_HEARD_PER_PEER, MAX_PER_HOST, REPLACED_AFTER,
)
from tests.support import new_id

NOBODY = {}
A, B, C = (Address("192.0.2.%d" % n, 6000) for n in (1, 2, 3))
NODE, OTHER, TELLER = ("%08d-0000-4000-8000-000000000000" % n for n in (1, 2, 3))
LATER = 1e9


@pytest.fixture(params=range(3))
def book(request):
    """Each test runs with three seeds: no promise depends on chance."""
    return AddressBook(random.Random(request.param))


def address(number):
    return Address("10.%d.%d.%d" % (number >> 16, number >> 8 & 255, number & 255), 6000)


def due(book, now, connected=NOBODY, most=100):
    return book.due(now, connected, most)


def next_try(book, wanted, start, until=LATER, step=0.25):
    """Return when ``wanted`` is next due; no other address may be."""
    now = start
    while now < until:
        found = due(book, now)
        if found:
            assert found == [wanted]
            return now
        now += step
    return None


# -- what is due ------------------------------------------------------------------


def test_an_empty_book_has_no_address_to_dial(book):
    assert due(book, LATER) == []
    assert len(book) == 0


def test_a_new_address_is_due_at_once_and_only_once(book):
    book.note_heard(A, NODE, TELLER, 5.0)
    assert due(book, 5.0) == [A]
    assert due(book, LATER) == []


@pytest.mark.parametrize("learn", ["heard", "bootstrap", "kept"])
def test_addresses_of_every_kind_are_dialed(book, learn):
    if learn == "heard":
        book.note_heard(A, None, TELLER, 5.0)
    elif learn == "bootstrap":
        book.add_bootstrap([A], 5.0)
    else:
        book.add_kept(Kept([KeptAddress(A, NODE, 100.0)]), 5.0)
    assert due(book, 4.9) == []
    assert due(book, 5.0) == [A]


def test_due_returns_no_more_than_asked_for_and_the_rest_stay_due(book):
    for number in range(10):
        book.note_heard(address(number), None, TELLER, 0.0)
    assert due(book, 0.0, most=0) == []
    assert due(book, 0.0, most=-3) == []
    first, rest = due(book, 0.0, most=4), due(book, 0.0)
    assert len(first) == 4
    assert sorted(first + rest) == [address(number) for number in range(10)]


def test_proven_are_dialed_before_bootstrap_and_bootstrap_before_heard(book):
    for number in range(20):
        book.note_heard(address(number), None, TELLER, 0.0)
    book.add_bootstrap([B], 0.0)
    book.note_found(A, NODE, 0.0)
    assert due(book, 0.0, most=2) == [A, B]


def test_equals_are_dialed_in_random_order():
    """Otherwise every newcomer would dial the same node first."""
    firsts = set()
    for seed in range(20):
        book = AddressBook(random.Random(seed))
        for number in range(10):
            book.note_heard(address(number), None, TELLER, 0.0)
        firsts.update(due(book, 0.0, most=1))
    assert len(firsts) > 3


def test_a_connected_node_is_not_dialed_until_it_is_gone(book):
    book.note_heard(A, NODE, TELLER, 0.0)
    assert due(book, 0.0, {NODE: None}) == []
    book.wake()
    assert due(book, 1.0) == [A]


def test_two_addresses_of_one_node_are_never_dialed_at_once(book):
    book.note_heard(A, NODE, TELLER, 0.0)
    book.note_heard(B, NODE, TELLER, 0.0)
    book.note_heard(C, OTHER, TELLER, 0.0)
    first = due(book, 0.0)
    assert len(first) == 2
    assert C in first
    assert due(book, 0.0) == []
    tried = first[0] if first[1] == C else first[1]
    book.failed(tried, 0.0, peers=5)
    book.wake()
    assert due(book, 0.0) == [B if tried == A else A]


def test_addresses_without_a_nodeid_do_not_wait_for_each_other(book):
    book.note_heard(A, None, TELLER, 0.0)
    book.note_heard(B, None, TELLER, 0.0)
    assert sorted(due(book, 0.0)) == [A, B]


def test_the_second_address_of_a_node_is_dialed_when_the_first_has_failed(book):
    """A node that has moved: its old address was proven, the new one is only heard of."""
    book.note_found(A, NODE, 0.0)
    book.note_heard(B, NODE, TELLER, 0.0)
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


def test_an_address_is_not_dialed_twice_at_once(book):
    assert book.begin(A, 0.0) is True
    assert book.begin(A, 0.0) is False
    assert due(book, 0.0) == []
    book.failed(A, 0.0, peers=5)
    assert book.begin(A, 0.0) is True


def connected(book, failures=5):
    """After some failures a dial of ``A`` has led to a peer, at 10.0."""
    book.note_heard(A, NODE, TELLER, 0.0)
    for _ in range(failures):
        book.begin(A, 0.0)
        book.failed(A, 0.0, peers=5)
    book.begin(A, 0.0)
    book.note_found(A, NODE, 10.0)
    book.made_peer(A, 10.0)


def test_a_connection_that_stood_for_a_while_ends_the_backoff(book):
    connected(book)
    assert book.begin(A, 0.0) is True
    book.failed(A, 10.0, peers=5)
    connected(book, failures=0)
    book.lost(NODE, 10.0 + STABLE_AFTER, stopping=False)
    assert next_try(book, A, 40.0) <= 40.0 + BACKOFF_FIRST


def test_a_node_that_lets_us_in_and_hangs_up_is_dialed_less_and_less_often(book):
    connected(book, failures=0)
    waits, now = [], 10.0
    for _ in range(6):
        book.lost(NODE, now, stopping=False)
        before, now = now, next_try(book, A, now, now + 2 * BACKOFF_MAX)
        waits.append(now - before)
        book.begin(A, 0.0)
        book.made_peer(A, now)
    assert waits[0] <= BACKOFF_FIRST
    assert waits[5] > 10.0
    assert waits[1:] == sorted(waits[1:])


# -- backoff ----------------------------------------------------------------------


def delays(book, times, peers=5, now=0.0):
    """Return how long ``A`` waits after each of ``times`` failures."""
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


def test_the_backoff_is_spread_at_random():
    """After a power cut a hundred nodes must not dial the first one in step."""
    waits = []
    for seed in range(50):
        book = AddressBook(random.Random(seed))
        book.note_heard(A, None, TELLER, 0.0)
        due(book, 0.0)
        book.failed(A, 0.0, peers=5)
        waits.append(next_try(book, A, 0.0, step=0.01))
    assert 1.0 <= min(waits) < 1.1
    assert 1.4 < max(waits) <= 1.51


def test_a_node_without_peers_has_a_short_backoff(book):
    book.note_heard(A, None, TELLER, 0.0)
    due(book, 0.0)
    waits = delays(book, 12, peers=0)
    assert waits[0] <= 1.75
    assert all(waited <= BACKOFF_MAX_ALONE * 1.5 + 0.25 for waited in waits)
    assert waits[-1] >= BACKOFF_MAX_ALONE


def test_reports_about_unknown_addresses_are_ignored(book):
    book.failed(A, 0.0, peers=5)
    book.made_peer(A, 0.0)
    assert len(book) == 0


# -- forgetting -------------------------------------------------------------------


@pytest.mark.parametrize("proven", [False, True])
def test_an_address_that_failed_for_a_day_is_dropped(book, proven):
    book.note_heard(A, NODE, TELLER, 0.0)
    if proven:
        book.note_found(A, NODE, 0.0)
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


@pytest.mark.parametrize("how", [{"peers": 0}, {"peers": 5, "blame": False}])
def test_an_address_is_not_dropped_for_failures_that_are_not_its_fault(book, how):
    """Our own cable is out; or the node is there, and full."""
    book.note_heard(A, NODE, TELLER, 0.0)
    for day in range(100):
        book.failed(A, day * FORGET_AFTER, **how)
    assert due(book, LATER) == [A]


def test_hours_without_any_peer_do_not_count_as_failure_of_an_address(book):
    book.note_heard(A, NODE, TELLER, 0.0)
    book.failed(A, 0.0, peers=5)
    for hour in range(1, 60):
        book.failed(A, hour * 3600.0, peers=0)
    book.failed(A, 60 * 3600.0, peers=5)
    assert len(book) == 1


def test_an_answer_cancels_earlier_failures(book):
    book.note_heard(A, NODE, TELLER, 0.0)
    book.failed(A, 0.0, peers=5)
    book.note_found(A, NODE, FORGET_AFTER)
    book.failed(A, FORGET_AFTER + 100.0, peers=5)
    assert len(book) == 1


# -- heard addresses ----------------------------------------------------------------------


def takes(book, address, source=TELLER, now=0.0):
    """Name ``address`` to the book; True if the book then has it as a heard one."""
    book.note_heard(address, None, source, now)
    return address in [heard.address for heard in book.kept(now).heard]


def test_one_peer_owns_a_bounded_number_of_unproven_addresses(book):
    taken = [takes(book, address(number)) for number in range(2 * MAX_HEARD_PER_PEER)]
    assert taken == [True] * MAX_HEARD_PER_PEER + [False] * MAX_HEARD_PER_PEER
    assert takes(book, A, OTHER)


def test_a_proven_address_does_not_count_against_the_peer_that_named_it(book):
    for number in range(MAX_HEARD_PER_PEER):
        book.note_heard(address(number), None, TELLER, 0.0)
    book.note_found(address(0), NODE, 0.0)
    book.add_bootstrap([address(1)], 0.0)
    assert takes(book, A)
    assert takes(book, B)
    assert not takes(book, C)


def test_at_its_bound_a_peer_may_replace_an_address_that_has_failed_for_a_minute(book):
    for number in range(MAX_HEARD_PER_PEER):
        book.note_heard(address(number), None, TELLER, 0.0)
    book.failed(address(9), 0.0, peers=5)

    def tell_a_hundred(now):
        return [takes(book, address(n), now=now) for n in range(1000, 1100)].count(True)

    assert tell_a_hundred(REPLACED_AFTER - 1) == 0
    assert tell_a_hundred(REPLACED_AFTER) == 1
    assert address(9) not in due(book, LATER)
    assert len(book) == MAX_HEARD_PER_PEER


def test_heard_addresses_are_dialed_at_a_bounded_rate_and_others_at_once(book):
    """However many peers name them: a crowd cannot make us dial all the time."""
    for number in range(2000):
        teller = "%08d-0000-4000-8000-000000000009" % number
        book.note_heard(address(number), None, teller, 0.0)
    dialed, now = 0, 0.0
    while now < 10.0:
        for found in due(book, now, most=16):
            dialed += 1
            book.failed(found, now, peers=5)
        now += 0.05
    assert dialed == pytest.approx(UNPROVEN_AT_ONCE + 10 * UNPROVEN_A_SECOND, abs=20)
    book.add_bootstrap([A], now)
    book.note_found(B, NODE, now)
    assert {A, B} <= set(due(book, now))


def test_an_address_that_is_being_dialed_is_not_replaced(book):
    for number in range(MAX_HEARD_PER_PEER):
        book.note_heard(address(number), None, TELLER, 0.0)
    book.failed(address(7), 0.0, peers=5)
    book.begin(address(7), 0.0)
    for _ in range(MAX_HEARD_PER_PEER):
        assert not takes(book, A, now=100.0)
    book.failed(address(7), 0.0, peers=5)
    assert book.begin(address(7), 0.0) is True


def fill_with_proven(book, number):
    for n in range(number):
        book.note_found(address(n), "node %d" % n, 0.0)


def test_a_full_book_drops_the_oldest_heard_address_for_a_new_one(book):
    fill_with_proven(book, MAX_BOOK - 2)
    book.note_heard(A, OTHER, TELLER, 0.0)
    book.note_heard(B, OTHER, TELLER, 0.0)
    book.note_heard(C, OTHER, TELLER, 1.0)
    assert len(book) == MAX_BOOK
    assert [book.nodeid_at(told) for told in (A, B, C)] == [None, OTHER, OTHER]
    new = Address("192.0.2.9", 6000)
    book.note_found(new, NODE, 1.0)
    assert book.proven([NODE]) == [(new, NODE)]
    assert len(book) == MAX_BOOK


def test_a_full_book_drops_no_proven_address(book):
    fill_with_proven(book, MAX_BOOK)
    assert not takes(book, A)
    book.note_found(B, NODE, 0.0)
    book.add_kept(Kept([KeptAddress(C, NODE, 0.0)]), 0.0)
    assert len(book) == MAX_BOOK
    assert len(book.kept(0.0).proven) == MAX_BOOK
    assert book.begin(C, 0.0) is True


@pytest.mark.parametrize("host", ["10.0.0.1", "2001:db8::%x"])
def test_one_host_cannot_fill_the_book(book, host):
    """Whoever listens on thousands of ports, or has thousands of addresses in one /64."""
    for number in range(500):
        place = host % number if "%" in host else host
        book.note_found(Address(place, 7000 + number), "node %d" % number, 0.0)
    assert len(book) == MAX_PER_HOST
    book.note_found(A, NODE, 0.0)
    assert book.proven([NODE]) == [(A, NODE)]
    assert takes(book, B)
    assert not takes(book, Address(host % 9999 if "%" in host else host, 9999))


def test_loopback_has_no_bound_for_one_host(book):
    for number in range(500):
        book.note_found(Address("127.0.0.1", 7000 + number), "node %d" % number, 0.0)
    assert len(book) == 500


def test_a_host_whose_nodes_move_from_port_to_port_is_found_where_it_is(book):
    """The addresses that fail make room, those that work do not, and the oldest failure not first."""
    ports = [Address("10.0.0.1", 7000 + number) for number in range(MAX_PER_HOST)]
    for number, place in enumerate(ports):
        book.note_found(place, "node %d" % number, 0.0)
    new = Address("10.0.0.1", 9000)
    book.note_found(new, NODE, 1.0)
    assert book.proven([NODE]) == []
    book.failed(ports[7], 2.0, peers=5)
    book.note_found(new, NODE, 3.0)
    assert book.proven([NODE]) == [(new, NODE)]
    assert book.nodeid_at(ports[7]) is None
    assert len(book) == MAX_PER_HOST


def test_in_a_full_book_the_host_with_most_addresses_makes_room_for_a_proven_one(book):
    """Many hosts of a crowd, each with many ports: another one is learned all the same."""
    for number in range(MAX_BOOK):
        host = "10.1.%d.1" % (number % 128)
        book.note_found(Address(host, 7000 + number), "node %d" % number, 0.0)
    assert len(book) == MAX_BOOK
    assert not takes(book, B)
    for number in range(20):
        book.note_found(Address("10.2.0.%d" % number, 6000), "late %d" % number, 1.0)
    assert len(book.proven(["late %d" % number for number in range(20)])) == 20
    assert len(book) == MAX_BOOK


def test_a_full_book_drops_neither_bootstrap_addresses_nor_those_being_dialed(book):
    fill_with_proven(book, MAX_BOOK - 2)
    book.add_bootstrap([A], 0.0)
    book.note_heard(B, None, TELLER, 0.0)
    book.begin(B, 0.0)
    assert not takes(book, C, OTHER)
    book.failed(B, 0.0, peers=5)
    assert takes(book, C, OTHER)
    assert A in due(book, LATER, most=MAX_BOOK)


def test_a_full_book_still_takes_bootstrap_addresses(book):
    fill_with_proven(book, MAX_BOOK)
    book.add_bootstrap([A], 0.0)
    assert A in due(book, 0.0, most=2 * MAX_BOOK)


def test_a_peer_cannot_rename_a_proven_address(book):
    book.note_found(A, NODE, 0.0)
    book.note_heard(A, OTHER, TELLER, 1.0)
    assert book.nodeid_at(A) == NODE
    assert (A, NODE) in book.proven([NODE])
    assert book.proven([OTHER]) == []


def test_a_peer_may_name_the_node_of_an_address_that_it_has_named(book):
    for nodeid in (OTHER, NODE, None):
        book.note_heard(A, nodeid, TELLER, 0.0)
    assert book.nodeid_at(A) == NODE


def test_where_two_peers_name_two_nodes_nobody_knows_which_one_is_there(book):
    """Otherwise a liar could have an address left alone, by the nodeid of a connected node."""
    book.note_heard(A, NODE, TELLER, 0.0)
    book.note_heard(A, OTHER, new_id(), 0.0)
    assert book.nodeid_at(A) is None
    assert due(book, 0.0, dict.fromkeys([NODE, OTHER])) == [A]


@pytest.mark.parametrize("given", ["bootstrap", "dialed"])
def test_no_peer_says_who_is_at_an_address_that_our_user_gave(book, given):
    if given == "bootstrap":
        book.add_bootstrap([A], 0.0)
    else:
        book.begin(A, 0.0)
        book.failed(A, 0.0, peers=3)
    book.note_heard(A, NODE, TELLER, 0.0)
    assert due(book, LATER, {NODE: None}) == [A]


def test_an_address_that_our_user_gave_waits_for_no_dial_of_hearsay(book):
    """A liar may name many silent addresses of its node."""
    book.add_bootstrap([A], 0.0)
    book.note_found(A, NODE, 0.0)
    book.note_heard(B, NODE, TELLER, 0.0)
    book.begin(B, 0.0)
    assert due(book, LATER) == [A]


def test_a_node_that_is_connected_from_another_host_is_looked_for_where_our_user_said(book):
    """That may be an impostor.  If it confirms that it is there too, it is left alone."""
    book.add_bootstrap([A], 0.0)
    book.note_found(A, NODE, 0.0)
    link = Link(Address("10.99.0.1", 5000))
    peer = Peer(link, Hello(NODE), 10.0)
    connected = {NODE: peer}
    assert due(book, 10.0 + CHECKED_AFTER - 0.1, connected) == []
    assert due(book, 10.0 + CHECKED_AFTER, connected) == [A]
    book.failed(A, 30.0, peers=3, blame=False)
    assert due(book, 40.0, connected) == [A]
    book.failed(A, 50.0, peers=3, blame=False)
    peer.also_at = (A,)
    assert due(book, LATER, connected) == []
    assert due(book, LATER, {NODE: Peer(Link(Address(A.host, 5000)), Hello(NODE), 10.0)}) == []


def test_an_address_named_again_is_retried_but_not_more_often_than_every_ten_seconds(book):
    book.note_found(A, NODE, 0.0)
    for _ in range(10):
        book.failed(A, 0.0, peers=5)
    for second in range(5):
        book.note_heard(A, None, TELLER, second)
    assert next_try(book, A, 5.0) == HEARD_AGAIN_AFTER


def test_an_address_that_failed_long_ago_is_retried_at_once_when_named_again(book):
    book.note_found(A, NODE, 0.0)
    for _ in range(10):
        book.failed(A, 0.0, peers=5)
    book.note_heard(A, None, TELLER, 100.0)
    assert due(book, 100.0) == [A]


def test_what_was_only_heard_of_is_given_up_after_three_failures(book):
    """However often it is named again: a liar's words do not have us knock for hours."""
    book.note_heard(A, None, TELLER, 0.0)
    tried, now = 0, 0.0
    while now < REPLACED_AFTER:
        for found in due(book, now):
            tried += 1
            book.failed(found, now, peers=5)
        book.note_heard(A, None, TELLER, now)
        now += 0.25
    assert tried == HEARD_TRIES
    now += REPLACED_AFTER
    book.note_heard(A, None, TELLER, now)
    assert due(book, now) == [A]


def test_a_lone_node_gives_up_no_address(book):
    book.note_heard(A, None, TELLER, 0.0)
    for _ in range(20):
        book.failed(A, 0.0, peers=0)
    assert due(book, LATER) == [A]


def test_what_a_peer_has_named_goes_when_it_goes_unless_it_was_found(book):
    book.note_heard(A, NODE, TELLER, 0.0)
    book.note_heard(B, OTHER, TELLER, 0.0)
    book.note_heard(C, None, OTHER, 0.0)
    book.note_found(B, OTHER, 0.0)
    book.forget_heard(TELLER)
    assert sorted(due(book, 1.0)) == [B, C]


def test_what_is_being_dialed_when_its_teller_goes_is_dialed_no_more(book):
    """Unless a node was found there."""
    for address, nodeid in ((A, NODE), (B, OTHER)):
        book.note_heard(address, nodeid, TELLER, 0.0)
    assert sorted(due(book, 1.0)) == [A, B]
    book.forget_heard(TELLER)
    book.note_found(B, OTHER, 2.0)
    book.failed(A, 2.0, peers=5)
    book.failed(B, 2.0, peers=5)
    assert [due(book, 10.0 * number) for number in range(1, 9)].count([B]) == 1
    assert len(book) == 1


@pytest.mark.parametrize("tellers", [1, 50])
def test_one_host_is_knocked_at_once_a_second_whoever_names_it_and_whatever_the_ports(book, tellers):
    for number in range(50):
        teller = "%08d-0000-4000-8000-000000000009" % (number % tellers)
        book.note_heard(Address("192.0.2.7", 6000 + number), None, teller, 0.0)
    book.note_heard(A, NODE, TELLER, 0.0)
    dialed, now = [], 0.0
    while now < 10.0:
        for found in due(book, now):
            dialed.append(found)
            book.failed(found, now, peers=5)
        now += 0.125
    assert dialed.count(A) == HEARD_TRIES
    assert 8 <= len(dialed) - dialed.count(A) <= 10


def test_loopback_our_own_host_and_what_was_found_are_dialed_at_once(book):
    book.exempt(["192.0.2.8"])
    for number in range(20):
        book.note_heard(Address("127.0.0.1", 6000 + number), None, TELLER, 0.0)
        book.note_heard(Address("192.0.2.8", 6000 + number), None, TELLER, 0.0)
        book.note_found(Address("192.0.2.7", 6000 + number), "node %d" % number, 0.0)
        book.add_bootstrap([Address("192.0.2.6", 6000 + number)], 0.0)
    assert len(due(book, 0.0)) == 80


def test_naming_an_address_again_never_delays_its_dial(book):
    """After its first failure an address waits a second, not the ten of a repeated name."""
    book.note_heard(A, None, TELLER, 0.0)
    book.failed(A, 0.0, peers=5)
    book.note_heard(A, None, TELLER, 0.5)
    assert next_try(book, A, 0.5) <= BACKOFF_FIRST * 1.5 + 0.25


# -- nodes that left, and our own addresses ---------------------------------------------------


def test_a_node_that_said_that_it_stops_is_not_dialed_again(book):
    book.note_found(A, NODE, 0.0)
    book.lost(NODE, 10.0, stopping=True)
    assert due(book, LATER) == []


def test_a_node_that_left_is_dialed_again_once_a_peer_names_it(book):
    book.note_found(A, NODE, 0.0)
    book.made_peer(A, 0.0)
    book.lost(NODE, 100.0, stopping=True)
    book.note_heard(A, NODE, TELLER, 200.0)
    assert due(book, 200.0) == [A]


def test_a_node_that_left_and_was_found_again_is_dialed_again(book):
    book.note_found(A, NODE, 0.0)
    book.lost(NODE, 10.0, stopping=True)
    book.note_found(A, NODE, 20.0)
    assert due(book, 20.0) == [A]


def test_nothing_is_kept_of_a_node_that_will_not_be_back(book):
    """Nor learned again from old hearsay, until it answers a dial after all."""
    book.note_heard(A, NODE, TELLER, 0.0)
    book.note_found(B, NODE, 0.0)
    book.note_found(C, OTHER, 0.0)
    assert set(book.forget(NODE)) == {A, B}
    book.note_heard(A, NODE, TELLER, 1.0)
    assert due(book, LATER) == [C]
    assert [kept.address for kept in book.kept(1.0).proven] == [C]
    assert not book.kept(1.0).heard
    book.note_found(B, NODE, 2.0)
    assert book.proven([NODE]) == [(B, NODE)]
    book.note_heard(A, NODE, TELLER, 3.0)
    assert len(book) == 3


def test_a_bootstrap_address_stays_when_its_node_will_not_be_back(book):
    book.add_bootstrap([A], 0.0)
    book.note_found(A, NODE, 0.0)
    book.forget(NODE)
    assert not book.proven([NODE])
    assert due(book, LATER) == [A]


def test_a_bootstrap_node_that_left_is_dialed_again(book):
    book.add_bootstrap([A], 0.0)
    book.note_found(A, NODE, 0.0)
    book.lost(NODE, 10.0, stopping=True)
    assert due(book, 12.0) == [A]


def test_a_lost_node_is_dialed_again_within_a_second_or_so(book):
    book.note_found(A, NODE, 0.0)
    assert due(book, 0.0) == [A]
    book.made_peer(A, 0.0)
    assert due(book, 99.0, {NODE: None}) == []
    book.lost(NODE, 100.0, stopping=False)
    assert 100.0 <= next_try(book, A, 100.0) <= 100.0 + BACKOFF_FIRST + 0.25


@pytest.mark.parametrize("before", ["heard", "proven", "bootstrap", "unknown"])
def test_an_address_of_our_own_is_left_alone_for_ten_minutes(book, before):
    if before == "heard":
        book.note_heard(A, NODE, TELLER, 0.0)
    elif before == "proven":
        book.note_found(A, NODE, 0.0)
    elif before == "bootstrap":
        book.add_bootstrap([A], 0.0)
    due(book, 0.0)
    assert not book.knows_as_mine(A)
    book.note_mine(A, 1.0)
    book.failed(A, 1.0, peers=2, blame=False)
    book.note_heard(A, NODE, TELLER, 100.0)
    book.lost(NODE, 100.0, stopping=True)
    assert due(book, MINE_FOR) == []
    assert book.knows_as_mine(A)
    assert book.proven([NODE]) == []
    assert book.kept(MINE_FOR) == Kept([], [])
    assert due(book, 1.0 + 1.5 * MINE_FOR) == [A]


def found_ourselves(book, now, peers=2):
    """The end of a dial that led to this node; whether that is news."""
    new = book.note_mine(A, now)
    book.failed(A, now, peers, blame=False)
    return new


def test_it_is_no_news_that_an_address_is_still_our_own(book):
    book.note_heard(A, NODE, TELLER, 0.0)
    assert due(book, 0.0) == [A]
    assert found_ourselves(book, 0.1)
    for round_number in range(1, 4):
        now = round_number * 1.5 * MINE_FOR
        assert due(book, now) == [A]
        assert not found_ourselves(book, now + 0.1)
    assert book.knows_as_mine(A)


def test_an_address_of_our_own_that_fails_is_ours_no_longer(book):
    book.note_heard(A, NODE, TELLER, 0.0)
    assert due(book, 0.0) == [A]
    found_ourselves(book, 0.1)
    assert due(book, 1.5 * MINE_FOR) == [A]
    book.failed(A, 1.5 * MINE_FOR + 5.0, peers=2)
    assert not book.knows_as_mine(A)
    assert next_try(book, A, 1.5 * MINE_FOR + 5.0) <= 1.5 * MINE_FOR + 5.0 + 4.0  # as any that fails
    assert found_ourselves(book, LATER)


@pytest.mark.parametrize("peers, longest", [(0, 12.0), (1, 12.0), (2, 1.5 * MINE_FOR)])
def test_a_bootstrap_address_of_our_own_is_tried_sooner_while_there_are_few_peers(book, peers, longest):
    """It may be a load balancer, which leads elsewhere the next time."""
    book.add_bootstrap([A], 0.0)
    assert due(book, 0.0) == [A]
    now = 0.0
    for _ in range(10):
        found_ourselves(book, now, peers)
        again = next_try(book, A, now)
        assert again - now <= longest + 0.25
        now = again
    assert now >= 4 * longest / 1.5
    found_ourselves(book, now, peers)
    book.hurry(now, everyone=False)  # the others are lost
    assert next_try(book, A, now) - now <= HEARD_AGAIN_AFTER + 0.25


def test_an_address_of_our_own_is_dialed_once_another_node_is_found_there(book):
    book.note_mine(A, 0.0)
    book.note_found(A, NODE, 1.0)
    assert not book.knows_as_mine(A)
    assert due(book, 1.0) == [A]


# -- few peers left ----------------------------------------------------------------------------


def fail_often(book):
    book.add_bootstrap([A], 0.0)
    book.note_found(B, NODE, 0.0)
    due(book, 0.0)
    for tried in (A, B):
        for _ in range(10):
            book.failed(tried, 0.0, peers=5)


def test_with_few_peers_left_bootstrap_addresses_do_not_wait_for_their_backoff(book):
    fail_often(book)
    book.hurry(20.0, everyone=False)
    assert due(book, 21.0) == [A]


def test_with_no_peer_left_no_address_waits(book):
    fail_often(book)
    book.hurry(20.0, everyone=True)
    assert sorted(due(book, 21.0)) == [A, B]


def test_without_peers_too_an_address_is_not_dialed_twice_in_ten_seconds(book):
    fail_often(book)
    book.hurry(3.0, everyone=True)
    assert due(book, 9.9) == []
    assert sorted(due(book, 10.0)) == [A, B]


# -- proven addresses ---------------------------------------------------------------------------


def test_another_node_at_the_same_address_takes_its_place(book):
    book.note_found(A, NODE, 0.0)
    book.note_found(B, NODE, 0.0)
    book.note_found(A, OTHER, 1.0)
    assert book.proven([NODE]) == [(B, NODE)]
    assert book.proven([OTHER]) == [(A, OTHER)]
    assert book.nodeid_at(A) == OTHER


def test_a_heard_address_is_not_proven(book):
    book.note_heard(A, NODE, TELLER, 0.0)
    book.add_bootstrap([B], 0.0)
    assert book.proven([NODE, TELLER]) == []
    assert book.kept(0.0) == Kept([], [HeardAddress(A, NODE, TELLER)])


def test_an_address_that_means_nothing_elsewhere_is_neither_advertised_nor_kept(book):
    book.note_found(Address("node.example", 6000), NODE, 0.0)
    book.note_found(Address("fe80::1%eth0", 6000), NODE, 0.0)
    assert book.proven([NODE]) == []
    assert book.kept(0.0) == Kept([], [])


def test_the_freshest_proven_addresses_are_kept_first(book):
    book.note_found(A, NODE, 10.0)
    book.note_found(B, OTHER, 30.0)
    book.note_heard(C, None, TELLER, 30.0)
    assert book.kept(40.0) == Kept(
        [KeptAddress(B, OTHER, 10.0), KeptAddress(A, NODE, 30.0)],
        [HeardAddress(C, None, TELLER)],
    )


def test_kept_addresses_do_not_overrule_known_ones(book):
    book.add_bootstrap([A], 0.0)
    book.note_found(B, OTHER, 50.0)
    book.add_kept(Kept([KeptAddress(A, NODE, 10.0), KeptAddress(B, NODE, 10.0)]), 60.0)
    assert book.nodeid_at(B) == OTHER
    assert len(book) == 2


def test_changes_grows_with_every_change_of_kept(book):
    seen = [book.changes()]
    for change in (
        lambda: book.note_heard(A, NODE, TELLER, 0.0),
        lambda: book.note_found(A, NODE, 1.0),
        lambda: book.note_found(A, NODE, 2.0),
        lambda: book.note_mine(A, 3.0),
        lambda: book.add_kept(Kept([KeptAddress(B, OTHER, 1.0)]), 3.0),
    ):
        change()
        assert book.changes() > seen[-1]
        seen.append(book.changes())


# -- no due address is overlooked ----------------------------------------------------


def asleep(book, now, connected=NOBODY):
    """No address is due now, so the book need not look for a while."""
    assert due(book, now, connected) == []


def test_another_node_found_where_a_peer_was_is_dialed(book):
    book.note_found(A, NODE, 0.0)
    asleep(book, 1.0, {NODE: None})
    book.note_found(A, OTHER, 50.0)
    assert due(book, 51.0, {NODE: None}) == [A]


def test_an_address_named_for_another_node_is_dialed(book):
    book.note_heard(B, NODE, TELLER, 0.0)
    asleep(book, 1.0, {NODE: None})
    book.note_heard(B, OTHER, TELLER, 50.0)
    assert due(book, 51.0, {NODE: None}) == [B]


def test_an_address_that_waited_for_another_is_dialed_when_that_was_another_node(book):
    book.note_heard(A, NODE, TELLER, 0.0)
    book.note_heard(B, NODE, TELLER, 0.0)
    (first,) = due(book, 0.0)
    (second,) = {A, B} - {first}
    book.note_found(first, OTHER, 1.0)
    book.made_peer(first, 1.0)
    assert due(book, 2.0, {OTHER: None}) == [second]


def test_an_address_with_a_standing_connection_is_not_dialed_until_it_ends(book):
    book.note_heard(A, None, TELLER, 0.0)
    assert due(book, 0.0) == [A]
    book.note_found(A, NODE, 0.0)
    book.made_peer(A, 0.0)
    book.note_found(A, OTHER, 10.0, probe=True)
    asleep(book, 1000.0, {NODE: None})
    book.lost(NODE, 1001.0, stopping=False)
    asleep(book, 1002.0)
    book.connection_over(A, 1003.0)
    assert due(book, 1004.0) == [A]


def test_whoever_forwards_a_dial_and_cuts_it_is_dialed_less_and_less(book):
    """The node found behind it is elsewhere, so its loss says nothing of this address."""
    book.add_bootstrap([A], 0.0)
    dials, now = 0, 0.0
    while now < 60.0:
        if due(book, now):
            dials += 1
            book.made_peer(A, now)
            book.lost(NODE, now + 0.01, stopping=False)
            book.connection_over(A, now + 0.01)
        now += 0.1
    assert 4 <= dials <= 9


def test_a_lone_node_with_thousands_of_dead_addresses_dials_at_a_bounded_rate(book):
    for number in range(2000):
        book.note_found(address(number), "%08d-0000-4000-8000-000000000007" % number, 0.0)
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


def test_a_lone_node_is_in_less_of_a_hurry_where_a_secret_is_missing(book):
    """Nothing but a person mends that, and an answer that was forged must not keep a member out."""
    book.add_bootstrap([A], 0.0)
    for now in range(0, 1200, 100):
        assert due(book, now) == [A]
        book.failed(A, now, peers=0, strange=True)
    assert not due(book, now + 59.0)
    assert due(book, now + 91.0) == [A]
