"""Two members show each other the key, and seal what they say: the rules, without sockets."""

import base64
import hashlib
import hmac
import json
import re
import struct

import pytest

from p2p_plain.commands.help import document
from p2p_plain.common.address import Address
from p2p_plain.common.errors import PeerLeft, PeerMisbehaved, Refused, Unauthorised
from p2p_plain.common.keys import decode_key, key_of
from p2p_plain.common.outcomes import ECHO, NO_KEY, UNKNOWN_KEY, WRONG_KEY
from p2p_plain.node.handshake import Handshake
from p2p_plain.node.seal import Seal

KEY, OTHER = key_of(b"k" * 32), key_of(b"o" * 32)
I_ID, R_ID = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
PLACE = Address("192.0.2.2", 6000)


def ends(ours=(KEY,), theirs=(KEY,), nonces=(b"i", b"r")):
    """Two ends that know nothing of each other yet."""
    dialer = Handshake(ours, I_ID, 6001, PLACE, nonces[0] * 32)
    return dialer, Handshake(theirs, R_ID, 6000, None, nonces[1] * 32)


def take(end, line):
    """Give an end a line as the program does: once it has proven the key, each has a seal."""
    return end.receive(line) if end.opening is None else end.opening.open(line)


def conversation(dialer, acceptor, change=lambda number, line: [line]):
    """Play the handshake; ``change`` says what becomes of each line on the way."""
    said, number, listener = [dialer.begin()], 0, acceptor
    while said and said[0]:
        lines = [line for one in said for line in change(number, one[:-1])]
        said = [answer for answer in (take(listener, line) for line in lines) if answer]
        listener = dialer if listener is acceptor else acceptor
        number += 1
    return number


def recorded(*pair):
    """The four lines of a handshake that goes well."""
    lines = []
    conversation(*(pair or ends()), change=lambda number, line: lines.append(line) or [line])
    return lines


def test_members_authenticate_in_two_round_trips_and_can_talk():
    dialer, acceptor = ends()
    assert conversation(dialer, acceptor) == 4
    assert dialer.theirs.nodeid == R_ID and dialer.theirs.dialed is None
    assert acceptor.theirs.nodeid == I_ID and acceptor.theirs.dialed == PLACE
    for end, other in ((dialer, acceptor), (acceptor, dialer)):
        sealed = end.sealing.seal(b"one\ntwo\n") + end.sealing.seal(b"three\n")
        assert [other.opening.open(line) for line in sealed.split(b"\n")[:-1]] == [
            b"one", b"two", b"three",
        ]


def test_the_first_hello_says_what_it_must_and_nothing_else():
    first = [json.loads(line.decode()) for line in recorded()[:2]]
    assert set(first[0]) == {"msgtype", "nodeid", "port", "nonce", "auth", "dialed"}
    assert set(first[1]) == set(first[0]) - {"dialed"}
    assert first[0]["auth"] == [KEY.id]


def test_nonces_are_new_and_random():
    nonces = {json.loads(Handshake([KEY], I_ID, None, PLACE).begin().decode())["nonce"] for _ in range(9)}
    assert len(nonces) == 9


@pytest.mark.parametrize(
    "ours, theirs, why",
    [
        ([OTHER], [KEY], UNKNOWN_KEY),
        ([KEY._replace(secret=OTHER.secret)], [KEY], WRONG_KEY),  # of the same id
    ],
)
def test_ends_with_other_keys_do_not_come_together(ours, theirs, why):
    with pytest.raises(Unauthorised) as error:
        conversation(*ends(ours, theirs))
    assert error.value.why == why


@pytest.mark.parametrize(
    "ours, theirs, used",
    [
        ([OTHER, KEY], [KEY], KEY),
        ([KEY], [OTHER, KEY], KEY),
        ([OTHER, KEY], [KEY, OTHER], OTHER),
        ([KEY, OTHER], [OTHER, KEY], KEY),
    ],
)
def test_the_dialer_speaks_with_the_first_of_its_keys_that_both_have(ours, theirs, used):
    lines = recorded(*ends(ours, theirs))
    assert len(lines) == 4
    assert {json.loads(line.decode())["key"] for line in lines[2:]} == {used.id}


@pytest.mark.parametrize("line", [b'{"msgtype":"hello","nodeid":"%s"}' % I_ID.encode(), b'{"msgtype":"ping"}'])
def test_a_program_without_a_key_is_named_so(line):
    with pytest.raises(Unauthorised) as error:
        ends()[1].receive(line)
    assert error.value.why == NO_KEY


def test_a_member_that_does_not_prove_its_key_is_none():
    """Whoever says hello with a nonce, and then goes on as if that were enough."""
    dialer, acceptor = ends()
    acceptor.receive(dialer.begin()[:-1])
    with pytest.raises(Unauthorised) as error:
        acceptor.receive(b'{"msgtype":"ping"}')
    assert error.value.why == NO_KEY
    assert acceptor.sealing is None


