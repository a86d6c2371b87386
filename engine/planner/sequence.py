"""`'a' HOLDS FOR 3s THEN 'b' WITHIN 10s GAP 5s`, turned into calls that DuckDB's grammar knows."""

from collections.abc import Sequence

from sqlglot.tokenizer_core import Token, TokenType

from engine.errors import ParseError

SEQUENCE = "__sequence"
STEP = "__step"
_UNITS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3}
_UNITS |= {"m": 60.0, "min": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0}


def rewrite_sequences(tokens: Sequence[Token], sql: str) -> list[Token]:
    """Replace each sequence of texts by `__sequence(__step(text, hold, gap, within), …)`.

    A THEN that belongs to a CASE is left alone.
    """
    done: list[Token] = []
    position, whens = 0, [0]
    while position < len(tokens):
        token = tokens[position]
        if token.token_type == TokenType.L_PAREN:
            whens.append(0)
        elif token.token_type == TokenType.R_PAREN and len(whens) > 1:
            whens.pop()
        elif token.token_type == TokenType.WHEN:
            whens[-1] += 1
        elif token.token_type == TokenType.THEN:
            whens[-1] -= 1
        stop = _text_stop(tokens, position)
        around = whens[-2] if stop and token.token_type == TokenType.L_PAREN else whens[-1]
        if stop and not (around and _word(tokens, stop) == "THEN") and _joins(tokens, stop):
            call, position = _SequenceReader(tokens, sql, position).sequence()
            done += call
            whens = whens[:-1] if token.token_type == TokenType.L_PAREN else whens
        else:
            done.append(token)
            position += 1
    return done


class _SequenceReader:
    def __init__(self, tokens: Sequence[Token], sql: str, position: int) -> None:
        self.tokens, self.sql, self.position = tokens, sql, position

    def sequence(self) -> tuple[list[Token], int]:
        """Read steps joined by THEN; return the call and the position after it."""
        anchor = self.tokens[self.position]
        calls = [self.step()]
        while _word(self.tokens, self.position) == "THEN":
            self.position += 1
            calls.append(self.step())
        inner: list[Token] = []
        for call in calls:
            inner += [made_token(TokenType.COMMA, ",", anchor), *call] if inner else call
        return _call(SEQUENCE, inner, anchor), self.position

    def step(self) -> list[Token]:
        """Read one text with what follows it: HOLDS FOR, GAP and WITHIN, in any order."""
        anchor = self.peek()
        stop = _text_stop(self.tokens, self.position)
        if not stop:
            raise self.error("expected a text, texts in brackets or CLIP_MATCH('text')")
        text = list(self.tokens[self.position : stop])
        self.position = stop
        parts = {"HOLDS": "NULL", "GAP": "NULL", "WITHIN": "NULL"}
        while (word := _word(self.tokens, self.position)) in parts:
            self.position += 1
            if word == "HOLDS":
                if _word(self.tokens, self.position) != "FOR":
                    raise self.error("expected FOR after HOLDS")
                self.position += 1
            parts[word] = self.duration()
        for value in parts.values():
            kind = TokenType.NULL if value == "NULL" else TokenType.NUMBER
            text += [made_token(TokenType.COMMA, ",", anchor), made_token(kind, value, anchor)]
        return _call(STEP, text, anchor)

    def duration(self) -> str:
        """Read `10`, `10s`, `1.5 min`; return seconds."""
        if self.peek().token_type != TokenType.NUMBER:
            raise self.error("expected a duration such as 10s")
        seconds = float(self.peek().text)
        self.position += 1
        unit = _word(self.tokens, self.position).lower()
        if unit in _UNITS:
            self.position += 1
            seconds *= _UNITS[unit]
        return repr(seconds)

    def peek(self) -> Token:
        return self.tokens[min(self.position, len(self.tokens) - 1)]

    def error(self, expected: str) -> ParseError:
        given = self.tokens[self.position].text if self.position < len(self.tokens) else "the end"
        return ParseError(f"{expected}, got {given!r}", sql=self.sql, position=self.peek().start)


def _word(tokens: Sequence[Token], position: int) -> str:
    return tokens[position].text.upper() if position < len(tokens) else ""


def _joins(tokens: Sequence[Token], position: int) -> bool:
    """Whether what follows a text makes it a step of a sequence."""
    word, after = _word(tokens, position), _word(tokens, position + 1)
    number = position + 1 < len(tokens) and tokens[position + 1].token_type == TokenType.NUMBER
    return word == "THEN" or (word == "HOLDS" and after == "FOR") or (word == "GAP" and number)


def _text_stop(tokens: Sequence[Token], position: int) -> int:
    """Position after `'text'`, `CLIP_MATCH(…)` or texts in brackets, or 0 where none stands."""
    if position >= len(tokens):
        return 0
    if tokens[position].token_type == TokenType.L_PAREN:
        return _group_stop(tokens, position)
    if tokens[position].token_type == TokenType.STRING:
        return position + 1
    opens = position + 1 < len(tokens) and tokens[position + 1].token_type == TokenType.L_PAREN
    if _word(tokens, position) != "CLIP_MATCH" or not opens:
        return 0
    depth = 0
    for index in range(position + 1, len(tokens)):
        kind = tokens[index].token_type
        depth += (kind == TokenType.L_PAREN) - (kind == TokenType.R_PAREN)
        if depth == 0:
            return index + 1
    return 0


def _group_stop(tokens: Sequence[Token], position: int) -> int:
    """Position after texts in brackets with AND, OR and NOT between them, or 0."""
    depth, texts = 0, 0
    while position < len(tokens):
        kind = tokens[position].token_type
        if kind in (TokenType.L_PAREN, TokenType.R_PAREN):
            depth += 1 if kind == TokenType.L_PAREN else -1
            position += 1
            if depth == 0:
                return position if texts else 0
        elif stop := _text_stop(tokens, position):
            position, texts = stop, texts + 1
        elif kind in (TokenType.AND, TokenType.OR, TokenType.NOT):
            position += 1
        else:
            return 0
    return 0


def _call(name: str, inner: list[Token], anchor: Token) -> list[Token]:
    opening = [made_token(TokenType.VAR, name, anchor), made_token(TokenType.L_PAREN, "(", anchor)]
    return [*opening, *inner, made_token(TokenType.R_PAREN, ")", anchor)]


def made_token(kind: TokenType, text: str, anchor: Token) -> Token:
    """Return a token that lies where another does."""
    return Token(
        kind, text=text, line=anchor.line, col=anchor.col, start=anchor.start, end=anchor.end
    )
