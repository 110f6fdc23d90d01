"""From a TOML file to a checked run configuration: merging VMs, applying options, reporting problems.

Owns the way there. What the keys mean is in `coordinator.config.model`; no guest is read or built here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from coordinator.config import places
from coordinator.config.descriptions import descriptions
from coordinator.config.errors import ConfigError, Problem
from coordinator.config.model import PROGRAM_KEYS, Run
from coordinator.config.offer import isa_problems
from coordinator.config.settings import Setting, laid_over
from coordinator.paths import shipped_configs
from hart.spelling import nearest

KeyPath = places.KeyPath
Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Config:
    """A run configuration and where it comes from.

    Attributes:
        source: the file's name as given, for messages.
        directory: what the paths in it are relative to.
        run: its content; every VM complete.

    """

    source: str
    directory: Path
    run: Run
    _blame: _Blame = field(repr=False, compare=False)

    def problem(self, vm: str, key: KeyPath, message: str) -> Problem:
        """What is wrong with `key` (a path within a VM) of VM `vm`, at the place where the file says it."""
        value: object = self.run.vms[vm]
        for part in key:
            value = getattr(value, str(part)) if isinstance(value, BaseModel) else value[part]  # type: ignore[index]
        return self._blame.at(("vms", vm, *key), message, value)


@dataclass(frozen=True, slots=True)
class Overrides:
    """Command-line options, laid over every VM of the run; None leaves the config's value."""

    harts: int | None = None
    isa: str | None = None
    policy: str | None = None
    tier: str | None = None
    seed: int | None = None
    max_instructions: int | None = None
    timeout: float | None = None
    trace: str | None = None
    record: str | None = None
    profile: bool | None = None

    def apply(self, vm: Table) -> None:
        """Put what is given into a VM's table."""
        for option, path in _OPTION_PATHS.items():
            value = getattr(self, option)
            if value is None:
                continue
            *tables, key = path
            table = vm
            for name in tables:
                inner = table.get(name)
                table[name] = table = dict(inner) if isinstance(inner, dict) else {}
            table[key] = value
        if self.isa is not None:
            vm["isa"] = {"base": self.isa}

    def option_of(self, path: KeyPath) -> str | None:
        """The option that a key's value comes from, or None where it is the file's."""
        for option, at in _OPTION_PATHS.items():
            if at == path and getattr(self, option) is not None:
                return "--" + option.replace("_", "-")
        return None


UNNAMED_VM = "vm"
"""What the VM of a file is called that has `[vm]` alone."""

_OPTION_PATHS: dict[str, tuple[str, ...]] = {
    "harts": ("harts",),
    "isa": ("isa", "base"),
    "policy": ("policy",),
    "tier": ("tier",),
    "seed": ("seed",),
    "max_instructions": ("limits", "max_instructions"),
    "timeout": ("limits", "timeout_s"),
    "trace": ("record", "trace"),
    "record": ("record", "memory"),
    "profile": ("record", "profile"),
}
assert set(_OPTION_PATHS) == {f.name for f in fields(Overrides)}


def open_run(path: Path, overrides: Overrides = Overrides(), settings: Sequence[Setting] = ()) -> Config:
    """The configuration that `path` names: one in a file, one that comes along, or a program by itself.

    `settings` are laid over what is in the file.

    Raises:
        ConfigError: as `load` and `for_program`.

    """
    path = _find(path, shipped_configs())
    return (load if path.suffix == ".toml" else for_program)(path, overrides, settings)


def _find(path: Path, shipped: Mapping[str, Path]) -> Path:
    """The file that `path` means: itself or, where it is no file but a bare name, the one of `shipped` so called.

    Raises:
        ConfigError: a bare name that nothing has; offers the nearest.

    """
    if path.exists() or path.suffix or len(path.parts) != 1:
        return path
    if path.name not in shipped:
        hint = nearest(path.name, shipped) or "; 'hartstorm configs list' shows them"
        raise ConfigError(
            str(path), [Problem("", f"neither a file nor a configuration that comes along{hint}")]
        )
    return shipped[path.name]


