"""The types of events: see ``event_types.py``."""

from typing import (
    Any, Callable, Dict, List, Literal, Protocol, TypedDict, TypeVar, Union, overload,
)

class _Event(TypedDict):
    time: str

class _NamedEvent(_Event):
    nodeid: str
    name: str

class _PageEvent(_NamedEvent, total=False):
    http: str

class ListeningEvent(_PageEvent):
    """The node has started to listen."""

    event: Literal["listening"]
    addresses: List[str]

class PeerUpEvent(_NamedEvent):
    """A node has become a peer."""

    event: Literal["peer_up"]
    address: str
    direction: Literal["inbound", "outbound"]
    peers: int

class PeerDownEvent(_NamedEvent):
    """A peer is one no longer."""

    event: Literal["peer_down"]
    address: str
    reason: str
    peers: int
    up_seconds: float

class RttEvent(_NamedEvent):
    """A ping was answered."""

    event: Literal["rtt"]
    rtt_ms: float

class _WhyEvent(_Event, total=False):
    why: str

class ReachEvent(_NamedEvent, _WhyEvent):
    """Whether the node can dial that one has changed."""

    event: Literal["reach"]
    address: str
    dial: str
    was: str

class SelfEvent(_Event):
    """The node has dialed itself."""

    event: Literal["self"]
    address: str

class ConflictEvent(_NamedEvent):
    """Two programs say that they are one node."""

    event: Literal["conflict"]
    address: str
    other: str

class _CountedEvent(_Event, total=False):
    count: int

class RefusedEvent(_CountedEvent, _WhyEvent):
    """A connection has not become a peer; with ``count``, so many have not."""

    event: Literal["refused"]
    address: str
    reason: str

class StoppedEvent(_Event):
    """The node has stopped."""

    event: Literal["stopped"]
    reason: str
    peers: int
    uptime_seconds: float

# "from" cannot be the name of an attribute.
MessageEvent = TypedDict(
    "MessageEvent",
    {
        "event": Literal["message"], "time": str, "nodeid": str, "name": str, "from": str,
        "from_name": str, "body": Any,
    },
)
AnyEvent = Union[
    ListeningEvent, PeerUpEvent, PeerDownEvent, RttEvent, ReachEvent, SelfEvent, ConflictEvent,
    RefusedEvent, StoppedEvent, MessageEvent,
]

E = TypeVar("E")
_Callback = Callable[[E], object]

class _On(Protocol):
    @overload
    def __call__(self, event: Literal["listening"], callback: _Callback[ListeningEvent]) -> None: ...
    @overload
    def __call__(self, event: Literal["peer_up"], callback: _Callback[PeerUpEvent]) -> None: ...
    @overload
    def __call__(self, event: Literal["peer_down"], callback: _Callback[PeerDownEvent]) -> None: ...
    @overload
    def __call__(self, event: Literal["rtt"], callback: _Callback[RttEvent]) -> None: ...
    @overload
    def __call__(self, event: Literal["reach"], callback: _Callback[ReachEvent]) -> None: ...
    @overload
    def __call__(self, event: Literal["self"], callback: _Callback[SelfEvent]) -> None: ...
    @overload
    def __call__(self, event: Literal["conflict"], callback: _Callback[ConflictEvent]) -> None: ...
    @overload
    def __call__(self, event: Literal["refused"], callback: _Callback[RefusedEvent]) -> None: ...
    @overload
    def __call__(self, event: Literal["stopped"], callback: _Callback[StoppedEvent]) -> None: ...
    @overload
    def __call__(self, event: Literal["message"], callback: _Callback[MessageEvent]) -> None: ...
    @overload
    def __call__(self, event: Literal["*"], callback: _Callback[AnyEvent]) -> None: ...
    @overload
    def __call__(self, event: Literal["trace", "reported"], callback: _Callback[Dict[str, Any]]) -> None: ...

def types_by_name(method: Callable[..., None]) -> _On:
    """Give ``Node.on`` the type of a callback for each name of an event."""
