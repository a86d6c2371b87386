"""How2QA: four choices on a span of an instructional video; How2R: a text and its moment."""

import random
from pathlib import Path

from engine.evaluation.datasets.base import Dataset, Question, parse_span, read_bare_rows


def load_how2qa(path: Path, *, seed: int = 0) -> Dataset:
    """Read a How2QA release file: id, [start:stop], three wrong answers, question, right answer.

    The file always has the right answer last, so the choices are shuffled, each row by `seed` and
    its number: a scorer that breaks ties towards a fixed place gains nothing.
    """
    questions = []
    for number, (line, row) in enumerate(read_bare_rows(path, 7)):
        video, span, *wrong, text, right = row
        order = [0, 1, 2, 3]
        random.Random(f"{seed}-{number}").shuffle(order)
        listed = [*wrong, right]
        questions.append(
            Question(
                key=f"{video}_{number}",
                video=video,
                text=text,
                choices=tuple(listed[place] for place in order),
                answer=order.index(3),
                clip=parse_span(span, f"{path}:{line}"),
            )
        )
    return Dataset("how2qa", questions=tuple(questions))
