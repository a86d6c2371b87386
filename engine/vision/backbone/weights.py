"""From a folder in Hugging Face's format to the towers' shapes and weights."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import CONFIG_MAPPING, AutoConfig, __version__

from engine.errors import ModelError, unknown
from engine.vision.backbone.locate import read_json
from engine.vision.backbone.text import TextConfig
from engine.vision.backbone.tower import Activation, VisionConfig

M = TypeVar("M", bound=nn.Module)
_ACTIVATIONS: dict[str, Activation] = {
    "quick_gelu": "quick_gelu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",  # the same formula, written otherwise
}
_LIKE_CLIP = ("clip", "metaclip_2")
_LAYER = {
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "self_attn.out_proj": "out",
    "mlp.fc1": "up",
    "mlp.fc2": "down",
}
_VISION = {
    "embeddings.patch_embedding.weight": "patch.weight",
    "embeddings.patch_embedding.bias": "patch.bias",
    "embeddings.position_embedding.weight": "position",
    "embeddings.class_embedding": "class_token",
    "pre_layrnorm.weight": "pre.weight",
    "pre_layrnorm.bias": "pre.bias",
    "post_layernorm.weight": "post.weight",
    "post_layernorm.bias": "post.bias",
    "head.probe": "pool.probe",
    "head.attention.out_proj.weight": "pool.out.weight",
    "head.attention.out_proj.bias": "pool.out.bias",
    "head.layernorm.weight": "pool.norm.weight",
    "head.layernorm.bias": "pool.norm.bias",
    "head.mlp.fc1.weight": "pool.up.weight",
    "head.mlp.fc1.bias": "pool.up.bias",
    "head.mlp.fc2.weight": "pool.down.weight",
    "head.mlp.fc2.bias": "pool.down.bias",
}
_TEXT = {
    "embeddings.token_embedding.weight": "token.weight",
    "embeddings.position_embedding.weight": "position",
    "final_layer_norm.weight": "post.weight",
    "final_layer_norm.bias": "post.bias",
    "head.weight": "head.weight",
    "head.bias": "head.bias",
}
_IGNORED = re.compile(r"logit_scale|logit_bias|.*\.position_ids")


def read_config(folder: Path) -> dict[str, Any]:
    """Return the complete configuration, defaults filled in; transformers must know its type."""
    named = read_json(folder / "config.json").get("model_type")
    if named not in CONFIG_MAPPING:
        raise ModelError(
            f"{folder}: model type {named!r} is not one that transformers {__version__} reads;"
            " its family needs a `read` of its own"
        )
    try:
        read = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, TypeError, OSError, StrictDataclassError) as error:
        raise ModelError(f"{folder}: config.json: {' '.join(str(error).split())}") from error
    complete: dict[str, Any] = read.to_dict()
    return complete


def vision_config(config: Mapping[str, Any], mean: Any, std: Any) -> VisionConfig:
    """Shape of the vision tower from a complete model config."""
    clip, vision = config["model_type"] in _LIKE_CLIP, config["vision_config"]
    return VisionConfig(
        layers=vision["num_hidden_layers"],
        width=vision["hidden_size"],
        heads=vision["num_attention_heads"],
        mlp=vision["intermediate_size"],
        patch=vision["patch_size"],
        image_size=vision["image_size"],
        dimension=config["projection_dim"] if clip else vision["hidden_size"],
        activation=activation_of(vision["hidden_act"]),
        eps=vision["layer_norm_eps"],
        class_token=clip,
        pre_norm=clip,
        patch_bias=not clip,
        projection=clip,
        mean=mean,
        std=std,
    )


def text_config(config: Mapping[str, Any]) -> TextConfig:
    """Shape of the text tower from a complete model config."""
    clip, text = config["model_type"] in _LIKE_CLIP, config["text_config"]
    # of a CLIP, checkpoints older than the option carry 2, and mean the highest id there is
    old = config["model_type"] == "clip" and text["eos_token_id"] == 2
    end = text["vocab_size"] - 1 if old else text["eos_token_id"]
    return TextConfig(
        layers=text["num_hidden_layers"],
        width=text["hidden_size"],
        heads=text["num_attention_heads"],
        mlp=text["intermediate_size"],
        vocabulary=text["vocab_size"],
        context=text["max_position_embeddings"],
        dimension=config["projection_dim"] if clip else text["projection_size"],
        activation=activation_of(text["hidden_act"]),
        eps=text["layer_norm_eps"],
        causal=clip,
        pooling="end" if clip else "last",
        end_token=end,
        head_bias=not clip,
        words="as_given" if clip else "small",
    )


def weight_files(folder: Path) -> list[Path]:
    """Return the folder's safetensors files; a checkpoint in another format is an error."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        mapped = read_json(index).get("weight_map")
        if not isinstance(mapped, dict) or not mapped:
            raise ModelError(f"{index} has no weight_map")
        names = sorted(set(map(str, mapped.values())))
        if any(Path(name).name != name for name in names):
            raise ModelError(f"{index} names files outside its folder")
        files = [folder / name for name in names]
    else:
        files = [folder / "model.safetensors"]
    for file in files:
        if not file.is_file():
            hint = f"; found {', '.join(others)}" if (others := pickles(folder)) else ""
            raise ModelError(
                f"no {file.name} in {folder}{hint}; allowed: safetensors only, of the hub's models"
                " often in a pull request: ID@refs/pr/NUMBER"
            )
    return files


