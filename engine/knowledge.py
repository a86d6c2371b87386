"""For which content a model was trained, and the caution that is given on other content."""

BUILTIN = "builtin"


def knows(model: str) -> str:
    """Name the content that a model's scores are calibrated for.

    The number is raised where what `engine/background.py` makes of it changes: the null that a
    store keeps is then measured anew.
    """
    return "made-up clips, 1" if model == BUILTIN else "everyday life, 1"


def caution(model: str, kind: str = "model") -> str | None:
    """Say what has to be known before an answer of a model is relied on, or None."""
    if model != BUILTIN:
        return None
    return (
        f"the built-in {kind} knows made-up clips only: do not rely on what it says of other video"
    )
