"""Where settings come from, and which comes first."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from api.config import ServerSettings
from engine import Engine, Settings, UsageError
from engine.config import read_settings

HOLDERS = {"settings", "_settings", "chosen", "patience"}  # what settings are called in the code


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a folder that one stands in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "dejavu.toml"


def test_arguments_come_before_variables_before_the_file_before_defaults(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.write_text("fps = 3\ngap_seconds = 3\nthreads = 3\n")
    monkeypatch.setenv("DEJAVU_FPS", "4")
    monkeypatch.setenv("DEJAVU_GAP_SECONDS", "4")
    found = Settings(fps=5)
    assert (found.fps, found.gap_seconds, found.threads, found.sql_rows) == (5, 4, 3, 1_000_000)


def test_a_server_has_a_table_of_its_own(here: Path) -> None:
    here.write_text('[server]\nport = 8123\nvideo_roots = ["/a", "/b"]\n')
    assert ServerSettings().port == 8123
    assert ServerSettings().roots == [Path("/a"), Path("/b")]
    assert Settings().fps == 2.0


def test_zones_are_rectangles_or_corners(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here.write_text(
        "[zones]\nramp = [[0.5, 0.5], [0.9, 0.6], [0.7, 1]]\ndoor = [0.1, 0.2, 0.4, 0.9]\n"
    )
    door = ((0.1, 0.2), (0.4, 0.2), (0.4, 0.9), (0.1, 0.9))
    assert Settings().zones == (("door", door), ("ramp", ((0.5, 0.5), (0.9, 0.6), (0.7, 1.0))))
    monkeypatch.setenv("DEJAVU_ZONES", "door=0.1,0.2 0.4,0.2 0.4,0.9 0.1,0.9; way=0,0 1,0 1,1")
    assert dict(Settings().zones) == {"door": door, "way": ((0, 0), (1, 0), (1, 1))}
    for wrong in ("[0.1, 0.2, 0.1, 0.9]", "[[0.1, 0.2], [0.3, 1.4], [0, 0]]", '"door"', "3"):
        monkeypatch.delenv("DEJAVU_ZONES", raising=False)
        here.write_text(f"[zones]\ndoor = {wrong}\n")
        with pytest.raises(UsageError, match=r"setting zones: zone .*; allowed: a rectangle"):
            read_settings({})


def test_paths_are_seen_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "of" / "all.toml"
    file.parent.mkdir()
    file.write_text('data = "store"\n')
    monkeypatch.setenv("DEJAVU_CONFIG", str(file))
    assert Settings().data == tmp_path / "of" / "store"
    monkeypatch.setenv("DEJAVU_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="which DEJAVU_CONFIG names"):
        Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fsp = 2", r"dejavu.toml: unknown setting 'fsp'.*nearest: fps"),
        ("fps = ", r"dejavu.toml: invalid value"),
        ("fps = -1", r"setting fps: input should be greater than 0, got -1"),
        ("server = 3", r"server is a table, got 3"),
        ("[server]\nprot = 3", r"unknown setting 'prot'.*nearest: port"),
        ("[sevrer]\nport = 3", r"unknown setting 'sevrer'.*nearest: server"),
    ],
)
def test_what_the_file_cannot_say(here: Path, tmp_path: Path, text: str, message: str) -> None:
    here.write_text(text)
    with pytest.raises(UsageError, match=message), Engine.open(tmp_path / "data"):
        ServerSettings()


def test_commands_take_the_file_where_a_flag_reads_a_variable(here: Path) -> None:
    here.write_text('data = "kept"\ndevice = "cpu"\n[server]\nport = 8123\n[object]\ntries = 7\n')

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = "from api.cli.start import main; main()"
        return subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
        )

    assert "'kept'" in run("videos", "ls").stderr
    assert "'other'" in run("videos", "ls", "--data", "other").stderr
    assert "8123" in run("serve", "--help").stdout
    told = {each["what"]: each["found"] for each in json.loads(run("doctor", "--json").stdout)}
    assert (
        told["configuration"]
        == "dejavu.toml: data = kept, device = cpu, port = 8123, object.tries = 7"
    )
    assert "obstore" in told["videos elsewhere"]
    assert "hosts = none" in told["videos elsewhere"]
    assert "tries = 7" in told["videos elsewhere"]
    here.write_text("fsp = 2")
    wrong = run("query", "a star")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "nearest: fps" in wrong.stderr


@pytest.mark.parametrize("kind", [Settings, ServerSettings])
def test_every_setting_is_read_by_what_it_sets(kind: type[Settings | ServerSettings]) -> None:
    root = Path(__file__).parents[1]
    read = set[str]()
    for path in (*root.glob("engine/**/*.py"), *root.glob("api/**/*.py")):
        own = {"self"} if path.name == "config.py" else set[str]()  # a property made of settings
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                holder = ast.unparse(node.value).rpartition(".")[2]
                if holder in HOLDERS | own:
                    read.add(node.attr)
    assert sorted(set(kind.model_fields) - read) == []
