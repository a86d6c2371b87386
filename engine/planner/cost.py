"""Estimates of a plan's cost, from the catalog and from rates measured by earlier runs."""

from dataclasses import dataclass
from functools import singledispatch
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from engine.operators.base import Context, read_table
from engine.planner import logical
from engine.planner.logical import Plan, children
from engine.planner.lower import Build
from engine.search.missing import find_missing
from engine.search.rates import EmbeddingRates, decoding_of, encoding_of, expected_frames

# seconds per unit of work on two cores
_ROW: Final = 2e-7  # read, filter or join one row
_PRODUCT: Final = 5e-10  # one multiplication and addition of a score
_CALL: Final = 2e-3  # start an operator, embed a text
_ANSWER: Final = 0.05  # one video
_CLIP: Final = 0.25  # decode and classify one clip
_LOOK: Final = 0.2  # decode one frame and look for objects
_KEPT: Final = 1 / 3  # by a predicate of which nothing is known


@dataclass(frozen=True, slots=True)
class Cost:
    """Rows given and seconds taken by one operator alone."""

    rows: float
    seconds: float
    note: str = ""


@dataclass(slots=True)
class Estimator:
    """Estimates costs; relations of the catalog are counted, which is cheap."""

    context: Context
    costs: list[Cost]

    def visit(self, plan: Plan) -> Cost:
        """Return the cost of a node, having noted it in the order in which plans are shown."""
        place = len(self.costs)
        self.costs.append(Cost(0, 0))
        inputs = [self.visit(child) for child in children(plan)]
        self.costs[place] = estimate(plan, self.context, inputs)
        return self.costs[place]


def estimate_all(plan: Plan, context: Context) -> list[Cost]:
    """Return the cost of every node, in the order in which plans are shown."""
    estimator = Estimator(context, [])
    estimator.visit(plan)
    return estimator.costs


