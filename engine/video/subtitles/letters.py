"""Bytes to text, whatever they were written in; no byte is lost."""

import codecs
from typing import Final

from engine.errors import UsageError

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LOOKED_AT: Final = 4096  # bytes, for UTF-16 without a mark


def read_letters(data: bytes, encoding: str | None = None) -> tuple[str, str]:
    """Return a file's text and the encoding that it was read in.

    Unless one is given: by the mark at its start; else UTF-8, where that is what it is but for
    single damaged bytes; else UTF-16, where every other byte is zero; else Windows' Latin-1.
    """
    if encoding is not None:
        try:
            return data.decode(codecs.lookup(encoding).name, "replace").removeprefix("\ufeff"), (
                codecs.lookup(encoding).name
            )
        except LookupError as error:
            raise UsageError(
                f"no encoding {encoding!r}; allowed: what Python knows, as cp1251 or shift_jis"
            ) from error
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace"), name
    wide = _wide(data)
    if wide is not None:
        return data.decode(wide, "replace"), wide
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return _of_bytes(data)


def _of_bytes(data: bytes) -> tuple[str, str]:
    """Read what is not quite UTF-8: single damaged bytes in it, or another encoding."""
    kept = data.decode("utf-8", "surrogateescape")
    damaged = sum("\udc80" <= letter <= "\udcff" for letter in kept)
    letters = sum(letter > "\x7f" for letter in kept) - damaged
    if letters < damaged:
        return latin(data), "windows-1252"
    return kept.translate({code: latin(bytes([code - 0xDC00])) for code in _ESCAPED}), "utf-8"


_ESCAPED: Final = range(0xDC80, 0xDD00)


def latin(data: bytes) -> str:
    """Read Windows' Latin-1; what it leaves undefined is read as Latin-1 has it."""
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1").translate(_WINDOWS)


def _windows() -> dict[int, str]:
    table = {}
    for code in range(0x80, 0xA0):
        try:
            table[code] = bytes([code]).decode("cp1252")
        except UnicodeDecodeError:
            continue
    return table


_WINDOWS: Final = _windows()


def _wide(data: bytes) -> str | None:
    """Tell UTF-16 without a mark: most of one half of each pair is zero, none of the other."""
    first, second = data[:_LOOKED_AT:2], data[1:_LOOKED_AT:2]
    if len(second) < 4:
        return None
    zeros = first.count(0) / len(first), second.count(0) / len(second)
    if zeros[1] > 0.4 and zeros[0] < 0.1:
        return "utf-16-le"
    if zeros[0] > 0.4 and zeros[1] < 0.1:
        return "utf-16-be"
    return None
