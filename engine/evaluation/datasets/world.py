"""The made-up world as a dataset: captions of whole clips, questions with their spans."""

from collections.abc import Iterable

from engine.evaluation.datasets.base import Captioned, Dataset, Question
from engine.world.scene import Clip


def world_dataset(clips: Iterable[Clip]) -> Dataset:
    """Take a pool of clips as an annotated set."""
    pool = tuple(clips)
    return Dataset(
        name="world",
        captions=tuple(Captioned(clip.name, clip.name, clip.caption) for clip in pool),
        questions=tuple(
            Question(
                key=f"{clip.name}_{number}",
                video=clip.name,
                text=asked.text,
                choices=asked.choices,
                answer=asked.answer,
                kind=asked.kind,
                spans=asked.spans,
            )
            for clip in pool
            for number, asked in enumerate(clip.questions)
        ),
    )
