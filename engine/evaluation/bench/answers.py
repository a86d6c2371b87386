"""Answers on made-up clips: by similarity, by the trained head, by looking at frames again."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from torch import Tensor

from engine.answering.answer import Answered, Asked, answer_all
from engine.answering.head import shipped_reader
from engine.answering.patch_reader import PatchReader
from engine.answering.reread import STRETCHES, Places, answer_from_frames
from engine.evaluation.encodings import Encodings, render_clip
from engine.evaluation.metrics import grounding
from engine.evaluation.report import Cell
from engine.vision.model import Model
from engine.world.scene import Clip, WorldQuestion

WAYS = ("similarity", "trained head", "looking")


@dataclass(slots=True)
class Eyes:
    """Answers on a pool's clips, each way; what was seen of a clip is kept."""

    model: Model
    patch_reader: PatchReader
    encodings: Encodings
    clips: dict[str, Clip]
    fps: float
    seen: dict[str, Tensor] = field(default_factory=dict)

    def answer(
        self, video: str, question: WorldQuestion, way: str, most: int = STRETCHES
    ) -> Answered:
        """Answer one question on one video."""
        known, embed = self.encodings.videos[video], self.model.embed_texts
        asked = Asked(
            question.text, question.choices, known.seconds, known.frames, known.duration_seconds
        )
        if way == "looking":
            return answer_from_frames(
                asked, partial(self._see, video), self.patch_reader, embed, most
            )
        reader = None if way == "similarity" else shipped_reader(self.model)
        return answer_all([asked], embed, reader=reader)[0]

    def _see(self, video: str, places: Places) -> Tensor:
        if video not in self.seen:
            size = self.model.tower.config.image_size
            pixels = render_clip(self.clips[video], self.fps, size).pixels
            self.seen[video] = self.patch_reader.see(pixels).half().cpu()
        return self.seen[video][places].to(self.model.device).float()


def tabulate_answers(eyes: Eyes, pool: Sequence[Clip]) -> Iterator[list[Cell]]:
    """A row per kind of question: how many there are, and the share answered rightly, each way.

    Then all of them, and how well they are grounded as NExT-GQA counts it.
    """
    asked = [(clip.name, question) for clip in pool for question in clip.questions]
    told = [[eyes.answer(*each, way) for each in asked] for way in WAYS]
    kinds: dict[str, list[int]] = defaultdict(list)
    for place, (_, question) in enumerate(asked):
        kinds[question.kind].append(place)
    right = [[a.choice == q.answer for a, (_, q) in zip(way, asked, strict=True)] for way in told]
    for kind, places in [*sorted(kinds.items()), ("all", list(range(len(asked))))]:
        shares = (float(np.mean([way[place] for place in places])) for way in right)
        yield [kind, len(places), *(round(100 * share, 1) for share in shares)]
    truth = {str(place): question for place, (_, question) in enumerate(asked)}
    found = [
        grounding(
            answers={key: question.answer for key, question in truth.items()},
            predicted={key: a.choice for key, a in zip(truth, way, strict=True)},
            truth={key: question.spans for key, question in truth.items()},
            spans={
                key: (a.evidence.start_seconds, a.evidence.stop_seconds)
                for key, a in zip(truth, way, strict=True)
            },
        )
        for way in told
    ]
    yield ["Acc@GQA", len(asked), *(round(each.acc_gqa, 1) for each in found)]
    yield ["mIoP", len(asked), *(round(each.mean_iop, 1) for each in found)]
    yield ["mIoU", len(asked), *(round(each.mean_iou, 1) for each in found)]
