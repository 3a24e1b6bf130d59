"""Settings of all commands: defaults, a TOML file, environment variables and flags; each overrides those before it."""

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
"""Maximum of epochs, batch sizes and the seed. Each epoch is seeded with a multiple of the seed, and torch accepts at
most 64 bits."""
MAX_LOADER_WORKERS = 256
MAX_RATE = 1e30
"""Maximum of the learning rate and the gradient norm, so that the values that Adam computes from them fit float32."""

Settings = dict[str, Any]
"""Nested settings, for example {"train": {"epochs": 40}, "device": "cpu"}."""


@dataclass(frozen=True, kw_only=True)
class PathsConfig:
    """Default paths of the workspace, which commands use unless an option overrides them."""

    store: str = "data/features.zarr"
    """Folder or fsspec URL of the feature store."""
    index: Path = Path("data/index.parquet")
    """File of labeled samples: Parquet, as `prepare` and `synth` write it, or JSON lines."""
    run: Path = Path("runs/latest")
    """Folder of a training run and its checkpoint."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Hyperparameters and other settings of training.

    Raises:
        ValueError: a number is out of range.
    """

    epochs: int = 30
    batch_size: int = 16
    sentences_per_video: int = 4
    """Number of consecutive samples from one video in a batch. Its features are read and projected once for all."""
    learning_rate: float = 1e-3
    """Learning rate of Adam. The paper uses 0.003, at which the sentence encoder collapsed (docs/decisions.md)."""
    warmup_steps: int = 100
    """Optimizer steps over which the learning rate rises linearly; training is unstable without a warm-up."""
    decay: Literal["none", "cosine"] = "none"
    """Decay of the learning rate: "none" (paper), or "cosine" to 0 at the end of the last epoch."""
    clip_norm: float = 1.0
    """Maximum norm of the gradient."""
    seed: int = 0
    loader_workers: int = 0
    """Processes that prefetch samples; 0 reads them in the training process."""
    cache_mb: int = 1024
    """Memory in MiB for features cached between epochs, for each loader process."""
    val: str | None = None
    """Split of the index that is predicted and scored after each epoch. It does not affect the weights."""

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
    """All resolved settings."""

    device: str = "auto"
    """Device: "auto" for the GPU if there is one, otherwise the CPU; or "cpu", "cuda", "cuda:1", and so on."""
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
        flags: values by dotted key, for example {"train.epochs": 40}; None values are ignored.
        file: a TOML file; None uses ./gkcmn.toml if it exists.
        environ: environment variables; None uses those of the process.
        model: defaults of the model's settings, which the file, the environment and the flags override.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or a value is not allowed; the message contains the
            source of the value.
    """
    config = Config(model=model or ModelConfig())
    path = file or (CONFIG_FILE if CONFIG_FILE.is_file() else None)
    if path is not None:
        config = build_config(_read_toml(path), where=str(path), base=config)
    # Apply all values of one source together, since some are valid only in combination.
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
    """Yield the variable's name, the dotted key and the value of each setting in the environment.

    Unknown variables with the prefix cause a warning and no error, because they may belong to another program.
    """
    known = {
        ENV_PREFIX + key.upper().replace(".", "_"): key
        for section, part in config_values(Config()).items()
        for key in ([f"{section}.{name}" for name in part] if isinstance(part, dict) else [section])
    }
    unknown = []
    # If a variable is set in upper case and in another spelling, the upper-case one comes last and takes precedence.
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
    """Build a configuration from nested values, such as `config_values` returns.

    Args:
        values: values by section and key; other settings keep their values from `base`.
        where: source of the values, for messages.
        base: configuration to start from; None uses the defaults.

    Raises:
        ConfigError: a key is unknown or a value is not allowed.
    """
    base = base or Config()
    return _replaced(base, _typed_all(base, values, where=where), where=where)


def config_values(config: Config) -> Settings:
    """Return all settings as JSON values, nested by section; paths become strings."""
    values: Settings = json.loads(json.dumps(asdict(config), default=str))
    return values


def config_toml(config: Config) -> str:
    """Return all settings as the text of a TOML file that `load_config` can read.

    TOML cannot represent None or paths that are not UTF-8; such settings are written as comments.
    """
    values = config_values(config)
    sections = {name: part for name, part in values.items() if isinstance(part, dict)}
    lines = [_toml_line(name, value) for name, value in values.items() if name not in sections]
    for name, part in sections.items():
        lines += ["", f"[{name}]", *(_toml_line(key, value) for key, value in part.items())]
    return "\n".join(lines) + "\n"


def _toml_line(key: str, value: object) -> str:
    if value is None:
        return f"# {key} is not set"
    if isinstance(value, str) and name_text(value) != value:  # TOML cannot represent the bytes of such a path
        return f"# {key} is not UTF-8: {printable(value)}"
    # JSON strings, numbers, booleans and lists are valid TOML too.
    return f"{key} = {json.dumps(value, ensure_ascii=False)}"


def parse_assignment(text: str) -> tuple[str, str]:
    """Split an assignment such as `train.epochs=40` into its key and value. Raises ConfigError without a "="."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: has no '='; write for example --set train.epochs=40")
    return key.strip(), value.strip()


def _add(values: Settings, config: Config, dotted: str, value: object, *, where: str) -> None:
    """Add the value of a dotted key to the nested settings in `values`, after converting it to its field's type."""
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
    except (ValueError, OSError) as error:  # also a ValueError: an integer with thousands of digits
        raise ConfigError(f"{path}: not a TOML file ({error}); mend it") from error


def _typed_all(config: Any, values: Mapping[str, Any], *, where: str, prefix: str = "") -> Settings:  # noqa: ANN401
    """Convert the values of a dataclass to the types of its fields, including those of nested dataclasses."""
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
    """Return a copy of a dataclass with some values replaced, including those of nested dataclasses."""
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
    """Raise ValueError for text with a NUL, which no path can contain, and for empty text or paths.

    An empty path would mean the working folder.
    """
    if isinstance(value, str) and "\0" in value:
        raise ValueError("it holds a NUL")
    if value == "" and (hint is str or Path in (hint, *get_args(hint))):
        raise ValueError("it is empty")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
