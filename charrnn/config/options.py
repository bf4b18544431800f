"""Options: declared once as fields of a frozen dataclass, and read from four places.

The same declaration gives the command line its flags and help, `CHARRNN_*` their names, a TOML file its keys, and
every value its check. `merge` reads them in that order of precedence.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, field, fields
from pathlib import Path
from typing import Any, TypeVar

from charrnn.config.lists import FieldList, StrList
from charrnn.config.params import Choice, ParamType, Value
from charrnn.config.renamed import renamed, replacement, upgrade
from charrnn.errors import UsageError, did_you_mean

T = TypeVar("T")

PLAN_COMMENT = "# The plan of this run"
"""How a file that the program wrote begins."""

ENVIRONMENT = ("debug", "isa")
"""Variables that stand for no option: CHARRNN_DEBUG, CHARRNN_ISA."""


def option(
    kind: ParamType,
    help: str,  # noqa: A002
    *,
    default: Value = None,
    short: str = "",
    shown: str = "",
    metavar: str = "",
    group: str = "Options",
    has_flag: bool = True,
    has_variable: bool = True,
    unless: tuple[str, ...] = (),
    after: str = "",
) -> Any:
    """Return a dataclass field that is an option.

    Args:
        kind: the values it takes; None is allowed besides, where it is the default.
        help: one sentence for help.
        default: the value where no source gives one.
        short: a one-letter flag.
        shown: what help prints as the default, where the default is worked out later.
        metavar: what stands for the value in help; empty: what the kind has.
        group: the heading in help.
        has_flag: whether the command line has it; else only variable and TOML file do. has_variable: likewise.
        unless: options by whose flags and variables a file's value of this one is left out.
        after: the option that help lists it behind; empty: the one declared before it.
    """
    metadata = {"kind": kind, "help": help, "short": short, "shown": shown, "metavar": metavar or kind.metavar}
    metadata |= {"group": group, "has_flag": has_flag, "has_variable": has_variable, "unless": unless}
    metadata |= {"argument": False, "after": after}
    return field(default=default, metadata=metadata)


def argument(kind: ParamType, help: str, *, metavar: str, shown: str = "") -> Any:  # noqa: A002
    """Return a dataclass field that is a command's argument: one text, or any number where `kind` is a `StrList`."""
    metadata = {"kind": kind, "help": help, "short": "", "shown": shown, "metavar": metavar, "group": "Arguments"}
    several = kind.metavar != "TEXT"
    metadata |= {"has_flag": True, "has_variable": False, "unless": (), "argument": True, "after": ""}
    return field(default=() if several else None, metadata=metadata)


def in_order(config: type) -> list["Field[Any]"]:
    """Return the options and arguments of a configuration as help lists them."""
    listed = [each for each in fields(config) if "kind" in each.metadata]
    for option_ in [each for each in listed if each.metadata["after"]]:
        listed.remove(option_)
        names = [each.name for each in listed]
        listed.insert(names.index(option_.metadata["after"]) + 1, option_)
    return listed


def flag(name: str) -> str:
    """Return the command-line spelling of a field's name."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return the name of the environment variable that gives a field."""
    return "CHARRNN_" + name.upper()


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
        object.__setattr__(config, each.name, _checked(kind.check, value, kind, f"{{{each.name}}}", (each.name,)))


def is_given(config: Any, name: str) -> bool:
    """Return whether an option has another value than its default."""
    return bool(getattr(config, name) != getattr(type(config), name))


def check_together(config: Any, *names: str) -> None:
    """For `__post_init__`: at most one of these options may have a value.

    Raises:
        UsageError: several have.
    """
    given = [name for name in names if is_given(config, name)]
    if len(given) > 1:
        text = " and ".join(f"{{{name}}}" for name in given)
        raise UsageError(f"{text} cannot be used together", given)


def param_types(config: type) -> dict[str, ParamType]:
    """Return the options of a configuration, by name."""
    return {each.name: each.metadata["kind"] for each in fields(config) if "kind" in each.metadata}


