"""Runs the system's programs: ``ip`` for cables and addresses, ``nft`` for firewalls."""

import os
import shutil
import subprocess

from .errors import CannotBuild

PACKAGES = {"ip": "iproute2", "nft": "nftables", "mount": "util-linux"}
"""The programs that we run, and the package that has each."""


def check_programs() -> None:
    """Raise ``CannotBuild`` if a program is missing.

    The folders of system programs are added to the PATH: users other than root may lack them.
    """
    os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    missing = [name for name in PACKAGES if not shutil.which(name)]
    if missing:
        packages = sorted({PACKAGES[name] for name in missing})
        raise CannotBuild("needs %s: install %s" % (", ".join(missing), ", ".join(packages)))


def run(*command: str, feed: str = "") -> None:
    """Run a program with ``feed`` as its input.  Raises ``CannotBuild`` if it fails."""
    done = subprocess.run(
        command, input=feed.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        output = done.stdout.decode("ascii", "replace").strip().split("\n")[0]
        raise CannotBuild("%s: %s" % (" ".join(command), output or "failed"))


def ip(*words: str) -> None:
    """Run ``ip``.  ``ip -n NAME`` acts inside the network namespace NAME."""
    run("ip", *words)


def inside(namespace: str, *command: str, feed: str = "") -> None:
    """Run a program inside a network namespace."""
    run("ip", "netns", "exec", namespace, *command, feed=feed)


def nft(namespace: str, *lines: str) -> None:
    """Change the packet filter of a namespace.  Either all lines take effect, or none."""
    inside(namespace, "nft", "-f", "-", feed="\n".join(lines) + "\n")