@dataclass(frozen=True, slots=True)
class Document:
    """A TOML file as it was read, unchecked.

    Attributes:
        source: the file's name as given, for messages.
        directory: what the paths in it are relative to.
        table: its content.
        lines: where each key stands.

    """

    source: str
    directory: Path
    table: Table
    lines: Mapping[KeyPath, int]


def read_document(path: Path, shipped: Mapping[str, Path]) -> Document:
    """The TOML file at `path`, or that of `shipped`, those that come along, by that name.

    Raises:
        ConfigError: it cannot be read, or is not TOML.

    """
    path = _find(path, shipped)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(str(path), [Problem("", f"cannot be read: {reason}")]) from error
    return parse_document(text, str(path), path.parent)


def parse_document(text: str, source: str, directory: Path) -> Document:
    """The TOML document `text`; raises ConfigError if it is none."""
    import tomllib  # here, because a program that runs without a configuration needs none

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, at = str(error).rpartition(" (at ")
        line = int(at.split()[1].rstrip(",")) if at.startswith("line ") else text.count("\n") + 1
        raise ConfigError(source, [Problem("", f"not TOML: {message or error}", line=line)]) from error
    return Document(source, directory, table, places.key_lines(text))


def load(path: Path, overrides: Overrides = Overrides(), settings: Sequence[Setting] = ()) -> Config:
    """Read and check the run configuration at `path`, or the one that comes along by that name.

    Raises:
        ConfigError: it cannot be read, is not TOML, or does not fit the model; lists every problem.

    """
    return check(read_document(path, shipped_configs()), overrides, settings)


def loads(text: str, source: str, directory: Path, overrides: Overrides = Overrides()) -> Config:
    """Check the run configuration `text`; `source` names it in messages.

    Raises:
        ConfigError: as `load`.

    """
    return check(parse_document(text, source, directory), overrides)


def for_program(path: Path, overrides: Overrides = Overrides(), settings: Sequence[Setting] = ()) -> Config:
    """The configuration for running a program by itself: an ELF file, or assembly or C source.

    Raises:
        ConfigError: there is no such file, or an override is out of range.

    """
    if not path.is_file():
        raise ConfigError(str(path), [Problem("", "there is no such file")])
    guest: Table
    match path.suffix:
        case ".S" | ".s":
            guest = {"source": [path.name]}
        case ".c":
            guest = {"c": [path.name]}
        case _:
            guest = {"elf": path.name}
    table: Table = {"name": path.stem, "vm": {"guest": guest}}
    return check(Document(str(path), path.parent, table, {}), overrides, settings)


def check(read: Document, overrides: Overrides = Overrides(), settings: Sequence[Setting] = ()) -> Config:
    """The run configuration that a document is with `settings` laid over it.

    Raises:
        ConfigError: it does not fit the model; lists every problem, each where it was said.

    """
    source = read.source
    document = laid_over(read.table, settings)
    blame = _Blame(document, overrides, read.lines, settings)
    for key in ("base", "sweep", "batch"):
        if key in document:
            message = "belongs to a batch file, which `hartstorm batch` runs"
            raise ConfigError(source, [blame.problem((key,), message, None)])
    common, several = document.get("vm"), document.get("vms")
    if not isinstance(common, dict | None):
        raise ConfigError(source, [blame.problem(("vm",), "must be a table", common)])
    if several is None and common is None:
        raise ConfigError(source, [Problem("vm", "missing: the table that describes the VM")])
    if "host" in document:
        common = _laid_over({"host": document["host"]}, common or {})
        assert isinstance(common, dict)
    named = {UNNAMED_VM: {}} if several is None else several
    candidate = {key: value for key, value in document.items() if key not in ("vm", "host")}
    if isinstance(named, dict):
        if not named:
            raise ConfigError(source, [blame.problem(("vms",), "has no VM", named)])
        candidate["vms"] = {name: _laid_over(common or {}, table) for name, table in named.items()}
        for vm in candidate["vms"].values():
            if isinstance(vm, dict):
                overrides.apply(vm)
    try:
        run = Run.model_validate(candidate)
    except ValidationError as error:
        problems = dict.fromkeys(blame.problems(error.errors(include_url=False)))
        raise ConfigError(source, sorted(problems, key=lambda p: p.line)) from error
    config = Config(source, read.directory, run, blame)
    refused = [config.problem(name, *what) for name, vm in run.vms.items() for what in isa_problems(vm)]
    if refused:
        raise ConfigError(source, sorted(dict.fromkeys(refused), key=lambda p: p.line))
    return config


