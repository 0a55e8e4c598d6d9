"""The codec: any bytes give lines, messages or ``PeerMisbehaved``, and soon."""

import json
import random
import time

import pytest

from p2p_plain.common.errors import MessageTooLong, PeerMisbehaved
from p2p_plain.node.codec import (
    MAX_INTEGER_DIGITS, MAX_LINE, MAX_NESTING, LineSplitter, decode, encode,
)

# -- lines ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_how_the_stream_is_cut_into_reads_does_not_matter(seed):
    rng = random.Random(seed)
    lines = [b"x" * rng.choice([0, 1, 2, 30, 98]) for _ in range(50)]
    stream = b"".join(line + rng.choice([b"\n", b"\r\n"]) for line in lines)
    splitter = LineSplitter(100)
    found = []
    while stream:
        size = rng.choice([1, 2, 3, 50, 1000])
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    assert not splitter.held
    assert found == lines


def test_half_a_line_waits_for_its_other_half():
    splitter = LineSplitter(100)
    assert splitter.feed(b'{"a"') == []
    assert splitter.feed(b":1}\n{") == [b'{"a":1}']
    assert splitter.feed(b"}\r") == []
    assert splitter.feed(b"\n") == [b"{}"]


def test_one_carriage_return_before_the_newline_is_removed():
    assert LineSplitter(100).feed(b"\ra\rb\r\r\n") == [b"\ra\rb\r"]


def test_the_limit_counts_the_newline():
    assert LineSplitter(10).feed(b"x" * 9 + b"\n") == [b"x" * 9]
    with pytest.raises(PeerMisbehaved, match="line over 10 bytes"):
        LineSplitter(10).feed(b"x" * 10 + b"\n")


@pytest.mark.parametrize("chunks", [[b"x" * 10], [b"x" * 5, b"x" * 5], [b"x"] * 10])
def test_a_long_line_is_refused_before_its_newline_comes(chunks):
    """Otherwise a peer that never sends a newline could fill our memory."""
    splitter = LineSplitter(10)
    for chunk in chunks[:-1]:
        assert splitter.feed(chunk) == []
    with pytest.raises(PeerMisbehaved):
        splitter.feed(chunks[-1])


def test_a_long_line_behind_a_good_one_is_refused():
    with pytest.raises(PeerMisbehaved):
        LineSplitter(10).feed(b"ok\n" + b"x" * 10 + b"\nok\n")


def test_the_limit_is_for_each_line_and_not_for_all_of_a_chunk():
    assert LineSplitter(10).feed(b"12345678\n" * 100) == [b"12345678"] * 100


def test_the_limit_may_be_raised_in_the_middle_of_a_line():
    splitter = LineSplitter(10)
    assert splitter.feed(b"hello\nxxx") == [b"hello"]
    splitter.limit = 100
    assert splitter.feed(b"x" * 50 + b"\n") == [b"x" * 53]


def test_the_beginning_of_a_line_is_held_until_the_rest_arrives():
    splitter = LineSplitter(100)
    assert splitter.feed(b"whole\nhal") == [b"whole"]
    assert splitter.held == b"hal"
    assert splitter.feed(b"f\n") == [b"half"]
    assert not splitter.held


# -- bad input --------------------------------------------------------------------

NOT_OBJECTS = [b"[]", b"1", b"null", b'"hello"', b"true", b'[{"msgtype":"ping"}]']

NOT_JSON = [
    b"",
    b" ",
    b"hello",
    b"{",
    b"}",
    b'{"a":1',
    b'{"a":1,}',
    b"{'a':1}",
    b"{a:1}",
    b'{"a":1}{"b":2}',
    b'{"a":1} x',
    b'{"a":01}',
    b'{"a":+1}',
    b'{"a":.5}',
    b'{"a":0x10}',
    b'{"a":"\x00"}',
    b'{"a":"tab\there"}',
    b'{"a":"\\x41"}',
    b'{"a":"\\u12"}',
    b'{"a":1}\x00',
    b'\xc2\xa0{"a":1}',
    b'{"a":1}//',
]

NOT_UTF_8 = [
    b'{"a":"\xff"}',
    b'{"a":"\xc3"}',
    b'{"a":"\xc0\xaf"}',
    b'{"a":"\xed\xa0\x80"}',
    b'{"a":"\xf4\x90\x80\x80"}',
    '{"a":"é"}'.encode("latin-1"),
    '{"a":1}'.encode("utf-16"),
    '{"a":1}'.encode("utf-32"),
]

BYTE_ORDER_MARKS = [
    b'\xef\xbb\xbf{"a":1}',
    b'{"a":1}\xef\xbb\xbf',
    '{"a":1}'.encode("utf-16-le"),
    '{"a":1}'.encode("utf-16-be"),
]

