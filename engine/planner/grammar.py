"""Tokens to syntax trees: DuckDB's grammar, with what the engine adds to it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokenizer_core import Token, TokenType

from engine.errors import ParseError
from engine.planner.letters import plain_letters
from engine.planner.patterns import lower_patterns
from engine.planner.sequence import made_token, rewrite_sequences

_DIALECT = DuckDB()
_PIVOTS = (TokenType.PIVOT, TokenType.UNPIVOT)
_BEHIND = (TokenType.ORDER_BY, TokenType.LIMIT, TokenType.OFFSET)
_BEFORE_VALUES = (
    TokenType.SELECT, TokenType.COMMA, TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.COLON,
    TokenType.THEN, TokenType.ELSE, TokenType.DISTINCT,
)  # fmt: skip
_READ_FROM = (
    (TokenType.SELECT, "SELECT"), (TokenType.STAR, "*"), (TokenType.FROM, "FROM"),
    (TokenType.L_PAREN, "("),
)  # fmt: skip


class _Words(DuckDB.Tokenizer):
    HEREDOC_STRINGS: ClassVar[list[str | tuple[str, str]]] = []  # `$q,$` would open one


class _Syntax(DuckDBParser):
    FUNCTIONS: ClassVar[dict[str, Any]] = {
        name: made for name, made in DuckDBParser.FUNCTIONS.items() if name != "AI_CLASSIFY"
    }  # of another dialect, with other arguments


_WORDS = _Words(dialect=_DIALECT)


def tokens_of(text: str) -> list[Token]:
    """Split a text into words and signs."""
    plain, said = plain_letters(text)
    tokens: list[Token] = []
    for token in _WORDS.tokenize(plain):
        token.comments.clear()  # they would stand in names of columns
        if token.token_type == TokenType.STRING:
            token.text = said.get(token.start, token.text)
            if tokens and _goes_on(tokens[-1], token, plain, said):
                tokens[-1].text += token.text
                tokens[-1].end = token.end
                continue
        elif tokens and tokens[-1].token_type == TokenType.BYTE_STRING:
            tokens[-1].token_type = TokenType.STRING  # E'…', its escapes read already
        tokens.append(token)
    if tokens and tokens[-1].token_type == TokenType.BYTE_STRING:
        tokens[-1].token_type = TokenType.STRING
    return _with_patterns(tokens)


def _goes_on(before: Token, token: Token, plain: str, said: Mapping[int, str]) -> bool:
    """Whether a text on the next line is a part of the one before it."""
    texts = before.token_type == TokenType.STRING and not {before.start, token.start} & said.keys()
    between = plain[before.end + 1 : token.start]
    return texts and ("\n" in between or "\r" in between)


def trees_of(tokens: Sequence[Token], sql: str, text: str) -> list[exp.Expr | None]:
    """Parse tokens of a text; `sql` is the statement as errors show it."""
    _check_rows(tokens, sql)
    known = _whole_pivot(rewrite_sequences(tokens, sql))
    trees = _Syntax(dialect=_DIALECT).parse(known, text)
    return [tree and lower_patterns(tree, sql) for tree in trees]


def _check_rows(tokens: Sequence[Token], sql: str) -> None:
    """Refuse `(value,)` where a value stands: to DuckDB a row of one, to sqlglot the value."""
    opened: list[int] = []  # for each bracket, how many commas stand in it
    for at, token in enumerate(tokens):
        if token.token_type == TokenType.L_PAREN:
            before = tokens[at - 1].token_type if at else None
            opened.append(0 if before in _BEFORE_VALUES else 2)
        elif token.token_type in (TokenType.L_BRACKET, TokenType.L_BRACE):
            opened.append(2)
        elif token.token_type in (TokenType.R_BRACKET, TokenType.R_BRACE) and opened:
            opened.pop()
        elif token.token_type == TokenType.COMMA and opened:
            opened[-1] += 1
        elif token.token_type == TokenType.R_PAREN and opened:
            alone = opened.pop() == 1 and tokens[at - 1].token_type == TokenType.COMMA
            if alone:
                said = "a row of one value is written row(value)"
                raise ParseError(said, sql=sql, position=tokens[at - 1].start)


def _with_patterns(tokens: list[Token]) -> list[Token]:
    """Let MATCH_RECOGNIZE be the word that sqlglot knows of other dialects.

    A `?` of its PATTERN is no parameter.
    """
    done: list[Token] = []
    reached = depth = inside = 0
    for token in tokens:
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        opens = token.token_type == TokenType.L_PAREN and done
        if opens and done[-1].text.upper() == "MATCH_RECOGNIZE":
            done[-1] = made_token(TokenType.MATCH_RECOGNIZE, done[-1].text, done[-1])
            reached = depth
        elif opens and reached and depth == reached + 1 and done[-1].text.upper() == "PATTERN":
            inside = depth
        reached, inside = (0 if depth < reached else reached), (0 if depth < inside else inside)
        parameter = inside and token.token_type == TokenType.PLACEHOLDER
        done.append(made_token(TokenType.VAR, token.text, token) if parameter else token)
    return done


def _whole_pivot(tokens: list[Token]) -> list[Token]:
    """Put a PIVOT that stands alone and is ordered or limited in brackets, as what a SELECT reads.

    sqlglot reads `PIVOT …` as a statement, but not what may stand behind it.
    """
    depth, pivot = 0, False
    for at, token in enumerate(tokens):
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        begins = at == 0 or (tokens[at - 1].token_type == TokenType.R_PAREN)
        if token.token_type in _PIVOTS and depth == 0 and begins:
            pivot = tokens[0].token_type in (*_PIVOTS, TokenType.WITH)
        if pivot and depth == 0 and token.token_type in _BEHIND:
            head = [made_token(kind, sign, tokens[0]) for kind, sign in _READ_FROM]
            closing = made_token(TokenType.R_PAREN, ")", token)
            return [*head, *tokens[:at], closing, *tokens[at:]]
    return tokens


def as_select(tree: exp.Expr) -> exp.Expr:
    """PIVOT, UNPIVOT and VALUES may stand alone, as what a SELECT reads."""
    if isinstance(tree, exp.Pivot):
        ctes = tree.args.pop("with_", None)
        query = exp.select("*").from_(exp.Subquery(this=tree))
        query.set("with_", ctes)
        return query
    source = tree.args.get("from_") if isinstance(tree, exp.Select) else None
    inner = source.this.this if source is not None else None
    if isinstance(inner, exp.Pivot) and inner.args.get("with_") and not tree.args.get("with_"):
        tree.set("with_", inner.args.pop("with_"))  # of `WITH … PIVOT … ORDER BY …`
    if isinstance(tree, exp.Values):
        return exp.select("*").from_(exp.alias_(tree, "rows", table=True))
    return tree
