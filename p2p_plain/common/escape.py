"""Text of strangers, made safe to show.  Any thread."""


def printable(text: str, limit: int = 200) -> str:
    """Return ``text`` with control characters, direction marks and the like escaped.

    Otherwise a name that holds an escape sequence could recolour, retitle or rewrite the reader's
    terminal.  A text of more than ``limit`` characters is cut, and says so.  What is escaped differs
    between Pythons (``str.isprintable``): a newer one knows more characters.
    """
    if len(text) > limit:
        text = "%s...(%d characters)" % (text[:limit], len(text))
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