NOT_NUMBERS = [
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":[{"b":NaN}]}',
    b'{"a":1e999}',
    b'{"a":-1e999}',
    b'{"a":[1.5e400]}',
    b'{"a":' + b"9" * 400 + b".0}",
    b'{"a":' + b"1" * (MAX_INTEGER_DIGITS + 1) + b"}",
    b'{"a":-' + b"1" * (MAX_INTEGER_DIGITS + 1) + b"}",
    b'{"a":[{"b":' + b"7" * 60000 + b"}]}",
]

KEYS_TWICE = [
    b'{"a":1,"a":1}',
    b'{"a":1,"b":2,"a":3}',
    b'{"a":{"b":1,"b":2}}',
    b'{"a":[[{"b":1,"b":2}]]}',
    b'{"a":1,"\\u0061":2}',
    b'{"":1,"":2}',
]


def nested(depth, opening=b"[", closing=b"]"):
    """An object whose brackets go ``depth`` deep, its own counted."""
    return b'{"a":' + opening * (depth - 1) + b"0" + closing * (depth - 1) + b"}"


TOO_DEEP = [
    nested(MAX_NESTING + 1),
    nested(MAX_NESTING + 1, b'{"a":', b"}"),
    nested(30000),
    nested(10000, b'{"a":', b"}"),
    b"[" * 65000,
    b'{"a":' * 13000,
    b'{"s":"\\\\",' + nested(MAX_NESTING + 1)[1:],
    b'{"s":"\\\\\\"]]]]",' + nested(MAX_NESTING + 1)[1:],
    b'{"]]]]]]]]":"]]]]]]]]",' + nested(MAX_NESTING + 1)[1:],
    b'{"a":[],"b":{},"c":' + nested(MAX_NESTING) + b"}",
]


@pytest.mark.parametrize(
    "lines, detail",
    [
        (NOT_OBJECTS, "not a JSON object"),
        (NOT_JSON, "not JSON"),
        (NOT_UTF_8, "not UTF-8"),
        (BYTE_ORDER_MARKS, "byte order mark|not JSON"),
        (NOT_NUMBERS, "not JSON|number too large|integer of more than 20 digits"),
        (KEYS_TWICE, "same key twice"),
        (TOO_DEEP, "nested more than 32 deep"),
    ],
    ids=["not-object", "not-json", "not-utf-8", "bom", "not-number", "key-twice", "too-deep"],
)
def test_bad_input_is_refused_with_its_reason(lines, detail):
    for line in lines:
        with pytest.raises(PeerMisbehaved, match=detail) as caught:
            decode(line)
            pytest.fail("accepted %r" % line[:100])
        assert caught.value.reason == "protocol"
        assert len(caught.value.detail) < 200
        assert caught.value.detail.isprintable()


def test_the_detail_names_a_byte_order_mark():
    with pytest.raises(PeerMisbehaved, match="byte order mark"):
        decode(BYTE_ORDER_MARKS[0])


