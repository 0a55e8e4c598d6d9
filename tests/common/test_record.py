"""Records: values with names, equal by what they hold and by what they are."""

from p2p_plain.node.messages import GetAddr, Ping, Pong, Unknown
from p2p_plain.common.record import Record


class Point(Record):
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x = x
        self.y = y


def test_records_of_one_class_with_equal_values_are_equal():
    assert Point(1, 2) == Point(1, 2)
    assert Point(1, 2) != Point(2, 1)
    assert hash(Point(1, 2)) == hash(Point(1, 2))


def test_a_ping_is_not_a_pong_though_both_are_empty():
    """Named tuples without fields would be equal."""
    assert Ping() == Ping()
    assert Ping() != Pong()
    assert len({Ping(), Pong(), GetAddr(), Ping()}) == 3
    assert Ping() != ()


def test_a_record_shows_what_it_holds():
    assert repr(Point(1, "b")) == "Point(x=1, y='b')"
    assert repr(Unknown("x")) == "Unknown(msgtype='x')"