def pickles(folder: Path) -> list[str]:
    """Name the folder's files that may hold pickled weights, which are never read."""
    kinds = ("*.bin", "*.pt*", "*.ckpt", "*.pkl")
    return sorted(path.name for kind in kinds for path in folder.glob(kind))


def hash_files(files: list[Path]) -> str:
    """Return the sha256 of the files' bytes, one after another."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def read_tensors(files: list[Path]) -> dict[str, Tensor]:
    """Read all tensors of the files, as stored."""
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                names = opened.keys()
                tensors.update((name, opened.get_tensor(name)) for name in names)
        except (OSError, SafetensorError) as error:
            raise ModelError(
                f"{file} is damaged or cut short: {error}; copy or fetch it again"
            ) from error
    return tensors


def fill(kind: type[M], shape: Any, tensors: dict[str, Tensor], what: str) -> M:
    """Build a tower without initialising it, and give it all of its weights."""
    with torch.device("meta"), _Uninitialised():
        tower = kind(shape)
    missing = sorted(set(tower.state_dict()) - set(tensors))
    extra = sorted(set(tensors) - set(tower.state_dict()))
    if missing or extra:
        raise ModelError(f"{what}: missing {missing[:3]}, not expected {extra[:3]}")
    for key, value in tower.state_dict().items():
        if value.shape != tensors[key].shape:
            raise ModelError(
                f"{what}: {key} is {tuple(tensors[key].shape)}, not {tuple(value.shape)}"
            )
    tower.load_state_dict({key: tensor.float() for key, tensor in tensors.items()}, assign=True)
    return tower.eval().requires_grad_(False)


class _Uninitialised(TorchFunctionMode):
    """Modules keep their parameters as they are made.

    Drawing normal numbers for a tensor without storage imports torch's compiler, half a second.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def split_towers(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Rename a checkpoint's tensors to the vision and the text tower's names; all must be known."""
    vision: dict[str, Tensor] = {}
    text: dict[str, Tensor] = {}
    for name, target, tensor in _renamed(tensors):
        tower, _, rest = target.partition(":")
        if not rest:
            raise ModelError(f"unknown tensor {name!r} in the checkpoint")
        (vision if tower == "vision" else text)[rest] = tensor
    if "patch.weight" in vision:
        vision["patch.weight"] = vision["patch.weight"].flatten(1)
    return _join(vision), _join(text)


def _renamed(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, str, Tensor]]:
    for name, tensor in tensors.items():
        if _IGNORED.fullmatch(name):
            continue
        if name in ("visual_projection.weight", "text_projection.weight"):
            tower = "vision" if name.startswith("visual") else "text"
            yield name, f"{tower}:head.weight", tensor
            continue
        tower, _, rest = name.partition("_model.")
        known = {"vision": _VISION, "text": _TEXT}.get(tower, {})
        yield name, f"{tower}:{known.get(rest) or _rename_inner(rest)}", tensor


def _rename_inner(name: str) -> str:
    """Rename a layer's or the pooling attention's tensor; an empty string if it is neither."""
    if found := re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name):
        index, part, kind = found.groups()
        if part in _LAYER:
            return f"layers.{index}.{_LAYER[part]}.{kind}"
        if found := re.fullmatch(r"self_attn\.([qkv])_proj", part):
            return f"layers.{index}.qkv.{kind}.{found[1]}"
    if found := re.fullmatch(r"head\.attention\.in_proj_(weight|bias)", name):
        return f"pool.in.{found[1]}"
    return ""


def _join(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put queries, keys and values side by side, and part the pooling's query from the rest."""
    joined = {name: t for name, t in tensors.items() if not re.search(r"\.qkv\.|^pool\.in\.", name)}
    for name in tensors:
        if name.endswith(".q"):
            base = name[:-2]
            joined[base] = torch.cat([tensors[f"{base}.{part}"] for part in "qkv"])
    for kind in ("weight", "bias"):
        if (stacked := tensors.get(f"pool.in.{kind}")) is not None:
            third = len(stacked) // 3
            joined[f"pool.q.{kind}"], joined[f"pool.kv.{kind}"] = stacked.split([third, 2 * third])
    return joined


def activation_of(name: str) -> Activation:
    """Return ours for Hugging Face's name."""
    if name not in _ACTIVATIONS:
        raise ModelError(unknown("activation", name, _ACTIVATIONS))
    return _ACTIVATIONS[name]
