"""The models that statements ask of stored videos, each loaded when it is first needed."""

from typing import Any

from engine.acting import StoredActions
from engine.config import Settings
from engine.detecting import StoredDetections
from engine.storage.store import Store


class ModelsOnDemand:
    """An action model and a detector over one store."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._actions = StoredActions(store, settings)
        self._detections = StoredDetections(store, settings)

    def reached(self) -> dict[str, Any]:
        """What the context of a statement reaches of them."""
        return {"actions": lambda: self._actions, "detections": lambda: self._detections}
