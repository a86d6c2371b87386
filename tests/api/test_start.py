"""The beginning of the program."""

import subprocess
import sys

import pytest

from api.cli import start
from engine import __version__


class Interrupted:
    """Finds no module, but is interrupted while it looks for the commands."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "api.cli.main":
            raise KeyboardInterrupt


def test_control_c_while_importing_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "api.cli.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        start.main()
    assert ended.value.code == 130


def test_the_module_runs_as_the_program_does() -> None:
    command = [sys.executable, "-m", "api.cli.start", "--version"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip().endswith(__version__)


def test_nothing_heavy_comes_before() -> None:
    program = "import sys, api.cli.start; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
