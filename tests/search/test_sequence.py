"""CLIP4Clip's sequence head against a slow definition by the published names."""

import math

import numpy as np
import pytest
import torch

from engine.errors import ModelError
from engine.search.sequence import SequencePooler, load_sequence, save_sequence
from engine.search.sequence_published import import_sequence
from engine.vision.backbone.tower import VisionConfig, VisionTower

WIDTH, LAYERS, PLACES = 128, 2, 7
LAYER = "transformerClip.resblocks"
TOWER = VisionTower(VisionConfig(1, 32, 2, 64, 16, 32, WIDTH))
torch.nn.init.normal_(TOWER.patch.weight)
torch.nn.init.normal_(TOWER.head.weight)


def published(seed: int = 0) -> dict[str, torch.Tensor]:
    """Draw a checkpoint as the published code saves one, with the towers that it belongs to."""
    draw = torch.Generator().manual_seed(seed)

    def some(*shape: int, about: float = 0.0) -> torch.Tensor:
        return about + 0.2 * torch.randn(shape, generator=draw)

    named = {
        "clip.visual.conv1.weight": TOWER.patch.weight.detach().view(32, 3, 16, 16).half(),
        "clip.visual.proj": TOWER.head.weight.detach().T.half(),
        "frame_position_embeddings.weight": some(PLACES, WIDTH),
    }
    for at in range(LAYERS):
        named |= {
            f"transformerClip.resblocks.{at}.{name}": value
            for name, value in {
                "attn.in_proj_weight": some(3 * WIDTH, WIDTH),
                "attn.in_proj_bias": some(3 * WIDTH),
                "attn.out_proj.weight": some(WIDTH, WIDTH),
                "attn.out_proj.bias": some(WIDTH),
                "ln_1.weight": some(WIDTH, about=1.0),
                "ln_1.bias": some(WIDTH),
                "mlp.c_fc.weight": some(4 * WIDTH, WIDTH),
                "mlp.c_fc.bias": some(4 * WIDTH),
                "mlp.c_proj.weight": some(WIDTH, 4 * WIDTH),
                "mlp.c_proj.bias": some(WIDTH),
                "ln_2.weight": some(WIDTH, about=1.0),
                "ln_2.bias": some(WIDTH),
            }.items()
        }
    return named


def pool_slowly(named: dict[str, torch.Tensor], frames: np.ndarray) -> np.ndarray:
    """Pool one video `[F, E]` as the paper says, token by token and head by head, in float64."""
    get = {name: value.double().numpy() for name, value in named.items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        spread = math.sqrt(((x - x.mean()) ** 2).mean() + 1e-12)
        return (x - x.mean()) / spread * get[f"{name}.weight"] + get[f"{name}.bias"]

    x = [row + get["frame_position_embeddings.weight"][at] for at, row in enumerate(frames)]
    for layer in range(LAYERS):
        at = f"transformerClip.resblocks.{layer}"
        triple = [
            np.split(
                get[f"{at}.attn.in_proj_weight"] @ norm(row, f"{at}.ln_1")
                + get[f"{at}.attn.in_proj_bias"],
                3,
            )
            for row in x
        ]
        after = []
        for row, (query, _, _) in zip(x, triple, strict=True):
            mixed = np.empty(WIDTH)
            for part in (slice(0, 64), slice(64, 128)):
                scores = np.array([query[part] @ key[part] / 8 for _, key, _ in triple])
                weights = np.exp(scores - scores.max())
                weights /= weights.sum()
                mixed[part] = sum(
                    w * value[part] for w, (_, _, value) in zip(weights, triple, strict=True)
                )
            out = get[f"{at}.attn.out_proj.weight"] @ mixed + get[f"{at}.attn.out_proj.bias"]
            after.append(row + out)
        x = []
        for row in after:
            up = get[f"{at}.mlp.c_fc.weight"] @ norm(row, f"{at}.ln_2") + get[f"{at}.mlp.c_fc.bias"]
            up = up / (1 + np.exp(-1.702 * up))
            x.append(row + get[f"{at}.mlp.c_proj.weight"] @ up + get[f"{at}.mlp.c_proj.bias"])
    each = [row + own for row, own in zip(x, frames, strict=True)]
    mean = sum(row / np.linalg.norm(row) for row in each) / len(each)
    return mean / np.linalg.norm(mean)


def units(*counts: int) -> list[np.ndarray]:
    random = np.random.default_rng(3)
    drawn = [random.normal(size=(count, WIDTH)).astype(np.float32) for count in counts]
    return [each / np.linalg.norm(each, axis=1, keepdims=True) for each in drawn]


def test_a_published_head_pools_as_its_definition_whatever_stands_beside(tmp_path) -> None:
    named, path = published(), tmp_path / "pytorch_model.bin"
    torch.save(named, path)
    pooler = SequencePooler(import_sequence(path, TOWER), "abc")
    save_sequence(pooler, tmp_path / "head.safetensors")
    pooler = load_sequence(tmp_path / "head.safetensors", "abc")
    videos = units(5, 1, 3)
    lengths = [np.linspace(8, 12, len(each)).astype(np.float32) for each in videos]
    found = pooler.pool(videos, lengths)
    for own, length, ours in zip(videos, lengths, found, strict=True):
        expected = pool_slowly(named, own.astype(np.float64) * length[:, None])
        np.testing.assert_allclose(ours, expected, atol=1e-5)
    assert not np.allclose(
        found[0], videos[0].mean(0) / np.linalg.norm(videos[0].mean(0)), atol=0.1
    )
    # of more frames than it has places the first, the last and some between are taken
    [long] = units(13)
    kept = long[[0, 2, 4, 6, 8, 10, 12]]
    ones = [np.ones(len(each), np.float32) for each in (long, kept)]
    np.testing.assert_allclose(*pooler.pool([long, kept], ones), atol=1e-6)


def _without(name: str):
    return lambda named: {key: value for key, value in named.items() if key != name}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without("frame_position_embeddings.weight"), "no sequence head"),
        (_without(f"{LAYER}.1.mlp.c_fc.bias"), "1 tensors are missing, .*c_fc"),
        (_without("clip.visual.proj"), "no clip.visual.proj"),
        (lambda n: n | {f"{LAYER}.0.ln_1.bias": torch.zeros(3)}, r"expected \[128\]"),
        (lambda n: n | {"clip.visual.proj": n["clip.visual.proj"] * 1.01}, "another tower"),
        (lambda _: {"lstm_visual.weight_ih_l0": torch.zeros(3)}, "it has lstm_visual"),
        (lambda n: n | {"frame_position_embeddings.weight": torch.zeros(7, 64)}, "vectors of 64"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_is_not_quite_one_is_refused(change, said, tmp_path) -> None:
    torch.save(change(published()), tmp_path / "file.bin")
    with pytest.raises(ModelError, match=said):
        import_sequence(tmp_path / "file.bin", TOWER)


def test_a_head_is_for_its_model_alone(tmp_path) -> None:
    torch.save(published(), tmp_path / "file.bin")
    pooler = SequencePooler(import_sequence(tmp_path / "file.bin", TOWER), "a" * 20)
    save_sequence(pooler, tmp_path / "head.safetensors")
    with pytest.raises(ModelError, match="pools vectors of model aaaaaaaaaaaa, not of bbb"):
        load_sequence(tmp_path / "head.safetensors", "b" * 20)
