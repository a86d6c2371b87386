"""Which files an ingest takes, and what `ingest --dry-run` tells of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import engine
from api.cli import show
from engine.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from engine.ingesting.discover import Found
    from engine.ingesting.forecast import Forecast
    from engine.library import Library


@dataclass(frozen=True, slots=True)
class Chooser:
    """What was given of files: paths, globs, or those that are quarantined."""

    paths: Sequence[str]
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    retry: bool = False
    watch: bool = False
    resume: bool = False  # what is on record

    def __post_init__(self) -> None:
        """Refuse neither paths nor --retry."""
        if not (self.paths or self.retry or self.resume):
            raise UsageError("no PATH; allowed: files, folders, globs, or --retry without any")

    def files(self, opened: "Library | None") -> "list[Found]":
        """Return the files, of which globs may not leave none."""
        from engine.ingesting.discover import discover, let_through

        found = discover(self.paths)
        if self.retry:
            again = opened.quarantined() if opened else []
            meant = {each.path for each in found}
            found = [each for each in again if not self.paths or each.path in meant]
        left = let_through(found, self.include, self.exclude)
        if found and not left:
            given = [f"--include {glob!r}" for glob in self.include]
            given += [f"--exclude {glob!r}" for glob in self.exclude]
            raise NotFoundError(f"{' '.join(given)} leave none of {len(found)} files")
        return left


def tell(
    chooser: Chooser,
    data: Path,
    model: str,
    device: str,
    options: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    """Print what an ingest would do, by what was published last; nothing is written."""
    from engine.ingesting.forecast import forecast
    from engine.ingesting.report import IngestOptions
    from engine.storage.layout import Layout
    from engine.storage.publishing import newest_copy

    if newest_copy(Layout(data.absolute())) is None:  # nothing was ever stored there
        told = forecast(chooser.files(None), IngestOptions(**options))
    else:
        with engine.Engine.open(data, model=model, device=device, read_only=True) as opened:
            told = opened.forecast(chooser.files(opened), **options)
    if as_json:
        show.print_json(told.as_dict())
    else:
        _print(told, retried=chooser.retry)


def _print(told: "Forecast", *, retried: bool) -> None:
    if not told.files:
        none = "no videos there; a folder gives the files that are called like videos"
        show.out.print("no video of those is quarantined" if retried else none)
        return
    rows = [
        (file.name, file.outcome, show.clock(file.seconds) if file.seconds else None, file.frames)
        for file in told.files
    ]
    show.print_table(("video", "would be", "lasts", "frames to embed"), rows)
    show.print_reasons((file.name, file.reason) for file in told.files if file.reason)
    counts = [
        f"{told.count(outcome)} {outcome}"
        for outcome in ("new", "resumed", "known", "quarantined")
        if told.count(outcome)
    ]
    hours = f"{told.seconds / 3600:.2f} hours of video, at most {told.frames:,} sampled frames"
    show.out.print(f"[bold]{', '.join(counts)}: {hours}[/]")
    if not told.frames:
        return
    if told.decode_seconds is None or told.encode_seconds is None:
        show.out.print("time: unknown, nothing was embedded by this model in this data folder yet")
    else:
        parts = f"{told.decode_seconds:.1f} s of decoding, {told.encode_seconds:.1f} s of encoding"
        show.out.print(f"time: about {parts}, as earlier work took here; cores share the decoding")
    if told.disk_bytes is None:
        show.out.print("disk: unknown, no row of this model is stored here yet")
    else:
        size = f"{told.disk_bytes / 1e6:.2f} MB of rows, as large as those stored here"
        show.out.print(f"disk: about {size}, beside the search index")
    show.out.print("[dim]nothing was written[/]")
