"""The shipped model does what its card says, so broken preprocessing or tokens are seen."""

import numpy as np
import pytest
import torch

from engine.answering.choose import statements
from engine.answering.patch_reader import shipped_patch_reader
from engine.evaluation.encodings import render_clip
from engine.vision.backbone.locate import BUILTIN
from engine.vision.earlygate.build import build_earlygate
from engine.vision.model import load_model
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.strategy import Chunk
from engine.world import make_pool, render_at

R_AT_1 = 0.976  # MODEL_CARD.md, among 1,000 clips
ANSWERS = 0.751  # of multiple choice, by looking, on the same clips
CLIPS, FRAMES, ASKED = 20, 3, 5


@pytest.mark.slow
def test_looking_again_answers_rightly() -> None:
    model = load_model("builtin", device="cpu")
    patch_reader = shipped_patch_reader(model)
    assert patch_reader is not None
    right = []
    for clip in make_pool("test", ASKED, 7):
        seen = render_clip(clip)
        tokens = patch_reader.see(seen.pixels)
        for question in clip.questions:
            told = statements(question.text, question.choices)
            chosen = patch_reader.judge(tokens, seen.seconds, told)
            right.append(chosen.choice == question.answer)
    assert np.mean(right) >= 0.9 * ANSWERS


@pytest.mark.slow
def test_the_right_clip_comes_first() -> None:
    model = load_model("builtin", device="cpu")
    pool = list(make_pool("test", CLIPS, 7))
    videos = []
    for clip in pool:
        times = (np.arange(FRAMES) + 0.5) * clip.duration_seconds / FRAMES
        videos.append(model.embed_images([render_at(clip, time) for time in times]).mean(0))
    found = np.stack(videos) / np.linalg.norm(videos, axis=1, keepdims=True)
    similar = model.embed_texts([clip.caption for clip in pool]) @ found.T
    assert (similar.argmax(1) == np.arange(CLIPS)).mean() >= 0.9 * R_AT_1


def test_the_shipped_gate_belongs_to_the_shipped_weights() -> None:
    model = load_model("builtin", device="cpu")
    gate = build_earlygate(model.tower, model.space, None, {})
    clip = next(make_pool("val", 1, 5))
    pixels = render_clip(clip).pixels[:9]
    [gated], [dense] = (
        strategy.encode([Chunk(pixels, last=True)]) for strategy in (gate, Dense(model.tower))
    )
    drift = 1 - torch.cosine_similarity(gated.embeddings, dense.embeddings)
    assert gate.limits.gates == (1,)
    assert gate.bridge.limit > 0
    assert 0 < float(drift.mean()) < 0.05
    assert float(gated.macs.mean()) < 0.7 * float(dense.macs.mean())


def test_all_of_it_fits_the_package() -> None:
    assert (BUILTIN / "model.safetensors").stat().st_size <= 16_000_000
    card = (BUILTIN / "MODEL_CARD.md").read_text()
    assert f"{100 * R_AT_1:.1f} %" in card
    assert f"{100 * ANSWERS:.1f} %" in card
