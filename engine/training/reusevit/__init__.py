"""Training the reuse modules of a frozen tower on its own embeddings."""

from engine.training.reusevit.config import ReuseTraining
from engine.training.reusevit.frames import FrameSource, StoredFrames, Window, WorldFrames
from engine.training.reusevit.train import Trainer
from engine.training.reusevit.validate import Validation, validate

__all__ = [
    "FrameSource",
    "ReuseTraining",
    "StoredFrames",
    "Trainer",
    "Validation",
    "Window",
    "WorldFrames",
    "validate",
]
