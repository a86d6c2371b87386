"""How alike frames are to a text or an image: cosine, or the chance that it is no accident."""

import io
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from engine.errors import UsageError
from engine.search.context import SearchContext
from engine.search.null import load_null, probability, quantile
from engine.storage.view import Places

Vector = NDArray[np.float32]
Scores = NDArray[np.float64]

_DOUBT = 1e-5  # of a cosine: far more than rounding changes
_LEAST = 1e-12  # probabilities closer to 0 or 1 are not told from them


@dataclass(frozen=True, slots=True)
class Match:
    """A score of each frame against a text or an image, kept in the column `name`."""

    name: str
    subject: str | bytes
    measure: Literal["similarity", "probability"] = "similarity"

    def __str__(self) -> str:
        subject = (
            f"image {sha256(self.subject).hexdigest()[:8]}"
            if isinstance(self.subject, bytes)
            else repr(self.subject)
        )
        return subject if self.measure == "similarity" else f"probability of {subject}"


@dataclass(frozen=True, slots=True)
class ScoreRange:
    """The values, both ends included, outside of which a score is of no use."""

    low: float = -inf
    high: float = inf

    def and_in(self, other: "ScoreRange") -> "ScoreRange":
        """What lies in both."""
        return ScoreRange(max(self.low, other.low), min(self.high, other.high))

    def or_in(self, other: "ScoreRange") -> "ScoreRange":
        """The least range in which both lie."""
        return ScoreRange(min(self.low, other.low), max(self.high, other.high))

    def __str__(self) -> str:
        if self.low == -inf:
            return f"<= {self.high:g}"
        return f">= {self.low:g}" + ("" if self.high == inf else f" and <= {self.high:g}")


@dataclass(frozen=True, slots=True)
class Line:
    """What a match measures before it becomes a probability: `scale * cosine + offset`."""

    vector: Vector  # unit
    scale: float
    offset: float


def subject_vector(context: SearchContext, subject: str | bytes | Vector) -> Vector:
    """The unit vector of a text or of an image's bytes, embedded once per query; or a given one."""
    if isinstance(subject, np.ndarray):
        return subject
    if subject not in context.vectors:
        if isinstance(subject, bytes):
            vector = context.encoder.embed_images([_decode_image(subject)])[0]
        else:
            vector = context.encoder.embed_texts([subject])[0]
        context.vectors[subject] = vector
    return context.vectors[subject]


def line_of(context: SearchContext, match: Match) -> Line:
    """The line along which a match measures: its subject's, for a probability less any text's."""
    vector = subject_vector(context, match.subject)
    if match.measure == "similarity":
        return Line(vector, 1.0, 0.0)
    null = load_null(context)
    shifted = vector - null.mean_text
    scale = float(np.linalg.norm(shifted))
    return Line(shifted / scale, scale, -float(null.mean_frame @ shifted))


def cosines(context: SearchContext, vector: Vector, ids: NDArray[np.int64]) -> Scores:
    """The cosine of each row's vector with a vector, in the order of the ids; NaN where absent.

    Absent is a row that the statement's moment does not have.
    """
    places = context.reading.view.frames.find(ids)
    wanted, back = np.unique(places, return_inverse=True)
    known = wanted[wanted >= 0]
    found = context.reading.rows.scores(vector, known).astype(np.float64)
    return np.concatenate([np.full(len(wanted) - len(known), np.nan), found])[back]


def place_scores(context: SearchContext, match: Match, places: Places | None) -> Scores:
    """The scores of the rows at places (rising), or of all, as a match measures them."""
    line = line_of(context, match)
    return measured(context, match, context.reading.rows.scores(line.vector, places))


def score_rows(context: SearchContext, match: Match, ids: NDArray[np.int64]) -> Scores:
    """The scores of rows as a match measures them; NaN for a row that is absent."""
    if len(ids) == 0:
        return np.empty(0)
    return measured(context, match, cosines(context, line_of(context, match).vector, ids))


def places_within(
    context: SearchContext, match: Match, kept: ScoreRange, places: Places | None
) -> tuple[Places, Scores]:
    """The rows (of those at places) that score within a range, by rising place, with their scores.

    Rows that rounding leaves in doubt are among them.
    """
    low, high = kept.low, kept.high
    if match.measure == "probability":  # so far out there is no cosine that tells them apart
        low, high = -inf if low <= _LEAST else low, inf if high >= 1 - _LEAST else high
    least = -inf if low == -inf else cosine_at(context, match, low) - _DOUBT
    most = inf if high == inf else cosine_at(context, match, high) + _DOUBT
    line = line_of(context, match)
    found, along = context.reading.rows.within(line.vector, least, most, places)
    return found, measured(context, match, along)


def measured(context: SearchContext, match: Match, found: NDArray[np.floating]) -> Scores:
    """The cosines with a match's line as what the match measures."""
    line = line_of(context, match)
    scores = found.astype(np.float64) * line.scale + line.offset
    if match.measure == "similarity":
        return scores
    return probability(load_null(context), scores)


def cosine_at(context: SearchContext, match: Match, value: float) -> float:
    """The cosine with the match's line at which it measures a value."""
    line = line_of(context, match)
    if match.measure == "probability":
        value = quantile(load_null(context), min(max(value, _LEAST), 1 - _LEAST))
    return (value - line.offset) / line.scale


def _decode_image(data: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise UsageError(f"cannot read the image of {len(data)} bytes") from error
