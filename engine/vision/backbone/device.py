"""How devices are named."""

import re

from engine.errors import UsageError


def check_device(name: str) -> None:
    """Refuse a text that names no device; whether the machine has that device is not checked."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise UsageError(f"unknown device {name!r}; allowed: auto, cpu, cuda, cuda:N")
