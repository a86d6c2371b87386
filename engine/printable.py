"""Texts from elsewhere, as they may stand in what people read."""

_JOINS = "\u200c\u200d"  # between letters of Persian and in emoji: these steer nothing


def printable(text: str) -> str:
    """Show by their codes letters that steer what is around them, as those of control do.

    A name of a file must neither steer a terminal nor read backwards as another.
    """
    return "".join(
        c if c.isprintable() or c in _JOINS else c.encode("unicode_escape").decode() for c in text
    )
