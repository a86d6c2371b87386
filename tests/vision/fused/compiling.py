"""Compile every launch of the fused forwards for a Hopper GPU, on a machine without one.

Run by itself, outside Triton's interpreter: a launch is compiled and not run.
"""

import sys
from copy import deepcopy
from typing import Any

import torch
from triton import compile as compile_triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction
from triton.tools.tensor_descriptor import TensorDescriptor

import kernels.launch
from engine.vision.backbone.precision import quantise
from engine.vision.backbone.tower import VisionConfig, VisionTower

TARGET = GPUTarget("cuda", 90, 32)
TYPES = {
    torch.bfloat16: "bf16", torch.float32: "fp32", torch.int64: "i64", torch.int32: "i32",
    torch.int8: "i8", torch.uint8: "u8", torch.bool: "i1", torch.float8_e4m3fn: "fp8e4nv",
}  # fmt: skip
TOWERS = (
    VisionConfig(2, 1024, 16, 4096, 14, 224, 768),  # patches in whole blocks
    VisionConfig(2, 768, 12, 3072, 16, 224, 512),  # and with an edge behind them
)
done: set[str] = set()


def describe(value: Any) -> tuple[str, bool]:
    """Return the type that Triton gives an argument, and whether sixteen divides it."""
    if isinstance(value, torch.Tensor):
        return f"*{TYPES[value.dtype]}", True
    if isinstance(value, TensorDescriptor):
        return f"tensordesc<{TYPES[value.base.dtype]}{list(value.block_shape)}>", False
    return ("fp32", False) if isinstance(value, float) else ("i32", value % 16 == 0)


def compile_launch(self: JITFunction, *args: Any, grid: Any, warmup: bool, **given: Any) -> None:
    """Stand in for a launch."""
    options = {name: given.pop(name) for name in ("num_warps", "num_stages") if name in given}
    values = dict(zip(self.arg_names, args, strict=False)) | given
    signature: dict[str, str] = {}
    fixed: dict[str, Any] = {}
    attributes = {}
    for at, parameter in enumerate(self.params):
        name, value = parameter.name, values[parameter.name]
        if parameter.is_constexpr or value is None or (isinstance(value, int) and value == 1):
            signature[name], fixed[name] = "constexpr", value
            continue
        signature[name], divisible = describe(value)
        if divisible:
            attributes[(at,)] = [["tt.divisibility", 16]]
    key = f"{self.fn.__name__} {signature} {fixed} {options}"
    if key not in done:
        done.add(key)
        source = ASTSource(fn=self, signature=signature, constexprs=fixed, attrs=attributes)
        compile_triton(source, target=TARGET, options=options)
        sys.stdout.write(f"{self.fn.__name__}\n")


def run_all() -> None:
    """Run the forwards of small stacks of real layers, on whatever the buffers hold."""
    from engine.vision.earlygate.fused import FusedGate
    from engine.vision.earlygate.limits import Limits
    from engine.vision.earlygate.strategy import SOURCES
    from engine.vision.fused.dense import FusedDense
    from engine.vision.reusevit.forward import serve
    from engine.vision.reusevit.fused import FusedReuse
    from engine.vision.reusevit.parts import ReuseConfig, ReuseParts

    for config in TOWERS:
        tower = VisionTower(config).to(torch.bfloat16).eval().requires_grad_(False)
        both = tower, quantise(deepcopy(tower))
        for each in both:
            FusedDense(each, 1).run(1)
    for each in both:
        for narrow, slots in ((64, 4), (0, 1)):
            parts = ReuseParts(config, ReuseConfig(narrow=narrow, cue="none"))
            FusedReuse(each, serve(parts, each), streams=1).run(slots, 1)
        FusedGate(each, Limits.uniform(config, 0.2), SOURCES, 1).run()


if __name__ == "__main__":
    JITFunction.run = compile_launch
    # kernels were told by `launch` where they run when they were imported: tell them again
    kernels.launch.runs_triton.__code__ = (lambda _: True).__code__
    with torch.inference_mode():
        run_all()
