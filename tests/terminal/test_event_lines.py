"""Event lines are aligned and cannot play with the terminal; traces fit it."""

import pytest

from p2p_plain.terminal import event_lines
from p2p_plain.terminal.event_lines import human, invitation, trace

ID = "01234567-89ab-4cde-8f01-23456789abcd"

TIME = "2016-02-04T12:00:00.123Z"

EVENTS = {
    "listening": {"nodeid": ID, "name": "a", "addresses": ["10.0.0.1:6000", "[::1]:6000"]},
    "peer_up": {
        "nodeid": ID,
        "name": "a",
        "address": "10.0.0.1:6000",
        "direction": "inbound",
        "peers": 1,
    },
    "peer_down": {
        "nodeid": ID,
        "name": "a",
        "address": "10.0.0.1:6000",
        "reason": "stopping",
        "peers": 0,
        "up_seconds": 61,
    },
    "self": {"address": "10.0.0.1:6000"},
    "conflict": {
        "nodeid": ID,
        "name": "a",
        "address": "10.0.0.1:6000",
        "other": "10.0.0.9:6000",
    },
    "refused": {"address": "10.0.0.1:6000", "reason": "refused"},
    "rtt": {"nodeid": ID, "name": "a", "rtt_ms": 0.31},
    "reach": {
        "nodeid": ID,
        "name": "a",
        "address": "10.0.0.1:6000",
        "dial": "timeout",
        "was": "ok",
    },
    "message": {"nodeid": ID, "from": ID, "body": {"text": "hello"}},
    "stopped": {"reason": "SIGINT", "peers": 2, "uptime_seconds": 3725},
}


def event(word, **changes):
    return dict(EVENTS[word], event=word, time="2016-02-04T12:00:00.123Z", **changes)


def shown(word, **changes):
    """The line without its time of day."""
    line = human(event(word, **changes))
    assert line[2] == line[5] == ":"
    return " ".join(line[8:].split())


@pytest.mark.parametrize(
    "name, line",
    [
        ("listening", "listening 01234567 a on 10.0.0.1:6000, [::1]:6000"),
        ("peer_up", "peer up 01234567 a 10.0.0.1:6000 inbound 1 peer"),
        ("peer_down", "peer down 01234567 a 10.0.0.1:6000 stopping 0 peers left; was up 1 min 1 s"),
        ("self", "self 10.0.0.1:6000 is this node itself; tried again later"),
        (
            "conflict",
            "conflict 01234567 a 10.0.0.1:6000 "
            "another program at 10.0.0.9:6000 says that it is this node",
        ),
        ("refused", "refused 10.0.0.1:6000 refused: the host is up, nobody listens on that port"),
        ("rtt", "rtt 01234567 a 0.31 ms"),
        ("reach", "reach 01234567 a 10.0.0.1:6000 cannot be dialed, timed out: no answer (was ok)"),
        ("message", 'message 01234567 {"text": "hello"}'),
        ("stopped", "stopped SIGINT, after 1 h 2 min; said goodbye to 2 peers"),
    ],
)
def test_each_event_is_one_line(name, line):
    assert shown(name) == line


def test_an_unknown_event_shows_its_fields():
    assert human({"event": "new_kind", "time": TIME, "a": "\x1b"}).endswith("new kind   a=\\x1b")


def test_a_reason_without_an_explanation_shows_its_word():
    assert shown("refused", reason="full") == "refused 10.0.0.1:6000 full"


def test_failures_that_are_reported_together_show_how_many():
    line = "refused 10.0.0.1:6000 closed without a word; %s more within a minute"
    assert shown("refused", reason="closed", count=312) == line % "312 inbound connections"
    assert shown("refused", reason="closed", count=1) == line % "1 inbound connection"


HOSTILE = "\x1b]0;gone\x07\nfake line\r\u202e\x9b\ud83d"


@pytest.mark.parametrize(
    "name, changes",
    [
        ("listening", {"name": HOSTILE}),
        ("peer_up", {"name": HOSTILE}),
        ("peer_down", {"name": HOSTILE}),
        ("rtt", {"name": HOSTILE}),
        ("reach", {"name": HOSTILE}),
        ("conflict", {"name": HOSTILE}),
        ("message", {"body": HOSTILE}),
        ("message", {"body": {HOSTILE: [HOSTILE]}}),
    ],
)
def test_text_from_a_peer_is_escaped(name, changes):
    line = human(event(name, **changes))
    assert line.isprintable()
    line.encode("utf-8")


def test_a_long_message_is_cut():
    assert len(human(event("message", body="x" * 60000))) < 600


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_colour_changes_nothing_but_colour(name):
    plain, coloured = human(event(name))[8:], human(event(name), colour=True)[8:]
    coloured = coloured.replace("\x1b[0m", "")
    if "\x1b[" in coloured:
        start = coloured.index("\x1b[")
        coloured = coloured[:start] + coloured[coloured.index("m", start) + 1 :]
    assert coloured.rstrip() == plain


