"""The vocabulary: after ``parse`` nobody needs to doubt a field."""


import pytest

from p2p_plain.common.address import Address
from p2p_plain.common.errors import MessageTooLong
from p2p_plain.node import messages
from p2p_plain.node.codec import MAX_FIRST_LINE, MAX_LINE, decode
from p2p_plain.node.fields import is_nodeid
from p2p_plain.node.messages import (
    BYE_REASONS, MAX_ADDRESSES, Addr, Bye, GetAddr, Hello, AppMessage, Ping, Pong, Unknown, parse,
)
from tests.support.lines import MISSING, refused, said

ID = "01234567-89ab-4cde-8f01-23456789abcd"
OTHER = "ffffffff-ffff-4fff-bfff-ffffffffffff"
HERE = Address("192.0.2.1", 6000)

# -- every message ----------------------------------------------------------------


@pytest.mark.parametrize(
    "msgtype, kind",
    [("ping", Ping), ("pong", Pong), ("getaddr", GetAddr)],
)
@pytest.mark.parametrize(
    "spelling",
    [
        b'{"msgtype":"%s"}',
        b'{"msgtype": "%s"}',
        b' { "msgtype" : "%s" } ',
        b'{"msgtype":"%s","later":{"version":[2]}}',
    ],
)
def test_a_message_without_fields_is_known_in_every_spelling(msgtype, kind, spelling):
    assert type(parse(spelling % msgtype.encode())) is kind


@pytest.mark.parametrize("msgtype", ["inv", "Hello", "HELLO", "", "hello ", "getblocks"])
def test_an_unknown_type_is_left_to_be_ignored(msgtype):
    assert parse(said(msgtype, nodeid=5)) == Unknown(msgtype)
    assert type(parse(said(msgtype))) is Unknown


@pytest.mark.parametrize("line", [b"{}", b'{"type":"ping"}', b'{"nodeid":"%s"}' % ID.encode()])
def test_a_message_without_a_type_is_refused(line):
    assert refused(line) == "no msgtype"


@pytest.mark.parametrize("msgtype", [1, True, ["hello"], {"a": 1}])
def test_a_type_that_is_not_a_string_is_refused(msgtype):
    assert refused(said(msgtype)) == "msgtype is not a string"


@pytest.mark.parametrize("line", [b'["ping"]', b"ping", b'{"msgtype":"ping"', b"\xff", b""])
def test_what_is_no_object_is_refused(line):
    refused(line)


def test_a_field_twice_is_refused():
    assert "twice" in refused(b'{"msgtype":"ping","msgtype":"pong"}')


@pytest.mark.parametrize(
    "text, is_one",
    [
        (ID, True),
        (ID.upper(), True),
        (ID + "\n", False),
        (ID[:-1], False),
        (ID + "0", False),
        (ID.replace("-", ""), False),
        ("{%s}" % ID, False),
        ("urn:uuid:" + ID, False),
        (ID.replace("0", "g"), False),
        (ID.replace("0", "\u0660"), False),
        ("", False),
        (None, False),
        (5, False),
        ([ID], False),
    ],
)
def test_a_nodeid_is_a_uuid_as_text(text, is_one):
    assert is_nodeid(text) is is_one


# -- hello ------------------------------------------------------------------------


def test_the_hello_of_the_article_is_enough():
    line = ('{"nodeid": "%s", "msgtype": "hello"}' % ID).encode()
    assert parse(line) == Hello(nodeid=ID)
    assert parse(line).port is None
    assert parse(line).network == ""
    assert parse(line).probe is False


def test_a_nodeid_in_upper_case_is_the_same_node():
    assert parse(said("hello", nodeid=ID.upper())).nodeid == ID


