"""Every setting of every command, from defaults, one TOML file, the environment and flags, in that order."""

from __future__ import annotations

import difflib
import json
import logging
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from extract.config import ExtractConfig
from extract.io.json_text import parse_json
from extract.io.names import name_text, printable
from model.config import ModelConfig
from pipeline.errors import ConfigError

CONFIG_FILE = Path("gkcmn.toml")
ENV_PREFIX = "GKCMN_"
_log = logging.getLogger(__name__)

MAX_COUNT = 10**9
"""Upper bound of epochs, batch sizes and the seed: torch takes 64 bits, and each epoch's seed is a multiple."""
MAX_LOADER_WORKERS = 256
MAX_RATE = 1e30
"""Upper bound of the learning rate and the gradient's norm: float32 holds what Adam computes from them."""

Settings = dict[str, Any]
"""Nested: {"train": {"epochs": 40}, "device": "cpu"}."""


@dataclass(frozen=True, kw_only=True)
class PathsConfig:
    """The workspace: where commands look when they are not told."""

    store: str = "data/features.zarr"
    """Folder or fsspec URL of the feature store."""
    index: Path = Path("data/index.parquet")
    """Labelled samples, as `prepare` and `synth` write them; JSON lines are read too."""
    run: Path = Path("runs/latest")
    """Folder of a training run and its checkpoint."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How GKCMN is trained.

    Raises:
        ValueError: a number is out of its range.
    """

    epochs: int = 30
    batch_size: int = 16
    sentences_per_video: int = 4
    """Samples of one video that stand side by side in a batch: its features are read and projected once for them."""
    learning_rate: float = 1e-3
    """Of Adam (paper: 0.003, at which the sentence encoder was seen to collapse: docs/decisions.md)."""
    warmup_steps: int = 100
    """Optimiser steps over which the learning rate rises; without them it does not hold."""
    decay: Literal["none", "cosine"] = "none"
    """What becomes of the learning rate after the warm-up: it stays (paper), or falls to 0 at the last epoch."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    seed: int = 0
    loader_workers: int = 0
    """Processes that read samples ahead."""
    cache_mb: int = 1024
    """Memory for features that are kept between epochs, for each loader process."""
    val: str | None = None
    """Split of the index that is predicted and scored after each epoch. It does not change the weights."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "sentences_per_video"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "clip_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
            if getattr(self, name) > MAX_RATE:
                raise ValueError(f"{name} must be at most {MAX_RATE:g}, got {getattr(self, name)}")
        for name in ("warmup_steps", "loader_workers", "cache_mb"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        counts = ("epochs", "batch_size", "sentences_per_video", "warmup_steps", "cache_mb")
        for name, most in {**dict.fromkeys(counts, MAX_COUNT), "loader_workers": MAX_LOADER_WORKERS}.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most}, got {getattr(self, name)}")
        if abs(self.seed) > MAX_COUNT:
            raise ValueError(f"seed must lie between {-MAX_COUNT} and {MAX_COUNT}, got {self.seed}")


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings, resolved."""

    device: str = "auto"
    """"auto" takes a GPU where there is one; otherwise "cpu", "cuda", "cuda:1" ..."""
    paths: PathsConfig = field(default_factory=PathsConfig)
    extract: ExtractConfig = field(default_factory=ExtractConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def load_config(
    flags: Mapping[str, Any] | None = None,
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    model: ModelConfig | None = None,
) -> Config:
    """Resolve the configuration.

    Args:
        flags: dotted keys and values, as {"train.epochs": 40}; None values are left out.
        file: a TOML file; None takes ./gkcmn.toml if it is there.
        environ: the environment; None takes the process's.
        model: the model's defaults, which the file, the environment and the flags may change.

    Raises:
        ConfigError: a key is unknown or a value not allowed, with where it was given.
    """
    config = Config(model=model or ModelConfig())
    path = file or (CONFIG_FILE if CONFIG_FILE.is_file() else None)
    if path is not None:
        config = build_config(_read_toml(path), where=str(path), base=config)
    # What comes from one place is taken at once: two values may be right only together.
    values: Settings = {}
    for name, dotted, value in _from_environment(os.environ if environ is None else environ):
        _add(values, config, dotted, value, where=name)
    config = _replaced(config, values, where=f"{ENV_PREFIX}*")
    values = {}
    for dotted, value in (flags or {}).items():
        if value is not None:
            _add(values, config, dotted, value, where="on the command line")
    return _replaced(config, values, where="on the command line")


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Name, dotted key and value of each setting; a warning names variables that are none: they may be another's."""
    known = {
        ENV_PREFIX + key.upper().replace(".", "_"): key
        for section, part in config_values(Config()).items()
        for key in ([f"{section}.{name}" for name in part] if isinstance(part, dict) else [section])
    }
    unknown = []
    # Where both spellings are there, the one in capitals comes last and counts.
    for name in sorted(environ, key=lambda name: (name.isupper(), name)):
        if not name.startswith(ENV_PREFIX) or name == f"{ENV_PREFIX}CONFIG":
            continue
        if (dotted := known.get(name.upper())) is not None:
            yield name, dotted, environ[name]
        else:
            names = [one.removeprefix(ENV_PREFIX) for one in (*known, f"{ENV_PREFIX}CONFIG")]
            close = difflib.get_close_matches(name.removeprefix(ENV_PREFIX).upper(), names, n=1)
            unknown.append(f"{name} (did you mean {ENV_PREFIX}{close[0]}?)" if close else name)
    if unknown:
        _log.warning("unknown variables in the environment are ignored: %s", ", ".join(unknown))


