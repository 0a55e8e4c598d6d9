"""The rules, one module for each part of the wire.

``hello`` comes first: its first rule notes the node's hello, which others need.  ``bounds`` comes
last: the very last rule asks whether the node has survived all others.  ``members`` is played instead
of all these where a network has a secret.
"""

from ..rule import MEMBERS_RULES, RULES  # noqa: F401
# The order matters.
# isort: off
from . import hello, framing, pairs, pings, addresses, rows_and_messages  # noqa: F401
from . import bad_input, bounds  # noqa: F401
from . import members  # noqa: F401
