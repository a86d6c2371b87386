"""What a server runs on: its model, its store, its limits, and what is known of them."""

from pydantic import BaseModel, ConfigDict, Field

from schemas.query import example


class ScoresOut(BaseModel):
    """A table of a model's card."""

    title: str
    note: str = Field(description="how it was measured")
    head: list[str]
    rows: list[list[str]] = Field(description="each with the name of what was measured first")


class CardOut(BaseModel):
    """What a model's makers say of it."""

    about: str
    facts: list[list[str]] = Field(description="pairs of a name and what it is")
    scores: list[ScoresOut]
    limits: list[str] = Field(description="what it cannot")


class CheckedOut(BaseModel):
    """What `models check` found of a model, on this data folder."""

    checked_at: str
    good_for: str = Field(description="what it can be used for, as far as it was seen")
    lines: list[str] = Field(description="its card, in words; one line where it cannot be read")


class NullOut(BaseModel):
    """How unrelated texts and frames of this store score: about normally."""

    middle: float = Field(description="the centred cosine that half of them stay below")
    width: float = Field(description="the standard deviation")
    clear: float = Field(description="from which a match is called clear")
    chance: float = Field(description="the share of unrelated pairs that score so high")
    rows: int = Field(description="of the store when it was measured")


class ModelOut(BaseModel):
    """The model that embeds pictures and texts."""

    name: str = Field(description="as it was asked for")
    space: str = Field(description="the key of its embedding space")
    dimensions: int
    revision: str = Field(description="the hub's commit, or local")
    weights: str = Field(description="their SHA-256")
    precision: str = Field(description="of the space: fp8, or bf16, which all finer ones count as")
    computed: str = Field(description="the numbers that its tower computes with on this device")
    device: str
    caution: str | None = Field(description="what has to be known before it is relied on")
    card: CardOut | None = Field(description="of the built-in model; null: another's own holds")
    checked: CheckedOut | None = Field(description="null: `models check` was not run for it here")
    null: NullOut | None = Field(description="null: no match was held against chance here yet")
    actions: str = Field(description="the model behind ACTION")
    detector: str | None = Field(description="the model behind detections; null: none")


class IngestOut(BaseModel):
    """How a video is embedded unless it is told otherwise."""

    fps: float = Field(description="sampled frames a second of video")
    strategy: str
    max_drift: float | None = Field(description="the bound; null: nothing is promised")
    decoder: str
    decode_gate: bool = Field(description="unchanging groups of pictures may stay undecoded")


class IndexOut(BaseModel):
    """The index of one embedding space."""

    space: str
    kind: str = Field(description="as flat or ivf2000,fp16; none before the first build")
    rows: int = Field(description="that a search sees")
    waiting: int = Field(description="of them searched exactly until they are merged")
    state: str = Field(description="ready, or what is the matter")


class StoreOut(BaseModel):
    """What is stored."""

    videos: dict[str, int] = Field(description="how many stand how")
    embedded: dict[str, int] = Field(description="how many are embedded how far")
    seconds: float = Field(description="of all videos together")
    indexes: list[IndexOut]


class SettingsOut(BaseModel):
    """All of it; nothing here can be changed over HTTP."""

    model_config = ConfigDict(
        json_schema_extra=example(
            role="read",
            versions={"dejavu-engine": "0.1.0", "python": "3.11.9", "torch": "2.13.0"},
            model={
                "name": "builtin",
                "space": "builtin-9b2a7dbeacbb",
                "dimensions": 256,
                "revision": "local",
                "weights": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "precision": "bf16",
                "computed": "float32",
                "device": "cpu",
                "caution": "the built-in model knows made-up clips only",
                "card": None,
                "checked": None,
                "null": {"middle": 0.0, "width": 0.1, "clear": 0.23, "chance": 0.01, "rows": 900},
                "actions": "builtin",
                "detector": None,
            },
            ingest={
                "fps": 2.0,
                "strategy": "auto",
                "max_drift": 0.02,
                "decoder": "auto",
                "decode_gate": False,
            },
            store={
                "videos": {"ready": 2},
                "embedded": {"complete": 2},
                "seconds": 9.0,
                "indexes": [],
            },
            limits={"sql_seconds": 60.0, "max_queries": 4},
        )
    )

    role: str = Field(description="what the key that was sent allows")
    versions: dict[str, str]
    model: ModelOut
    ingest: IngestOut
    store: StoreOut
    limits: dict[str, float | str] = Field(description="by the names of their settings")
