"""A peer-to-peer network in plain Python: every instance is server and client.

``python -m p2p_plain`` is the program, ``Node`` the library, and ``architecture.rst`` says
in which order the modules are best read.
"""

import sys

# Python 2 can read this file as well, though none of the others, and says so in one line.
if sys.version_info < (3, 6):
    sys.stderr.write("p2p_plain: needs Python 3.6 or newer; this is %d.%d\n" % sys.version_info[:2])
    sys.exit(3)

from importlib import import_module  # noqa: E402
from types import ModuleType  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .common.errors import (
        CannotStart, MessageTooLong, NotConnected, NotRunning, P2PError, PeerBusy, UsageError,
    )
    from .common.event_types import (
        AnyEvent, ListeningEvent, MessageEvent, PeerDownEvent, PeerUpEvent, ReachEvent,
        RefusedEvent, RttEvent, SelfEvent, StoppedEvent,
    )
    from .full_node import Node
    from .node.peer import PeerInfo

__version__ = "0.1.0"
__commit__ = ""
"""Of git, and only in the one file: ``scripts/build.py`` writes it there."""

__all__ = [
    "AnyEvent", "CannotStart", "ListeningEvent", "MessageEvent", "MessageTooLong", "Node",
    "NotConnected", "NotRunning", "P2PError", "PeerBusy", "PeerDownEvent", "PeerInfo",
    "PeerUpEvent", "ReachEvent", "RefusedEvent", "RttEvent", "SelfEvent", "StoppedEvent",
    "UsageError",
]


class _Library(ModuleType):
    """The module itself, which imports what the library offers when it is first asked for.

    The program goes through here too: to ``ping`` a node, or to print ``--help``, it need not
    import a whole node, which is most of the start.  (From Python 3.7 on a plain function of
    the name ``__getattr__`` would do.)
    """

    def __getattr__(self, name):
        # type: (str) -> object
        if name not in __all__:
            raise AttributeError("module %r has no attribute %r" % (__name__, name))
        home = {"Node": "full_node", "PeerInfo": "node.peer"}.get(name, "common.errors")
        if name.endswith("Event"):
            home = "common.event_types"
        value = getattr(import_module("%s.%s" % (__name__, home)), name)
        setattr(self, name, value)
        return value


sys.modules[__name__].__class__ = _Library
