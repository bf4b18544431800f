"""The options of the small commands: `show`, `corpora` and `help`."""

from dataclasses import dataclass

from charrnn.config.lists import StrList
from charrnn.config.options import argument, check_fields, option
from charrnn.config.params import Flag, Text


@dataclass(frozen=True)
class ShowConfig:
    """The options of `charrnn show`."""

    model: str | None = argument(Text(), "", metavar="MODEL")

    json: bool = option(Flag(), "One JSON object per model.", default=False)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class CorporaConfig:
    """The options of `charrnn corpora`; `get NAME` comes as two names."""

    name: tuple[str, ...] = argument(StrList(), "", metavar="NAME")

    json: bool = option(Flag(), "One JSON object per corpus.", default=False)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class HelpConfig:
    """The argument of `charrnn help`."""

    topic: str | None = argument(Text(), "", metavar="COMMAND|TOPIC")
