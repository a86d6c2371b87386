"""A model as a folder in Hugging Face's format: what it is, how pictures are fitted, weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

WEIGHTS = "model.safetensors"


def write_folder(
    folder: Path,
    config: Mapping[str, Any],
    processor: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write configuration, processor and weights; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    write_json(folder / "preprocessor_config.json", processor)
    stored = {name: t.detach().to("cpu", dtype).contiguous() for name, t in tensors.items()}
    save_file(stored, folder / WEIGHTS, {"format": "pt"})


def write_json(path: Path, told: Mapping[str, Any]) -> None:
    """Write one document as people read it."""
    path.write_text(json.dumps(told, indent=2) + "\n")