@singledispatch
def estimate(plan: Plan, context: Context, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    """Return what one node costs over inputs of known size."""
    raise TypeError(f"no cost of {type(plan).__name__}")


@estimate.register
def _(plan: logical.Scan, context: Context, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    if plan.relation == "frames":
        rows = len(context.reading.view.frames)
        return Cost(rows * _KEPT ** len(plan.predicates), _CALL + rows * _ROW)
    rows = _count(plan, context).num_rows
    return Cost(rows, _CALL + rows * _ROW)


@estimate.register
def _(plan: logical.Embed, context: Context, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    gops = _count(plan.source, context)
    missing = find_missing(context, gops)
    videos = gops.column("video_id").unique().to_numpy()
    frames = context.reading.view.frames
    places = frames.of_videos(videos)
    stored = len(frames) if places is None else len(places)
    note, seconds, fresh = f"{stored} frames stored", 0.0, 0.0
    if missing:
        rates, fresh = (
            EmbeddingRates.load(context.store, context.space),
            expected_frames(context, missing),
        )
        decode = rates.decode.expected(decoding_of(context, missing))
        encode = rates.encode.expected({encoding_of(context): fresh})
        note += f", {fresh:.0f} to embed: decode {decode:.2f} s, encode {encode:.2f} s"
        seconds = decode + encode
    return Cost(stored + fresh, _CALL + stored * _ROW + seconds, note)


@estimate.register
def _(plan: logical.Filter, context: Context, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    rows = inputs[0].rows
    return Cost(rows * _KEPT ** len(plan.predicates), _CALL + rows * _ROW)


@estimate.register
def _(plan: logical.SemiJoin, context: Context, inputs: list[Cost]) -> Cost:
    rows = inputs[0].rows * _KEPT
    if _is_catalog(plan):
        rows = float(_count(plan, context).num_rows)
    return Cost(rows, _CALL + inputs[0].rows * _ROW)


@estimate.register
def _(plan: logical.Score, context: Context, inputs: list[Cost]) -> Cost:
    products = inputs[0].rows * len(plan.matches) * _dimension(context)
    return Cost(inputs[0].rows, _CALL * len(plan.matches) + products * _PRODUCT)


@estimate.register
def _(plan: logical.Overlap, context: Context, inputs: list[Cost]) -> Cost:
    return Cost(float(_count(plan, context).num_rows), _CALL + inputs[0].rows * _ROW)


@estimate.register
def _(plan: logical.Shared, context: Context, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    return Cost(0, 0.0)


@estimate.register
def _(plan: logical.Settle, context: Context, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    return Cost(inputs[0].rows, _CALL)


@estimate.register
def _(plan: logical.Search, context: Context, inputs: list[Cost]) -> Cost:
    products = inputs[0].rows * _dimension(context)
    return Cost(min(plan.count, inputs[0].rows), _CALL + products * _PRODUCT)


@estimate.register
def _(plan: logical.Top, context: Context, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    return Cost(min(plan.count, inputs[0].rows), inputs[0].rows * _ROW)


@estimate.register
def _(plan: logical.Limit, context: Context, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    return Cost(min(plan.count, inputs[0].rows), 0)


@estimate.register
def _(plan: logical.Moments, context: Context, inputs: list[Cost]) -> Cost:
    products = inputs[0].rows * len(plan.steps) * _dimension(context)
    return Cost(inputs[0].rows * 0.02, _CALL * len(plan.steps) + products * _PRODUCT)


@estimate.register
def _(plan: logical.VideoAnswer, context: Context, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    videos = min(inputs[0].rows, len(context.store.catalog.videos()))
    return Cost(inputs[0].rows, videos * _ANSWER)


@estimate.register
def _(plan: logical.Classify, context: Context, inputs: list[Cost]) -> Cost:
    actions = context.actions()
    if plan.label is not None:
        actions.place(plan.label)
    if not _is_catalog(plan.source):
        rows = inputs[0].rows
        return Cost(rows, _CALL + rows * _CLIP, f"up to {rows:.0f} clips to classify")
    clips = _count(plan.source, context)
    fresh = len(clips) - int(actions.stored(clips).sum())
    note = f"{len(clips) - fresh} clips stored"
    note += f", {fresh} to classify: {fresh * _CLIP:.2f} s" if fresh else ""
    return Cost(len(clips), _CALL + len(clips) * _ROW + fresh * _CLIP, note)


@estimate.register
def _(plan: logical.Nearest, context: Context, inputs: list[Cost]) -> Cost:
    frames, others = inputs[0].rows, inputs[1].rows
    products = frames * min(others, max(20_000, others / 16)) * _dimension(context)
    return Cost(frames * plan.count, _CALL + products * _PRODUCT)


@estimate.register
def _(plan: logical.Detect, context: Context, inputs: list[Cost]) -> Cost:
    detections = context.detections()
    if plan.label is not None:
        detections.place(plan.label)
    if not _is_catalog(plan.source):
        seconds = _CALL + inputs[0].rows * _LOOK
        return Cost(inputs[0].rows, seconds, f"up to {inputs[0].rows:.0f} GOPs to look at")
    gops = _count(plan.source, context)
    fresh = gops.filter(pa.array(~detections.stored(gops, context)))
    span = pc.sum(pc.subtract(fresh.column("stop_seconds"), fresh.column("start_seconds")))
    frames = (span.as_py() or 0.0) * (context.options.fps or 1.0)
    note = f"{len(gops) - len(fresh)} GOPs stored"
    note += f", {frames:.0f} frames to look at: {frames * _LOOK:.2f} s" if len(fresh) else ""
    return Cost(len(gops), _CALL + frames * _LOOK, note)


@estimate.register
def _(plan: logical.Spot, context: Context, inputs: list[Cost]) -> Cost:
    context.detections().place(plan.label)
    rows = inputs[0].rows
    return Cost(rows, _CALL + rows * _LOOK, f"up to {rows:.0f} frames to look at")


@estimate.register
def _(plan: logical.Hold, context: Context, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    return Cost(inputs[0].rows * _KEPT, _CALL + inputs[0].rows * _ROW)


@estimate.register
def _(plan: logical.Relational, context: Context, inputs: list[Cost]) -> Cost:  # noqa: ARG001
    rows = sum(item.rows for item in inputs)
    return Cost(rows, _CALL + rows * _ROW)


def _count(plan: Plan, context: Context) -> pa.Table:
    return read_table(Build(pa.schema([]), 0).operator(plan), context)


def _is_catalog(plan: Plan) -> bool:
    return all(
        isinstance(node, (logical.Scan, logical.Filter, logical.SemiJoin, logical.Overlap))
        for node in logical.walk(plan)
    )


def _dimension(context: Context) -> int:
    return context.reading.view.dimension
