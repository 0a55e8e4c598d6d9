"""The check that no line leads a node away from this machine.

A node dials the addresses that it hears.  So every address in a line is a loopback address with a
port of the fuzzer's, or one that no node dials (unspecified, multicast, broadcast, port 0).
Mutations can turn one address into another, so each line is checked when it is finished.
"""

import ipaddress
import re
from typing import FrozenSet, List

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_DOTTED = re.compile(r"[0-9.]+")
_COLONS = re.compile(r"[0-9a-fA-F:.]+")
_PORTS = re.compile(r'(?:\.[0-9]+|\]):([0-9]+)|(?:port|http)"\s*:\s*([0-9]+)')
_SUSPICIOUS = re.compile(rb"\.[0-9]*\.|:[0-9a-fA-F.]*:|port\"|http\"|\\u00|\x00")


def is_harmless(data: bytes, ports: FrozenSet[int]) -> bool:
    """Return True if nothing in ``data`` can make a node dial anything but ``ports`` of ours.

    Checks everything that looks like an address or like the port in a hello, in the bytes as they
    are, with JSON's escapes resolved, and as UTF-16.  Anything doubtful counts as harmful.
    """
    if not _SUSPICIOUS.search(data):
        return True
    text = data.decode("latin-1")
    narrow = text.replace("\0", "")
    plain = _ESCAPE.sub(lambda found: chr(int(found.group(1), 16)), narrow)
    return all(_is_harmless_text(form, ports) for form in {text, narrow, plain})


def _is_harmless_text(text: str, ports: FrozenSet[int]) -> bool:
    for found in _DOTTED.finditer(text):
        octets = found.group().split(".")  # four of them may be an address within longer digits
        if not all(_is_harmless_ipv4(octets[i : i + 4]) for i in range(len(octets) - 3)):
            return False
    for found in _COLONS.finditer(text):
        if found.group().count(":") > 1 and not _is_harmless_ipv6(found.group()):
            return False
    for found in _PORTS.finditer(text):
        digits = (found.group(1) or found.group(2)).lstrip("0")
        if 0 < len(digits) <= 5 and int(digits) <= 65535 and int(digits) not in ports:
            return False
    return True


def _is_harmless_ipv4(octets: List[str]) -> bool:
    """Return True if these four are no address, a loopback one, or one that nobody dials."""
    if not all(octets) or any(len(octet) > 3 or int(octet) > 255 for octet in octets):
        return True
    if octets[0] != str(int(octets[0])):
        return False  # some parsers read a leading 0 as octal
    first = int(octets[0])
    return first in (0, 127) or 224 <= first <= 239 or octets == ["255"] * 4


def _is_harmless_ipv6(text: str) -> bool:
    try:
        ip = ipaddress.IPv6Address(text)
    except ValueError:
        return True
    if ip.ipv4_mapped is not None:
        return _is_harmless_ipv4(str(ip.ipv4_mapped).split("."))
    return ip.is_loopback or ip.is_unspecified or ip.is_multicast
