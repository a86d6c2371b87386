"""How often a question is answered rightly, and asked of the right video: made-up clips."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.answering.patch_reader import shipped_patch_reader
from engine.answering.question_vector import question_vector, support
from engine.answering.shown import likeliness, shipped_curve
from engine.asking.builtin import LOOKED
from engine.errors import UsageError
from engine.evaluation.bench.answers import WAYS, Eyes, tabulate_answers
from engine.evaluation.bench.world import dense_world
from engine.evaluation.encodings import Encodings
from engine.evaluation.report import Cell, Report
from engine.vision.model import Model, load_model
from engine.world.scene import Clip, WorldQuestion
from engine.world.splits import COLOURS, SHAPES, Split

SIZES = (8, 20)  # videos of a store
_DRAWS = 40  # times that all clips are dealt out to stores
_SUBJECT = re.compile(rf"\b(?:({'|'.join(COLOURS)}) )?({'|'.join(SHAPES)}|object)(?:e?s)?\b")
Score = Callable[[str, WorldQuestion], float]


@dataclass(frozen=True, slots=True)
class Case:
    """A question that only one video of a store can be about."""

    question: WorldQuestion
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
    cases: int = 100,
) -> Report:
    """Ask clips all their questions, then stores of a few what only one of them can answer.

    Args:
        model: that a patch reader ships for.
        device: where it runs.
        clips: of the pool.
        seed: of the pool and of the stores.
        split: that the clips are of.
        fps: frames stored of each clip.
        workers: processes that render.
        cases: questions to stores that are answered by looking; right videos are counted over all.
    """
    loaded = load_model(model, device=device)
    patch_reader = shipped_patch_reader(loaded)
    if patch_reader is None:
        raise UsageError(f"no patch reader ships for {model}; allowed: builtin")
    pool, encodings = dense_world(loaded, split, clips, seed, fps=fps, workers=workers)
    eyes = Eyes(loaded, patch_reader, encodings, {clip.name: clip for clip in pool}, fps)
    answers = list(tabulate_answers(eyes, pool))
    by_question, by_all = _plain(loaded, encodings), _sought(loaded, encodings)
    rows: list[list[Cell]] = []
    for size in SIZES:
        found = list(find_cases(pool, size, seed))
        picked = found[:: max(1, len(found) // cases)][:cases]
        answered = [_ask(case, eyes, by_all) for case in picked]
        shares = (share_right(found, by_question), share_right(found, by_all))
        looked: list[Cell] = [float(np.mean(part)) for part in zip(*answered, strict=True)]
        rows.append([size, len(found), 1 / size, *shares, len(picked), *(looked or [None] * 3)])
    stores = Report(
        title="questions to several videos",
        columns=(
            "videos", "questions", "chance", "right video by the question alone", "as asked",
            "of them asked", "right video after looking", "answer", "by the head",
        ),
        rows=rows,
        notes=(
            "questions whose object only one video of the store shows, with four choices; as "
            f"asked: question, choices and statements together; {LOOKED} videos are looked at",
        ),
    )  # fmt: skip
    return Report(
        title=f"answers about one video, {loaded.space.key}, {clips} {split} clips",
        columns=("kind", "questions", *WAYS),
        rows=answers,
        notes=(
            f"{fps:g} frames/s, seed {seed}, four choices each, rendered frames before coding; "
            "in %; Acc@GQA, mIoP and mIoU: of questions with spans, as NExT-GQA counts them",
        ),
        data={"seed": seed},
        more=(stores,),
    )


def _ask(case: Case, eyes: Eyes, score: Score) -> tuple[bool, bool, bool]:
    """As `ask` goes: whether the video is right, the answer, and the answer without looking."""
    order = sorted(case.store, key=lambda video: -score(video, case.question))
    answers = [(eyes.answer(video, case.question, "looking", 1), video) for video in order[:LOOKED]]
    curve = shipped_curve(eyes.model.space)
    fits = {video: score(video, case.question) for video in order[:LOOKED]}
    best, video = max(answers, key=lambda pair: likeliness(curve, pair[0], fits[pair[1]]))
    blind = eyes.answer(order[0], case.question, "trained head")
    right = case.question.answer
    return video == case.video, best.choice == right, blind.choice == right


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

    def score(video: str, question: WorldQuestion) -> float:
        if question.text not in known:
            known[question.text] = model.embed_texts([question.text])[0]
        return float((encodings.videos[video].frames @ known[question.text]).max())

    return score


def _sought(model: Model, encodings: Encodings) -> Score:
    """What `ask` looks for."""
    known: dict[tuple[str, tuple[str, ...]], NDArray[np.float32]] = {}

    def score(video: str, question: WorldQuestion) -> float:
        key = question.text, question.choices
        if key not in known:
            known[key] = question_vector(*key, model.embed_texts)
        return support(encodings.videos[video].frames, known[key])

    return score
