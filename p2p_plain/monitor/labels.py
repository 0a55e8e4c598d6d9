"""What to call the nodes: names come from strangers, may be missing, hostile or all the same."""

import re

from ..common.config import MAX_NAME
from ..common.escape import printable
from ..common.typing import Dict, List, Set

LABEL_LIMIT = 32
"""Characters of a name that are shown; shorter than a nodeid, which a name then cannot imitate."""

_AMBIGUOUS = re.compile(r'[{}|,>"]|: |^ | $|  ')
"""What would make a name look like a part of the sentence around it."""

_DIGITS = (4, 8, 13, 36)
"""Characters of the nodeid that are tried in turn, to tell nodes of the same name apart."""


def make_labels(names: Dict[str, str], here: Set[str]) -> Dict[str, str]:
    """Return a label for each nodeid in ``names``: safe to print, and no two the same.

    A name may be empty.  If exactly one of several nodes with one name is in ``here``, it keeps
    the plain name.  All others get a part of their nodeid: ``web (3f1c)``.
    """
    plain = {nodeid: _plain(name) or nodeid[:8] for nodeid, name in names.items()}
    labels = dict(plain)
    for digits in _DIGITS:
        for nodeids in alike(labels):
            keeps = [nodeid for nodeid in nodeids if nodeid in here]
            for nodeid in nodeids:
                if keeps != [nodeid]:
                    labels[nodeid] = "%s (%s)" % (plain[nodeid], nodeid[:digits])
    return labels


def alike(labels: Dict[str, str]) -> List[List[str]]:
    """Return the nodeids that share a label, in groups of two or more, in a fixed order."""
    groups: Dict[str, List[str]] = {}
    for nodeid in sorted(labels):
        groups.setdefault(labels[nodeid], []).append(nodeid)
    return [nodeids for nodeids in groups.values() if len(nodeids) > 1]


def _plain(name: str) -> str:
    text = printable(name, MAX_NAME)
    if len(text) > LABEL_LIMIT:
        text = text[: LABEL_LIMIT - 1] + "~"
    if _AMBIGUOUS.search(text):
        text = '"%s"' % text.replace('"', '\\"')
    return text
