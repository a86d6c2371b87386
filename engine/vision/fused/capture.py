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
    # other threads may copy meanwhile: only this one's calls are held to what a graph can record
    mode = "thread_local"
    with torch.cuda.graph(graph, capture_error_mode=mode), torch.inference_mode():
        forward()
    return graph
