"""Letters that are none: half of a surrogate pair, which JSON can write and UTF-8 cannot."""

import json
import re
from collections.abc import Mapping
from typing import Any

_HALF = re.compile("[\ud800-\udfff]")


def half_letter(value: Any) -> str | None:
    """Return the first text within a value of JSON, a key or an item, that no UTF-8 can hold."""
    try:  # at C's speed, since this is asked of every request
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        pass
    else:
        return None
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            if _HALF.search(item):
                return item
        elif isinstance(item, Mapping):
            left += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple):
            left += item
    return None


def sayable(text: str) -> str:
    """Return a text with such halves written out: a backslash, u, four digits."""
    return text.encode("utf-8", "backslashreplace").decode()
