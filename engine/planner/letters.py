"""Letters as DuckDB reads them, for a tokenizer that reads some in another way.

Every character keeps its place: texts in dollar quotes become plain ones, DuckDB's spaces blanks.
"""

import re
from typing import Final

from sqlglot.errors import TokenError

BLANK: Final = r"(?:\s|--[^\n\r]*(?:[\n\r]|$)|/\*.*?\*/)"  # or a comment, with re.DOTALL
_SPACES: Final = "\u00a0\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff"  # that DuckDB knows
_NO_SPACES: Final = "\x1c-\x1f\x85\u1680\u2028\u2029"  # letters of a name to DuckDB alone
_OPENS: Final = rf"[A-Za-z_\x80-\U0010ffff](?<![{_SPACES}{_NO_SPACES}])"
_FOLLOWS: Final = rf"[A-Za-z0-9_\x80-\U0010ffff](?<![{_SPACES}{_NO_SPACES}])"
_LEXEME: Final = re.compile(
    rf"(?P<quote>\$(?:{_OPENS}(?:{_FOLLOWS})*)?\$)"
    r"|[eE]'(?:[^'\\]|\\.|'')*(?:'|$)"
    r"|'(?:[^']|'')*(?:'|$)"
    r'|"(?:[^"]|"")*(?:"|$)'
    r"|--[^\n\r]*"
    r"|(?P<comment>/\*)"
    rf"|{_OPENS}(?:{_FOLLOWS}|\$)*"
    rf"|(?P<space>[{_SPACES}]+)"
    rf"|(?P<odd>[{_NO_SPACES}])",
    re.DOTALL,
)
_COMMENT: Final = re.compile(r"/\*|\*/")
_LINES: Final = re.compile(r"[^\n\r]")


def plain_letters(text: str) -> tuple[str, dict[int, str]]:
    """Return a text as long, and what the plain texts in it that took the place of others say.

    These are told by their places.
    """
    if text.isascii() and "$" not in text and text.isprintable():
        return text, {}
    done: list[str] = []
    said: dict[int, str] = {}
    at = 0
    while found := _LEXEME.search(text, at):
        start, stop = found.span()
        done.append(text[at:start])
        word = found[0]
        if quote := found["quote"]:
            closing = text.find(quote, stop)
            if closing < 0:
                raise TokenError(f"a text in {quote} has no end")
            said[start + 1] = text[stop:closing]
            stop = closing + len(quote)
            # blanks around it: two texts side by side are not one
            word = f" '{_LINES.sub('x', text[start + 2 : stop - 2])}' "
        elif found["comment"]:
            stop = _end_of_comment(text, stop)
            word = text[start:stop]
        elif found["space"]:
            word = " " * len(word)
        elif found["odd"]:
            raise TokenError(f"the letter U+{ord(word):04X} is no space; allowed: a blank")
        done.append(word)
        at = stop
    return "".join([*done, text[at:]]), said


def _end_of_comment(text: str, at: int) -> int:
    """Return where a comment ends, in which others may stand."""
    depth = 1
    while depth and (found := _COMMENT.search(text, at)):
        depth += 1 if found[0] == "/*" else -1
        at = found.end()
    return len(text) if depth else at