def merge(
    config: type[T],
    flags: Mapping[str, str | bool | Iterable[str] | None],
    environ: Mapping[str, str],
    file: Path | None = None,
    **rest: Any,
) -> tuple[T, frozenset[str]]:
    """Build a configuration: flag, else `CHARRNN_NAME`, else the TOML file's key, else the default.

    Args:
        config: a dataclass of `option` and `argument` fields.
        flags: field name to text, or to a value of the right type; None or nothing where it was not given.
        environ: the environment; an empty variable counts as not set. Arguments are not read from it, but the corpus.
        file: a TOML file of top-level keys named as the fields.
        rest: fields that are not options.

    Returns:
        The configuration, and the names of the options that some source gave.

    Raises:
        UsageError: a value cannot be used; the message names the source, the value and the range.
    """
    declared = param_types(config)
    values = read_toml(file, declared) if file is not None else {}
    direct = set()
    for each in fields(config):  # type: ignore[arg-type]
        if "kind" not in each.metadata:
            continue
        kind, given = each.metadata["kind"], flags.get(each.name)
        text = environ.get(variable(each.name), "") if _is_variable(each) else ""
        if given is not None and given != [] and given != ():
            if isinstance(kind, StrList) and isinstance(given, list | tuple):  # an option that was repeated
                values[each.name] = tuple(part for one in given for part in parse(kind, one, each.name))
            else:
                values[each.name] = parse(kind, given, each.name) if isinstance(given, str) else given
        elif text:
            values[each.name] = _checked(kind.parse, text, kind, variable(each.name))
        else:
            continue
        direct.add(each.name)
    for each in fields(config):  # type: ignore[arg-type]
        if each.name not in direct and direct.intersection(each.metadata.get("unless", ())):
            values.pop(each.name, None)
    return config(**values, **rest), frozenset(values)


def parse(kind: ParamType, text: str, name: str) -> Value:
    """Return the value that text on the command line gives an option.

    Raises:
        UsageError: it gives none; the message names the option.
    """
    return _checked(kind.parse, text, kind, f"{{{name}}}", (name,))


def read_toml(path: Path, declared: Mapping[str, ParamType], *, stored: bool = False) -> dict[str, Value]:
    """Return the options that a TOML file sets.

    Args:
        declared: the options there are.
        stored: whether it is a run's own; as in any file that the program wrote, old names of options are understood.

    Raises:
        UsageError: no such file, not valid TOML, an unknown key (the nearest right name is given) or a
            value of the wrong type or range.
    """
    try:
        import tomllib  # takes longer to import than the rest of this module

        text = path.read_bytes().decode("utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"'{path}' is not valid TOML: {error}") from None
    except RecursionError:
        raise UsageError(f"'{path}' holds lists or tables within too many others") from None
    table = {key.replace("-", "_"): (key, value) for key, value in table.items()}
    if stored or text.startswith(PLAN_COMMENT):
        old = {name: value for name, (_, value) in table.items()}
        if not stored and old.get("min_count", 1) != 1:  # how many characters that left is not in the file
            raise UsageError(f"'{path}': " + _unknown_key("min_count", "min_count", declared))
        table = {name: (name, value) for name, value in upgrade(old).items()}
    values = {}
    for name, (key, value) in table.items():
        if name not in declared and isinstance(value, dict):
            raise UsageError(f"'{path}': {key!r} is a table; options stand outside of tables, as in hidden = 64")
        if name not in declared:
            raise UsageError(f"'{path}': " + _unknown_key(key, name, declared))
        values[name] = _checked(declared[name].check, value, declared[name], f"'{path}': {key}")
    return values


def _unknown_key(key: str, name: str, declared: Mapping[str, ParamType]) -> str:
    if now := renamed("train", name):
        return f"{key!r} {now.render(str)}"
    return f"unknown key {key!r}{did_you_mean(name, declared)}"


def unknown_variables(environ: Mapping[str, str], configs: Iterable[type]) -> list[str]:
    """Return a sentence for each variable `CHARRNN_...` that no command reads.

    Args:
        configs: of all commands.
    """
    options = (each for config in configs for each in fields(config))
    known = {each.name for each in options if _is_variable(each)} | {*ENVIRONMENT}
    found = []
    for given in sorted(environ):
        name = given.removeprefix("CHARRNN_").lower()
        if name == given.lower() or name in known:
            continue
        if now := replacement(name):
            found.append(f"{given} is not read: it {now.render(variable, '=')}")
        else:
            near = did_you_mean(name, sorted(known), variable)
            found.append(f"{given} is not read: there is no such option{near}")
    return found


def _is_variable(each: "Field[Any]") -> bool:
    """Return whether the environment gives an option: it gives no argument but the corpus, which a plan stores."""
    return bool(each.metadata["has_variable"]) or each.name == "corpus"


def _checked(
    take: Callable[[Any], Value], value: Any, kind: ParamType, label: str, names: tuple[str, ...] = ()
) -> Value:
    try:
        return take(value)
    except (ValueError, OverflowError) as error:
        hint = error if isinstance(kind, Choice | FieldList) else ""
        raise UsageError(f"{label} must be {kind}, not {str(value)!r}{hint}", names) from None
