"""From a question to what would be seen if an answer were true."""

import re

_THE = r"(?:the |a |an )?"
_IS = r"(?:is|are|was|were)"
_DOES = r"(?:does|do|did|is|are|was|were)"
_WHAT = r"(?:what|which)"
_RULES = (  # the question, and what it states with an answer `{c}`
    (rf"{_WHAT} colou?r {_IS} {_THE}(.+)", "{c} {0}"),
    (rf"{_WHAT} shape {_IS} (.+)", "{0}, {c}"),
    (rf"how many (.+?) {_IS}(?: there\b)? ?(.*)", "{c} {0} {1}"),
    (rf"what {_DOES} (.+?) (?:do|doing)\b ?(.*)", "{0} {c} {1}"),
    (rf"{_WHAT} (\w+) {_DOES} (.+) have", "{1}, {c} {0}"),
    (rf"where {_DOES} (.+)", "{0} {c}"),
    (rf"who {_IS} (.+)", "{c} {0}"),
    (rf"{_WHAT} {_DOES} (.+)", "{0} {c}"),
    (rf"(?:{_DOES}|can|has|have) (.+)", "{0}"),
)


def declare(question: str, choice: str) -> str:
    """State what a caption of the right moment may say; an unknown kind of question stays as it is.

    >>> declare("What colour is the star?", "red")
    'red star'
    >>> declare("What is the man holding?", "a cup")
    'the man holding a cup'
    """
    asked = question.strip().rstrip("?").strip().lower()
    for pattern, statement in _RULES:
        found = re.fullmatch(pattern, asked)
        if found:
            return " ".join(statement.format(*found.groups(), c=choice).split())
    return f"{asked} {choice}".strip()
