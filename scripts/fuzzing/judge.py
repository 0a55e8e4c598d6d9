"""The judge: whether a dialog led to what its conversation must lead to, and the evidence."""

from typing import Any, Dict, List, Optional

from .dialog import Dialog
from .grammar import Line
from .wire import PROBE_TIMEOUT, TIMEOUT, shown

LINGER = 0.4
"""Seconds, a little less than a node waits between its ``bye`` and closing.  If the fuzzer did not
read for that long, a lost ``bye`` is the fuzzer's own fault."""


def judge(dialog: Dialog) -> Optional[str]:
    """Return what was wrong with a dialog that has ended, or ``None``."""
    expected, bye = dialog.conversation.expected, dialog.bye
    if dialog.nonsense:
        return dialog.nonsense
    if dialog.ended == "ours":
        return None
    if bye is not None:
        return _judge_bye(dialog, bye)
    if dialog.ended == "late":
        return "no %s within %g s" % ("bye" if expected.must else "answer", TIMEOUT)
    if expected.quiet or (dialog.accepted and dialog.probe):
        return None
    if dialog.ended == "reset" and dialog.gap >= LINGER:
        return None
    if expected.must or not dialog.half_closed:
        return "ended (%s) without a bye" % dialog.ended
    if expected.pongs is not None and not dialog.accepted and dialog.pongs != expected.pongs:
        return "%d pongs to %d pings" % (dialog.pongs, expected.pongs)
    return None


def _judge_bye(dialog: Dialog, bye: Dict[str, Any]) -> Optional[str]:
    reason, detail = bye.get("reason"), bye.get("detail")
    if reason == "protocol" and not (isinstance(detail, str) and detail):
        return "bye protocol without a detail"
    if reason in dialog.conversation.expected.reasons:
        return None
    patience = PROBE_TIMEOUT if dialog.accepted else TIMEOUT
    if reason == "timeout" and dialog.gap > patience / 2:
        return None  # the machine was too busy to run the fuzzer
    if reason == "duplicate" and dialog.accepted:
        return None
    return "bye %s (%s) without a cause" % (reason, detail or "")


def evidence(dialog: Dialog, seed: int) -> str:
    """Return what somebody needs to repeat a dialog and to see what was sent in it."""
    conversation = dialog.conversation
    who = "accepted connection" if dialog.accepted else "conversation"
    text = ["    %s %d, ending %r" % (who, conversation.number, conversation.ending)]
    if not dialog.accepted:
        again = "    again: scripts/fuzz.py --seed %d --only %d"
        text.append(again % (seed, conversation.number))
    sent: List[Line] = []
    end = 0
    for line in conversation.lines:
        if end < dialog.sent:
            sent.append(line)
        end += len(line.data)
    odd = [line for line in sent[1:-4] if line.what not in ("valid", "flood")]
    text.append("    sent %d lines; the first, the last mutated, the last:" % len(sent))
    for line in sent[:1] + odd[-6:] + sent[1:][-4:]:
        text.append("      %-6s %-18s %s" % (line.expected, line.what[:18], shown(line.data)))
    return "\n".join(text)
