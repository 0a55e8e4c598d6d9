"""The names of ``typing``, without importing it.

A type checker sees the real names (``typing.pyi``).  Python gets placeholders: to import ``typing``
and to let it make what annotations say would be a seventh of a node's start, and a megabyte (Python
3.13).  Import these names from here, and write annotations as always.  Nothing may look at them
while the program runs.
"""

from collections import namedtuple

TYPE_CHECKING = False


class _Placeholder:
    """Stands for a type: ``Dict[str, int]`` gives another one, which is shown like that."""

    def __init__(self, name, inside=None):
        self._name = name
        self._inside = inside

    def __getitem__(self, inside):
        return _Placeholder(self._name, inside)

    def __repr__(self):
        if self._inside is None:
            return self._name
        inside = self._inside if isinstance(self._inside, tuple) else (self._inside,)
        shown = [getattr(one, "__name__", None) or repr(one) for one in inside]
        return "%s[%s]" % (self._name, ", ".join(shown).replace("Ellipsis", "..."))


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
        for key, value in space.items():
            setattr(made, key, value)
        return made


class NamedTuple(metaclass=_Maker):
    """What ``typing.NamedTuple`` is: the base of classes that hold values which do not change."""


def TypeVar(name):  # noqa: N802
    """Return a placeholder."""
    return _Placeholder(name)


for name in (
    "Any", "Callable", "Collection", "Deque", "Dict", "Final", "FrozenSet", "Iterable", "Iterator",
    "List", "Mapping", "NoReturn", "Optional", "Sequence", "Set", "TextIO", "Tuple", "Type", "Union",
):
    globals()[name] = _Placeholder(name)
