"""A real cluster of processes on this machine: what it stores is what one process stores."""

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine import Engine
from engine.errors import ExecutionError, UsageError
from tests.cluster.local import LocalCluster, environment, local_cluster
from tests.cluster.stored import rows_in
from tests.ingesting.conftest import make_clip

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for seed in range(6):
        make_clip(folder / f"{seed}.mp4", 3 + seed, seed=seed)
    return folder


@pytest.fixture(scope="module")
def by_one(films: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("one")
    with Engine.open(folder, device="cpu") as engine:
        engine.ingest(films, strategy="dense")
    return rows_in(folder)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster(2) as made, pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():
            patch.setenv(name, value)
        yield made


@pytest.mark.slow
def test_a_cluster_stores_what_one_process_stores(
    cluster: LocalCluster, films: Path, by_one: dict, tmp_path: Path
) -> None:
    with Engine.open(tmp_path, device="cpu") as engine:
        report = engine.ingest(films, strategy="dense", ray=cluster.address)
        assert engine.store.verify() == []
    assert {video.outcome for video in report.videos} == {"ready"}
    assert sum(node.frames for node in report.nodes) == report.frames == len(by_one)
    assert sum(node.sent_bytes for node in report.nodes) == report.frames * 3 * 224 * 224
    assert report.device_seconds_per_hour is not None
    assert not (tmp_path / "unfinished.json").exists()
    assert list((tmp_path / "drafts").iterdir()) == []
    found = rows_in(tmp_path)
    assert {row: told[:2] for row, told in found.items()} == {
        row: told[:2] for row, told in by_one.items()
    }
    for row, (_, _, vector) in found.items():
        # a product of floats has other last bits with other numbers of threads
        pair = (np.frombuffer(each, np.float16) for each in (vector, by_one[row][2]))
        np.testing.assert_allclose(*pair, atol=1e-3)


@pytest.mark.parametrize("address", ["", "local", "ray://head:10001", "head", "head:port"])
def test_nothing_is_done_here_where_no_cluster_is_named(address: str, tmp_path: Path) -> None:
    with Engine.open(tmp_path, device="cpu") as engine:
        with pytest.raises(UsageError, match="names no cluster; allowed: HOST:PORT"):
            engine.ingest(tmp_path, ray=address)
        with pytest.raises(UsageError, match="no ingest by ray has broken off"):
            engine.resume("auto")


def test_a_cluster_that_is_not_there_is_named(films: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with Engine.open(tmp_path, device="cpu") as engine:
        with pytest.raises(ExecutionError, match=f"no Ray cluster at {address}: .*refused"):
            engine.ingest(films, strategy="dense", ray=address)
        assert not list(tmp_path.glob("parts/**/*.parquet"))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"decode_gate": True}, "decode_gate embeds while it decodes"),
        ({"decoder": "nvdec"}, "decoder nvdec with ray; allowed: auto, pyav"),
        ({"devices": "cpu,cpu"}, "devices cpu, cpu with ray"),
    ],
)
def test_what_needs_one_process_is_refused(given: dict, told: str, tmp_path: Path) -> None:
    with Engine.open(tmp_path, device="cpu") as engine, pytest.raises(UsageError, match=told):
        engine.ingest(tmp_path, ray="head:1", **given)
