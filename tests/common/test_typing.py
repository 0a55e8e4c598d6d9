"""Annotations and named tuples work as ever, though nothing imports ``typing``."""

import pytest

from p2p_plain.common.typing import Callable, Dict, List, NamedTuple, Optional


class Point(NamedTuple):
    """A place, for the tests."""

    x: int
    y: Optional[int] = 7

    def __str__(self):
        return "%d|%d" % (self.x, self.y)


def test_a_named_tuple_has_defaults_and_methods():
    point = Point(3)
    assert (point, point.y, str(point)) == ((3, 7), 7, "3|7")
    assert repr(point) == "Point(x=3, y=7)"
    assert point._replace(x=4) == Point(4, y=7)
    assert Point.__doc__ == "A place, for the tests."


def test_a_named_tuple_does_not_change():
    with pytest.raises(AttributeError):
        Point(1).x = 2
    with pytest.raises(AttributeError):
        Point(1).z = 2
    with pytest.raises(TypeError):
        Point(z=1)


def test_help_shows_annotations_as_they_are_written():
    assert repr(Dict[str, Optional[List[int]]]) == "Dict[str, Optional[List[int]]]"
    assert repr(Callable[..., None]) == "Callable[..., None]"
