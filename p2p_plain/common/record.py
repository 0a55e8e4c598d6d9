"""A few named values that belong together and do not change: what a ``NamedTuple`` would be.

``typing.NamedTuple`` says the same in fewer lines, but importing ``typing`` and making a score
of named tuples costs a third of this program's whole start on Python 3.6.  And a message is
not a tuple: two named tuples without fields are equal, so a ping would equal a pong.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Tuple


class Record:
    """Base of the classes that only hold values; ``__slots__`` names them, ``__init__`` sets them.

    Equal if of the same class with equal values.  Nothing enforces that a record does not
    change: nobody changes it.
    """

    __slots__: "Tuple[str, ...]" = ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(tuple(self._values()))

    def __repr__(self) -> str:
        values = ("%s=%r" % pair for pair in zip(self.__slots__, self._values()))
        return "%s(%s)" % (type(self).__name__, ", ".join(values))

    def _values(self) -> "List[Any]":
        return [getattr(self, name) for name in self.__slots__]