def build_config(values: Mapping[str, Any], *, where: str, base: Config | None = None) -> Config:
    """Build a configuration from nested values, as `config_values` returns them.

    Args:
        values: by section and key; others keep their value of `base`.
        where: the file of the values, which messages name.
        base: None takes the defaults.

    Raises:
        ConfigError: a key is unknown or a value is not allowed.
    """
    base = base or Config()
    return _replaced(base, _typed_all(base, values, where=where), where=where)


def config_values(config: Config) -> Settings:
    """All values as JSON knows them, nested by section."""
    values: Settings = json.loads(json.dumps(asdict(config), default=str))
    return values


def config_toml(config: Config) -> str:
    """All values as a TOML file that `load_config` reads back. What is None or not UTF-8 is left out, as a comment."""
    values = config_values(config)
    sections = {name: part for name, part in values.items() if isinstance(part, dict)}
    lines = [_toml_line(name, value) for name, value in values.items() if name not in sections]
    for name, part in sections.items():
        lines += ["", f"[{name}]", *(_toml_line(key, value) for key, value in part.items())]
    return "\n".join(lines) + "\n"


def _toml_line(key: str, value: object) -> str:
    if value is None:
        return f"# {key} is not set"
    if isinstance(value, str) and name_text(value) != value:  # TOML has no way to write the bytes of such a path
        return f"# {key} is not UTF-8: {printable(value)}"
    # JSON's strings, numbers, booleans and lists of them are TOML's too.
    return f"{key} = {json.dumps(value, ensure_ascii=False)}"


def parse_assignment(text: str) -> tuple[str, str]:
    """`train.epochs=40` -> its key and value. Raises ConfigError."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: has no '='; write for example --set train.epochs=40")
    return key.strip(), value.strip()


def _add(values: Settings, config: Config, dotted: str, value: object, *, where: str) -> None:
    """Add one value of a dotted key to nested ones."""
    section, _, key = dotted.partition(".")
    typed = _typed_all(config, {section: {key: value}} if key else {section: value}, where=where)
    for name, part in typed.items():
        values[name] = {**values.get(name, {}), **part} if isinstance(part, dict) else part


def _read_toml(path: Path) -> Settings:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; check --config") from None
    except RecursionError:
        raise ConfigError(f"{path}: not a TOML file of settings (it is nested too deeply); mend it") from None
    except (ValueError, OSError) as error:  # an integer of thousands of digits is a ValueError, too
        raise ConfigError(f"{path}: not a TOML file ({error}); mend it") from error


def _typed_all(config: Any, values: Mapping[str, Any], *, where: str, prefix: str = "") -> Settings:  # noqa: ANN401
    """Values of a dataclass, each of its field's type; of nested dataclasses likewise."""
    known = {item.name for item in fields(config)}
    hints = get_type_hints(type(config))
    typed: Settings = {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(
                f"{where}: unknown key {prefix}{name}; known are {', '.join(prefix + k for k in sorted(known))}"
            )
        section = getattr(config, name)
        if not is_dataclass(section):
            typed[name] = _typed(hints[name], value, where=where, key=f"{prefix}{name}")
        elif isinstance(value, Mapping):
            typed[name] = _typed_all(section, value, where=where, prefix=f"{prefix}{name}.")
        else:
            raise ConfigError(f"{where}: {prefix}{name} is a section; set its keys, as {prefix}{name}.KEY")
    return typed


def _replaced(config: Any, values: Settings, *, where: str, prefix: str = "") -> Any:  # noqa: ANN401
    """A dataclass with some of its values replaced; nested dataclasses likewise."""
    parts = {
        name: _replaced(getattr(config, name), value, where=where, prefix=f"{prefix}{name}.")
        if is_dataclass(getattr(config, name))
        else value
        for name, value in values.items()
    }
    try:
        return replace(config, **parts)
    except ValueError as error:
        raise ConfigError(f"{where}: {prefix}{error}") from error


def _typed(hint: Any, value: object, *, where: str, key: str) -> object:  # noqa: ANN401
    try:
        if isinstance(value, str) and hint not in (str, Path) and value[:1] == "[":
            value = parse_json(value)
        _check_text(value, hint)
        typed: object = TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ConfigError(f"{where}: {key} = {_short(value)}: {reason[0].lower()}{reason[1:]}; mend it") from error
    except ValueError as error:
        raise ConfigError(f"{where}: {key} = {_short(value)}: {error}; mend it") from error
    return typed


def _check_text(value: object, hint: Any) -> None:  # noqa: ANN401
    """Raise ValueError for text that names nothing: an empty path is the working folder, and no path has a NUL."""
    if isinstance(value, str) and "\0" in value:
        raise ValueError("it holds a NUL")
    if value == "" and (hint is str or Path in (hint, *get_args(hint))):
        raise ValueError("it is empty")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