def test_an_echo_is_recognised():
    dialer = ends()[0]
    with pytest.raises(Unauthorised) as error:
        dialer.receive(dialer.begin()[:-1])
    assert error.value.why == ECHO


@pytest.mark.parametrize("reason", ["unauthorised", "stopping", "full", "network"])
def test_a_bye_that_is_not_sealed_means_closed_or_unauthorised(reason):
    with pytest.raises(PeerLeft) as left:
        ends()[0].receive(b'{"msgtype":"bye","reason":"%s"}' % reason.encode())
    assert left.value.reason == ("unauthorised" if reason == "unauthorised" else "closed")


@pytest.mark.parametrize(
    "field, value",
    [
        ("nodeid", "33333333-3333-4333-8333-333333333333"), ("port", 6666), ("nonce", "00" * 32),
        ("dialed", "192.0.2.9:6000"), ("auth", [KEY.id, OTHER.id]), ("further", 1),
    ],
)
@pytest.mark.parametrize("number", [0, 1])
def test_a_hello_that_was_changed_on_the_way_is_noticed(field, value, number):
    def change(at, line):
        if at != number:
            return [line]
        return [json.dumps(dict(json.loads(line.decode()), **{field: value})).encode()]

    with pytest.raises(Unauthorised) as error:
        conversation(*ends(), change=change)
    assert error.value.why == WRONG_KEY


@pytest.mark.parametrize(
    "hello",
    [
        {"nonce": "00" * 31}, {"nonce": "0" * 63 + "G"}, {"nonce": 0}, {"auth": "x"}, {"auth": ["x"]},
        {"auth": [KEY.id] * 17}, {"auth": [1]}, {"nodeid": "x"}, {"port": 0}, {"dialed": "x"},
    ],
)
def test_a_first_hello_with_a_wrong_field_is_refused(hello):
    fields = dict(json.loads(recorded()[0].decode()), **hello)
    with pytest.raises(PeerMisbehaved):
        ends()[1].receive(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "auth",
    [
        {"key": 1}, {"key": "x" * 9}, {"mac": 1}, {"mac": "\ud800"}, {"mac": "\xe9"}, {"mac": "x" * 65},
        {"mac": ""}, {"key": None}, {"key": "\ud800"},
    ],
)
def test_a_proof_with_a_wrong_field_is_refused(auth):
    lines = recorded()
    acceptor = ends()[1]
    acceptor.receive(lines[0])
    with pytest.raises(Refused):
        acceptor.receive(json.dumps(dict(json.loads(lines[2].decode()), **auth)).encode())
    assert acceptor.sealing is None


# -- the example in the wire document -----------------------------------------------------------------


def example():
    """The blocks of the document's example, in order, with broken lines made whole."""
    text = document("wire").split("\nMembers only\n-")[1].split("An example.")[1]
    blocks = re.findall(r"::\n\n((?:    .*\n|\n(?=\n*    ))+)", text.split("\nWrite a node in")[0])
    lines = "\n".join(blocks).replace("\\\n    ", "").split("\n")
    return [line[4:].encode("ascii") for line in lines if line.strip()]


def test_the_example_in_the_wire_document_is_right():
    """Computed here with nothing of the program."""
    file, h1, h2, t, proof_i, proof_r, key_i, key_r, *sealed = example()
    key = bytes(range(32))
    id = hashlib.sha256(b"p2p_plain key id" + key).hexdigest()[:8]
    assert file == b"p2p1:%s:%s" % (id.encode(), base64.b64encode(key))
    transcript = hashlib.sha256(
        struct.pack(">I", len(h1)) + h1 + struct.pack(">I", len(h2)) + h2
    ).digest()
    assert t == transcript.hex().encode()

    def mac(key, message):
        return hmac.new(key, message, hashlib.sha256).digest()

    for proof, role in ((proof_i, b"I"), (proof_r, b"R")):
        said = mac(key, b"p2p_plain/1 auth " + role + transcript).hex()
        assert json.loads(proof.decode()) == {"msgtype": "auth", "key": id, "mac": said}
    for direction, shown, lines in ((b"I>R", key_i, sealed[:2]), (b"R>I", key_r, sealed[2:])):
        seal_key = mac(key, b"p2p_plain/1 key " + direction + transcript)
        assert shown == seal_key.hex().encode()
        for number, line in enumerate(lines):
            tag = mac(seal_key, struct.pack(">Q", number) + line[:-33])[:16]
            assert line[-33:] == b" " + tag.hex().encode()


def test_the_program_says_what_the_example_shows():
    file, h1, h2, _, proof_i, proof_r, _, _, *sealed = example()
    key = decode_key(file.decode())
    dialer = Handshake([key], I_ID, 6001, PLACE, b"\xa1" * 32)
    acceptor = Handshake([key], R_ID, 6000, None, b"\xb2" * 32)
    assert recorded(dialer, acceptor) == [h1, h2, proof_i, proof_r]
    for end, shown in ((dialer, sealed[:2]), (acceptor, sealed[2:])):
        said = b"".join(line[:-33] + b"\n" for line in shown)
        assert end.sealing.seal(said) == b"".join(line + b"\n" for line in shown)