def test_a_hello_may_say_everything():
    line = said(
        "hello",
        nodeid=ID,
        port=6000,
        name="kitchen \u00e9",
        network="home",
        version=2,
        agent="other/1.0",
        probe=True,
        observed="[2001:DB8::1]:6000",
        http=8080,
        colour="blue",
    )
    assert parse(line) == Hello(
        ID, 6000, "kitchen \u00e9", "home", 2, "other/1.0", True, Address("2001:db8::1", 6000), 8080
    )


@pytest.mark.parametrize("name", [" ", "\u2800\u2800", "\u3164", "\ufe0f"])
def test_a_name_that_shows_nothing_counts_as_absent(name):
    assert parse(said("hello", nodeid=ID, name=name)).name is None


NOT_PORTS = [True, False, "80", 80.0, 8e1, 0, -1, 65536, 10 ** 19, None, [80], {"port": 80}]


@pytest.mark.parametrize(
    "field, wrong",
    [
        ("nodeid", [MISSING, None, 5, "", "me", ID[:-1], ID + "\n", [ID]]),
        ("port", NOT_PORTS),
        ("http", NOT_PORTS),
        ("name", [None, 5, "", "x" * 65, "\x1b[31m", "a\nb", "\u202e", "\ud83d", ["a"]]),
        ("network", [None, 5, "x" * 65, ["a"]]),
        ("version", [None, True, "1", 1.0, -1]),
        ("agent", [None, 5, "x" * 65]),
        ("probe", [None, 0, 1, "true", []]),
        ("observed", [None, 5, "", "192.0.2.1", "host:80", ["192.0.2.1:80"]]),
    ],
)
def test_a_hello_with_a_wrong_field_is_refused(field, wrong):
    for value in wrong:
        fields = {"nodeid": ID, field: value}
        assert refused(said("hello", **fields)).startswith("hello: %s is " % field)


def test_a_refusal_tells_a_missing_field_from_a_wrong_one():
    assert refused(said("hello")) == "hello: nodeid is missing"
    assert refused(said("hello", nodeid=5)) == "hello: nodeid is not a UUID"
    assert refused(said("hello", nodeid=ID, port=0)) == "hello: port is not a port from 1 to 65535"


@pytest.mark.parametrize("port", [1, 65535])
def test_the_first_and_the_last_port_are_ports(port):
    assert parse(said("hello", nodeid=ID, port=port)).port == port


# -- addr ---------------------------------------------------------------------------


def test_an_addr_holds_pairs_or_bare_strings():
    peers = [["192.0.2.1:6000", OTHER.upper()], "[2001:db8::1]:6000", "192.0.2.2:6000"]
    assert parse(said("addr", peers=peers)) == Addr(
        (
            (HERE, OTHER),
            (Address("2001:db8::1", 6000), None),
            (Address("192.0.2.2", 6000), None),
        )
    )


def test_an_addr_may_be_empty_or_as_long_as_allowed():
    assert parse(said("addr", peers=[])) == Addr(())
    most = ["192.0.2.1:%d" % port for port in range(1, MAX_ADDRESSES + 1)]
    assert len(parse(said("addr", peers=most)).peers) == MAX_ADDRESSES
    assert "at most 100" in refused(said("addr", peers=[*most, "192.0.2.1:6000"]))


@pytest.mark.parametrize(
    "peers",
    [
        MISSING,
        None,
        "192.0.2.1:6000",
        {"192.0.2.1:6000": ID},
        [None],
        [5],
        [[]],
        [{}],
        [["192.0.2.1:6000"]],
        [["192.0.2.1:6000", ID, ID]],
        [["192.0.2.1:6000", None]],
        [["192.0.2.1:6000", 5]],
        [["192.0.2.1:6000", "me"]],
        [[ID, "192.0.2.1:6000"]],
        [[["192.0.2.1:6000"], ID]],
        [["192.0.2.1", 6000]],
        ["192.0.2.1"],
        ["192.0.2.1:70000"],
        ["host:6000"],
        ["[fe80::1%eth0]:6000"],
        ["192.0.2.1:6000", "192.0.2.1:six"],
    ],
)
def test_an_addr_with_anything_else_in_it_is_refused(peers):
    assert refused(said("addr", peers=peers)).startswith("addr: peers is ")


