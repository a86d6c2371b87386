"""How much this process has asked for and not given back, by glibc's own count."""

import ctypes
from typing import Final

_FIELDS: Final = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _Info(ctypes.Structure):
    """What `mallinfo2` gives."""

    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]  # as ctypes has it


def allocated_bytes() -> int | None:
    """Return the bytes in use of all arenas and mappings; None where glibc is older or absent.

    Unlike resident memory it does not count what was freed and is kept for later.
    """
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):
        return None
    ask.restype = _Info
    info = ask()
    return int(info.uordblks + info.hblkhd)
