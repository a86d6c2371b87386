"""What keeps a node from working, in one line each; what travels arrives as it was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.cluster.connect import Node, check_address
from engine.cluster.encoding import lacks_memory
from engine.cluster.parcel import Parcel
from engine.cluster.passport import Passport, misfit, unseen
from engine.cluster.staff import seats_on
from engine.errors import UsageError
from engine.ingesting.plan import Source, Stretch, Task
from engine.ingesting.prepare import PreparedStretch, Ready
from engine.video.gop import Gop

OWN = Passport("here", "1.0", "abc", "3.11", "torch 2", 1000.0)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (OWN, None),
        (replace(OWN, node="there", seconds=1004.9), None),
        (replace(OWN, package="1.1"), "has dejavu-engine 1.1, the driver 1.0; install the same"),
        (replace(OWN, code="abd"), "has code abd, the driver abc"),
        (replace(OWN, python="3.12"), "has Python 3.12, the driver 3.11"),
        (replace(OWN, libraries="torch 3"), "has torch 3, the driver torch 2"),
        (replace(OWN, seconds=940.0), "has a clock 60.0 s behind the driver's; allowed: 5 s"),
        (replace(OWN, seconds=1070.0), "has a clock 60.0 s ahead of the driver's"),
    ],
)
def test_what_does_not_fit_is_said(other: Passport, told: str | None) -> None:
    found = misfit(OWN, other, 1000.0, 1010.0)
    assert (found or "").startswith(told or "")
    assert (found is None) == (told is None)


def test_a_slow_answer_is_no_wrong_clock() -> None:
    assert misfit(OWN, replace(OWN, seconds=1000.0 + 50), 1000.0, 1060.0) is None


def test_the_code_is_known_by_its_bytes() -> None:
    found = Passport.own()
    assert len(found.code) == 12
    assert found == replace(Passport.own(), seconds=found.seconds)


def test_a_folder_without_the_mark_is_not_the_drivers(tmp_path: Path) -> None:
    assert unseen([tmp_path], "mark") == str(tmp_path)
    (tmp_path / "mark").touch()
    assert unseen([tmp_path], "mark") is None


@pytest.mark.parametrize("address", ["auto", "head:6379", "10.0.0.1:6379", "[::1]:6379", "a.b-c:1"])
def test_addresses_of_clusters(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize("address", ["", "local", "ray://a:1", "a", ":1", "a:", "a:b", "a:1 "])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match="names no cluster"):
        check_address(address)


@pytest.mark.parametrize(
    ("cpus", "gpus", "on_gpus", "encoders", "decoders"),
    [
        (1, 0, False, 1, 1),
        (2, 0, False, 1, 1),
        (16, 0, False, 1, 4),
        (16, 0, True, 0, 16),
        (16, 2, True, 2, 14),
        (0, 0, False, 0, 0),
    ],
)
def test_a_node_has_as_many_places_as_processors(
    cpus: int, gpus: int, on_gpus: bool, encoders: int, decoders: int
) -> None:
    seats = seats_on(Node("id", "name", cpus, gpus), on_gpus=on_gpus)
    kinds = [seat.kind for seat in seats]
    assert (kinds.count("encode"), kinds.count("decode")) == (encoders, decoders)
    assert sum(seat.cpus for seat in seats) == pytest.approx(cpus)
    assert sum(seat.gpus for seat in seats) == gpus


@pytest.mark.parametrize("frames", [0, 1, 5])
@pytest.mark.parametrize("cues", [False, True])
def test_a_parcel_arrives_as_it_was_sent(frames: int, cues: bool) -> None:
    gops = tuple(Gop(at, 2.0 * at, 2.0 * at + 2, 8, 16 * at) for at in range(50))
    source = Source(Path("a.mp4"), (1, 2, 3), 7, "a.mp4", gops, 2.0, planned=9)
    stretch = Stretch(0.0, 32.0)
    made = [
        Ready(
            number,
            number / 2,
            "P",
            torch.randint(0, 255, (3, 8, 8), dtype=torch.uint8),
            torch.rand(2, 4, 4) if cues else None,
        )
        for number in range(frames)
    ]
    sent = PreparedStretch(Task(source, (stretch,), 0.0), stretch, made, [], 60, 0.5, "pyav")
    parcel = Parcel.pack(sent)
    assert parcel.size_bytes == frames * (3 * 64 + (4 * 32 if cues else 0))
    got = parcel.unpack()
    assert len(got.task.source.gops) == 1
    assert replace(got, frames=[], task=sent.task) == replace(sent, frames=[])
    for before, after in zip(made, got.frames, strict=True):
        assert (before.number, before.seconds, before.picture) == (
            after.number,
            after.seconds,
            after.picture,
        )
        assert torch.equal(before.pixels, after.pixels)
        assert (before.cues is None) == (after.cues is None)
        assert before.cues is None or torch.equal(before.cues, after.cues)


def test_what_memory_says_when_it_ends() -> None:
    with pytest.raises(RuntimeError) as told:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert lacks_memory(told.value)
    with pytest.raises(MemoryError) as host:
        np.empty(1 << 60, np.uint8)
    assert lacks_memory(host.value)
    assert not lacks_memory(RuntimeError("shapes do not match"))
