"""Where models are found: ids with prefix and revision, and what the hub says where it has none."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from engine.errors import ModelError
from engine.vision.backbone.locate import locate, short_name
from tests.vision.backbone.hub import COMMIT, Hub, serving

WEIGHTS = bytes(range(256)) * 400


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "clip"}')
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with serving(Hub(folder)) as opened:
        files = f"{opened.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", opened.url)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1 << 14)
        yield opened


@pytest.mark.parametrize("name", ["owner/tiny", "hf:owner/tiny", "hf:owner/tiny@main"])
def test_a_model_of_the_hub_is_fetched_without_its_pickles(hub: Hub, name: str) -> None:
    folder, commit = locate(name, None)
    assert commit == COMMIT
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    kept = (folder / "model.safetensors").resolve()
    assert kept.name == hashlib.sha256(WEIGHTS).hexdigest()
    assert kept.read_bytes() == WEIGHTS
    hub.folder.rename(hub.folder.with_name("away"))  # what is in the cache needs the hub no more
    assert locate(f"owner/tiny@{COMMIT}", None) == (folder, COMMIT)


def test_a_fetch_that_broke_off_goes_on_where_it_stopped(hub: Hub) -> None:
    hub.cut = 70_000
    folder, _ = locate("owner/tiny", None)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.ranges == ["bytes=65536-"]


@pytest.mark.parametrize(
    ("refuse", "said"),
    [
        ("GatedRepo", "it is gated; accept its terms at https://huggingface.co/owner/tiny"),
        ("RepoNotFound", "the hub has no such model, or it is private"),
    ],
)
def test_what_the_hub_refuses_is_said_in_a_line(hub: Hub, refuse: str, said: str) -> None:
    hub.refuse = refuse
    with pytest.raises(ModelError, match=f"'owner/tiny' cannot be fetched: {said}") as raised:
        locate("hf:owner/tiny", None)
    assert "\n" not in str(raised.value)


def test_a_revision_that_is_not_there_is_named(hub: Hub) -> None:
    with pytest.raises(ModelError, match="it has no revision 'gone'"):
        locate("owner/tiny@gone", None)
    with pytest.raises(ModelError, match="'owner/tiny@a' and revision 'b' name two; allowed: one"):
        locate("owner/tiny@a", "b")


def test_without_a_network_the_way_out_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"the hub cannot be reached .* a folder needs no network"):
        locate("owner/tiny", None)


def test_a_space_is_called_by_the_bare_name(tmp_path: Path) -> None:
    (tmp_path / "mine@2").mkdir()
    assert short_name("hf:owner/tiny@refs/pr/3") == short_name("owner/tiny") == "tiny"
    assert short_name(str(tmp_path / "mine@2")) == "mine-2"
    assert short_name("builtin") == "builtin"