# -- message ------------------------------------------------------------------------


@pytest.mark.parametrize("body", [None, False, 0, "", [], {"text": "\u00e9", "n": [1.5]}, "\ud83d"])
def test_an_application_may_say_any_json_value(body):
    line = messages.encode_message(ID, OTHER, body)
    assert parse(line[:-1]) == AppMessage(ID, OTHER, body, None, line)
    line = messages.encode_message(ID, OTHER, body, to=ID)
    assert parse(line[:-1]) == AppMessage(ID, OTHER, body, ID, line)


def test_a_message_keeps_its_line_byte_for_byte_to_be_passed_on():
    line = (
        '{ "msgtype":"message", "id":"%s","from":"%s",  "body":1.0, "later":"\u00e9" }'
        % (ID.upper(), OTHER)
    ).encode()
    message = parse(line)
    assert message.line == line + b"\n"
    assert message.id == ID


@pytest.mark.parametrize(
    "field, wrong",
    [
        ("id", [MISSING, None, "1", 1]),
        ("from", [MISSING, None, "me"]),
        ("body", [MISSING]),
        ("to", [None, "", "you", 5]),
    ],
)
def test_a_message_with_a_wrong_field_is_refused(field, wrong):
    for value in wrong:
        fields = {"id": ID, "from": ID, "body": 1, field: value}
        assert refused(said("message", **fields)).startswith("message: %s is " % field)


def test_a_message_too_long_for_the_wire_is_refused_where_it_is_said():
    with pytest.raises(MessageTooLong):
        messages.encode_message(ID, ID, "x" * MAX_LINE)


def deep(levels):
    found = 0
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    "body",
    [10 ** 20, -(10 ** 20), deep(32), deep(100000), {1: "a", "1": "b"}],
    ids=["integer", "negative", "nested", "nested-very-deep", "key-twice"],
)
def test_what_every_peer_would_refuse_is_refused_where_it_is_said(body):
    """Else one call of the application costs the node all its peers, each with ``bye protocol``."""
    with pytest.raises((TypeError, ValueError)):
        messages.encode_message(ID, ID, body)


def test_the_largest_body_that_is_said_is_also_heard():
    body = [10 ** 20 - 1, deep(30)]
    assert parse(messages.encode_message(ID, ID, body)[:-1]).body == body


# -- bye ------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", sorted(BYE_REASONS))
def test_a_bye_gives_one_of_the_words(reason):
    assert parse(said("bye", reason=reason)) == Bye(reason)
    assert parse(messages.encode_bye(reason)[:-1]) == Bye(reason)
    assert parse(messages.encode_bye(reason, "because")[:-1]) == Bye(reason, "because")


@pytest.mark.parametrize(
    "field, wrong",
    [
        ("reason", [MISSING, None, "", "bored", "STOPPING", 5, "x" * 1000]),
        ("detail", [None, 5, "x" * 501]),
    ],
)
def test_a_bye_with_a_wrong_field_is_refused(field, wrong):
    for value in wrong:
        fields = {"reason": "full", field: value}
        assert refused(said("bye", **fields)).startswith("bye: %s is " % field)


@pytest.mark.parametrize("character", ["x", "\u00e9", "\x1b", "\n", "\ud83d", "\U000e0001"])
def test_whatever_the_detail_our_bye_can_be_read(character):
    bye = parse(messages.encode_bye("protocol", character * 1000)[:-1])
    assert bye.reason == "protocol"
    assert bye.detail.isprintable()


