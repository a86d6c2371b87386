"""Questions to made-up clips, one alone and stores of several, that show what is asked or not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.answering.patch_reader import PatchReader
from engine.answering.question_vector import question_vector, support
from engine.answering.shown import ShownReading
from engine.asking.builtin import LOOKED
from engine.evaluation.bench.answers import Eyes
from engine.evaluation.bench.asking import shows
from engine.evaluation.bench.world import dense_world
from engine.vision.model import Model
from engine.world.scene import Clip, WorldQuestion
from engine.world.splits import Split

STORE = 8  # videos
_FPS = 2.0


@dataclass(frozen=True, slots=True)
class LookedVideo:
    """A video that was looked at for a question."""

    name: str
    reading: ShownReading
    probabilities: tuple[float, ...]
    shows: bool  # what is asked for


@dataclass(frozen=True, slots=True)
class ShownAsk:
    """A question to some videos, of which the likeliest were looked at."""

    clip: str  # that the question is of
    kind: str
    videos: int
    shown: bool  # whether any of them shows it
    only: bool  # whether the question's own clip alone does
    answer: int
    looked: tuple[LookedVideo, ...]


@dataclass(slots=True)
class AskedPool:
    """Clips, what was seen of them, and what each was read to say."""

    eyes: Eyes
    pool: Sequence[Clip]
    _known: dict[tuple[str, str, tuple[str, ...]], LookedVideo] = field(default_factory=dict)

    def asks(self, seed: int, of_each: int) -> Iterator[ShownAsk]:
        """Ask so many questions of each clip: of it and its store, of what does not show the like.

        About as many askings have an answer as have none.
        """
        random = np.random.default_rng(seed)
        stores = [self.pool[at : at + STORE] for at in range(0, len(self.pool), STORE)]
        stores = [store for store in stores if len(store) == STORE]
        for number, store in enumerate(stores):
            others = [*stores[number + 1 :], *stores[:number]]
            for clip in store:
                asked = random.permutation(len(clip.questions))[:of_each]
                for question in (clip.questions[at] for at in asked):
                    lacking = [
                        other
                        for other in others
                        if not any(shows(each, question.text) for each in other)
                    ]
                    strange = [o for s in others for o in s if not shows(o, question.text)]
                    if strange:
                        yield self._ask(clip, question, [clip])
                        yield self._ask(clip, question, [strange[random.integers(len(strange))]])
                    if lacking:
                        yield self._ask(clip, question, lacking[0])
                    if lacking or [each for each in store if shows(each, question.text)] == [clip]:
                        yield self._ask(clip, question, store)

    def _ask(self, own: Clip, question: WorldQuestion, clips: Sequence[Clip]) -> ShownAsk:
        """Look at the likeliest videos, as `ask` does."""
        sought = question_vector(question.text, question.choices, self.eyes.model.embed_texts)
        videos = self.eyes.encodings.videos
        supports = {clip.name: support(videos[clip.name].frames, sought) for clip in clips}
        order = sorted(clips, key=lambda clip: -supports[clip.name])[:LOOKED]
        showing = [clip.name for clip in clips if shows(clip, question.text)]
        return ShownAsk(
            own.name,
            question.kind,
            len(clips),
            bool(showing),
            showing == [own.name],
            question.answer,
            tuple(self._look(clip, question, supports[clip.name]) for clip in order),
        )

    def _look(self, clip: Clip, question: WorldQuestion, fits: float) -> LookedVideo:
        key = clip.name, question.text, question.choices
        if key not in self._known:
            told = self.eyes.answer(clip.name, question, "looking", 1)
            reading = ShownReading.of(told, fits)
            shown = shows(clip, question.text)
            self._known[key] = LookedVideo(clip.name, reading, told.probabilities, shown)
        return self._known[key]


def read_asks(
    model: Model,
    patch_reader: PatchReader,
    split: Split,
    clips: int,
    seed: int,
    *,
    of_each: int,
    workers: int,
) -> list[ShownAsk]:
    """Make clips up, encode them and ask."""
    pool, encodings = dense_world(model, split, clips, seed, fps=_FPS, workers=workers)
    eyes = Eyes(model, patch_reader, encodings, {clip.name: clip for clip in pool}, _FPS)
    return list(AskedPool(eyes, pool).asks(seed, of_each))
