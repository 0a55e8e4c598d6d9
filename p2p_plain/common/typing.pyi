"""The names of ``typing``: see ``typing.py``."""

from typing import (
    TYPE_CHECKING as TYPE_CHECKING,
    Any as Any, Callable as Callable, Collection as Collection, Deque as Deque, Dict as Dict,
    Final as Final, FrozenSet as FrozenSet, Iterable as Iterable, Iterator as Iterator,
    List as List, Mapping as Mapping, NamedTuple as NamedTuple, NoReturn as NoReturn,
    Optional as Optional, Sequence as Sequence, Set as Set, TextIO as TextIO, Tuple as Tuple,
    Type as Type, TypeVar as TypeVar, Union as Union,
)
