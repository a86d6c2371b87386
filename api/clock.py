"""How a time in a video is written for people."""


def clock(seconds: float) -> str:
    """Show a time as `1:02.5`."""
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes)}:{rest:04.1f}"
