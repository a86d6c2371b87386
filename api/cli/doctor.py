"""`doctor`: what is here, what is wrong and how to mend it."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer
from rich.markup import escape

from api.cli import flags, show
from engine.config_file import OBJECT, SERVER, config_path, read_config
from engine.errors import EngineError, UsageError
from engine.knowledge import caution
from engine.storage.layout import Layout
from engine.storage.lock import holder

PACKAGES = ("torch", "triton", "transformers", "av", "duckdb", "pyarrow", "faiss-cpu", "fastapi")

CHECK_SECONDS = 5.0  # for reading parts; `store check` reads all


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    what: str
    state: Literal["good", "note", "bad"]
    found: str
    mend: str = ""


def doctor(
    data: flags.Data = flags.DATA,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Look at the installation, the device, the model and the data folder."""
    findings = [
        _python(),
        _config(),
        *_packages(),
        _gpu(),
        _hardware_decode(),
        _objects(),
        _disk(data),
        _store(data),
    ]
    findings.append(_model(model, device, data))
    if as_json:
        show.print_json(findings)
    else:
        marks = {"good": "[green]✓[/]", "note": "[yellow]·[/]", "bad": "[red]✗[/]"}
        for finding in findings:
            mend = f"  [dim]→ {escape(finding.mend)}[/]" if finding.mend else ""
            show.out.print(f"{marks[finding.state]} {finding.what}: {escape(finding.found)}{mend}")
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)


def _python() -> Finding:
    version = platform.python_version()
    good = version.startswith(("3.11.", "3.12."))
    return Finding(
        "Python", "good" if good else "bad", version, "" if good else "use Python 3.11 or 3.12"
    )


def _packages() -> list[Finding]:
    found = []
    for name in PACKAGES:
        try:
            found.append(Finding(name, "good", importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            mend = f"pip install {name}"
            found.append(Finding(name, "bad", "not installed", mend))
    return found


def _config() -> Finding:
    from api.config import ServerSettings
    from engine.config import Settings
    from engine.objects.settings import ObjectSettings

    path = config_path()
    if path is None:
        return Finding("configuration", "good", "no dejavu.toml here: variables and flags alone")
    given = read_config(Settings.model_fields)
    server = read_config(ServerSettings.model_fields, table=SERVER)
    hidden = {name: "…" if name == "api_keys" else value for name, value in server.items()}
    elsewhere = read_config(ObjectSettings.model_fields, table=OBJECT)
    named = {f"{OBJECT}.{name}": value for name, value in elsewhere.items()}
    told = ", ".join(f"{name} = {value}" for name, value in {**given, **hidden, **named}.items())
    return Finding("configuration", "good", f"{path}: {told or 'empty'}")


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return Finding("GPU", "good", f"{name}, {free >> 30} of {total >> 30} GiB free")
    threads = f"none; encoding runs on {torch.get_num_threads()} CPU threads"
    return Finding("GPU", "note", threads, "with an NVIDIA GPU: a CUDA build of torch")


def _hardware_decode() -> Finding:
    if importlib.util.find_spec("PyNvVideoCodec"):
        return Finding("hardware decode", "good", "PyNvVideoCodec")
    mend = "with an NVIDIA GPU: pip install 'dejavu-engine[gpu]'"
    return Finding("hardware decode", "note", "none; PyAV decodes on the CPU", mend)


def _objects() -> Finding:
    from engine.objects.settings import object_settings

    try:
        settings = object_settings().model_dump()
    except UsageError as error:
        return Finding("videos elsewhere", "bad", str(error))
    told = ", ".join(f"{name} = {value or 'none'}" for name, value in settings.items())
    try:
        version = importlib.metadata.version("obstore")
    except importlib.metadata.PackageNotFoundError:
        mend = "for videos in buckets: pip install 'dejavu-engine[s3]'"
        return Finding("videos elsewhere", "note", f"obstore is not installed; {told}", mend)
    return Finding("videos elsewhere", "good", f"obstore {version}; {told}")


def _disk(data: Path) -> Finding:
    folder = next(p for p in (data, *data.resolve().parents) if p.exists())
    if not os.access(folder, os.W_OK):
        if folder == data:  # whoever may not write can ask what is published
            return Finding("data folder", "note", f"{data} can be read only; ingests cannot write")
        return Finding("data folder", "bad", f"{folder} is not writable", "choose another --data")
    free = shutil.disk_usage(folder).free
    return Finding(
        "data folder", "good" if free > 1 << 30 else "bad", f"{data}, {free >> 30} GiB free"
    )


def _store(data: Path) -> Finding:
    from engine.storage.check import check

    if not data.is_dir():
        return Finding("store", "good", "none yet")
    held = holder(data)
    where = "free"
    if held is not None:
        where = f"held by process {held.pid} ({held.command})"
        where += f" at {held.url}" if held.url else ""
    try:
        looked = check(data, seconds=CHECK_SECONDS)
    except EngineError as error:
        return Finding("store", "bad", str(error), "dejavu-engine store check")
    if problems := looked.problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        mend = "dejavu-engine store check shows all, store repair mends files, ingest rows"
        return Finding("store", "bad", f"{where}; {problems[0].message}{more}", mend)
    if not looked.whole:
        parts = looked.parts
        where += f"; {parts.read} of {parts.parts} parts read, of the others only their sizes"
        return Finding("store", "note", where, "dejavu-engine store check reads all")
    aside = data / "lost+found"
    if aside.is_dir() and (count := len(list(aside.iterdir()))):
        return Finding("store", "note", f"{where}; {count} files were set aside in {aside}")
    return Finding("store", "good" if held is None else "note", where)


def _model(name: str, device: str, data: Path) -> Finding:
    from engine.checking.card import find_card
    from engine.vision.model import load_model

    try:
        model = load_model(name, device=device)
        card = find_card(data, model.space.key)
    except EngineError as error:
        return Finding("model", "bad", str(error))
    config = model.tower.config
    shape = f"{config.layers} layers, width {config.width}, {config.tokens} tokens"
    said = f"{model.space.key} on {model.device}, {shape}"
    if (worth := caution(name)) is not None:
        return Finding("model", "note", f"{said}; {worth}", "give another with --model")
    if card is None:
        mend = f"dejavu-engine models check {name}"
        return Finding("model", "note", f"{said}; not checked yet", mend)
    where = Layout(data).card(model.space.key)
    return Finding("model", "good", f"{said}; checked {card.checked_at}, card {where}")
