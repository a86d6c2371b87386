"""Estimates of a plan's cost, from the catalog and from rates measured by earlier runs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from engine.operators.base import Context, Operator, read_table
from engine.planner import logical
from engine.planner.arrange import PRODUCT
from engine.planner.logical import Plan, children
from engine.planner.lower import Build, lower
from engine.planner.passing import KEPT, PassRates, expected_share, space_of
from engine.planner.steps import asked_by
from engine.search.guarantee import expected_calls
from engine.search.missing import find_missing
from engine.search.rates import EmbeddingRates, decoding_of, encoding_of, expected_frames

# seconds per unit of work on two cores
_ROW: Final = 2e-7  # read, filter or join one row
_CALL: Final = 2e-3  # start an operator, embed a text
_JUDGED: Final = 0.2  # decode one frame and ask about it


@dataclass(frozen=True, slots=True)
class Cost:
    """Rows given and seconds taken by one operator alone."""

    rows: float
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class CatalogRows:
    """Rows of the catalog that were read for an estimate."""

    rows: pa.Table

    @property
    def schema(self) -> pa.Schema:
        """Their columns."""
        return self.rows.schema

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:  # noqa: ARG002
        """Yield them."""
        yield from self.rows.to_batches()


@dataclass(slots=True)
class Counting(Build):
    """Builds what counts rows of the catalog upon what was read of them before."""

    tables: dict[int, pa.Table] = field(default_factory=dict)  # by the node

    def operator(self, plan: Plan) -> Operator:
        """Return what reads the rows of a node, each from the catalog once."""
        known = self.tables.get(id(plan))
        return lower(plan, self) if known is None else CatalogRows(known)


@dataclass(slots=True)
class Estimator:
    """Estimates costs; relations of the catalog are counted, which is cheap."""

    context: Context
    costs: list[Cost] = field(default_factory=list)
    counting: Counting = field(default_factory=lambda: Counting(pa.schema([]), 0))

    @property
    def rates(self) -> PassRates:
        """What was learned of conditions and calls."""
        return PassRates.of(self.context)

    @property
    def dimension(self) -> int:
        """Of the vectors."""
        return self.context.reading.view.dimension

    def each(self, call: str) -> float:
        """Return the seconds that one call is expected to take."""
        return self.rates.calls[call].rate(space_of(call, self.context))

    def table(self, plan: Plan) -> pa.Table:
        """Return the rows that a node of the catalog gives."""
        if id(plan) not in self.counting.tables:
            operator = self.counting.operator(plan)
            self.counting.tables[id(plan)] = read_table(operator, self.context)
        return self.counting.tables[id(plan)]

    def visit(self, plan: Plan) -> Cost:
        """Return the cost of a node, having noted it in the order in which plans are shown."""
        place = len(self.costs)
        self.costs.append(Cost(0, 0))
        inputs = [self.visit(child) for child in children(plan)]
        self.costs[place] = estimate(plan, self, inputs)
        return self.costs[place]


def estimate_all(plan: Plan, context: Context) -> list[Cost]:
    """Return the cost of every node, in the order in which plans are shown."""
    estimator = Estimator(context)
    estimator.visit(plan)
    return estimator.costs


@singledispatch
def estimate(plan: Plan, at: Estimator, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    """Return what one node costs over inputs of known size."""
    raise TypeError(f"no cost of {type(plan).__name__}")


@estimate.register
def _(plan: logical.Scan, at: Estimator, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    if plan.relation == "frames":
        rows = len(at.context.reading.view.frames)
        return Cost(rows * KEPT ** len(plan.predicates), _CALL + rows * _ROW)
    rows = at.table(plan).num_rows
    return Cost(rows, _CALL + rows * _ROW)


@estimate.register
def _(plan: logical.Embed, at: Estimator, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    gops = at.table(plan.source)
    missing = find_missing(at.context, gops)
    videos = gops.column("video_id").unique().to_numpy()
    frames = at.context.reading.view.frames
    places = frames.of_videos(videos)
    stored = len(frames) if places is None else len(places)
    note, seconds, fresh = f"{stored} frames stored", 0.0, 0.0
    if missing:
        rates, fresh = (
            EmbeddingRates.load(at.context.store, at.context.space),
            expected_frames(at.context, missing),
        )
        decode = rates.decode.expected(decoding_of(at.context, missing))
        encode = rates.encode.expected({encoding_of(at.context): fresh})
        note += f", {fresh:.0f} to embed: decode {decode:.2f} s, encode {encode:.2f} s"
        seconds = decode + encode
    return Cost(stored + fresh, _CALL + stored * _ROW + seconds, note)


@estimate.register
def _(plan: logical.Filter, at: Estimator, inputs: list[Cost]) -> Cost:
    rows, asked = inputs[0].rows, asked_by(plan)
    if asked is not None:
        share = expected_share(at.rates, asked, plan, at.context)
        return Cost(rows * share.value, _CALL + rows * _ROW, str(share))
    return Cost(rows * KEPT ** len(plan.predicates), _CALL + rows * _ROW)


@estimate.register
def _(plan: logical.SemiJoin, at: Estimator, inputs: list[Cost]) -> Cost:
    rows = inputs[0].rows * KEPT
    if _is_catalog(plan):
        rows = float(at.table(plan).num_rows)
    return Cost(rows, _CALL + inputs[0].rows * _ROW)


@estimate.register
def _(plan: logical.Score, at: Estimator, inputs: list[Cost]) -> Cost:
    products = inputs[0].rows * len(plan.matches) * at.dimension
    return Cost(inputs[0].rows, _CALL * len(plan.matches) + products * PRODUCT)


@estimate.register
def _(plan: logical.Overlap, at: Estimator, inputs: list[Cost]) -> Cost:
    return Cost(float(at.table(plan).num_rows), _CALL + inputs[0].rows * _ROW)


@estimate.register
def _(plan: logical.Shared, at: Estimator, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    return Cost(0, 0.0)


@estimate.register
def _(plan: logical.Settle, at: Estimator, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    return Cost(inputs[0].rows, _CALL)


@estimate.register
def _(plan: logical.Search, at: Estimator, inputs: list[Cost]) -> Cost:
    products = inputs[0].rows * at.dimension
    return Cost(min(plan.count, inputs[0].rows), _CALL + products * PRODUCT)


@estimate.register
def _(plan: logical.Top, at: Estimator, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    return Cost(min(plan.count, inputs[0].rows), inputs[0].rows * _ROW)


@estimate.register
def _(plan: logical.Limit, at: Estimator, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    return Cost(min(plan.count, inputs[0].rows), 0)


@estimate.register
def _(plan: logical.Moments, at: Estimator, inputs: list[Cost]) -> Cost:
    products = inputs[0].rows * len(plan.steps) * at.dimension
    return Cost(inputs[0].rows * 0.02, _CALL * len(plan.steps) + products * PRODUCT)


@estimate.register
def _(plan: logical.VideoAnswer, at: Estimator, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    videos = min(inputs[0].rows, at.context.reading.view.videos.num_rows)
    return Cost(inputs[0].rows, videos * at.each("answer"))


@estimate.register
def _(plan: logical.Classify, at: Estimator, inputs: list[Cost]) -> Cost:
    actions = at.context.actions()
    if plan.label is not None:
        actions.place(plan.label)
    if not _is_catalog(plan.source):
        rows = inputs[0].rows
        return Cost(rows, _CALL + rows * at.each("clip"), f"up to {rows:.0f} clips to classify")
    clips = at.table(plan.source)
    fresh = len(clips) - int(actions.stored(clips).sum())
    took = fresh * at.each("clip")
    note = f"{len(clips) - fresh} clips stored"
    note += f", {fresh} to classify: {took:.2f} s" if fresh else ""
    return Cost(len(clips), _CALL + len(clips) * _ROW + took, note)


@estimate.register
def _(plan: logical.Nearest, at: Estimator, inputs: list[Cost]) -> Cost:
    frames, others = inputs[0].rows, inputs[1].rows
    products = frames * min(others, max(20_000, others / 16)) * at.dimension
    return Cost(frames * plan.count, _CALL + products * PRODUCT)


@estimate.register
def _(plan: logical.Detect, at: Estimator, inputs: list[Cost]) -> Cost:
    detections = at.context.detections()
    if plan.label is not None:
        detections.places(plan.label)
    if not _is_catalog(plan.source):
        seconds = _CALL + inputs[0].rows * at.each("look")
        return Cost(inputs[0].rows, seconds, f"up to {inputs[0].rows:.0f} GOPs to look at")
    gops = at.table(plan.source)
    fresh = gops.filter(pa.array(~detections.stored(gops, at.context)))
    span = pc.sum(pc.subtract(fresh.column("stop_seconds"), fresh.column("start_seconds")))
    frames = (span.as_py() or 0.0) * (at.context.options.fps or 1.0)
    took = frames * at.each("look")
    note = f"{len(gops) - len(fresh)} GOPs stored"
    note += f", {frames:.0f} frames to look at: {took:.2f} s" if len(fresh) else ""
    return Cost(len(gops), _CALL + took, note)


@estimate.register
def _(plan: logical.Spot, at: Estimator, inputs: list[Cost]) -> Cost:
    at.context.detections().places(plan.label)
    rows = inputs[0].rows
    return Cost(rows, _CALL + rows * at.each("look"), f"up to {rows:.0f} frames to look at")


@estimate.register
def _(plan: logical.TextMatch, at: Estimator, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    return Cost(inputs[0].rows, _CALL + inputs[0].rows * _ROW)


@estimate.register
def _(plan: logical.Judge, at: Estimator, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    rows = inputs[0].rows
    most = rows if plan.max_calls is None else min(rows, plan.max_calls)
    calls = min(expected_calls(rows, plan.targets), most)
    note = f"{calls:.0f} calls where the score tells much, at most {most:.0f}"
    return Cost(rows, _CALL + calls * _JUDGED, note)


@estimate.register
def _(plan: logical.Tell, at: Estimator, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    return _told(inputs[0].rows, 1)


@estimate.register
def _(plan: logical.TellTexts, at: Estimator, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    return _told(inputs[0].rows, min(plan.candidates, len(plan.texts)))


@estimate.register
def _(plan: logical.Hold, at: Estimator, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    return Cost(inputs[0].rows * KEPT, _CALL + inputs[0].rows * _ROW)


@estimate.register
def _(plan: logical.Relational, at: Estimator, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    rows = sum(item.rows for item in inputs)
    return Cost(rows, _CALL + rows * _ROW)


def _told(rows: float, each: int) -> Cost:
    """What asking so much of each row costs, were nothing known from before."""
    calls = rows * each
    return Cost(rows, _CALL + calls * _JUDGED, f"{calls:.0f} calls at most")


def _is_catalog(plan: Plan) -> bool:
    return all(
        isinstance(node, (logical.Scan, logical.Filter, logical.SemiJoin, logical.Overlap))
        for node in logical.walk(plan)
    )