M = TypeVar("M", bound=BaseModel)


def check_table(read: Document, model: type[M], settings: Sequence[Setting] = ()) -> M:
    """A document of another kind than a run, with `settings` in it, checked against its own model.

    Raises:
        ConfigError: as `check`.

    """
    try:
        return model.model_validate(read.table)
    except ValidationError as error:
        blame = _Blame(read.table, Overrides(), read.lines, settings, model)
        problems = dict.fromkeys(blame.problems(error.errors(include_url=False)))
        raise ConfigError(read.source, sorted(problems, key=lambda p: p.line)) from error


def _laid_over(base: Table, over: object) -> object:
    """`over` on `base`, table by table; a program in `over` replaces the one in `base`, whatever its kind."""
    if not isinstance(over, dict):
        return over
    merged = dict(base)
    if over.keys() & PROGRAM_KEYS:
        for key in (*PROGRAM_KEYS, "address", "entry"):
            merged.pop(key, None)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = _laid_over(inner, value) if isinstance(inner, dict) else value
    return merged


@dataclass(frozen=True, slots=True)
class _Blame:
    """Turns what pydantic found in the merged document into problems of the file and the command line."""

    document: Table
    overrides: Overrides
    lines: Mapping[KeyPath, int]
    settings: Sequence[Setting] = ()
    root: type[BaseModel] = Run

    def problems(self, errors: list[ErrorDetails]) -> Iterator[Problem]:
        for error in errors:
            path = _key_path(error["loc"])
            value = None if error["type"] in ("missing", "extra_forbidden") else error["input"]
            yield self.at(path, _message(error, path, self.root), value)

    def at(self, path: KeyPath, message: str, value: object) -> Problem:
        """A problem of `path` in the merged document: the option's, the setting's, or the file's."""
        option = self.overrides.option_of(path[2:]) if path[:1] == ("vms",) else None
        if option is not None:
            return Problem(option, message, _toml(value))
        in_file = self._in_file(path)
        for setting in reversed(self.settings):
            length = len(setting.path)
            if in_file[:length] == setting.path:
                where = f"{setting.where}.{_dotted(in_file[length:])}".rstrip(".").replace(".[", "[")
                return Problem(where, message, _toml(value), setting.line, setting.source)
        return self.problem(in_file, message, value)

    def problem(self, path: KeyPath, message: str, value: object) -> Problem:
        """A problem of `path` in the file."""
        return Problem(_dotted(path), message, _toml(value), places.line_of(self.lines, path))

    def _in_file(self, path: KeyPath) -> KeyPath:
        """Where a key of a merged VM was written: `[vms.NAME]` if it is there, else `[vm]`, or else `[host]`."""
        if path[:1] != ("vms",) or len(path) < 2:
            return path
        if "vms" in self.document and (len(path) == 2 or _has(self.document, path)):
            return path
        inner = path[2:]
        if inner[:1] == ("host",) and _has(self.document, inner) and not _has(self.document, ("vm", *inner)):
            return inner
        if "vm" not in self.document:
            return path
        return ("vm", *inner)


