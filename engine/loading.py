"""The model of an engine: known by its files at once, loaded when it is first needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from engine.config import Settings
from engine.errors import ModelError
from engine.storage.known_texts import KnownTexts
from engine.storage.store import Store
from engine.vision.backbone.device import check_device
from engine.vision.backbone.locate import fingerprint
from engine.vision.backbone.named import parse_name

if TYPE_CHECKING:
    from engine.vision.model import Model

_FEW_TEXTS = 8  # at once: a search's; more are a measurement's, which keeps what came of it


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Which model was asked for, and what tells its files from others without reading them."""

    settings: Settings
    fingerprint: str

    @classmethod
    def find(cls, settings: Settings) -> Self:
        """Find the files; a model or a device that cannot be meant is refused."""
        check_device(settings.device)
        told = fingerprint(settings.model, settings.revision)
        return cls(settings, f"{settings.precision} {told}")


class ModelOnDemand:
    """A model that takes seconds and hundreds of megabytes, and that much work never needs.

    Which space it gives is kept in the catalog; embedding loads it, from whatever thread, once.
    """

    def __init__(self, files: ModelFiles, store: Store) -> None:
        self._files = files
        self._store = store
        self._lock = RLock()
        self._model: Model | None = None
        self._space: str | None = None
        self._texts = KnownTexts(store.layout.texts, writable=not store.read_only)

    @property
    def space(self) -> str:
        """The key of the model's space, which becomes the one in use."""
        with self._lock:
            if self._space is None:
                known = self._store.models.space_of(self._files.fingerprint)
                self._space = known or self.load().space.key
                self._use(self._space)
            return self._space

    @property
    def known_space(self) -> str | None:
        """The key of the model's space where the catalog has it; nothing is loaded or changed."""
        return self._space or self._store.models.space_of(self._files.fingerprint)

    def _use(self, key: str) -> None:
        """Make a space the one in use; a reader only looks whether anything is embedded in it."""
        current = self._store.catalog.current_space()
        if self._store.read_only:
            self._store.catalog.space(key)
        elif current is None or current.key != key:
            self._store.catalog.use_space(key)

    def load(self) -> "Model":
        """Return the model, loaded once."""
        with self._lock:
            if self._model is None:
                self._model = self._load()
            return self._model

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors `[T, E]`; those of texts that were looked for lately need no model."""
        if not 0 < len(texts) <= _FEW_TEXTS:
            return self.load().embed_texts(texts)
        named = parse_name(self._files.settings.model)
        asked = {named.asked(text): text for text in texts}
        return self._texts.get(
            self.space,
            [named.asked(text) for text in texts],
            lambda lacking: self.load().embed_texts([asked[each] for each in lacking]),
        )

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unit vectors `[n, E]`."""
        return self.load().embed_images(images)

    def _load(self) -> "Model":
        from engine.vision.model import load_model  # torch and transformers: seconds

        settings = self._files.settings
        model = load_model(
            settings.model,
            device=settings.device,
            revision=settings.revision,
            precision=settings.precision,
        )
        if not self._store.read_only:
            self._store.catalog.add_space(model.space)
            self._store.models.note(self._files.fingerprint, model.space.key)
        if self._space not in (None, model.space.key):
            raise ModelError(
                f"model {settings.model!r} no longer gives the space {self._space}, though the"
                " sizes and times of its files are the same; open the engine again"
            )
        return model


class ModelBeside(ModelOnDemand):
    """A model that is asked beside the engine's own: its space does not become the one in use."""

    def _use(self, key: str) -> None:
        self._store.catalog.space(key)
