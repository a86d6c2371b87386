"""Answers are held to JSON schemas: against another checker, on many values."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.search.schema import check_schema, misfit

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats(-2, 4) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=6,
)
KIND = st.sampled_from(["object", "array", "string", "boolean", "null", "integer", "number"])
SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": KIND | st.lists(KIND, min_size=1, max_size=2, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=3),
            "minimum": st.integers(-2, 4),
            "maximum": st.integers(-2, 4),
            "minLength": st.integers(0, 3),
            "maxItems": st.integers(0, 3),
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from("abc"), inner),
            "additionalProperties": st.booleans() | inner,
            "items": inner,
        },
    ),
    max_leaves=4,
)


@given(SCHEMAS, VALUES)
def test_what_fits_is_what_fits_by_another_checker(schema: dict[str, Any], value: Any) -> None:
    check_schema(schema)
    fits = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (misfit(value, schema) == "") == fits


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ([], "schema is no object"),
        ({"typ": "object"}, "unknown keyword 'typ'.*nearest: type"),
        ({"type": "text"}, "unknown type 'text'"),
        ({"properties": {"a": {"oneOf": []}}}, r"schema.a: unknown keyword 'oneOf'"),
        ({"enum": 3}, "enum is no list"),
        ({"required": "a"}, "required is no list"),
        ({"minimum": "1"}, "minimum is no number"),
        ({"properties": []}, "properties is no object"),
    ],
)
def test_a_schema_that_is_not_held_is_refused(schema: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_schema(schema)
    deep: dict[str, Any] = {}
    for _ in range(500):
        deep = {"items": deep}
    with pytest.raises(UsageError, match="nested more than 20 deep"):
        check_schema(deep)
