"""What the name of a model says besides where it lies: `NAME?dim=256&prompt=query: {}`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from engine.errors import UsageError, unknown
from engine.knowledge import BUILTIN

Form = Literal["input", "messages", "modality"]
SIZE = 384  # of pictures that are sent to a server
SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model's name, taken apart."""

    base: str  # a folder, an id, or the URL of embeddings
    dim: int | None = None  # numbers of a vector that are kept, of a model that allows it
    prompt: str | None = None  # how a text to look for is asked, with {} for it
    form: Form = "input"  # in which a server takes pictures
    size: int = SIZE
    timeout: float = SECONDS  # for one reply of a server

    @property
    def is_url(self) -> bool:
        """Whether vectors come from a server."""
        return self.base.startswith(("http://", "https://"))

    @property
    def identity(self) -> str:
        """What of the options makes other vectors."""
        return "" if self.dim is None else f" dim {self.dim}"

    def asked(self, text: str) -> str:
        """Return a text as the model is asked for it."""
        return text if self.prompt is None else self.prompt.replace("{}", text)


_SERVERS = ("form", "size", "timeout")
_OPTIONS = ("dim", "prompt", *_SERVERS)


def parse_name(name: str) -> ModelName:
    """Take a name apart; an option that there is not, or a value that cannot be, is refused."""
    base, mark, told = name.rpartition("?")
    if not mark or Path(name).expanduser().exists():
        return ModelName(name)
    if base == BUILTIN:
        raise UsageError(f"model {name!r}; allowed: {BUILTIN} without options")
    found: dict[str, Any] = {}
    for each in told.split("&"):
        option, equals, value = each.partition("=")
        if option not in _OPTIONS or not equals:
            raise UsageError(unknown(f"option of the model {base!r}", option, _OPTIONS))
        if option in _SERVERS and not ModelName(base).is_url:
            raise UsageError(f"option {option} of the model {base!r}; allowed: of a URL alone")
        found[option] = _value(option, value)
    return ModelName(base, **found)


def _value(option: str, value: str) -> Any:
    if option == "form":
        if value not in get_args(Form):
            raise UsageError(unknown("form", value, get_args(Form)))
        return value
    if option == "prompt":
        if "{}" not in value:
            raise UsageError(f"prompt {value!r}; allowed: a text with {{}} where the query stands")
        return value
    kind = float if option == "timeout" else int
    try:
        number = kind(value)
    except ValueError:
        number = kind(0)
    if not 0 < number < 1e5:
        raise UsageError(f"{option} {value!r} of a model; allowed: a number above 0")
    return number
