"""Options: declared once as fields of a frozen dataclass, read from four places, and refused in one voice.

The same declaration gives the command line its flags and help, `CHARRNN_*` their names, a TOML file its keys, and
every value its check. `merge` reads them in that order of precedence.
"""

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any, TypeVar

from charrnn.config.params import Choice, ParamType, Value
from charrnn.errors import UsageError

T = TypeVar("T")


def option(
    kind: ParamType,
    help: str,  # noqa: A002
    *,
    default: Value = None,
    short: str = "",
    shown: str = "",
    group: str = "Options",
) -> Any:
    """A dataclass field that is an option.

    Args:
        kind: the values it takes; None is allowed besides, where it is the default.
        help: one sentence for `--help`.
        default: what holds where no source names it.
        short: a one-letter flag.
        shown: what `--help` says of the default, where the default is worked out later.
        group: the heading in `--help`.
    """
    metadata = {"kind": kind, "help": help, "short": short, "shown": shown, "group": group}
    return field(default=default, metadata=metadata)


def flag(name: str) -> str:
    """The command-line spelling of a field's name."""
    return "--" + name.replace("_", "-")


def check_fields(config: Any) -> None:
    """For `__post_init__`: check and normalise every option of a frozen dataclass.

    Raises:
        UsageError: a value is of the wrong type or out of range.
    """
    for each in fields(config):
        value = getattr(config, each.name)
        if "kind" not in each.metadata or (value is None and each.default is None):
            continue
        kind: ParamType = each.metadata["kind"]
        object.__setattr__(config, each.name, _checked(kind.check, value, flag(each.name), kind))


def param_types(config: type) -> dict[str, ParamType]:
    """The options of a configuration, by name."""
    return {each.name: each.metadata["kind"] for each in fields(config) if "kind" in each.metadata}


def merge(
    config: type[T],
    flags: Mapping[str, str | bool | tuple[str, ...] | None],
    environ: Mapping[str, str],
    file: Path | None = None,
    **rest: Any,
) -> tuple[T, frozenset[str]]:
    """Build a configuration: flag, else `CHARRNN_NAME`, else the TOML file's key, else the default.

    Args:
        config: a dataclass of `option` fields.
        flags: field name to text, or to a value of the right type; None where the flag was not given.
        environ: the environment; an empty variable counts as not set.
        file: a TOML file of top-level keys named as the fields.
        rest: fields that are no options.

    Returns:
        The configuration, and the names of the options that some source gave.

    Raises:
        UsageError: a value cannot be used; the message names the source, the value and the range.
    """
    values = read_toml(file, param_types(config)) if file is not None else {}
    for name, kind in param_types(config).items():
        variable = "CHARRNN_" + name.upper()
        text = flags.get(name)
        label = flag(name)
        if text is None and environ.get(variable):
            text, label = environ[variable], variable
        if text is not None:
            values[name] = parse(kind, text, label) if isinstance(text, str) else text
    return config(**values, **rest), frozenset(values)


def parse(kind: ParamType, text: str, label: str) -> Value:
    """`kind.parse`, with a refusal that names where the text came from."""
    return _checked(kind.parse, text, label, kind)


def read_toml(path: Path, declared: Mapping[str, ParamType]) -> dict[str, Value]:
    """The options a TOML file sets.

    Raises:
        UsageError: no such file, no TOML, an unknown key (the nearest right name is told) or a
            value of the wrong type or range.
    """
    try:
        table = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"'{path}' is no TOML: {error}") from None
    values = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in declared:
            near = difflib.get_close_matches(name, declared, 1, cutoff=0.5)
            raise UsageError(f"'{path}': unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        values[name] = _checked(declared[name].check, value, f"'{path}': {key}", declared[name])
    return values


def _checked(take: Callable[[Any], Value], value: Any, label: str, kind: ParamType) -> Value:
    try:
        return take(value)
    except (ValueError, OverflowError) as error:
        hint = f"; {error}" if isinstance(kind, Choice) and str(error) else ""
        raise UsageError(f"{label} must be {kind}, not {str(value)!r}{hint}") from None
