"""Tokens to syntax trees: DuckDB's grammar, with what the engine adds to it."""

from collections.abc import Sequence

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.tokenizer_core import Token, TokenType

from engine.planner.patterns import lower_patterns
from engine.planner.sequence import made_token, rewrite_sequences

_DIALECT = DuckDB()
_PIVOTS = (TokenType.PIVOT, TokenType.UNPIVOT)
_BEHIND = (TokenType.ORDER_BY, TokenType.LIMIT, TokenType.OFFSET)
_READ_FROM = (
    (TokenType.SELECT, "SELECT"), (TokenType.STAR, "*"), (TokenType.FROM, "FROM"),
    (TokenType.L_PAREN, "("),
)  # fmt: skip


def tokens_of(text: str) -> list[Token]:
    """Split a text into words and signs."""
    return _with_patterns(list(_DIALECT.tokenize(text)))


def trees_of(tokens: Sequence[Token], sql: str, text: str) -> list[exp.Expr | None]:
    """Parse tokens of a text; `sql` is the statement as errors show it."""
    known = _whole_pivot(rewrite_sequences(tokens, sql))
    trees = _DIALECT.parser().parse(known, text)
    return [tree and lower_patterns(tree, sql) for tree in trees]


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
