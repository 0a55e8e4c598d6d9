#!/usr/bin/env python3
"""A chat without a server: everybody sees every line that somebody types.

    python3 scripts/examples/chat.py ann
    python3 scripts/examples/chat.py bob 192.0.2.2:40001

The first one prints the address that the others need.  Any member will do for the next one.
Ctrl-D leaves.  About 200 lines a second reach everybody; ``help library`` says why.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

from p2p_plain import Node, P2PError  # noqa: E402


def show(*words):
    """Print one line at once.  What a stranger says must not control our terminal."""
    line = " ".join(words)
    print("".join(c if c.isprintable() else "?" for c in line), flush=True)


def heard(event):
    """Show a message.  The node calls this on its own thread."""
    line = event["body"]
    if isinstance(line, str):  # anybody can send anything
        show("<%s>" % (event["from_name"] or event["from"][:8]), line)


def main():
    """Say what is typed, until the input ends."""
    parser = argparse.ArgumentParser(description="A chat without a server.")
    parser.add_argument("name", help="what the others call you")
    parser.add_argument("member", nargs="*", metavar="HOST:PORT", help="where a member listens")
    options = parser.parse_args()
    try:
        node = Node(port=0, name=options.name, network="chat", bootstrap=options.member)
        node.on("message", heard)
        node.on("peer_up", lambda event: show("*", event["name"], "is here"))
        node.on("refused", lambda e: show("* cannot reach", "%s: %s" % (e["address"], e["reason"])))
        node.on("peer_down", lambda event: show("*", event["name"], "has left"))
        with node:
            show("* others join at", node.addresses[0])
            for line in sys.stdin:
                node.broadcast(line.rstrip("\n"), wait=True)
    except P2PError as error:  # a wrong address, a line that is too long, ...
        sys.exit("chat.py: %s" % error)
    except KeyboardInterrupt:
        pass  # the "with" has stopped the node


if __name__ == "__main__":
    main()