# -- what we say ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hello",
    [
        Hello(ID, version=1),
        Hello(ID, 6000, "n" * 64, "net", 1, "p2p_plain/0.1", True, HERE, 8080),
        Hello(ID, observed=Address("2001:db8::1", 1), version=1),
        Hello(ID, name="half a pair".upper(), network="\u00e9", version=1),
    ],
)
def test_our_hello_is_read_as_it_was_meant(hello):
    assert parse(messages.encode_hello(hello)[:-1]) == hello


def test_our_hello_says_only_what_is_known():
    line = messages.encode_hello(Hello(ID))
    assert decode(line[:-1]) == {"msgtype": "hello", "nodeid": ID, "version": 1}


def test_our_addr_is_what_the_article_sends():
    line = messages.encode_addr([(HERE, ID), (Address("::1", 1), OTHER)])
    assert decode(line[:-1]) == {
        "msgtype": "addr",
        "peers": [["192.0.2.1:6000", ID], ["[::1]:1", OTHER]],
    }
    assert parse(line[:-1]) == Addr(((HERE, ID), (Address("::1", 1), OTHER)))


def test_the_longest_addr_fits_a_line():
    address = Address("2001:db8:1111:2222:3333:4444:5555:6666", 65535)
    line = messages.encode_addr([(address, ID)] * MAX_ADDRESSES)
    assert len(parse(line[:-1]).peers) == MAX_ADDRESSES


@pytest.mark.parametrize(
    "line, kind", [(messages.PING, Ping), (messages.PONG, Pong), (messages.GETADDR, GetAddr)]
)
def test_the_lines_encoded_once_are_lines(line, kind):
    assert line.endswith(b"\n")
    assert type(parse(line[:-1])) is kind


# -- ping ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [200, 1448, 4000])
def test_a_long_ping_has_its_size_and_its_pong_nearly_so(size):
    """To the byte, or the limit of a path could not be measured with it."""
    line = messages.encode_long_ping(size)
    pong = messages.encode_pong(parse(line[:-1]))
    assert len(line) == size < MAX_FIRST_LINE
    assert len(pong) == size - len(',"repeat":true')
    assert decode(pong[:-1])["pad"] == decode(line[:-1])["pad"]


@pytest.mark.parametrize("fields", [{"pad": "x" * 500}, {"repeat": False, "pad": "xx"}, {"repeat": True}])
def test_a_pad_is_repeated_only_if_that_is_asked_for(fields):
    assert messages.encode_pong(parse(said("ping", **fields))) == messages.PONG


@pytest.mark.parametrize("pad", [r"\u007f" * 3, "é" * 300, r"\ud800" * 500, r"\u0000" * 600, '"' * 0])
def test_a_pong_is_never_longer_than_its_ping(pad):
    """Or a node could be used to send more to somebody than its abuser sends."""
    line = b'{"msgtype":"ping","repeat":true,"pad":"%s"}' % pad.encode()
    assert len(messages.encode_pong(parse(line))) <= max(len(line), len(messages.PONG))
    assert messages.encode_pong(parse(b'{"msgtype":"ping","repeat":true,"pad":"%s"}' % (b"x" * 5000))) == (
        messages.PONG
    )


@pytest.mark.parametrize("fields", [{"pad": 5}, {"repeat": 1}, {"repeat": "yes", "pad": ""}])
def test_a_ping_with_a_wrong_field_is_refused(fields):
    refused(said("ping", **fields))


# -- tokens -----------------------------------------------------------------------


def test_a_ping_may_ask_about_a_token_and_the_pong_says_what_is_known():
    assert parse(messages.encode_question("0123")[:-1]) == Ping(token="0123")
    assert parse(messages.encode_answer("0123", "heard")[:-1]) == Pong(token="0123", known="heard")


@pytest.mark.parametrize("msgtype", ["ping", "pong"])
@pytest.mark.parametrize("wrong", [None, 1, True, ["said"], "x" * 65])
def test_a_token_is_a_short_text(msgtype, wrong):
    assert "token" in refused(said(msgtype, token=wrong))
