"""What runs on a GPU compiles for one, also where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = {
    "_patchify_kernel", "_product_kernel", "_normalise_kernel", "attend_whole", "attend_edged",
    "decide_groups_kernel", "_correct_kernel", "_copy_rows_kernel", "narrow_kernel",
    "_attend_sized_kernel", "_rank_tokens_kernel", "_match_tokens_kernel", "_merge_tokens_kernel",
    "_measure_change_kernel", "_choose_rows_kernel",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, on which they run")
def test_every_launch_of_the_fused_forwards_compiles() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    ran = subprocess.run(
        [sys.executable, "-m", "tests.vision.fused.compiling"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert set(ran.stdout.split()) >= PROGRAMS
