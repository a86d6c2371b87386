"""Training clips for both towers: frames, texts, what answers them, what patches show."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from torch import Tensor

from engine.training.ring import Arrays, Shape
from engine.training.texts import encode, read_tokenizer
from engine.world import Clip, make_clip
from engine.world.captions import tell_moment
from engine.world.draw import Draw
from engine.world.labels import KINDS, label_patches
from engine.world.phrases import PHRASES, make_phrases
from engine.world.render import render_planes
from engine.world.scene import TICKS

SPREAD = 3  # frames spread over the clip, one in each third
SETS = 2  # questions or phrases a clip, each with a frame of its own from a span that answers it
FRAMES = SPREAD + SETS
PATCH = 16
TEXTS = 1 + FRAMES + SETS * PHRASES  # the caption, one for each frame, and the sets, truth first


@dataclass(frozen=True, slots=True)
class WorldBatch:
    """The clips of one step."""

    pixels: Tensor  # uint8 [B, FRAMES, 3, S, S]
    ids: Tensor  # int16 [B, TEXTS, context]
    inside: Tensor  # bool [B, SETS, FRAMES], whether a frame lies in a span that answers the set
    labels: Tensor  # uint8 [B, FRAMES, KINDS, patches], what each patch shows; 0 is the backdrop


def make_texts(seed: int, clip: Clip) -> tuple[list[int], list[str], npt.NDArray[np.bool_]]:
    """Ticks of a clip's frames, its texts, and which frames answer which set."""
    draw, script = Draw("sample", seed), clip.script
    third = script.duration // SPREAD
    ticks = [part * third + draw.below(third) for part in range(SPREAD)]
    sets: list[str] = []
    spans: list[list[tuple[int, int]]] = []
    questions = draw.sample(clip.questions, len(clip.questions))
    while len(spans) < SETS:
        tick = draw.below(script.duration)
        phrases = make_phrases(script.shot_at(tick), tick, draw)
        if questions and (phrases is None or draw.chance(65)):
            question = questions.pop()
            right = question.choices[question.answer]
            wrong = [choice for choice in question.choices if choice != right]
            sets += [f"{question.text} {choice}" for choice in (right, *wrong)]
            spans.append([(round(a * TICKS), round(b * TICKS)) for a, b in question.spans])
            start, stop = draw.choice(spans[-1])
            ticks.append(start + draw.below(max(stop - start, 1)))
        elif phrases is not None:
            sets += phrases.texts
            spans.append([(phrases.start, phrases.stop)])
            ticks.append(tick)
    inside = np.array([[any(a <= t < b for a, b in times) for t in ticks] for times in spans])
    moments = [
        tell_moment(script.shot_at(tick), tick, draw if draw.chance(50) else None) for tick in ticks
    ]
    return ticks, [clip.caption, *moments, *sets], inside


@dataclass(frozen=True, slots=True)
class WorldRecipe:
    """Frames at `size`, without noise, and texts as ids of a tokenizer, given as JSON."""

    tokenizer: str
    size: int
    context: int

    @property
    def shapes(self) -> dict[str, Shape]:
        """The fields of `WorldBatch`, for one clip."""
        return {
            "pixels": ((FRAMES, 3, self.size, self.size), np.uint8),
            "ids": ((TEXTS, self.context), np.int16),
            "inside": ((SETS, FRAMES), np.bool_),
            "labels": ((FRAMES, len(KINDS), (self.size // PATCH) ** 2), np.uint8),
        }

    def render(self, seeds: range) -> Arrays:
        """Make training clips up, and their frames at the ticks of `make_texts`."""
        pixels, ids, marks, labels = (
            np.empty((len(seeds), *shape), dtype) for shape, dtype in self.shapes.values()
        )
        texts: list[str] = []
        for row, seed in enumerate(seeds):
            clip = make_clip(seed, "train")
            ticks, told, marks[row] = make_texts(seed, clip)
            texts += told
            quiet = replace(clip.script, noise=0)
            for column, tick in enumerate(ticks):
                pixels[row, column] = render_planes(quiet, tick, self.size)
                labels[row, column] = label_patches(clip.script, tick, self.size // PATCH)
        ids[:] = encode(read_tokenizer(self.tokenizer), texts, self.context).reshape(ids.shape)
        return pixels, ids, marks, labels
