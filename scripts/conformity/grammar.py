"""Messages as lines: how we write them, and what a node may say in them."""

import ipaddress
import json
import re
import uuid
from typing import Any, Callable, Dict

from .outcome import Broken

MAX_LINE = 64 * 1024
MAX_FIRST_LINE = 4 * 1024
"""Bytes, newline included; the second one holds before hello (rule 10)."""

REASONS = frozenset(
    ("stopping", "self", "duplicate", "full", "network", "unauthorised", "timeout", "protocol")
)
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
ADDRESS = re.compile(r"(?:([0-9.]+)|\[([0-9a-fA-F:.]+)\]):([0-9]{1,5})\Z")


def new_id() -> str:
    """Return a new nodeid, or a new id of a message."""
    return str(uuid.uuid4())


def encode(msgtype: str, **fields: Any) -> bytes:
    """Return one message as a line."""
    fields["msgtype"] = msgtype
    return json.dumps(fields).encode("ascii") + b"\n"


def padded(length: int, msgtype: str, **fields: Any) -> bytes:
    """Return a message that is exactly so many bytes long, newline included."""
    short = encode(msgtype, padding="", **fields)
    return encode(msgtype, padding="x" * (length - len(short)), **fields)


def decode(line: bytes) -> Dict[str, Any]:
    """Return the message on a line of the node's.

    The check is as strict as the node's check of our lines should be.  Raises ``Broken``.
    """
    try:
        message = json.loads(line.decode("utf-8"))
    except ValueError:
        raise Broken("one JSON object on each line", shown(line)) from None
    if not isinstance(message, dict) or not isinstance(message.get("msgtype"), str):
        raise Broken("an object with a msgtype on each line", shown(line))
    for field, is_valid in FIELDS.get(message["msgtype"], {}).items():
        name = field.rstrip("!")
        if (name in message or field != name) and not is_valid(message.get(name)):
            raise Broken("a valid %s in its %s" % (name, message["msgtype"]), shown(line))
    return message


def shown(line: bytes) -> str:
    """Return a line as it can be printed: escaped, and shortened."""
    text = ascii(line.decode("utf-8", "backslashreplace"))[1:-1]
    return text if len(text) <= 200 else "%s... (%d bytes)" % (text[:200], len(line))


# -- the fields of each message -----------------------------------------------------------------


def is_bool(value: object) -> bool:
    """True for ``true`` and ``false``."""
    return isinstance(value, bool)


def is_uuid(value: object) -> bool:
    """True for a UUID as RFC 9562 writes it, in either case."""
    return isinstance(value, str) and UUID.match(value) is not None


def is_port(value: object) -> bool:
    """True for a whole number from 1 to 65535; ``true`` is no number."""
    return type(value) is int and 1 <= value <= 65535


def is_number(value: object) -> bool:
    """True for a number of 0 or more, and for null, which stands for "not measured"."""
    if value is None or isinstance(value, bool):
        return value is None
    return isinstance(value, (int, float)) and value >= 0


def is_count(value: object) -> bool:
    """True for a whole number of 0 or more."""
    return type(value) is int and value >= 0


def is_address(value: object) -> bool:
    """True for ``"ip:port"``, an IPv6 address in brackets."""
    found = ADDRESS.match(value) if isinstance(value, str) else None
    if found is None:
        return False
    try:
        ipaddress.ip_address(found.group(1) or found.group(2))
    except ValueError:
        return False
    return int(found.group(3)) <= 65535


def is_addr_entry(value: object) -> bool:
    """True for an entry of an ``addr``: a pair of address and nodeid, or a bare address."""
    if isinstance(value, list):
        return len(value) == 2 and is_address(value[0]) and is_uuid(value[1])
    return is_address(value)


def is_link(value: object) -> bool:
    """True for an entry of a row."""
    return isinstance(value, dict) and is_uuid(value.get("nodeid"))


def is_text(most: int) -> Callable[[object], bool]:
    """Return a check for strings of at most so many characters."""
    return lambda value: isinstance(value, str) and len(value) <= most


CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]")


def is_name(value: object) -> bool:
    """True for a string of 1 to 64 characters without controls.

    Not ``str.isprintable``: each Python knows other characters, and all must judge alike.
    """
    return isinstance(value, str) and 1 <= len(value) <= 64 and not CONTROLS.search(value)


def is_list(most: int, is_valid: Callable[[object], bool]) -> Callable[[object], bool]:
    """Return a check for lists of at most so many valid entries."""
    return lambda value: isinstance(value, list) and len(value) <= most and all(map(is_valid, value))


FIELDS: Dict[str, Dict[str, Callable[[object], bool]]] = {
    "hello": {
        "nodeid!": is_uuid,
        "port": is_port,
        "name": is_name,
        "network": is_text(64),
        "version": is_count,
        "agent": is_text(64),
        "probe": is_bool,
        "observed": is_address,
        "http": is_port,
        "token": is_text(64),
        "joins": is_bool,
        "unlisted": is_bool,
    },
    "join": {"nodeid!": is_uuid, "port": is_port, "name": is_name, "network": is_text(64)},
    "ping": {"t": is_bool},
    "pong": {"held_us": is_count},
    "addr": {"peers!": is_list(100, is_addr_entry)},
    "links": {
        "nodeid!": is_uuid,
        "name": is_name,
        "age": is_number,
        "lag_ms": is_number,
        "end": is_bool,
        "stale_after": is_number,
        "probe_interval": is_number,
        "changes": is_count,
        "links!": is_list(256, is_link),
    },
    "message": {"id!": is_uuid, "from!": is_uuid, "body!": lambda body: True, "to": is_uuid},
    "bye": {"reason!": lambda reason: reason in REASONS, "detail": is_text(500)},
}
"""The fields of each message, with their checks; ``!`` marks the required ones."""
