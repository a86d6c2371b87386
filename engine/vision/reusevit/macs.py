"""Multiply-accumulates of a frame encoded with reuse, from the rows really multiplied."""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from engine.vision.backbone.macs import finish_macs, project_macs, unskippable_macs
from engine.vision.backbone.tower import VisionConfig
from engine.vision.fused.upload import upload
from engine.vision.reusevit.codec import codec_macs
from engine.vision.reusevit.modules import ReuseConfig


def frame_macs(
    tower: VisionConfig, modules: ReuseConfig, reused: Tensor, references: ArrayLike
) -> Tensor:
    """Multiply-accumulates of each frame, float64 `[F]`.

    Args:
        tower: the backbone's shape.
        modules: the reuse modules' shape.
        reused: tokens reused at each gate, `[F, L - 1]`.
        references: how many references each frame was compared with; 0 for a full frame.
    """
    n, width, gates = tower.tokens, tower.width, tower.layers - 1
    patches = n - int(tower.class_token)
    token = finish_macs(tower, 1) + project_macs(tower, 1)
    correction = 2 * 4 * modules.narrow * width
    always = unskippable_macs(tower)
    always += codec_macs(tower.side) if modules.cue != "none" else 0
    importance = n * width if tower.class_token else 0  # the class token's row, computed anew
    rows = reused.double()
    compared = upload(torch.from_numpy(np.asarray(references, np.float64)), reused.device)
    decided = (compared > 0).double() * patches * decision_macs(modules)
    per_gate = importance * gates + gates * (compared * n * width + decided)
    return always + per_gate + (token * (n - rows) + correction * rows).sum(1)


def decision_macs(modules: ReuseConfig) -> int:
    """Multiply-accumulates of one decision."""
    hidden = modules.hidden
    return 6 * hidden + (modules.decision.count("l") - 2) * hidden * hidden + 2 * hidden
