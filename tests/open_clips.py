"""Tiny open_clip checkpoints of every kind that fits: `python -m tests.open_clips` remakes them.

open_clip and timm make the models and say what they give; the numbers lie in `FIXTURE`, so that
our own forward is held against theirs where they are not installed.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

FIXTURE = Path(__file__).parent / "fixtures" / "open_clip.json"
TEXT = {"width": 128, "heads": 2, "layers": 2, "context_length": 12, "vocab_size": 60}
TEXT |= {"hf_tokenizer_name": "made-up"}
PLAIN = {"layers": 3, "width": 128, "head_width": 64, "patch_size": 8, "image_size": 32}
SIGLIP_TEXT = TEXT | {
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6},
    "act_kwargs": {"approximate": "tanh"},
}
SQUASHED = {"resize_mode": "squash", "mean": [0.5] * 3, "std": [0.5] * 3}


@dataclass(frozen=True)
class Kind:
    """A kind of checkpoint: its configuration, and what makes timm's tower a small one."""

    model: dict[str, Any]
    preprocess: dict[str, Any]
    small: dict[str, Any] | None = None


def of_timm(name: str, pool: str, proj: str | None, edge: int = 32) -> dict[str, Any]:
    """Return a vision tower that is timm's."""
    return {
        "timm_model_name": name,
        "timm_pool": pool,
        "timm_proj": proj,
        "timm_model_pretrained": False,
        "image_size": edge,
    }


SMALL = {"depth": 3, "embed_dim": 128, "num_heads": 2}
KINDS = {
    "ViT-B-16": Kind({"embed_dim": 16, "vision_cfg": PLAIN, "text_cfg": TEXT}, {}),
    "ViT-B-16-quickgelu": Kind(
        {"embed_dim": 16, "quick_gelu": True, "vision_cfg": PLAIN, "text_cfg": TEXT}, {}
    ),
    "PE-Core": Kind(
        {
            "embed_dim": 16,
            "vision_cfg": of_timm("vit_pe_core_base_patch16_224", "map", None),
            "text_cfg": TEXT,
            "custom_text": True,
        },
        SQUASHED | {"interpolation": "bilinear"},
        SMALL | {"patch_size": 8, "img_size": 32, "num_heads": 2, "attn_pool_num_heads": 8},
    ),
    "PE-Core-bigG": Kind(
        {
            "embed_dim": 16,
            "vision_cfg": of_timm("vit_pe_core_gigantic_patch14_448", "map", None),
            "text_cfg": TEXT,
            "custom_text": True,
        },
        SQUASHED | {"interpolation": "bilinear"},
        SMALL | {"patch_size": 8, "img_size": 32, "num_heads": 16, "mlp_ratio": 5.0},
    ),
    "MobileCLIP-B": Kind(
        {
            "embed_dim": 16,
            "vision_cfg": of_timm("vit_base_mci_224", "token", None),
            "text_cfg": TEXT | {"no_causal_mask": False},
            "custom_text": True,
        },
        {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear"},
        SMALL | {"img_size": 32},
    ),
    "SigLIP2": Kind(
        {
            "embed_dim": 128,
            "init_logit_bias": -10,
            "vision_cfg": of_timm("vit_base_patch16_siglip_224", "map", "none"),
            "text_cfg": SIGLIP_TEXT,
            "custom_text": True,
        },
        SQUASHED,
        SMALL | {"patch_size": 8, "img_size": 32},
    ),
}


def store(kind: str, shapes: dict[str, list[int]], folder: Path) -> Path:
    """Store a checkpoint of a kind with the numbers that belong to it, without a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"model_cfg": KINDS[kind].model, "preprocess_cfg": KINDS[kind].preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(told))
    save_file(numbers(shapes), folder / "open_clip_model.safetensors")
    return folder


def numbers(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """Numbers for tensors by their names: the same everywhere, and none of them neutral."""
    made = {}
    for place, (name, shape) in enumerate(sorted(shapes.items())):
        drawn = np.random.default_rng(place).standard_normal(shape).astype(np.float32)
        if name.endswith("running_var"):
            drawn = 0.5 + drawn**2
        fan = float(np.prod(shape[1:])) if len(shape) > 1 else 4.0
        middle = 1.0 if name.endswith("weight") and len(shape) == 1 else 0.0
        made[name] = torch.from_numpy(np.asarray(middle + drawn / fan**0.5, np.float32))
    return made


def values() -> torch.Tensor:
    """Normalised pictures `[2, 3, 32, 32]`."""
    drawn = np.random.default_rng(77).standard_normal((2, 3, 32, 32)).astype(np.float32)
    return torch.from_numpy(drawn)


def ids() -> torch.Tensor:
    """Token ids `[2, 12]`, each ending with the highest of the vocabulary, then zeros."""
    drawn = torch.from_numpy(np.random.default_rng(78).integers(1, 58, (2, 12)))
    for row, end in enumerate((11, 5)):
        drawn[row, end:] = 0
        drawn[row, end] = 59
    return drawn


def reference(kind: str) -> Any:
    """open_clip's own model of a kind, with random weights."""
    from open_clip.model import CLIP, CustomTextCLIP

    told = {name: value for name, value in KINDS[kind].model.items() if name != "custom_text"}
    with shrunk(kind):
        return (CustomTextCLIP if KINDS[kind].model.get("custom_text") else CLIP)(**told).eval()


@contextmanager
def shrunk(kind: str) -> Iterator[None]:
    """Have timm make its towers in a kind's small shape."""
    import open_clip.timm_model as timm_model

    create, small = timm_model.timm.create_model, KINDS[kind].small
    if small:
        timm_model.timm.create_model = lambda name, **given: _small(create, name, given | small)
    try:
        yield
    finally:
        timm_model.timm.create_model = create


def _small(create: Any, name: str, given: dict[str, Any]) -> Any:
    """A tower of timm's in a small shape; MobileCLIP's makes its convolutions for 768 alone."""
    if name != "vit_base_mci_224":
        return create(name, **given)
    from timm.models import vision_transformer_hybrid as hybrid
    from torch import nn

    width = given["embed_dim"]
    stem = hybrid.ConvStem(
        channels=(width // 4, width // 4, width), stride=(4, 2, 2), kernel_size=(4, 2, 2),
        padding=0, act_layer=nn.GELU,
    )  # fmt: skip
    given = {"no_embed_class": True} | given
    return hybrid._create_vision_transformer_hybrid(
        name, backbone=stem, embed_args={"proj": False}, **given
    )


@torch.inference_mode()
def answers(kind: str) -> dict[str, Any]:
    """Return shapes of a kind's tensors, and what open_clip's model makes of `values` and `ids`."""
    model = reference(kind)
    shapes = {name: list(each.shape) for name, each in model.state_dict().items()}
    shapes = {name: shape for name, shape in shapes.items() if "num_batches" not in name}
    model.load_state_dict(numbers(shapes), strict=False)
    images, texts = model.encode_image(values()), model.encode_text(ids())
    return {"shapes": shapes, "images": images.tolist(), "texts": texts.tolist()}


if __name__ == "__main__":
    FIXTURE.write_text(json.dumps({kind: answers(kind) for kind in KINDS}) + "\n")
    sys.stdout.write(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes\n")
