"""Clips rendered by processes beside, a few ahead of who takes them."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from engine.world.render import render_sampled
from engine.world.scene import Clip

AHEAD = 16  # clips, for each process


def render_ahead(
    made: Iterable[Clip], *, fps: float, size: int, workers: int
) -> Iterator[tuple[Clip, NDArray[np.uint8]]]:
    """Render clips in order, with their sampled frames; without workers in this process."""
    render = partial(render_sampled, fps=fps, size=size)  # numpy alone: a worker starts at once
    if workers == 0:
        yield from ((clip, render(clip)) for clip in made)
        return
    waiting = iter(made)
    ahead: deque[tuple[Clip, Future[NDArray[np.uint8]]]] = deque()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        while True:
            more = islice(waiting, AHEAD * workers - len(ahead))
            ahead += ((each, pool.submit(render, each)) for each in more)
            if not ahead:
                return
            clip, planes = ahead.popleft()
            yield clip, planes.result()