@pytest.mark.parametrize(
    "line, value",
    [
        (b"{}", {}),
        (b' \t{"a" : [1, -2.5, 1e3, true, null]} \r', {"a": [1, -2.5, 1000.0, True, None]}),
        ('{"é":"日本"}'.encode(), {"é": "日本"}),
        (b'{"a":"\\u00e9\\n\\"\\\\"}', {"a": 'é\n"\\'}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":"\\ud83d"}', {"a": "\ud83d"}),
        (b'{"a":"\xef\xbb\xbf"}', {"a": "\ufeff"}),
        (b'{"a":18446744073709551616}', {"a": 2 ** 64}),
        (b'{"a":-' + b"9" * MAX_INTEGER_DIGITS + b"}", {"a": 1 - 10 ** MAX_INTEGER_DIGITS}),
        (b'{"a":1e-999}', {"a": 0.0}),
        (b'{"a":1,"b":{"a":1}}', {"a": 1, "b": {"a": 1}}),
        (b'{"a":1,"A":2}', {"a": 1, "A": 2}),
        (b'{"a":"NaN"}', {"a": "NaN"}),
    ],
)
def test_json_is_decoded(line, value):
    assert decode(line) == value


@pytest.mark.parametrize(
    "line",
    [
        nested(MAX_NESTING),
        nested(MAX_NESTING, b'{"a":', b"}"),
        b'{"a":"' + b"[" * 60000 + b'"}',
        b'{"' + b"{" * 1000 + b'":1}',
        b'{"a":"\\"' + b"[" * 1000 + b'"}',
        b'{"a":"\\\\\\"' + b"[" * 1000 + b'"}',
        b'{"a":"\\\\","b":"' + b"[" * 1000 + b'"}',
        b'{"a":"' + b'\\"[' * 1000 + b'"}',
        b'{"a":[' + b"[]," * 1000 + b"[]]}",
        b'{"a":[' + b"{}," * 1000 + b"{}]}",
    ],
    ids=lambda line: ascii(line[:20]),
)
def test_brackets_in_strings_and_side_by_side_are_no_nesting(line):
    assert decode(line) == json.loads(line.decode())


def fill(piece, before=b"", after=b""):
    """A line of as much ``piece`` as the wire takes."""
    return before + piece * ((MAX_LINE - 1 - len(before) - len(after)) // len(piece)) + after


@pytest.mark.parametrize(
    "line",
    [
        fill(b"["),
        fill(b'{"":'),
        fill(b'"'),
        fill(b"\\"),
        fill(b'\\"', b'{"a":"'),
        fill(b'"[', b"{"),
        fill(b"[]", b'{"a":['),
        fill(b"[],", b'{"a":[', b"1]}"),
        fill(b"\\u0041", b'{"a":"', b'"}'),
        fill(b"\\ud800", b'{"a":"', b'"}'),
        fill(b"9", b'{"a":', b"}"),
        fill(b"9", b'{"a":0.', b"}"),
        fill(b"9", b'{"a":1e', b"}"),
        fill(b"9", b'{"a":', b"e-65000}"),
        fill(b"1e308,", b'{"a":[', b"1]}"),
        fill(b"17976931348623158079999999999999.5,", b'{"a":[', b"1]}"),
        fill(b'"":1,', b"{", b'"a":1}'),
        fill(b" ", b"{", b"}"),
        fill(b" ", b"", b"{}"),
        fill(b"\xff"),
        fill(b"\xc3\xa9"),
        fill(b"\xf0\x9f\x98\x80", b'{"a":"', b'"}'),
        fill(b"-"),
        fill(b"1,", b'{"a":['),
    ],
    ids=lambda line: ascii(line[:20]),
)
def test_no_line_takes_long(line):
    """It takes milliseconds.  A second would be quadratic time."""
    assert len(line) < MAX_LINE
    started = time.perf_counter()
    try:
        decode(line)
    except PeerMisbehaved:
        pass
    assert time.perf_counter() - started < 1.0


@pytest.mark.parametrize("seed", range(10))
def test_any_bytes_give_an_object_or_a_refusal(seed):
    """Good lines with a few bytes changed get further into the parser than noise does."""
    rng = random.Random(seed)
    good = b'{"msgtype":"addr","peers":[["192.0.2.1:80","\\u00e9"],[1.5e3,-2,true,null,{}]]}'
    for _ in range(300):
        line = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            line[rng.randrange(len(line))] = rng.choice(b'{}[]",:\\eE+-.019nNu \xff\xc3\x00')
        try:
            assert isinstance(decode(bytes(line)), dict)
        except PeerMisbehaved:
            pass


# -- encoding --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"a": 'quote " backslash \\ newline \n nul \x00'},
        {"a": "é日本\U0001f600\u2028"},
        {"a": "half a pair \ud83d, é"},
        {"\ud83d": [1, -2.5, True, None, {"b": []}]},
        {"a": 10 ** MAX_INTEGER_DIGITS - 1},
    ],
)
def test_an_encoded_message_is_one_line_that_decodes_to_the_same(message):
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line[:-1]) == message


def test_lines_are_utf_8_without_spaces():
    assert encode({"a": "é", "b": 1}) == '{"a":"é","b":1}\n'.encode()


def test_the_longest_line_passes_and_one_byte_more_does_not():
    room = MAX_LINE - len(encode({"a": ""}))
    line = encode({"a": "x" * room})
    assert len(line) == MAX_LINE
    assert LineSplitter(MAX_LINE).feed(line) == [line[:-1]]
    with pytest.raises(MessageTooLong, match="65537 bytes"):
        encode({"a": "x" * (room + 1)})


def test_length_is_counted_in_bytes_not_characters():
    with pytest.raises(MessageTooLong):
        encode({"a": "é" * (MAX_LINE // 2)})
    with pytest.raises(MessageTooLong):
        encode({"a": "\ud83d" * (MAX_LINE // 6)})


def circle():
    found = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), b"bytes", {1, 2}, object(), circle()]
)
def test_values_that_json_does_not_have_are_an_error_of_the_caller(value):
    with pytest.raises((TypeError, ValueError)):
        encode({"a": value})
    with pytest.raises((TypeError, ValueError)):
        encode({"half a pair": "\ud83d", "a": value})
