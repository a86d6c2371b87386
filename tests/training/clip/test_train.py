"""Training the built-in model: texts, losses, a step, and files that transformers can read."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoTokenizer, CLIPModel

from engine.training.augment import augment
from engine.training.clip.data import FRAMES, SETS, TEXTS, WorldRecipe, make_texts
from engine.training.clip.export import save_clip
from engine.training.clip.loss import choice_loss, choice_scores, patch_loss, time_loss
from engine.training.clip.towers import Towers, embed_frames, embed_ids, make_towers
from engine.training.clip.train import ClipTraining, train
from engine.training.schedule import warm_cosine
from engine.training.texts import END, START, encode, token_id
from engine.vision.model import load_model
from engine.world import make_clip


def small_towers() -> Towers:
    return make_towers(None, torch.device("cpu"), layers=2, text_layers=1)


@pytest.fixture(scope="module")
def towers() -> Towers:
    return small_towers()


def test_the_saved_model_is_a_clip(towers: Towers, tmp_path: Path) -> None:
    save_clip(tmp_path, towers.vision, towers.text, towers.tokenizer, math.log(20))
    theirs, tokenizer = CLIPModel.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    theirs = theirs.float().eval()
    ours = load_model(str(tmp_path), device="cpu")
    texts = ["a red star moving left", "What colour is the ring? blue", "naïve 😀 text"]
    ids = tokenizer(texts, padding=True, return_tensors="pt")
    values = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        told = theirs.get_text_features(**ids).pooler_output
        seen = theirs.get_image_features(pixel_values=values).pooler_output
        assert torch.allclose(ours.tower(values), seen, atol=2e-4)
    assert np.allclose(ours.embed_texts(texts), F.normalize(told, dim=-1).numpy(), atol=1e-4)
    assert ours.logit_scale == pytest.approx(20, rel=1e-3)


def test_texts_keep_their_ends(towers: Towers) -> None:
    start, end = (token_id(towers.tokenizer, name) for name in (START, END))
    ids = encode(towers.tokenizer, ["a ring", "a ring " * 100], 12)
    assert (ids[:, 0] == start).all()
    assert (ids == end).any(1).all()
    assert ids[1, -1] == end


def test_training_and_inference_embed_alike(towers: Towers) -> None:
    values = torch.randn(2, 3, 224, 224)
    ids = torch.from_numpy(encode(towers.tokenizer, ["a red star", "two rings"], 16)).long()
    with torch.no_grad():
        seen = embed_frames(towers.vision, values, 196)
        assert torch.allclose(
            seen.embeddings, F.normalize(towers.vision(values), dim=-1), atol=1e-5
        )
        told = F.normalize(towers.text(ids), dim=-1)
        assert torch.allclose(embed_ids(towers.text, ids), told, atol=1e-5)
        some = embed_frames(towers.vision, values, 98)
    assert some.patches.shape == (2, 98, 192)
    assert all(len(set(row)) == 98 for row in some.places.tolist())


def test_a_chunk_holds_frames_texts_spans_and_labels(towers: Towers) -> None:
    pixels, ids, inside, labels = WorldRecipe(towers.tokenizer.to_str(), 224, 96).render(range(3))
    assert pixels.shape == (3, FRAMES, 3, 224, 224)
    assert ids.shape == (3, TEXTS, 96)
    assert labels.shape == (3, FRAMES, 5, 196)
    assert labels.any()
    ends = (ids == token_id(towers.tokenizer, END)).any(2)
    assert ends.all()
    # the frame made for a set lies in a span that answers it
    assert inside[:, range(SETS), range(FRAMES - SETS, FRAMES)].all()


def test_texts_of_a_clip_are_few_enough_to_be_kept() -> None:
    for seed in range(50):
        ticks, texts, _ = make_texts(seed, make_clip(seed, "train"))
        assert (len(ticks), len(texts)) == (FRAMES, TEXTS)


def test_choice_scores_follow_the_frames_that_matter() -> None:
    flat = torch.full((1, 2, 4), 0.1)
    flat[0, 1, 2] = 0.9
    assert choice_scores(flat)[0, 1] > 0.8
    assert choice_scores(flat, 0.0)[0, 1] == pytest.approx(0.3)
    loss, right = choice_loss(flat.flip(1), torch.tensor(10.0))
    assert right == 1
    assert loss < 0.01


def test_time_loss_counts_mixed_spans_only() -> None:
    relevance, scale = torch.tensor([[0.9, 0.1], [0.1, 0.9]]), torch.tensor(10.0)
    inside = torch.tensor([[True, False], [True, True]])
    alone = time_loss(relevance[:1], inside[:1], scale)
    assert torch.allclose(time_loss(relevance, inside, scale), alone)
    assert time_loss(relevance, torch.tensor([[False, True], [True, True]]), scale) > 7


def test_patch_loss_is_low_where_labels_are_met() -> None:
    labels = torch.tensor([[[0, 2, 1]]])
    logits = 20.0 * F.one_hot(labels[:, 0], 3)
    assert patch_loss(logits, labels, (3,)) < 1e-4
    assert patch_loss(-logits, labels, (3,)) > 10


def test_the_rate_rises_and_falls() -> None:
    rates = [warm_cosine(2.0, 0.1, done / 100) for done in range(101)]
    assert rates[0] == pytest.approx(0.02)
    assert max(rates) == rates[10] == pytest.approx(2.0)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.02)
    assert warm_cosine(2.0, 0.1, 1.5) == pytest.approx(0.02)


def test_augmented_pictures_stay_near_and_in_range() -> None:
    pixels = torch.from_numpy(render_chunk_pixels())
    spoiled = augment(pixels, torch.Generator().manual_seed(0)).float()
    assert spoiled.min() >= 0
    assert spoiled.max() <= 1
    assert (spoiled - pixels / 255).abs().mean() < 0.1


def render_chunk_pixels() -> np.ndarray:
    recipe = WorldRecipe(small_towers().tokenizer.to_str(), 224, 96)
    return recipe.render(range(2))[0].reshape(-1, 3, 224, 224)[:8]


@pytest.mark.slow
def test_a_short_run_leaves_a_model_a_log_and_scores(tmp_path: Path) -> None:
    config = ClipTraining(
        out=str(tmp_path), seconds=4, clips=4, ring=32, workers=1, chunk=4, device="cpu", scored=3,
        layers=2, text_layers=1,
    )  # fmt: skip
    result = train(config)
    assert set(result["scores"]) == {"train", "val", "test"}
    assert 0 <= result["scores"]["test"]["accuracy"] <= 1
    assert json.loads((tmp_path / "training.json").read_text())["steps"] == result["steps"]
    assert (tmp_path / "log.csv").read_text().startswith("step,seconds")
    assert load_model(str(tmp_path), device="cpu").space.dimension == 256
