#!/usr/bin/env python3
"""A dictionary that all members share: each has a copy, and tells the others what it changes.

    python3 scripts/examples/keyvalue.py
    python3 scripts/examples/keyvalue.py 192.0.2.2:40001

Type ``colour=green`` to set a key, ``colour`` to read it, Ctrl-D to leave.  A newcomer gets all
entries.  If two members set a key at once, all copies keep the value of the larger nodeid.

A toy: nothing is stored, and about 200 changes a second reach everybody (``help library``).
"""

import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

from p2p_plain import Node, P2PError  # noqa: E402

NOTHING = (0, "", None)

entries = {}  # key: (version, nodeid of the member that set it, value)
lock = threading.Lock()  # the node's thread uses the entries, too


def heard(event):
    """Take over a change, unless our entry is newer.  The node calls this on its own thread."""
    try:
        key, *entry = event["body"]
        with lock:
            if tuple(entry[:2]) <= entries.get(key, NOTHING)[:2]:
                return
            entries[key] = (entry[0], entry[1], entry[2])
        print("*", ascii(key), "=", ascii(entry[2]), flush=True)
    except (TypeError, ValueError, IndexError):
        pass  # anybody can send anything


def greet(node, newcomer):
    """Send all entries to a new peer.  The node calls this on its own thread."""
    with lock:
        copy = list(entries.items())
    try:
        for key, entry in copy:
            node.send(newcomer, [key, *entry])
    except P2PError:
        pass  # it has left, or does not read


def main():
    """Read commands until the input ends."""
    try:
        node = Node(port=0, network="keyvalue", bootstrap=sys.argv[1:])
        node.on("message", heard)
        node.on("peer_up", lambda event: greet(node, event["nodeid"]))
        with node:
            print("others join at", node.addresses[0], flush=True)
            for line in sys.stdin:
                key, is_set, value = line.strip().partition("=")
                with lock:
                    entry = entries.get(key, NOTHING)
                    if is_set:
                        entry = entries[key] = (entry[0] + 1, node.nodeid, value)
                if is_set:
                    node.broadcast([key, *entry], wait=True)
                print(ascii(key), "=", ascii(entry[2]), flush=True)
    except P2PError as error:
        sys.exit("keyvalue.py: %s" % error)
    except KeyboardInterrupt:
        pass  # the "with" has stopped the node


if __name__ == "__main__":
    main()
