"""Lines as a peer says them, and the detail with which a wrong one is refused."""

import json

import pytest

from p2p_plain.common.errors import PeerMisbehaved
from p2p_plain.node.messages import parse

MISSING = object()


def said(msgtype, **fields):
    """What a peer says, as the line without its newline."""
    fields["msgtype"] = msgtype
    return json.dumps({k: v for k, v in fields.items() if v is not MISSING}).encode()


def refused(line):
    """The detail with which ``line`` is refused."""
    with pytest.raises(PeerMisbehaved) as caught:
        parse(line)
        pytest.fail("accepted %r" % line[:200])
    assert caught.value.reason == "protocol"
    return caught.value.detail