# -- tampering --------------------------------------------------------------------------------------


def test_no_bit_of_the_handshake_can_be_changed():
    """At every position of every line one bit is changed: no end takes the other for a member."""
    lines = recorded()
    for number, line in enumerate(lines):
        for position in range(len(line)):
            changed = bytearray(line)
            changed[position] ^= 1 << position % 7
            dialer, acceptor = ends()
            on_the_way = lines[:number] + [bytes(changed)] + lines[number + 1 :]
            with pytest.raises(Refused):
                conversation(dialer, acceptor, lambda at, _, heard=on_the_way: [heard[at]])
            # The one that has said its proof last has got the right one, and hears no sealed line.
            assert (dialer if number % 2 else acceptor).sealing is None, (number, position)


@pytest.mark.parametrize(
    "what",
    [lambda line: [], lambda line: [line, line], lambda line: [line[:-1]], lambda line: [b"", line]],
    ids=["dropped", "doubled", "cut", "blank"],
)
@pytest.mark.parametrize("number", range(4))
def test_no_line_of_the_handshake_can_be_dropped_doubled_or_cut(number, what):
    dialer, acceptor = ends()
    with pytest.raises(Refused):
        conversation(dialer, acceptor, lambda at, line: what(line) if at == number else [line])
        raise Refused("timeout")  # of the one that waits


def test_a_recorded_handshake_opens_nothing_later():
    """Neither at the same end again, nor at the other one, nor by sending back its own proof."""
    hello, answer, proof, counterproof = recorded()
    again = Handshake([KEY], R_ID, 6000, None, b"n" * 32)  # the nonce is another one each time
    again.receive(hello)
    with pytest.raises(Unauthorised) as error:
        again.receive(proof)
    assert error.value.why == WRONG_KEY
    mirrored = Handshake([KEY], I_ID, 6001, PLACE, b"m" * 32)
    mirrored.begin()
    own = mirrored.receive(answer)
    for reflected in (own[:-1], proof, counterproof):
        with pytest.raises(Unauthorised):
            mirrored.receive(reflected)
    assert again.sealing is mirrored.sealing is None


SAID = [b'{"msgtype":"hello"}', b'{"msgtype":"ping"}', b"", b'{"msgtype":"pong"}', b"a b", b"x" * 999]


def sealed():
    """What one end says, line by line, and the seal that opens it."""
    key = b"d" * 32
    return Seal(key).seal(b"".join(line + b"\n" for line in SAID)).split(b"\n")[:-1], Seal(key)


def opened(lines):
    """How many lines are opened before one is refused."""
    seal, count = sealed()[1], 0
    for line in lines:
        try:
            assert seal.open(line) == SAID[count]
        except PeerMisbehaved:
            return count
        count += 1
    return count


def test_no_bit_of_a_sealed_line_can_be_changed():
    lines = sealed()[0]
    assert opened(lines) == len(lines)
    for number, line in enumerate(lines):
        for position in range(len(line)):
            for bit in range(8):
                changed = bytearray(line)
                changed[position] ^= 1 << bit
                assert opened(lines[:number] + [bytes(changed)]) == number


def test_no_sealed_line_can_be_dropped_doubled_swapped_or_cut():
    lines = sealed()[0]
    for at in range(len(lines) - 1):
        before, line, following, after = lines[:at], lines[at], lines[at + 1], lines[at + 2 :]
        assert opened(before + [following] + after) == at
        assert opened(before + [line, line, following] + after) == at + 1
        assert opened(before + [following, line] + after) == at
        for length in range(len(line)):
            assert opened(before + [line[:length]]) == at
            assert opened(before + [line[length + 1 :]]) == at


def test_a_direction_opens_only_what_was_said_in_it():
    dialer, acceptor = ends()
    conversation(dialer, acceptor)
    own = dialer.sealing.seal(b"{}\n")[:-1]
    with pytest.raises(PeerMisbehaved):
        dialer.opening.open(own)  # sent back by somebody on the way
    other = ends(nonces=(b"i", b"s"))
    conversation(*other)
    with pytest.raises(PeerMisbehaved):
        other[1].opening.open(own)  # of another connection


def test_lines_are_counted_beyond_32_bits():
    key, first = b"d" * 32, 2**32 - 2
    lines = Seal(key, first).seal(b"a\nb\nc\nd\n").split(b"\n")[:-1]
    opening = Seal(key, first)
    assert [opening.open(line) for line in lines] == [b"a", b"b", b"c", b"d"]
    with pytest.raises(PeerMisbehaved):
        Seal(key, 0).open(lines[2])  # number 2**32