def test_names_of_different_lengths_keep_the_columns():
    lines = [human(event("peer_up", name=name)) for name in ("a", "abcdefgh")]
    assert len({line.index("10.0.0.1") for line in lines}) == 1


# -- the trace ------------------------------------------------------------------------


def traced(line, thread="reader-1", peer="10.0.0.1:6000", **more):
    fields = {"line": line, "thread": thread, "peer": peer, "direction": ">"}
    return trace(dict(fields, event="trace", time=101.5), 100.0, **more)


def test_a_traced_line_has_time_thread_peer_and_direction():
    assert traced('{"msgtype":"ping"}').split() == [
        "1.5000",
        "reader-1",
        "10.0.0.1:6000",
        ">",
        '{"msgtype":"ping"}',
    ]


def test_a_traced_line_is_escaped_and_cut():
    assert traced(HOSTILE).isprintable()
    line = traced("x" * 65535)
    assert line.endswith("x...(65535 characters)")
    assert line.count("x") == event_lines.TRACE_WIDTH
    whole = traced("x" * event_lines.TRACE_WIDTH)
    assert whole.count("x") == event_lines.TRACE_WIDTH
    assert "characters" not in whole


def test_a_trace_is_coloured_by_direction():
    assert traced("x", colour=True).startswith("\x1b[2m")
    assert traced("x", colour=True).endswith("x\x1b[0m")


@pytest.mark.parametrize("width", [80, 99, 100, 120, 200])
@pytest.mark.parametrize("line", ["x" * 200, "x" * 65535, HOSTILE * 30, "\u6771" * 150])
def test_a_traced_line_fits_the_terminal_and_shows_its_length(width, line):
    shown = traced(line, width=width)
    assert width - 1 <= sum(1 if character < "\u1100" else 2 for character in shown) <= width
    assert shown.endswith("...(%d)" % len(line))
    assert shown.isprintable()


def test_a_traced_line_that_just_fits_is_not_cut():
    head = len(traced("", width=80))
    assert traced("x" * (80 - head), width=80).endswith(" " + "x" * (80 - head))
    assert traced("x" * (81 - head), width=80).endswith("...(%d)" % (81 - head))


@pytest.mark.parametrize("width", [80, 120, None])
def test_threads_and_addresses_keep_the_columns_of_a_trace(width):
    lines = [
        traced("{}", width=width, thread=thread, peer=peer)
        for thread in ("pinger", "MainThread", "inbound-1", "outbound-9")
        for peer in ("127.0.0.1:80", "127.0.0.1:65535", "192.168.0.2:600")
    ]
    assert len({line.index("{}") for line in lines}) == 1


def test_a_very_narrow_terminal_shows_the_beginning_of_each_line():
    assert traced("x" * 40, width=10).endswith("xxxxxxxxx...(40)")


# -- the invitation --------------------------------------------------------------------


def test_the_invitation_is_a_command_for_another_machine():
    lines = invitation(["10.0.0.1:6000", "[::1]:6000"], "", "python3 -m p2p_plain")
    assert lines[0].endswith("python3 -m p2p_plain --bootstrap 10.0.0.1:6000")


@pytest.mark.parametrize(
    "network, quoted",
    [("lab 1", "'lab 1'"), ("it's", "'it'\\''s'"), ("$HOME;rm", "'$HOME;rm'")],
)
def test_a_network_in_the_invitation_survives_the_shell(network, quoted):
    assert invitation(["10.0.0.1:6000"], network, "p")[0].endswith(" --network " + quoted)


def test_the_invitation_names_the_key_file():
    command = invitation(["10.0.0.1:6000"], "", "p", "/etc/a b's.key")[0]
    assert command.endswith(" --secret-file '/etc/a b'\\''s.key'")


@pytest.mark.parametrize(
    "why, says",
    [
        ("members-only", "its network needs a secret (--secret-file)"),
        ("no-key", "it does not have the secret of our network"),
        ("unknown-key", "it has the secret of another network"),
        ("not-accepted", "it does not accept our secret"),
    ],
)
def test_a_connection_between_strangers_says_what_is_missing(why, says):
    assert shown("refused", reason="unauthorised", why=why) == "refused 10.0.0.1:6000 " + says


def test_there_is_no_invitation_without_an_address():
    assert invitation([], "lab", "p") == []


@pytest.mark.parametrize(
    "offset, shown", [(0, "12:00:00"), (3600, "13:00:00"), (-13 * 3600, "23:00:00"), (19800, "17:30:00")]
)
def test_the_time_is_that_of_the_event_on_the_local_clock(offset, shown):
    """Not the time of printing: after Ctrl-S and Ctrl-Q each line shows its own."""
    assert event_lines.clock(TIME, offset) == shown
    assert human(event("self"), offset).startswith(shown + "  self")
