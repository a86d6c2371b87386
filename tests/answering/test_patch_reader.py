"""The network: what must not matter, what must, storage, and that it learns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.answering.patch_network import PatchNetwork, PatchNetworkConfig
from engine.answering.patch_reader import PatchReader, load_patch_reader, save_patch_network, spoken
from engine.errors import ModelError
from engine.training.patch_reader.data import (
    CONTEXT,
    FRAMES,
    SETS,
    PatchReaderRecipe,
    make_sets,
    sample_ticks,
)
from engine.training.patch_reader.train import (
    PatchReaderTraining,
    losses,
    start_network,
    train_patch_reader,
)
from engine.vision.model import Model, load_model
from engine.world import make_clip
from engine.world.draw import Draw
from engine.world.phrases import PHRASES
from engine.world.scene import TICKS

SMALL = PatchNetworkConfig(depth=1, width=24, heads=2, blocks=2, glances=2)
TEXTS = ["What colour is the star? red", "What colour is the star? blue", "a ring"]


@pytest.fixture(scope="module")
def model() -> Model:
    """The built-in model."""
    return load_model("builtin", device="cpu")


@pytest.fixture
def network(model: Model) -> PatchNetwork:
    """Make a small network with random weights."""
    torch.manual_seed(0)
    return PatchNetwork(SMALL, model.tower.config, model.text.config).eval().requires_grad_(False)


def inputs(model: Model, frames: int) -> tuple[Tensor, ...]:
    """Random tokens of a video, and the words of texts."""
    source = torch.Generator().manual_seed(1)
    shape = model.tower.config
    tokens = torch.randn(1, frames, shape.tokens, shape.width, generator=source)
    ids = model.tokenize(TEXTS)
    words = model.text.read(ids).detach()[None]
    seconds = torch.arange(frames).float()[None] / 2
    shown = torch.ones(1, frames, dtype=torch.bool)
    return tokens, seconds, shown, words, spoken(ids, model.text.config.end_token)[None]


def test_padding_changes_nothing(model: Model, network: PatchNetwork) -> None:
    tokens, seconds, shown, words, said = inputs(model, 5)
    alone = network(tokens, seconds, shown, words, said)
    longer = [torch.cat([x, torch.zeros_like(x[:, :3])], dim=1) for x in (tokens, seconds, shown)]
    wordy = torch.cat([words, torch.randn_like(words[:, :, :4])], dim=2)
    heard = torch.cat([said, torch.zeros_like(said[:, :, :4])], dim=2)
    padded = network(*longer, wordy, heard)
    assert torch.allclose(alone[0], padded[0], atol=1e-5)
    assert torch.allclose(alone[1], padded[1][..., :5], atol=1e-5)


def test_a_statement_is_judged_by_itself(model: Model, network: PatchNetwork) -> None:
    tokens, seconds, shown, words, said = inputs(model, 4)
    together = network(tokens, seconds, shown, words, said)
    for at in range(len(TEXTS)):
        one = network(tokens, seconds, shown, words[:, at : at + 1], said[:, at : at + 1])
        assert torch.allclose(one[0][:, 0], together[0][:, at], atol=1e-5)
        assert torch.allclose(one[1][:, 0], together[1][:, at], atol=1e-5)


def test_order_place_and_words_matter(model: Model, network: PatchNetwork) -> None:
    tokens, seconds, shown, words, said = inputs(model, 4)
    scores = network(tokens, seconds, shown, words, said)[0]
    turned = network(tokens.flip(1), seconds, shown, words, said)[0]
    moved = network(tokens.roll(1, dims=2), seconds, shown, words, said)[0]
    for other in (turned, moved, scores.roll(1, dims=1)):
        assert (scores - other).abs().max() > 1e-5


def test_only_words_up_to_the_first_end_are_heard() -> None:
    ids = torch.tensor([[0, 7, 8, 1, 1, 1], [0, 7, 1, 8, 1, 1]])
    assert spoken(ids, 1).tolist() == [[True] * 4 + [False] * 2, [True] * 3 + [False] * 3]


def test_a_stored_gaze_judges_alike_and_only_for_its_model(
    model: Model, network: PatchNetwork, tmp_path: Path
) -> None:
    path = tmp_path / "patch_reader.safetensors"
    save_patch_network(network, model.space.weight_hash, path)
    pixels = torch.randint(256, (5, 3, 224, 224), dtype=torch.uint8)
    readers = (PatchReader(model, network), load_patch_reader(path, model))
    chosen = [
        patch_reader.judge(patch_reader.see(pixels), np.arange(5) / 2, TEXTS)
        for patch_reader in readers
    ]
    assert np.allclose(chosen[0].probabilities, chosen[1].probabilities, atol=2e-3)
    assert sum(chosen[0].probabilities) == pytest.approx(1)
    assert chosen[0].choice == int(np.argmax(chosen[0].probabilities))
    assert chosen[0].relevance.shape == (3, 5)
    other = replace(model, space=replace(model.space, weight_hash="b" * 64))
    with pytest.raises(ModelError, match="not of bbbbbbbbbbbb; train one with"):
        load_patch_reader(path, other)


def test_what_is_learned_from_is_true(model: Model) -> None:
    for seed in range(30):
        clip = make_clip(seed, "train")
        texts, spans = make_sets(clip, Draw("t", seed))
        assert len(texts) == SETS * PHRASES
        assert len(spans) == SETS
        right = {f"{q.text} {q.choices[q.answer]}" for q in clip.questions}
        wrong = {f"{q.text} {c}" for q in clip.questions for c in q.choices} - right
        assert not wrong & set(texts[::PHRASES])
        assert not right & {t for at, t in enumerate(texts) if at % PHRASES}
        assert max(len(ids) for ids in model.tokenizer(texts)["input_ids"]) <= CONTEXT
        ticks = sample_ticks(clip, Draw("t", seed))
        assert len(ticks) <= FRAMES
        assert (np.diff(ticks) >= TICKS // 2).all()


def test_some_steps_on_a_few_clips_lower_the_loss(model: Model) -> None:
    torch.manual_seed(0)
    network = PatchNetwork(SMALL, model.tower.config, model.text.config)
    recipe = PatchReaderRecipe(model.tokenizer.backend_tokenizer.to_str(), 224)
    pixels, *rest = (torch.from_numpy(part) for part in recipe.render(range(1)))
    pixels, seconds, shown, inside = pixels[:, :3], *(part[:, :3] for part in rest[:2]), rest[3]
    with torch.no_grad():
        tokens = torch.stack([model.tower.look(model.tower.normalise(part), 1) for part in pixels])
    given = (tokens, seconds, shown, rest[2][:, :2].long(), inside[:, :2, :3])
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    found = []
    for _ in range(15):
        choice, relevance, right = losses(model, network, *given)
        optimizer.zero_grad()
        (choice + relevance).backward()
        optimizer.step()
        found.append(float((choice + relevance).detach()))
        assert 0 <= float(right) <= 1
    assert found[-1] < 0.8 * found[0]


@pytest.mark.slow
def test_a_short_run_leaves_a_network_a_log_and_scores(model: Model, tmp_path: Path) -> None:
    config = PatchReaderTraining(
        out=str(tmp_path), seconds=4, clips=2, kept=32, workers=1, chunk=2, scored=2, depth=1,
        width=24, heads=2, blocks=1,
    )  # fmt: skip
    result = train_patch_reader(model, config)
    assert set(result["scores"]) == {"val", "test"}
    assert result["steps"] > 0
    assert (tmp_path / "log.csv").read_text().startswith("step,seconds,rendered")
    start = str(tmp_path / "patch_reader.safetensors")
    going_on = start_network(model, replace(config, start=start)).state_dict()
    left = load_patch_reader(tmp_path / "patch_reader.safetensors", model).network.state_dict()
    assert all(torch.equal(going_on[name], value) for name, value in left.items())
