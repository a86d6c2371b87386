"""Multiply-accumulates of the towers, counted by rows really multiplied."""

from engine.vision.backbone.tower import VisionConfig


def embed_macs(config: VisionConfig) -> int:
    """Patch embedding of one frame."""
    macs, edge, channels = 0, config.patch, 3 * config.tubelet
    for step, made in config.stem or ((config.patch, config.width),):
        macs += (edge // step) ** 2 * step**2 * channels * made
        edge, channels = edge // step, made
    return config.side**2 * macs


def head_macs(config: VisionConfig) -> int:
    """Pooling and projection of one frame."""
    projection = config.width * config.dimension if config.projection else 0
    if config.by_class:
        return projection
    d, n, mlp = config.width, config.tokens, config.pool.mlp
    return d * d + 2 * n * d * d + 2 * n * d + d * d + 2 * d * mlp + projection


def project_macs(config: VisionConfig, rows: int) -> int:
    """Queries, keys and values of `rows` tokens."""
    return 3 * rows * config.width**2


def attend_macs(config: VisionConfig, queries: int, keys: int | None = None) -> int:
    """Scores and weighted sum of `queries` tokens over so many keys and values; None: all N."""
    return 2 * queries * (config.tokens if keys is None else keys) * config.width


def out_macs(config: VisionConfig, rows: int) -> int:
    """Out-projection of `rows` tokens."""
    return rows * config.width**2


def mlp_macs(config: VisionConfig, rows: int) -> int:
    """MLP of `rows` tokens."""
    return 2 * rows * config.width * config.mlp


def finish_macs(config: VisionConfig, rows: int) -> int:
    """Out-projection and MLP of `rows` tokens."""
    return out_macs(config, rows) + mlp_macs(config, rows)


def unskippable_macs(config: VisionConfig) -> int:
    """What is left of one frame where all tokens are reused after each layer's attention."""
    last = 1 if config.by_class else config.tokens
    return (
        embed_macs(config)
        + project_macs(config, config.tokens)
        + config.layers * attend_macs(config, config.tokens)
        + finish_macs(config, last)
        + head_macs(config)
    )


def dense_macs(config: VisionConfig) -> int:
    """One frame, the last layer's token-wise work for the class token alone where there is one."""
    n, gates = config.tokens, config.layers - 1
    return unskippable_macs(config) + gates * (project_macs(config, n) + finish_macs(config, n))
