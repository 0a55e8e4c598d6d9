"""Failed connections: the first is reported at once, a crowd of them once a minute together."""

import pytest

from p2p_plain.common.address import Address
from p2p_plain.common.events import Events
from p2p_plain.node.failures import AT_ONCE, MAX_REPORTED, SUMMARY_INTERVAL, Failures
from p2p_plain.node.peer import INBOUND, OUTBOUND
from tests.support import RawPeer, wait_until


class Played:
    """Failures on a clock that the test turns, with a tick a second."""

    def __init__(self):
        self.now = 1000.0
        events = Events(lambda: self.now)
        events.emit = lambda name, **fields: name == "refused" and self.told.append(fields)
        self.told = []
        self.failures = Failures(events, lambda: self.now)

    def fail(self, host="10.0.0.66", reason="closed", direction=INBOUND, port=4000):
        self.failures.report(Address(host, port), reason, "", direction)

    def run(self, seconds, each=lambda: None):
        for _ in range(int(seconds)):
            self.now += 1.0
            each()
            self.failures.tick(self.now)

    def take(self):
        told, self.told = self.told, []
        return told


@pytest.fixture
def played():
    return Played()


def test_single_failures_are_reported_at_once(played):
    for _ in range(3):
        played.fail(port=4001)
        assert played.take() == [{"address": "10.0.0.66:4001", "reason": "closed"}]
        played.run(2 * SUMMARY_INTERVAL)
        assert played.take() == []


def test_a_health_check_is_one_line_a_minute(played):
    played.fail()
    assert len(played.take()) == 1
    for _ in range(5):
        played.run(SUMMARY_INTERVAL, played.fail)
        (summary,) = played.take()
        assert summary == {"address": "10.0.0.66:4000", "reason": "closed", "count": 60}
    played.run(2 * SUMMARY_INTERVAL)
    assert played.take() == []
    played.fail()  # after a quiet minute it is news again
    assert len(played.take()) == 1


def test_beside_a_health_check_a_new_host_and_a_new_reason_are_still_reported_at_once(played):
    played.fail()
    played.run(SUMMARY_INTERVAL / 2, played.fail)
    played.take()
    played.fail("10.0.0.7", "network")
    played.fail(reason="protocol")
    assert [(one["address"][:9], one["reason"]) for one in played.take()] == [
        ("10.0.0.7:", "network"), ("10.0.0.66", "protocol"),
    ]


def test_a_crowd_of_hosts_is_a_few_lines_a_minute_and_never_forgotten_in_the_count(played):
    hosts = ["10.%d.%d.1" % divmod(n, 256) for n in range(3000)]
    reported, counted = 0, 0
    for minute in range(10):
        for host in hosts:
            played.fail(host, "timeout" if minute % 2 else "closed")
        played.run(SUMMARY_INTERVAL)
        told = played.take()
        assert len(told) <= AT_ONCE + 1
        reported += sum("count" not in one for one in told)
        counted += sum(one.get("count", 0) for one in told)
    assert reported + counted == 10 * len(hosts)
    assert played.failures.inbound.counts() == {"closed": 15000, "timeout": 15000}
    assert len(played.failures._reported) <= MAX_REPORTED  # bounded, whoever connects


def test_the_summary_names_the_most_frequent_reason_and_its_last_address(played):
    played.fail()
    played.fail(reason="protocol")
    played.take()
    for port in range(5):
        played.fail(port=port)
        played.fail("10.0.0.9", "network", port=port + 100)
        played.fail(reason="protocol")
    played.fail(port=9)
    played.run(SUMMARY_INTERVAL)
    assert played.take()[1:] == [{"address": "10.0.0.66:9", "reason": "closed", "count": 15}]


def test_a_dial_is_reported_when_its_reason_is_new(played):
    for reason in ("refused", "refused", "timeout", "timeout", "refused"):
        played.fail(reason=reason, direction=OUTBOUND)
    assert [one["reason"] for one in played.take()] == ["refused", "timeout", "refused"]
    played.run(SUMMARY_INTERVAL)
    assert played.take() == []
    assert played.failures.inbound.counts() == {}


def test_after_a_success_the_next_failure_is_news(played):
    played.fail()
    played.fail(reason="refused", direction=OUTBOUND)
    played.failures.report_again(Address("10.0.0.66", 4000))
    played.take()
    played.fail()
    played.fail(reason="refused", direction=OUTBOUND)
    assert [one["reason"] for one in played.take()] == ["closed", "refused"]


def test_a_node_that_stops_reports_nothing(played):
    played.failures.stop()
    played.fail()
    played.run(SUMMARY_INTERVAL)
    assert played.take() == []


def test_a_thousand_connections_that_say_nothing_are_one_event_and_counted(make_node):
    node = make_node()
    told = []
    node.on("refused", told.append)
    for _ in range(1000):
        RawPeer.dial(node).sock.close()
    wait_until(lambda: node.counters()["inbound_failures"].get("closed") == 1000)
    assert [one["reason"] for one in node.events(0) if one["event"] == "refused"] == ["closed"]


def test_connections_that_become_peers_guests_or_ties_are_no_failures(make_node):
    node = make_node()
    with RawPeer.dial(node) as peer, RawPeer.dial(node) as guest, RawPeer.dial(node) as own:
        peer.become_peer()
        guest.hello(probe=True)
        guest.hear("hello")
        own.nodeid = node.nodeid
        own.hello()
        assert own.hear("bye")["reason"] == "self"
    wait_until(lambda: not node.peers())
    assert node.counters()["inbound_failures"] == {}
