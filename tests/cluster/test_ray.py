"""A real cluster of processes on this machine: what it stores is what one process stores."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine import Engine
from engine.errors import ExecutionError, UsageError
from tests.cluster.local import LocalCluster, drive, environment, local_cluster
from tests.cluster.stored import rows_in
from tests.ingesting.conftest import make_clip
from tests.waiting import until

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
    assert rows_in(tmp_path) == by_one


@pytest.mark.slow
def test_workers_and_the_driver_die_and_nothing_is_lost_or_twice(
    cluster: LocalCluster, films: Path, by_one: dict, tmp_path: Path
) -> None:
    data = ["--data", str(tmp_path), "--device", "cpu", "--ray", cluster.address]
    first = drive(["ingest", str(films), "--strategy", "dense", *data])
    until(lambda: list(tmp_path.glob("parts/**/*.parquet")))
    os.killpg(first.pid, 9)
    first.communicate()
    again = drive(["ingest", "--resume", *data])
    for process in until(lambda: cluster.workers("EncodeProcess")):
        with pytest.MonkeyPatch.context():
            if psutil.pid_exists(process.pid):
                process.kill()
    told = again.communicate()[0].decode()
    assert again.returncode == 0, told
    assert rows_in(tmp_path) == by_one
    with Engine.open(tmp_path, read_only=True, device="cpu") as engine:
        assert {video.status for video in engine.videos()} == {"ready"}


@pytest.mark.slow
def test_a_node_with_other_code_is_named(films: Path, tmp_path: Path) -> None:
    """Its code is the same but for one line of one file."""
    other = tmp_path / "other"
    other.mkdir()
    for top in ("engine", "kernels", "schemas"):
        copied = other / top
        os.system(f"cp -r {Path(__file__).resolve().parents[2] / top} {copied}")
    (other / "engine/closing.py").open("a").write("\n# changed\n")
    with local_cluster(1, PYTHONPATH=str(other)) as made, pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():
            patch.setenv(name, value)
        with (
            Engine.open(tmp_path / "data", device="cpu") as engine,
            pytest.raises(ExecutionError, match=r"node \S+ has code \w{12}, the driver \w{12}"),
        ):
            engine.ingest(films, strategy="dense", ray=made.address)


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
