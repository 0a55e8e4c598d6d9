"""Text of strangers, made safe to show.  Any thread."""


def printable(text: str, limit: int = 200) -> str:
    """Return ``text`` with control characters, direction marks and the like escaped.

    A name that holds an escape sequence would otherwise recolour, retitle or rewrite the
    reader's terminal.  Cut to ``limit`` characters, saying so.
    """
    if len(text) > limit:
        text = "%s...(%d characters)" % (text[:limit], len(text))
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
