"""Numbers and names in the form in which people compare them."""

import pytest

from p2p_plain.common import words


@pytest.mark.parametrize(
    "value, text, cell",
    [
        (0.0, "0.00 ms", "0.00"),
        (0.05, "0.05 ms", "0.05"),
        (0.31, "0.3 ms", "0.3"),
        (9.949, "9.9 ms", "9.9"),
        (9.95, "10 ms", "10"),
        (153.4, "153 ms", "153"),
        (999.4, "999 ms", "999"),
        (999.5, "1.0 s", "1.0s"),
        (1234, "1.2 s", "1.2s"),
        (12345, "12 s", "12s"),
        (1e20, "999 s", "999s"),
    ],
)
def test_a_round_trip_among_many_has_two_digits(value, text, cell):
    assert words.brief_ms(value) == text
    assert words.brief_ms(value, "") == cell


@pytest.mark.parametrize(
    "value, text, column",
    [
        (None, "-", "-"),
        (0, "0.00 ms", "0.00"),
        (0.314, "0.31 ms", "0.31"),
        (9.5, "9.50 ms", "9.50"),
        (12.42, "12.4 ms", "12.4"),
        (153.2, "153 ms", "153"),
        (1000, "1.00 s", "1000"),
        (1204, "1.20 s", "1204"),
        (1e9, "1000000.00 s", ">99999"),
    ],
)
def test_a_single_round_trip_has_three_digits(value, text, column):
    assert words.milliseconds(value) == text
    assert words.column_ms(value) == column


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (240, "4 min"), (7200, "2 h"), (1e6, "11 d")],
)
def test_an_age_has_one_unit(seconds, text):
    assert words.ago(seconds) == text


@pytest.mark.parametrize(
    "seconds, text, column",
    [
        (0, "0.0 s", "0s"),
        (0.44, "0.4 s", "0s"),
        (9.94, "9.9 s", "9s"),
        (9.96, "10 s", "9s"),
        (26.6, "27 s", "26s"),
        (59.4, "59 s", "59s"),
        (59.6, "1 min", "59s"),
        (182, "3 min 2 s", "3m02s"),
        (3600, "1 h", "1h00m"),
        (3601, "1 h", "1h00m"),
        (3900, "1 h 5 min", "1h05m"),
        (2 * 86400 + 3 * 3600 + 59, "2 d 3 h", "2d03h"),
        (400 * 86400, "400 d", "400d00h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds, text, column):
    assert words.duration(seconds) == text
    assert words.column_duration(seconds) == column


@pytest.mark.parametrize("number, text", [(0, "0 peers"), (1, "1 peer"), (2, "2 peers")])
def test_only_one_of_a_thing_is_singular(number, text):
    assert words.count_of(number, "peer") == text


def test_names_sort_as_people_count():
    labels = ["web-10", "web-9", "Web-1", "db", "web"]
    assert sorted(labels, key=words.natural) == ["db", "web", "Web-1", "web-9", "web-10"]
