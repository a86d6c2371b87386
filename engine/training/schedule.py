"""The learning rate of a run that is limited by time."""

import math


def warm_cosine(peak: float, warmup: float, done: float) -> float:
    """Rise in a line until the share `warmup` is done, then fall as a cosine to a hundredth."""
    if done < warmup:
        return peak * max(done / warmup, 0.01)
    fall = (done - warmup) / (1 - warmup)
    return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * min(fall, 1.0))) / 2)
