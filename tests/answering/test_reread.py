"""Where is looked, and whose answer counts."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.answering.answer import Asked
from engine.answering.choose import Chosen
from engine.answering.reread import FRAMES, STRETCHES, answer_from_frames, cut

EMBED = np.eye(4, dtype=np.float32)


def embed(texts: list[str]) -> NDArray[np.float32]:
    """All texts mean the same."""
    return np.repeat(EMBED[:1], len(texts), axis=0)


@dataclass
class Teller:
    """Judges as a patch reader would, from frames that are their own numbers: later is surer."""

    seen: list[list[int]] = field(default_factory=list)

    def see(self, places: NDArray[np.intp]) -> Tensor:
        self.seen.append(places.tolist())
        return torch.from_numpy(places)

    def judge(self, tokens: Tensor, seconds: NDArray[np.float64], texts: list[str]) -> Chosen:
        curve = np.zeros((len(texts), len(seconds)))
        curve[:, 4:6] = 1
        first = int(tokens[0])
        return Chosen(first % 2, (0.4, 0.6), curve, strength=float(first))


def asked(seconds: NDArray[np.float64], end: float | None = None) -> Asked:
    """A question on frames of which those from 100 s on are what is sought."""
    frames = np.where(seconds[:, None] >= 100, EMBED[:1], EMBED[1:2]).astype(np.float32)
    return Asked("what?", ["a", "b"], seconds, frames, end)


def test_what_is_looked_at_lies_half_a_second_apart_and_covers_the_video() -> None:
    for fps, count in ((2, 40), (10, 400), (1, 70), (23.976, 333), (2, 1)):
        seconds = 3 + np.arange(count) / fps
        stretches = cut(seconds)
        places = np.concatenate(stretches)
        assert (np.diff(places) > 0).all()
        assert max(map(len, stretches)) <= FRAMES
        assert max(map(len, stretches)) - min(map(len, stretches)) <= 1
        assert np.diff(seconds[places]).max(initial=0) < 2 * max(0.5, 1 / fps)
        slots = np.floor((seconds[places] - seconds[0]) * 2 + 1e-6)
        assert len(set(slots)) == len(slots)


def test_a_short_video_is_looked_at_whole() -> None:
    teller = Teller()
    found = answer_from_frames(asked(np.arange(20) / 2, 10.0), teller.see, teller, embed)  # type: ignore[arg-type]
    assert teller.seen == [list(range(20))]
    assert found.how == "looked at 20 frames"
    assert (found.text, found.choice) == ("a", 0)
    assert (found.evidence.start_seconds, found.evidence.stop_seconds) == (2.0, 3.0)


def test_of_a_long_video_the_likeliest_stretches_are_seen_and_the_surest_answers() -> None:
    teller, seconds = Teller(), np.arange(600) / 2
    found = answer_from_frames(asked(seconds), teller.see, teller, embed, most=2)  # type: ignore[arg-type]
    assert len(teller.seen) == 2
    assert min(seconds[places[-1]] for places in teller.seen) >= 100
    surest = max(teller.seen)
    assert found.choice == surest[0] % 2
    assert found.evidence.start_seconds == seconds[surest[4]]
    assert (
        len(answer_from_frames(asked(seconds), teller.see, teller, embed).relevance) <= 3 * FRAMES
    )  # type: ignore[arg-type]
    assert len(teller.seen) == 2 + STRETCHES


def test_evidence_goes_on_in_the_next_stretch() -> None:
    class Steady(Teller):
        def judge(self, tokens: Tensor, seconds: NDArray[np.float64], texts: list[str]) -> Chosen:
            chosen = super().judge(tokens, seconds, texts)
            shown = (seconds >= 10) & (seconds < 30)
            return Chosen(1, chosen.probabilities, np.tile(0.9 * shown, (2, 1)), chosen.strength)

    steady = Steady()
    found = answer_from_frames(asked(np.arange(80) / 2), steady.see, steady, embed)  # type: ignore[arg-type]
    assert len(steady.seen) == 3
    assert (found.evidence.start_seconds, found.evidence.stop_seconds) == (10, 30)


def test_evidence_at_the_end_of_a_stretch_ends_with_its_last_frame() -> None:
    class Late(Teller):
        def judge(self, tokens: Tensor, seconds: NDArray[np.float64], texts: list[str]) -> Chosen:
            chosen = super().judge(tokens, seconds, texts)
            curve = np.zeros_like(chosen.relevance)
            curve[:, -3:] = 1
            return Chosen(chosen.choice, chosen.probabilities, curve, -chosen.strength)

    late = Late()
    seconds = np.arange(2 * FRAMES) / 2
    found = answer_from_frames(asked(seconds, 99.0), late.see, late, embed)  # type: ignore[arg-type]
    assert found.evidence.stop_seconds == pytest.approx(FRAMES / 2)  # the first stretch is surer
    assert found.how == f"looked at {2 * FRAMES} frames"
    alone = answer_from_frames(asked(seconds, 99.0), late.see, late, embed, most=1)  # type: ignore[arg-type]
    assert alone.evidence.stop_seconds == pytest.approx(FRAMES / 2)
    assert alone.how == f"looked at {FRAMES} frames"
    whole = answer_from_frames(asked(seconds[:9], 4.7), late.see, late, embed)  # type: ignore[arg-type]
    assert whole.evidence.stop_seconds == 4.7
