"""Where a truth value is expected."""

from sqlglot import exp

_BOOLEAN = (
    exp.Where, exp.Having, exp.Qualify, exp.And, exp.Or, exp.Xor, exp.Not, exp.Filter,
    exp.LogicalAnd, exp.LogicalOr, exp.CountIf,
)  # fmt: skip
_EQUAL = (exp.EQ, exp.NEQ, exp.Is, exp.NullSafeEQ, exp.NullSafeNEQ)


def is_predicate(call: exp.Expr) -> bool:
    """Whether a call stands where a truth value is expected, or is compared with one."""
    node = call
    while isinstance(node.parent, exp.Paren):
        node = node.parent
    parent = node.parent
    if isinstance(parent, exp.If):
        return parent.this is node
    if isinstance(parent, exp.Join):
        return True
    if isinstance(parent, (exp.Cast, exp.TryCast)):
        return bool(parent.to.is_type(exp.DType.BOOLEAN))
    if isinstance(parent, _EQUAL):
        other = parent.expression if parent.this is node else parent.this
        return isinstance(other.unnest(), exp.Boolean)
    return isinstance(parent, _BOOLEAN)
