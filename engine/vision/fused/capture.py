"""Recording a forward as a CUDA graph."""

from collections.abc import Callable

import torch


def capture(forward: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """Run once on a side stream, so that every kernel is compiled, then record."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side), torch.inference_mode():
        forward()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.inference_mode():
        forward()
    return graph
