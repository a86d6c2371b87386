"""How often a question is asked of the right video of several: made-up clips, truth known."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.answering.seek import seek, support
from engine.evaluation.bench.world import dense_world
from engine.evaluation.encodings import Encodings
from engine.evaluation.report import Report
from engine.vision.model import Model, load_model
from engine.world.scene import Clip, Question
from engine.world.splits import COLOURS, SHAPES, Split

SIZES = (8, 20)  # videos of a store
_DRAWS = 40  # times that all clips are dealt out to stores
_SUBJECT = re.compile(rf"\b(?:({'|'.join(COLOURS)}) )?({'|'.join(SHAPES)}|object)(?:e?s)?\b")
Score = Callable[[str, Question], float]


@dataclass(frozen=True, slots=True)
class Case:
    """A question that only one video of a store can be about."""

    question: Question
    video: str
    store: tuple[str, ...]


def run(
    *,
    model: str = "builtin",
    device: str = "auto",
    clips: int = 60,
    seed: int = 23,
    split: Split = "test",
    fps: float = 2.0,
    workers: int = 2,
) -> Report:
    """Ask stores of a few clips what only one of them can answer; one row per size of a store."""
    loaded = load_model(model, device=device)
    pool, encodings = dense_world(loaded, split, clips, seed, fps=fps, workers=workers)
    by_question, by_all = _plain(loaded, encodings), _sought(loaded, encodings)
    rows = []
    for size in SIZES:
        cases = list(find_cases(pool, size, seed))
        shares = [share_right(cases, by_question), share_right(cases, by_all)]
        rows.append((size, len(cases), 1 / size, *shares))
    return Report(
        title=f"the right video for a question, {loaded.space.key}, {clips} {split} clips",
        columns=("videos", "questions", "chance", "by the question alone", "as asked"),
        rows=rows,
        notes=(
            f"{fps:g} frames/s, seed {seed}; questions whose object only one video of the store "
            "shows, with four choices; as asked: question, choices and statements together",
        ),
        data={"seed": seed},
    )


def find_cases(pool: Sequence[Clip], size: int, seed: int) -> Iterator[Case]:
    """Yield the questions of random stores that name what a single video of the store shows."""
    random = np.random.default_rng(seed)
    for _ in range(_DRAWS):
        order = random.permutation(len(pool))
        for start in range(0, len(order) - size + 1, size):
            store = [pool[place] for place in order[start : start + size]]
            names = tuple(clip.name for clip in store)
            for clip in store:
                for question in clip.questions:
                    shown = [other.name for other in store if shows(other, question.text)]
                    if shown == [clip.name]:
                        yield Case(question, clip.name, names)


def shows(clip: Clip, text: str) -> bool:
    """Whether a clip shows the first object that a text names; True if it names none."""
    named = _SUBJECT.search(text.lower())
    if named is None:
        return True
    colour, shape = named.groups()
    return any(
        shape in (thing.shape, "object") and colour in (None, *(name for _, name in thing.colours))
        for shot in clip.script.shots
        for thing in shot.things
    )


def share_right(cases: Sequence[Case], score: Score) -> float | None:
    """How often the video with the highest score is the one that the question is about."""
    right = []
    for case in cases:
        scores = [score(video, case.question) for video in case.store]
        right.append(case.store[int(np.argmax(scores))] == case.video)
    return float(np.mean(right)) if right else None


def _plain(model: Model, encodings: Encodings) -> Score:
    """The best frame for the question's own text."""
    known: dict[str, NDArray[np.float32]] = {}

    def score(video: str, question: Question) -> float:
        if question.text not in known:
            known[question.text] = model.embed_texts([question.text])[0]
        return float((encodings.videos[video].frames @ known[question.text]).max())

    return score


def _sought(model: Model, encodings: Encodings) -> Score:
    """What `ask` looks for."""
    known: dict[tuple[str, tuple[str, ...]], NDArray[np.float32]] = {}

    def score(video: str, question: Question) -> float:
        key = question.text, question.choices
        if key not in known:
            known[key] = seek(*key, model.embed_texts)
        return support(encodings.videos[video].frames, known[key])

    return score
