"""Rows as JSON, CSV, Arrow or Parquet, a part at a time: no whole text in memory, no long pause."""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from pyarrow import parquet as pq

from engine.rows import caution_of

Form = Literal["json", "lines", "csv", "arrow", "parquet"]
MEDIA: Final[dict[Form, str]] = {
    "json": "application/json",
    "lines": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
# of a part: rendering one keeps all other threads waiting, for a few milliseconds
_ROWS = 1000
_CELLS = 5000
_BYTES = 1 << 18
_MOST = 1 << 20  # bytes of a part that is copied alone
_GROUP = 100_000  # rows of a group in Parquet
_DIGITS = 15  # that a double keeps, so decimals of no more are numbers
_NESTED = (pa.ListType, pa.LargeListType, pa.FixedSizeListType, pa.StructType, pa.MapType)


def form_of(accept: str) -> Form:
    """Return the form that a caller accepts; JSON where it does not say."""
    for form in ("arrow", "parquet", "lines"):
        if MEDIA[form] in accept:
            return form
    return "csv" if "text/csv" in accept else "json"


def rendered(table: pa.Table, form: Form, seconds: float) -> Iterator[bytes]:
    """Write rows, a part at a time; `seconds` is what they took."""
    if form == "arrow":
        return _arrow(table)
    if form == "parquet":
        return _parquet(table)
    if form == "lines":
        return _lines(table, seconds)
    return _csv(table) if form == "csv" else _json(table, seconds)


def _parts(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield rows, so many at a time as are soon written."""
    cells = _CELLS // max(table.num_columns, 1)
    fitting = _BYTES * table.num_rows // max(table.nbytes, 1)
    yield from table.to_batches(max(min(_ROWS, cells, fitting), 1))


def _arrow(table: pa.Table) -> Iterator[bytes]:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches(max(_MOST * table.num_rows // max(table.nbytes, 1), 1)):
            writer.write_batch(batch)
            yield sink.getvalue()
            sink.seek(0)
            sink.truncate()
    yield sink.getvalue()


def _parquet(table: pa.Table) -> Iterator[bytes]:
    """Write row groups; a column of a type that Parquet lacks is text, as JSON has it."""
    lacking = [name for name, kind in enumerate(table.schema.types) if not _in_parquet(kind)]
    kept = table.schema
    for place in lacking:
        kept = kept.set(place, pa.field(kept.field(place).name, pa.string()))
    sink = _Passing()
    with pq.ParquetWriter(sink, kept) as writer:
        for start in range(0, table.num_rows, _GROUP):
            columns = list(table.slice(start, _GROUP).itercolumns())
            for place in lacking:
                columns[place] = _texts(columns[place].combine_chunks())
            writer.write_table(pa.table(columns, schema=kept))
            yield sink.taken()
    yield sink.taken()


def _in_parquet(kind: pa.DataType) -> bool:
    """Whether Parquet has a type, and those that it is made of."""
    if pa.types.is_interval(kind) or pa.types.is_union(kind):
        return False
    if pa.types.is_struct(kind) and not kind.num_fields:
        return False
    if pa.types.is_map(kind) and pa.types.is_null(kind.key_type):
        return False
    return all(_in_parquet(kind.field(place).type) for place in range(kind.num_fields))


def _texts(array: pa.Array) -> pa.Array:
    texts = [
        each if each is None or isinstance(each, str) else json.dumps(each) for each in plain(array)
    ]
    return pa.array(texts, pa.string())


class _Passing(io.RawIOBase):
    """Holds what was written until it is taken, and knows how much there was in all."""

    def __init__(self) -> None:
        self._parts = list[bytes]()
        self._told = 0

    def writable(self) -> bool:
        """It is written to."""
        return True

    def tell(self) -> int:
        """How much was written in all."""
        return self._told

    def write(self, data: Any) -> int:
        """Take in bytes."""
        self._parts.append(bytes(data))
        self._told += len(self._parts[-1])
        return len(self._parts[-1])

    def taken(self) -> bytes:
        """Give what was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _csv(table: pa.Table) -> Iterator[bytes]:
    texts = pa.schema([pa.field(field.name, _csv_type(field.type)) for field in table.schema])
    sink = io.BytesIO()
    with csv.CSVWriter(sink, texts, write_options=csv.WriteOptions(batch_size=_ROWS)) as writer:
        for batch in _parts(table):
            columns = [_csv_column(column) for column in batch.columns]
            writer.write_batch(pa.record_batch(columns, schema=texts))
            yield sink.getvalue()
            sink.seek(0)
            sink.truncate()
    yield sink.getvalue()


def _csv_type(kind: pa.DataType) -> pa.DataType:
    own = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return kind if own else pa.string()


def _csv_column(column: pa.Array) -> pa.Array:
    if _csv_type(column.type) == column.type:
        return column
    values = plain(column)
    if isinstance(column.type, _NESTED):
        values = [None if value is None else json.dumps(value) for value in values]
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _json(table: pa.Table, seconds: float) -> Iterator[bytes]:
    yield b'{"columns": ' + json.dumps(_columns(table)).encode() + b', "rows": ['
    comma = b""
    for rows in _batches(table):
        yield comma + json.dumps(rows, allow_nan=False)[1:-1].encode()
        comma = b", "
    yield b"], " + json.dumps(_rest(table, seconds))[1:].encode()


def _lines(table: pa.Table, seconds: float) -> Iterator[bytes]:
    """Write a line with the columns, one for each thousand rows, and one with the rest."""
    yield json.dumps({"columns": _columns(table), "num_rows": table.num_rows}).encode() + b"\n"
    for rows in _batches(table):
        yield json.dumps({"rows": rows}, allow_nan=False).encode() + b"\n"
    yield json.dumps(_rest(table, seconds)).encode() + b"\n"


def _columns(table: pa.Table) -> list[dict[str, str]]:
    return [{"name": field.name, "type": str(field.type)} for field in table.schema]


def _batches(table: pa.Table) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows, some at a time, each an object by column."""
    for batch in _parts(table):
        if batch.num_rows:
            values = [plain(column) for column in batch.columns]
            yield [
                dict(zip(table.column_names, row, strict=True)) for row in zip(*values, strict=True)
            ]


def _rest(table: pa.Table, seconds: float) -> dict[str, Any]:
    return {"timing": {"seconds": seconds}, "caution": caution_of(table)}


def plain(array: pa.Array) -> list[Any]:
    """Return a column's values as JSON has them.

    Times are ISO 8601, UTC with its Z; bytes are base64; not-a-number and infinities, which JSON
    has no word for, are null; a decimal that a double would round is text; a map is an object.
    """
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        big = getattr(kind, "type_name", "") == "bignum"
        return [_big(item) for item in array.storage.to_pylist()] if big else plain(array.storage)
    if pa.types.is_dictionary(kind):
        return plain(array.dictionary_decode())
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_finite(array), array, None).to_pylist()
    if pa.types.is_decimal(kind):
        return _decimals(array)
    if pa.types.is_temporal(kind):
        return _times(array)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        listed = array.to_pylist()
        return [None if item is None else base64.b64encode(item).decode() for item in listed]
    if isinstance(kind, _NESTED):
        return _nested(array)
    if pa.types.is_union(kind):
        return [_one(item.value) for item in array]
    return array.to_pylist()


def _one(value: pa.Scalar | None) -> Any:
    return None if value is None else plain(pa.array([value], value.type))[0]


def _decimals(array: pa.Array) -> list[Any]:
    if array.type.scale == 0:
        return [None if item is None else int(item) for item in array.to_pylist()]
    way = float if array.type.precision <= _DIGITS else str
    return [None if item is None else way(item) for item in array.to_pylist()]


def _big(item: bytes | None) -> int | None:
    """Read DuckDB's whole number of any length: three bytes of head, all inverted below zero."""
    if item is None:
        return None
    negative = not item[0] & 0x80
    digits = bytes(byte ^ 0xFF for byte in item[3:]) if negative else item[3:]
    number = int.from_bytes(digits)
    return -number if negative else number


def _times(array: pa.Array) -> list[Any]:
    kind = array.type
    if pa.types.is_interval(kind) or pa.types.is_duration(kind):
        return [None if item is None else _span(item) for item in array.to_pylist()]
    if not pa.types.is_timestamp(kind):
        return _bounded(array, array.cast(pa.string()).to_pylist())
    naive = array.cast(pa.timestamp(kind.unit))
    listed = _bounded(array, naive.cast(pa.string()).to_pylist())
    return [f"{item.replace(' ', 'T')}Z" if item and item[0].isdigit() else item for item in listed]


def _bounded(array: pa.Array, texts: Sequence[str | None]) -> list[str | None]:
    """Call infinite what no calendar has, as the statement would."""
    if not any(text and text[0] == "<" for text in texts):
        return list(texts)
    numbers = array.cast(pa.int32() if pa.types.is_date32(array.type) else pa.int64()).to_pylist()
    named = ["infinity" if number and number > 0 else "-infinity" for number in numbers]
    return [
        name if text and text[0] == "<" else text for name, text in zip(named, texts, strict=True)
    ]


def _span(item: Any) -> str:
    """Return a span of time as ISO 8601 has it: P1M2DT3.5S."""
    months, days, nanoseconds = (
        (item.months, item.days, item.nanoseconds)
        if hasattr(item, "months")
        else (0, item.days, (item.seconds * 10**6 + item.microseconds) * 1000)
    )
    sign = "-" if nanoseconds < 0 else ""
    whole, rest = divmod(abs(nanoseconds), 10**9)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    return f"P{months}M{days}DT{sign}{whole}{fraction}S"


def _nested(array: pa.Array) -> list[Any]:
    kind, known = array.type, array.is_valid().to_pylist()
    if isinstance(kind, pa.StructType):
        fields = [plain(column) for column in array.flatten()]
        names = [field.name for field in kind]
        rows = zip(*fields, strict=True) if fields else [()] * len(array)
        made: list[Any] = [dict(zip(names, row, strict=True)) for row in rows]
    elif isinstance(kind, pa.MapType):
        entry = pa.struct([kind.key_field, kind.item_field])
        pairs = array.cast(pa.list_(entry))
        flat = pairs.flatten()
        keys, values = map(str, plain(flat.field(0))), plain(flat.field(1))
        items = list(zip(keys, values, strict=True))
        made = [dict(items[start:stop]) for start, stop in _bounds(pairs)]
    else:
        values = plain(array.flatten())
        made = [values[start:stop] for start, stop in _bounds(array)]
    return [value if valid else None for value, valid in zip(made, known, strict=True)]


def _bounds(array: pa.Array) -> Iterator[tuple[int, int]]:
    """Where the items of each list stand among those of all that are not null."""
    stop = 0
    for length in pc.list_value_length(array).to_pylist():
        start, stop = stop, stop + (length or 0)
        yield start, stop
