"""What a network learns from: frames of whole clips, and statements on them, true and false."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.answering.choose import statements
from engine.training.ring import Arrays, Shape
from engine.training.texts import encode, read_tokenizer
from engine.world import Clip, make_clip
from engine.world.draw import Draw
from engine.world.phrases import PHRASES, make_phrases
from engine.world.render import render_planes
from engine.world.scene import TICKS

FRAMES = 24  # of a clip at most
SETS = 8  # of statements of a clip
TOLD = 3  # of them at most are phrases about a moment, not questions
CONTEXT = 24  # tokens of a statement
FPS = 2


@dataclass(frozen=True, slots=True)
class PatchReaderRecipe:
    """Frames of training clips at `size`, and sets of statements, the true one first."""

    tokenizer: str  # JSON
    size: int

    @property
    def shapes(self) -> dict[str, Shape]:
        """The arrays of one clip."""
        return {
            "pixels": ((FRAMES, 3, self.size, self.size), np.uint8),
            "seconds": ((FRAMES,), np.float32),
            "shown": ((FRAMES,), np.bool_),
            "ids": ((SETS, PHRASES, CONTEXT), np.int16),
            "inside": ((SETS, FRAMES), np.bool_),
        }

    def render(self, seeds: range) -> Arrays:
        """Make clips up, their frames at two a second, without noise, and their statements."""
        pixels, seconds, shown, ids, inside = (
            np.zeros((len(seeds), *shape), dtype) for shape, dtype in self.shapes.values()
        )
        texts: list[str] = []
        for row, seed in enumerate(seeds):
            clip, draw = make_clip(seed, "train"), Draw("gaze", seed)
            ticks = sample_ticks(clip, draw)
            told, spans = make_sets(clip, draw)
            texts += told
            seconds[row, : len(ticks)] = (ticks - ticks[0]) / TICKS
            shown[row, : len(ticks)] = True
            for number, span in enumerate(spans):
                holds = [(ticks >= start) & (ticks < stop) for start, stop in span]
                inside[row, number, : len(ticks)] = np.any(holds, axis=0)
            quiet = replace(clip.script, noise=0)
            for column, tick in enumerate(ticks.tolist()):
                pixels[row, column] = render_planes(quiet, tick, self.size)
        ids[:] = encode(read_tokenizer(self.tokenizer), texts, CONTEXT).reshape(ids.shape)
        return pixels, seconds, shown, ids, inside


def sample_ticks(clip: Clip, draw: Draw) -> NDArray[np.int64]:
    """Two frames a second from a random start; of a long clip some, drawn at random."""
    step = TICKS // FPS
    ticks = list(range(draw.below(step), clip.script.duration, step))
    return np.sort(np.array(draw.sample(ticks, min(len(ticks), FRAMES))))


def make_sets(clip: Clip, draw: Draw) -> tuple[list[str], list[list[tuple[int, int]]]]:
    """`SETS` sets of four statements, the true one first, and when each truth holds (ticks)."""
    texts: list[str] = []
    spans: list[list[tuple[int, int]]] = []
    for question in draw.sample(clip.questions, min(len(clip.questions), SETS - 1)):
        right = question.choices[question.answer]
        wrong = [choice for choice in question.choices if choice != right]
        texts += statements(question.text, [right, *wrong])
        spans.append([(round(a * TICKS), round(b * TICKS)) for a, b in question.spans])
    asked = len(spans)
    for _ in range(20):
        tick = draw.below(clip.script.duration)
        phrases = make_phrases(clip.script.shot_at(tick), tick, draw)
        if phrases is not None and len(spans) < min(SETS, asked + TOLD):
            texts += phrases.texts
            spans.append([(phrases.start, phrases.stop)])
    if not spans:  # a clip that shows nothing: what is said of it cannot be told apart
        texts, spans = ["nothing"] * PHRASES, [[(0, clip.script.duration)]]
    known = len(spans)
    for number in range(SETS - known):  # the rest are told again
        texts += texts[PHRASES * (number % known) :][:PHRASES]
        spans.append(spans[number % known])
    return texts, spans
