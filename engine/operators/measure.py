"""How alike frames are to a text or an image: cosine, or the chance that it is no accident."""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from engine.errors import UsageError
from engine.operators.base import Context
from engine.operators.null import Null, load_null, probability

Vector = NDArray[np.float32]
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Match:
    """A column of scores against a subject."""

    name: str
    subject: str | bytes
    measure: Literal["similarity", "probability"] = "similarity"


def subject_vector(context: Context, subject: str | bytes) -> Vector:
    """The unit vector of a text or of an image's bytes, embedded once per query."""
    if subject not in context.vectors:
        if isinstance(subject, bytes):
            vector = context.encoder.embed_images([_decode_image(subject)])[0]
        else:
            vector = context.encoder.embed_texts([subject])[0]
        context.vectors[subject] = vector
    return context.vectors[subject]


def cosines(context: Context, vector: Vector, ids: NDArray[np.int64]) -> Scores:
    """The exact cosine of each row with a vector, in the order of the ids."""
    hits = context.store.scores(context.space, vector, ids)
    order = np.argsort(hits.row_ids)
    found = np.searchsorted(hits.row_ids[order], ids)
    return hits.scores[order][found].astype(np.float64)


def score_rows(context: Context, match: Match, ids: NDArray[np.int64]) -> Scores:
    """The scores of rows as a match measures them."""
    if len(ids) == 0:
        return np.empty(0)
    vector = subject_vector(context, match.subject)
    scores = cosines(context, vector, ids)
    if match.measure == "similarity":
        return scores
    null = load_null(context)
    return probability(null, centred(context, null, vector, scores, ids))


def centred(
    context: Context, null: Null, vector: Vector, scores: Scores, ids: NDArray[np.int64]
) -> Scores:
    """Cosines less what the row scores with any text and the vector with any frame."""
    length = float(np.linalg.norm(null.mean_text))
    bias = cosines(context, null.mean_text / length, ids) * length
    return scores - bias - float(null.mean_frame @ (vector - null.mean_text))


def _decode_image(data: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise UsageError(f"cannot read the image of {len(data)} bytes") from error
