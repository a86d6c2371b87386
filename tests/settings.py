"""`make settings`: tests under what changes how a processor's libraries sum, and in other orders.

Each setting is a process of its own: kernels of OpenBLAS (numpy, FAISS) and MKL (torch) for other
processors, torch's own loops without vectors, several threads, tests in another order, products
that sum a row by its place. As a pytest plugin (`-p tests.settings`) this file makes the last two.
"""

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

FOLDERS = (
    "kernels", "vision", "training", "answering", "search", "operators", "planner", "storage",
)  # fmt: skip
ORDER, BY_PLACE = "TEST_ORDER_SEED", "TEST_SUMS_BY_PLACE"
SETTINGS: dict[str, dict[str, str]] = {
    "nothing set": {},
    "OpenBLAS for Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "OpenBLAS for Haswell, small cache": {
        "OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "512",
    },
    "OpenBLAS for SkylakeX": {"OPENBLAS_CORETYPE": "SkylakeX"},
    "OpenBLAS for Zen": {"OPENBLAS_CORETYPE": "Zen"},
    "MKL by AVX2": {"MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "MKL by SSE4.2": {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "torch without vectors": {"ATEN_CPU_CAPABILITY": "default"},
    "torch without vectors, 4 threads": {
        "ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "4",
    },
    "torch by AVX2, 2 threads": {"ATEN_CPU_CAPABILITY": "avx2", "OMP_NUM_THREADS": "2"},
    "shuffled by seed 1": {ORDER: "1"},
    "shuffled by seed 2": {ORDER: "2"},
    "sums by place": {BY_PLACE: "1"},
}  # fmt: skip
MADE = {name for setting in SETTINGS.values() for name in setting}
PRODUCTS = {
    torch.nn.functional.linear,
    torch.nn.functional.scaled_dot_product_attention,
    torch.matmul,
    torch.mm,
    torch.bmm,
    torch.baddbmm,
    torch.addmm,
    torch.einsum,
    Tensor.matmul,
    Tensor.__matmul__,
    Tensor.mm,
    Tensor.bmm,
}


class SumsByPlace(TorchFunctionMode):
    """Products off by a few last bits, by their shape and place: those of no library in particular.

    The same product gives the same bits; a row in another batch or place does not. Sums of whole
    numbers stay exact, as they are in any order.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func not in PRODUCTS or out.dtype is not torch.float32 or all(map(_whole, args)):
            return out
        draw = torch.Generator().manual_seed(out.numel())
        off = 1 + 1e-6 * (torch.rand(out.shape, generator=draw) - 0.5)
        return out.mul_(off) if (kwargs or {}).get("out") is not None else out * off


def _whole(argument: object) -> bool:
    """Whether an operand's sums are exact."""
    return not isinstance(argument, Tensor) or bool((argument == argument.round()).all())


def pytest_configure(config: pytest.Config) -> None:
    """Let products sum by place, where that is the setting."""
    if BY_PLACE in os.environ:
        mode = SumsByPlace()
        mode.__enter__()
        config.add_cleanup(lambda: mode.__exit__(None, None, None))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Shuffle the files, and the tests of each: fixtures of a file are still made once."""
    if ORDER not in os.environ:
        return
    draw = random.Random(int(os.environ[ORDER]))
    places = {path: draw.random() for path in dict.fromkeys(item.path for item in items)}
    draw.shuffle(items)
    items.sort(key=lambda item: places[item.path])


def main() -> None:
    """Run the tests named, or those that compute, under the settings; print what came of each."""
    reader = argparse.ArgumentParser(description=main.__doc__)
    reader.add_argument("--only", action="append", choices=SETTINGS, help="of the settings")
    reader.add_argument("tests", nargs="*", default=[f"tests/{folder}" for folder in FOLDERS])
    given = reader.parse_args()
    runs = [_run(name, SETTINGS[name], given.tests) for name in given.only or SETTINGS]
    sys.exit(0 if all(runs) else 1)


def _run(name: str, setting: dict[str, str], targets: list[str]) -> bool:
    """Run the tests under one setting and print its line, and the run where one failed."""
    started = perf_counter()
    rest = {key: value for key, value in os.environ.items() if key not in MADE}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.settings", "-m", "not slow", *targets],
        env=rest | {"OMP_NUM_THREADS": "1"} | setting,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        sys.stdout.write(run.stdout + run.stderr)
    summary = next((line for line in reversed(run.stdout.splitlines()) if " in " in line), "failed")
    sys.stdout.write(f"{name:34} {summary} ({perf_counter() - started:.0f} s)\n")
    sys.stdout.flush()
    return run.returncode == 0


if __name__ == "__main__":
    main()
