"""`checkpoint`: files of reuse modules, slim or with their tower, and what others publish."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli import flags, show

app = typer.Typer(help="Files of reuse modules, and of video models.", no_args_is_help=True)
Source = Annotated[Path, typer.Argument(help="The file to read.", exists=True)]
Target = Annotated[Path, typer.Argument(help="The file to write.")]


@app.command("slim")
def make_slim(source: Source, target: Target, as_json: flags.Json = False) -> None:
    """Keep the reuse modules alone, with the name and hash of their tower."""
    from engine.vision.reusevit.file import slim

    slim(source, target)
    _written(target, as_json=as_json)


@app.command("rebuild")
def make_full(
    source: Source, target: Target, model: flags.ModelName = "builtin", as_json: flags.Json = False
) -> None:
    """Put parts and their tower into one file; another tower than theirs is refused."""
    from engine.vision.model import load_model
    from engine.vision.reusevit.file import rebuild

    loaded = load_model(model, device="cpu")
    rebuild(source, loaded.tower, target, weight_hash=loaded.space.weight_hash)
    _written(target, as_json=as_json)


@app.command("import")
def import_file(
    source: Source,
    target: Target,
    model: Annotated[str, typer.Option(help="The tower that it was trained for.")],
    target_rate: Annotated[float, typer.Option(help="Reuse rate that it was trained for.")] = 0.85,
    refresh: Annotated[int, typer.Option(help="Frames between full ones; 0: never.")] = 8,
    as_json: flags.Json = False,
) -> None:
    """Map a published Lightning checkpoint onto our names; one that lacks a tensor is refused."""
    from engine.vision.model import load_model
    from engine.vision.reusevit.file import Card, save_modules
    from engine.vision.reusevit.modules import ReuseConfig, ReuseModules
    from engine.vision.reusevit.published import import_published

    loaded = load_model(model, device="cpu")
    config = ReuseConfig(cue="codec")
    parts = ReuseModules(loaded.tower.config, config)
    found = import_published(source, parts)
    card = Card(config, loaded.space.model, loaded.space.weight_hash, target_rate, refresh)
    save_modules(target, parts, card)
    if as_json:
        show.print_json(found)
        return
    show.out.print(f"{len(found.used)} names used, written to {target}")
    for name in found.unused:
        show.out.print(f"[yellow]unused[/] {name}")


@app.command("sequence")
def import_head(
    source: Source,
    target: Target,
    model: Annotated[str, typer.Option(help="The model with the checkpoint's own towers.")],
    as_json: flags.Json = False,
) -> None:
    """Take the sequence head (seqTransf) out of a CLIP4Clip checkpoint, for `eval`."""
    from engine.search.sequence import SequencePooler, save_sequence
    from engine.search.sequence_published import import_sequence
    from engine.vision.model import load_model

    loaded = load_model(model, device="cpu")
    head = import_sequence(source, loaded.tower)
    save_sequence(SequencePooler(head, loaded.space.weight_hash), target)
    _written(target, as_json=as_json)


@app.command("video")
def import_video(
    source: Source,
    target: Annotated[Path, typer.Argument(help="The folder to write.")],
    labels: Annotated[Path, typer.Option(help="Names of the classes, one a line.", exists=True)],
    frames: Annotated[int, typer.Option(help="Of a clip.", min=1)] = 16,
    size: Annotated[int, typer.Option(help="Edge of a frame, pixels.", min=1)] = 224,
    fps: Annotated[float, typer.Option(help="Frames a second of a clip.")] = 7.5,
    as_json: flags.Json = False,
) -> None:
    """Turn a published VideoMAE classifier (.pth) into a folder that ACTION takes."""
    import torch

    from engine.training.action.export import export_action
    from engine.training.action.published import read_videomae

    tower = read_videomae(source, frames=frames, size=size)
    names = _labels(labels, tower.config.classes)
    export_action(tower, names, fps, target, torch.float32)
    _written(target / "model.safetensors", as_json=as_json)


@app.command("vivit")
def import_vivit(
    source: Source,
    target: Annotated[Path, typer.Argument(help="The folder to write.")],
    labels: Annotated[Path, typer.Option(help="Names of the classes, one a line.", exists=True)],
    fps: Annotated[float, typer.Option(help="Frames a second of a clip.")] = 15.0,
    as_json: flags.Json = False,
) -> None:
    """Turn a published factorised ViViT classifier (TAdaConv) into a folder that ACTION takes."""
    from engine.vision.backbone.factorised_files import export_factorised, read_factorised

    tower = read_factorised(source)
    export_factorised(tower, _labels(labels, tower.config.classes), fps, target)
    _written(target / "model.safetensors", as_json=as_json)


@app.command("vitdet")
def import_vitdet(
    source: Source,
    target: Annotated[Path, typer.Argument(help="The folder to write.")],
    size: Annotated[
        int | None, typer.Option(help="Edge of the pictures to take; as trained.", min=1)
    ] = None,
    as_json: flags.Json = False,
) -> None:
    """Turn the tower of a ViTDet as detectron2 publishes it (.pth) into a folder."""
    from engine.vision.backbone.windowed_published import import_windowed

    left = import_windowed(source, target, size=size)
    if not as_json:
        show.out.print(f"left out {len(left)} tensors of the pyramid and the heads")
    _written(target / "model.safetensors", as_json=as_json)


def _labels(path: Path, classes: int) -> tuple[str, ...]:
    from engine.errors import UsageError

    names = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    if len(names) != classes:
        raise UsageError(f"{path} has {len(names)} labels; allowed: {classes}")
    return names


def _written(path: Path, *, as_json: bool) -> None:
    size = path.stat().st_size
    if as_json:
        show.print_json({"path": path, "size_bytes": size})
    else:
        show.out.print(f"{path}: {size / 2**20:.1f} MiB")
