"""Named tuples, for less: ``class Order(Record)`` is what ``class Order(NamedTuple)`` would be.

A type checker sees ``typing.NamedTuple`` here, Python does not.  Importing ``typing`` and having it
make two dozen named tuples would be a seventh of a node's start, and a megabyte (Python 3.13).  That
is also why the names of ``typing`` are imported under ``TYPE_CHECKING`` in every module, and the
annotations that need them stand in quotes: Python does not look into a string.
"""

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as Record
else:

    class _Maker(type):
        """Turns a class with annotated fields into a ``collections.namedtuple``."""

        def __new__(mcs, name, bases, space):
            if not bases:
                return super().__new__(mcs, name, bases, space)
            # From Python 3.14 on a class has a function that makes its annotations.
            annotate = space.pop("__annotate_func__", None) or space.pop("__annotate__", None)
            fields = annotate(1) if annotate else space.pop("__annotations__", {})
            defaults = [space.pop(field) for field in fields if field in space]
            made = namedtuple(name, fields)
            made.__new__.__defaults__ = tuple(defaults)
            return type(name, (made,), dict(space, __slots__=()))

    class Record(metaclass=_Maker):
        """Base of classes that only hold values, which do not change."""


__all__ = ["Record"]
