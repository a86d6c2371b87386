"""Training the reuse parts of a frozen tower on its own embeddings."""

from engine.vision.training.reuse.config import TrainConfig
from engine.vision.training.reuse.frames import FrameSource, StoredFrames, Window, WorldFrames
from engine.vision.training.reuse.train import Trainer
from engine.vision.training.reuse.validate import Validation, validate

__all__ = [
    "FrameSource",
    "StoredFrames",
    "TrainConfig",
    "Trainer",
    "Validation",
    "Window",
    "WorldFrames",
    "validate",
]
