"""Text of strangers, made safe to show."""

import pytest

from p2p_plain.common.escape import printable


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain text", "plain text"),
        ("é日本", "é日本"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\x9b\x7f", "\\x9b\\x7f"),
        ("\u202eabc", "\\u202eabc"),
        ("\u2028", "\\u2028"),
        ("\ud83d", "\\ud83d"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_text_that_could_control_a_terminal_is_escaped(text, shown):
    assert printable(text) == shown
    printable(text).encode("utf-8")


def test_a_long_text_is_cut_and_says_so():
    assert printable("x" * 10, 10) == "x" * 10
    assert printable("x" * 11, 10) == "x" * 10 + "...(11 characters)"
    assert printable("\n" * 11, 2) == "\\n\\n...(11 characters)"