def _has(document: object, path: KeyPath) -> bool:
    for part in path:
        try:
            document = document[part]  # type: ignore[index]
        except (LookupError, TypeError):
            return False
    return True


def _key_path(loc: tuple[int | str, ...]) -> KeyPath:
    """pydantic's location without the parts that are not keys of the file."""
    path = tuple(part for part in loc if part != "[key]")
    if "symbols" in path:
        at = path.index("symbols") + 2
        path = path[:at] + tuple(part for part in path[at:] if part != "value")
    return path


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = part.replace("_", "").replace("-", "").isalnum() and part.isascii()
            text += ("." if text else "") + (part if bare else json.dumps(part))
    return text


def _toml(value: object) -> str:
    """A scalar or a short list as TOML writes it; nothing for tables."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False)
        case int() | float():
            return str(value)
        case list() if len(value) < 8 and all(isinstance(v, str | int | float) for v in value):
            return f"[{', '.join(map(_toml, value))}]"
    return ""


_TYPE_MESSAGES = {
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "finite_number": "must be finite",
}


def _message(error: ErrorDetails, path: KeyPath, root: type[BaseModel]) -> str:
    kind = error["type"]
    context = {
        key: f"{bound:g}" if isinstance(bound, float) else bound
        for key, bound in error.get("ctx", {}).items()
    }
    match kind:
        case "extra_forbidden":
            return _unknown_key(path, root)
        case "missing":
            return f"missing; {_description(path, root)}"
        case "value_error":
            return str(context["error"])
        case "literal_error" | "enum":
            allowed = str(context["expected"])
            names = allowed.replace(" or ", ", ").replace("'", "").split(", ")
            hint = nearest(error["input"], names) if isinstance(error["input"], str) else ""
            return f"is not allowed{hint}; allowed: {', '.join(names)}"
        case "string_pattern_mismatch":
            return f"must look like {context['pattern']}"
    return _TYPE_MESSAGES[kind].format(**context) if kind in _TYPE_MESSAGES else error["msg"]


_MOST_NAMES = 20
"""A message lists at most so many allowed keys."""


def _unknown_key(path: KeyPath, root: type[BaseModel]) -> str:
    *tables, key = path
    model = _model_at(tuple(tables), root)
    allowed = [*model.model_fields]
    if model is Run:
        allowed[2:2] = ["host", "vm"]
    hint = nearest(str(key), allowed)
    if not hint:
        for name, field in model.model_fields.items():
            inner = _as_model(field.annotation)
            if inner is not None and key in inner.model_fields:
                hint = f"; it belongs into {_dotted((*_shown(tables), name))}"
    more = ", ..." if len(allowed) > _MOST_NAMES else ""
    return f"unknown key{hint}; allowed: {', '.join(allowed[:_MOST_NAMES])}{more}"


def _shown(tables: list[str | int]) -> KeyPath:
    return ("vm", *tables[2:]) if tables[:1] == ["vms"] else tuple(tables)


def _description(path: KeyPath, root: type[BaseModel]) -> str:
    model = _model_at(path[:-1], root)
    text = descriptions(model).get(str(path[-1]), "it has no default")
    return text[0].lower() + text[1:].rstrip(".")


def _model_at(path: KeyPath, root: type[BaseModel]) -> type[BaseModel]:
    """The model of the table at `path` of a document that `root` describes."""
    model = root
    annotation: object = root
    for part in path:
        inner = _as_model(annotation)
        if inner is not None:
            model = inner
            annotation = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        else:
            annotation = get_args(annotation)[-1] if get_args(annotation) else None
    return _as_model(annotation) or model


def _as_model(annotation: object) -> type[BaseModel] | None:
    """The model an annotation stands for, through `| None` and `Annotated`, but not through dict or list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if getattr(annotation, "__origin__", None) in (dict, list):
        return None
    return next((found for arg in get_args(annotation) if (found := _as_model(arg))), None)
