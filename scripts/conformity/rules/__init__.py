"""The rules, one module for each part of the wire.

``hello`` comes first: its first rule notes the node's hello, which others need.  ``bounds`` comes
last: the very last rule asks whether the node has survived all others.
"""

from ..rule import RULES  # noqa: F401
from . import addresses, bad_input, bounds, framing, hello, pairs, pings, rows_and_messages  # noqa: F401  # noqa: F401
