"""Names: which characters they may hold is one rule, whatever this Python knows of Unicode."""

import sys

import pytest

from p2p_plain.common import machine
from p2p_plain.common.names import is_printable, only_printable, shows_something

EVERY_CHARACTER = [chr(number) for number in range(sys.maxunicode + 1)]


def test_no_python_finds_printable_what_is_rejected():
    """Run on each Python.  So a node never rejects the name of one that goes by its own tables."""
    assert [c for c in EVERY_CHARACTER if c.isprintable() and not is_printable(c)] == []


@pytest.mark.parametrize(
    "text",
    [
        "n\u00f6de",
        "\u6771\u4eac",
        "\U0001fae8",  # a shaking face, of Unicode 15: Python 3.12
        "\U0001fae9",  # of Unicode 16: Python 3.14
        "\u0378",  # not assigned to this day
        "a\u0301",
        "\U00032000",  # the third plane is being filled
    ],
)
def test_a_character_is_printable_whether_or_not_it_is_assigned_yet(text):
    assert is_printable(text)
    assert shows_something(text)


@pytest.mark.parametrize(
    "character",
    list("\x00\x1b\n\x7f\x9b\xa0\xad\u061c\u180e\u200b\u200d\u200e\u2028\u2029\u202e\u2066\u3000")
    + ["\ud83d", "\udfff", "\ue000", "\uf8ff", "\ufdd0", "\ufeff", "\ufffb", "\uffff"]
    + ["\U000110bd", "\U0001343f", "\U0001d173", "\U0001fffe", "\U00040000", "\U000d1234"]
    + ["\U000e0001", "\U000e0041", "\U000e0fff", "\U000f0000", "\U0010ffff"],
)
def test_what_controls_is_invisible_or_nobodys_is_not_printable(character):
    assert not is_printable("a%sb" % character)
    assert only_printable("a%sb" % character) == "ab"


@pytest.mark.parametrize(
    "text", ["", " ", "   ", "\u2800", "\u3164\u115f\u1160", "\uffa0", "\ufe0f", "\U000e0100 "]
)
def test_a_text_without_ink_shows_nothing(text):
    assert is_printable(text)
    assert not shows_something(text)
    assert shows_something(text + ".")


@pytest.mark.parametrize(
    "name, label", [("web", "web"), ("w\x1beb", "web"), ("\u2800", "node"), ("", "node")]
)
def test_a_machine_without_a_name_that_shows_is_called_node(monkeypatch, name, label):
    monkeypatch.setattr(machine.socket, "gethostname", lambda: name)
    assert machine.host_name() == label
