"""A peer-to-peer network in plain Python: every instance is server and client.

``python -m p2p_plain`` is the program, ``Node`` the library, and the README says in which
order the modules are best read.
"""

__version__ = "0.1.0"

from .errors import (
    CannotStart,
    MessageTooLong,
    NotConnected,
    P2PError,
    PeerBusy,
    UsageError,
)
from .node import Node
from .peer_table import PeerInfo

__all__ = [
    "CannotStart",
    "MessageTooLong",
    "Node",
    "NotConnected",
    "P2PError",
    "PeerBusy",
    "PeerInfo",
    "UsageError",
]
