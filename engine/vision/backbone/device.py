"""How devices are named."""

import re

from engine.errors import UsageError


def check_device(name: str) -> None:
    """Refuse what is no name of a device; whether the machine has it is another matter."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise UsageError(f"unknown device {name!r}; allowed: auto, cpu, cuda, cuda:N")
