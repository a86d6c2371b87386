"""Compile every launch of the fused forwards for a Hopper GPU, on a machine without one.

Run by itself, outside Triton's interpreter: a launch is compiled and not run.
"""

import sys
from copy import deepcopy
from dataclasses import dataclass, field
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


def describe(value: Any, path: tuple[int, ...], launch: "Launch") -> Any:
    """Return the type that Triton gives an argument; note its constants and what 16 divides."""
    if isinstance(value, tuple):
        return tuple(describe(each, (*path, at), launch) for at, each in enumerate(value))
    if value is None or (isinstance(value, int) and value == 1):
        launch.fixed[path] = value
        return "constexpr"
    if isinstance(value, TensorDescriptor):
        return f"tensordesc<{TYPES[value.base.dtype]}{list(value.block_shape)}>"
    if isinstance(value, float):
        return "fp32"
    if isinstance(value, torch.Tensor) or value % 16 == 0:
        launch.attributes[path] = [["tt.divisibility", 16]]
    return f"*{TYPES[value.dtype]}" if isinstance(value, torch.Tensor) else "i32"


@dataclass(frozen=True)
class Launch:
    """What a launch says beside the types of its arguments, by their path."""

    fixed: dict[tuple[int, ...], Any] = field(default_factory=dict)
    attributes: dict[tuple[int, ...], list[list[Any]]] = field(default_factory=dict)


def compile_launch(self: JITFunction, *args: Any, grid: Any, warmup: bool, **given: Any) -> None:
    """Stand in for a launch."""
    options = {name: given.pop(name) for name in ("num_warps", "num_stages") if name in given}
    values = dict(zip(self.arg_names, args, strict=False)) | given
    signature: dict[str, Any] = {}
    launch = Launch()
    for at, parameter in enumerate(self.params):
        name, value = parameter.name, values[parameter.name]
        if parameter.is_constexpr:
            signature[name], launch.fixed[(at,)] = "constexpr", value
        else:
            signature[name] = describe(value, (at,), launch)
            if isinstance(value, tuple) and hasattr(value, "_fields"):
                signature[name] = type(value)(*signature[name])
    key = f"{self.fn.__name__} {signature} {launch.fixed} {options}"
    if key not in done:
        done.add(key)
        source = ASTSource(
            fn=self, signature=signature, constexprs=launch.fixed, attrs=launch.attributes
        )
        compile_triton(source, target=TARGET, options=options)
        sys.stdout.write(f"{self.fn.__name__}\n")


def run_all() -> None:
    """Run the forwards of small stacks of real layers, on whatever the buffers hold."""
    from engine.vision.earlygate.fused import FusedGate
    from engine.vision.earlygate.limits import FixedLimits
    from engine.vision.emulated.fused import FusedEmulated
    from engine.vision.emulated.rules import Farther, Farthest
    from engine.vision.eventful.fused import FusedEventful
    from engine.vision.fused.dense import FusedDense
    from engine.vision.merging.diffrate import DiffRate
    from engine.vision.merging.fused import FusedMerging
    from engine.vision.merging.rates import Rates
    from engine.vision.merging.tome import ToMe
    from engine.vision.reusevit.fused import FusedReuse
    from engine.vision.reusevit.modules import ReuseConfig, ReuseModules
    from engine.vision.reusevit.plain import serve

    for config in TOWERS:
        tower = VisionTower(config).to(torch.bfloat16).eval().requires_grad_(False)
        both = tower, quantise(deepcopy(tower))
        for each in both:
            FusedDense(each, 1).run(1)
    for each in both:
        for narrow, slots in ((64, 4), (0, 1)):
            parts = ReuseModules(config, ReuseConfig(narrow=narrow, cue="none"))
            FusedReuse(each, serve(parts, each), streams=1).run(slots, 1)
        FusedGate(each, FixedLimits.uniform(config, 0.2), 1).run()
        n = config.tokens
        for rule in (DiffRate(Rates((n - 9, n), (n - 20, n))), ToMe(9, config.layers)):
            FusedMerging(each, rule, 1).run(1)
        FusedEventful(each, 20, 1).run(1)
        for change in (Farthest(20, n - 1), Farther(9.0)):
            FusedEmulated(each, change, 1).run(1)


if __name__ == "__main__":
    JITFunction.run = compile_launch
    # kernels were told by `launch` where they run when they were imported: tell them again
    kernels.launch.runs_triton.__code__ = (lambda _: True).__code__
    torch.empty = torch.zeros  # places that no kernel writes are looked up on the way
    with torch.inference_mode():
        run_all()
