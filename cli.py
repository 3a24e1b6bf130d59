"""The command line. Each command resolves its settings, calls one function, and prints the result.

Only click is imported at module level. Each command imports its own dependencies, so that --help is fast.
"""

from __future__ import annotations

import os
import sys

_HOME = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 - do not import pathlib before sys.path is fixed
if __name__ == "__main__" and not sys.flags.safe_path and os.path.realpath(sys.path[0]) != _HOME:
    # `python -m cli` puts the working folder first on sys.path, and would import a model.py or random.py from there.
    del sys.path[0]

import errno
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from extract.extraction import OnClips, VideoOutcome
    from extract.io.outputs import Inputs, Output
    from model.config import ModelConfig
    from pipeline.benchmark.data import Size
    from pipeline.checkpoint import Use
    from pipeline.config import Config
    from pipeline.evaluation.protocols import Protocol
    from pipeline.evaluation.score import Report
    from pipeline.inference.predictor import Grounding
    from pipeline.prepare.records import Draft, Finding
    from pipeline.synth.scene.sampling import SizeName
    from pipeline.training.run_log import EpochReport

F = TypeVar("F", bound=Callable[..., Any])
_PACKAGES = ("extract", "model", "pipeline")
_LIBRARIES = (
    "accelerate", "av", "dask", "distributed", "matplotlib", "numpy", "PIL", "pyarrow", "pydantic", "rich",
    "safetensors", "spacy", "torch", "torchvision", "zarr",
)  # fmt: skip
"""Installed packages that the commands need; each is a folder, none a single file."""
_RANKS = (
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "PMI_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_SIZE",
)
"""Variables that make accelerate assume one of several processes. Job schedulers set them for any command, so they are
removed unless torchrun started the process."""
_LEAST_COLUMNS = 20
"""Minimum value of COLUMNS that is respected; rich prints nothing if COLUMNS is 0."""
_COMMAND_LINE = "gkcmn_pipe.command_line"
"""Key of the click context's metadata for the arguments of the whole command line."""


def _example(text: str) -> str:
    """Return the last lines of a command's help. The mark in the first line prevents click from wrapping them."""
    return f"\b\nExample:\n  {text}"


class _PathType(click.ParamType):  # type: ignore[type-arg] # it is generic since click 8.3
    """A path or, with `kind` str, a path or URL. It must not be empty, which would mean the working folder."""

    def __init__(self, kind: type[Path] | type[str], *, is_output: bool = False) -> None:
        self._kind = kind
        self._is_output = is_output  # an output "-" is standard output
        self.name = "path" if kind is Path else "text"

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | str:
        text = os.fspath(value)
        if not text:
            self.fail("it is empty; name a place, or . for the working folder", param, ctx)
        if "\0" in text:
            self.fail("it holds a NUL; no file has such a name", param, ctx)
        try:
            os.fsencode(text)
        except UnicodeEncodeError:  # impossible from a shell, possible from Python
            self.fail("it holds half of a surrogate pair; no file has such a name", param, ctx)
        if self._is_output and text == "-":
            text = "/dev/stdout"
        return self._kind(text)


_PATH = _PathType(Path)
_OUTPUT = _PathType(Path, is_output=True)
_PLACE = _PathType(str)


def _number_from(least: int) -> click.IntRange:
    """Return the range of allowed numbers of videos or sentences; lists of at most 100,000 of them fit in memory."""
    return click.IntRange(least, 100_000)


_WORKERS = click.IntRange(1, 512)
"""Range of worker processes on this machine; more than the cores of a large machine would only overload it."""


class _Share(click.FloatRange):
    """A range of floats that rejects NaN, which click's bounds do not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Return the value as a float. Raises click.BadParameter if it is NaN or out of range."""
        number = float(super().convert(value, param, ctx))
        return number if number == number else self.fail(f"{value!r} is not a number.", param, ctx)


config_options = (
    click.option("--config", "config_file", type=_PATH, envvar="GKCMN_CONFIG",
                 help="TOML file of settings. [default: ./gkcmn.toml if it is there]"),
    click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
                 help="Any setting, as train.epochs=40; see `gkcmn-pipe config`."),
)  # fmt: skip
store_option = click.option("--store", type=_PLACE, help="Feature store, a folder or fsspec URL. [paths.store]")
force_option = click.option("--force", is_flag=True, help="Overwrite files that gkcmn-pipe did not write.")
use_option = click.option("--use", type=click.Choice(["last", "best"]), default="last", show_default=True,
                          help="Weights of the last epoch, or of the best one by `train --val`.")  # fmt: skip
device_option = click.option("--device", help="auto, cpu, cuda or cuda:N. [device]")


split_option = click.option("--split", help="Only the samples of this split.")
scoring_options = (
    click.option("--protocol", type=click.Choice(["frames", "tubedetr", "stcat"]), default="frames",
                 show_default=True, help="Which frames are compared; see docs/protocols.md."),
    click.option("--temporal-gt", is_flag=True, help="Compare boxes over the true span, and nothing else."),
    click.option("--at", "thresholds", type=_Share(0, 1), multiple=True, default=(0.3, 0.5),
                 show_default=True, help="R of vIoU@R; may be given several times."),
)  # fmt: skip
preparing_options = (
    click.option("--videos", type=_PATH,
                 help="Folder of the videos, as `features` is given it: each is looked at."),
    click.option("--store", type=_PLACE, help="Feature store; what is there is known by its record. [paths.store]"),
    click.option("--out", type=_PATH, help="The index, a .parquet file. [paths.index]"),
    force_option,
)  # fmt: skip


def _with(options: Iterable[Callable[[F], F]]) -> Callable[[F], F]:
    """Return a decorator that adds shared options to a command."""

    def add(command: F) -> F:
        for option in reversed(tuple(options)):
            command = option(command)
        return command

    return add


class _Cli(click.Group):
    """A group whose commands print one line and exit with code 1 on any error.

    The user can fix a `GkcmnError`, so its message is the line. Any other exception is a bug and causes a crash report,
    unless the machine is the cause, as when memory runs out. The exit code is 130 after SIGINT and 143 after SIGTERM,
    as shells expect.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Store the command line in the context, for a crash report."""
        ctx.meta[_COMMAND_LINE] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own type
        _check_modules(_LIBRARIES)
        _settle_process()
        from pipeline.console.process import Terminated, noted, terminable

        debug, notes = bool(ctx.params["debug"]), None
        try:
            with terminable(), nullcontext() if debug else noted() as notes:
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            verb, code = ("Terminated", 143) if isinstance(error, Terminated) else ("Interrupted", 130)
            click.echo(f"{verb}. What was finished is kept; the same command goes on or begins again.", err=True)
            ctx.exit(code)
        except (click.ClickException, click.Abort, click.exceptions.Exit, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of a pipe has exited: click ends silently
            if debug:
                _show_traceback(error)
            raise click.ClickException(_line(error, ctx.meta[_COMMAND_LINE], notes.lines if notes else ())) from error

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401 - click's own types
        """Run the command line and exit; errors outside `invoke`, in parsing or printing, also become one line."""
        try:
            _check_modules(_PACKAGES)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        from pipeline.console.streams import standard_streams

        with standard_streams():
            try:
                return super().main(*args, **extra)
            except Exception as error:
                if not extra.get("standalone_mode", True):
                    raise
                click.echo(f"Error: {_line(error, sys.argv[1:])}", err=True)
                sys.exit(1)


def _line(error: BaseException, command: Sequence[str], notes: Iterable[str] = ()) -> str:
    """Return the message of an error for the user; write a crash report if the error is a bug.

    Args:
        error: the exception.
        command: arguments of the command line, without the program's name.
        notes: earlier warnings and log records of libraries.
    """
    # Import these only when an error occurs, so that --help is fast.
    from extract.errors import GkcmnError
    from extract.io.names import printable
    from pipeline.console.crash import crash_line, shortage

    if isinstance(error, GkcmnError):
        return printable(str(error))
    return shortage(error) or crash_line(error, command, notes)


def _show_traceback(error: BaseException) -> None:
    import traceback

    click.echo("".join(traceback.format_exception(error)), err=True, nl=False)


class _Messages(logging.Handler):
    """Prints log records in the format of the commands' warnings; those below WARNING only as tracebacks."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING and _is_first_process():
            _warn(record.getMessage())
        if record.levelno < logging.WARNING and record.exc_info is not None and record.exc_info[1] is not None:
            _show_traceback(record.exc_info[1])


@click.group(cls=_Cli, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the traceback of an error, and what libraries warn of.")
@click.version_option(package_name="gkcmn-pipe")
def main(debug: bool) -> None:
    """Find the tube (a time span and one box a frame) that a sentence speaks of in a video.

    \b
    A first round, on videos that it draws itself:
      gkcmn-pipe synth data
      gkcmn-pipe features data/videos
      gkcmn-pipe train
      gkcmn-pipe evaluate
      gkcmn-pipe ground data/videos/train/0000.mp4 "the man in red" --overlay found.mp4
    """
    # Print messages of this program's packages only; those of libraries would drown them out.
    for name in ("extract", "pipeline"):
        logger = logging.getLogger(name)
        logger.handlers = [_Messages()]
        logger.setLevel(logging.DEBUG if debug else logging.WARNING)


@main.command(epilog=_example("gkcmn-pipe features clips/ more/*.mp4 --store data/features.zarr"))
@click.argument("paths", nargs=-1)
@store_option
@click.option(
    "--root",
    type=_PATH,
    help="Folder to which keys are relative. [default: each folder that is named]",
)
@click.option("--backbone", type=click.Choice(["inception", "i3d_r50"]), help="[extract.backbone]")
@click.option("--weights", type=_PLACE, help="Weights file of the backbone. [default: packaged, or the hub's]")
@click.option("--workers", type=_WORKERS, default=1, show_default=True, help="Processes here.")
@click.option("--scheduler", type=_PLACE, help="Address of a dask scheduler whose workers do the work.")
@click.option("--strict", is_flag=True, default=None, help="Refuse videos that break off. [extract.strict]")
@click.option("--decode-timeout", type=float, help="Seconds without a frame. [extract.decode_timeout_s]")
@click.option("--redo", is_flag=True, help="Extract videos again that the store holds.")
@click.option("--retry-failed", is_flag=True, help="Extract just those videos that failed before; without PATHS.")
@device_option
@_with(config_options)
def features(
    paths: tuple[str, ...], store: str | None, root: Path | None, backbone: str | None, weights: str | None,
    workers: int, scheduler: str | None, strict: bool | None, decode_timeout: float | None,
    redo: bool, retry_failed: bool, device: str | None,
    config_file: Path | None, assignments: tuple[str, ...],
) -> None:  # fmt: skip
    """Extract I3D features of videos into a store.

    PATHS are video files, folders, globs, and .txt files of one path a line. What the store holds is
    skipped; an interrupted video is done again. What fails is kept in the store, with its cause and remedy:
    see `inspect`.
    """
    if retry_failed is bool(paths):
        raise click.UsageError("give PATHS, or --retry-failed without them")
    flags = {"paths.store": store, "extract.backbone": backbone, "extract.weights": weights, "device": device,
             "extract.strict": strict, "extract.decode_timeout_s": decode_timeout}  # fmt: skip
    config = _config(config_file, assignments, flags)
    from extract.io.files import shown
    from extract.io.names import printable
    from pipeline.extraction import extract_features

    with _clip_progress() as (on_start, on_clips, advance):

        def on_video(outcome: VideoOutcome) -> None:
            advance()
            if outcome.failure is not None:
                click.echo(f"Failed: {printable(outcome.failure.message)}", err=True)
                return
            if outcome.fault is not None:
                _warn(f"{outcome.key}: {outcome.fault}; took what came")
            if not sys.stderr.isatty():
                click.echo(f"{printable(outcome.key)}: {outcome.clips} clips", err=True)

        result = extract_features(
            paths, None, config, root=root, retry_failed=retry_failed, redo=redo, workers=workers,
            scheduler=scheduler, on_start=on_start, on_clips=on_clips, on_video=on_video,
        )  # fmt: skip
    click.echo(
        f"{len(result.done)} videos done ({result.clips} clips), {result.skipped} there already, "
        f"{len(result.failed)} failed -> {shown(result.store)}"
    )
    if result.failed:
        sys.exit(1)


@main.command(epilog=_example("gkcmn-pipe verify data/features.zarr --repair"))
@click.argument("place", metavar="STORE", type=_PLACE, required=False)
@click.option("--repair", is_flag=True, help="Remove or restore what is faulty, and add checksums to an older store.")
@_with(config_options)
def verify(place: str | None, repair: bool, config_file: Path | None, assignments: tuple[str, ...]) -> None:
    """Audit all that STORE holds: checksums, shapes, ranges and values of features, queries, failures, settings.

    A video that --repair removes is extracted again by `features`, and queries are encoded again by themselves.
    While `features` writes into STORE, what it has begun counts as interrupted: repair when it has ended.
    """
    config = _config(config_file, assignments, {"paths.store": place})
    from extract.io.names import printable
    from extract.store.audit import audit
    from extract.store.feature_store import FeatureStore
    from extract.store.mend import Upgrade, mend, open_mended

    is_restored = False
    if repair:
        store, is_restored = open_mended(config.paths.store)
    else:
        store = FeatureStore.open(config.paths.store)
    done = {"removed": 0, "restored": int(is_restored)}
    faults, videos, is_incomplete = int(is_restored), 0, False
    upgrade = Upgrade(store, is_wanted=repair)
    with _progress() as progress:
        task = progress.add_task("verify", total=store.count(), rate="")
        for kind, _, fault in audit(store, upgrade.on_sound):
            videos += kind == "video"
            progress.update(task, completed=videos)
            if fault is None:
                continue
            faults += 1
            click.echo(printable(fault.message))
            if repair and (what := mend(store, fault)) is not None:
                done[what] += 1
                is_incomplete |= what == "removed" and kind == "video"
    if faults == sum(done.values()):
        upgrade.finish()
    told = "".join(f", {number} {what}" for what, number in done.items() if number)
    if is_incomplete:
        told += "; run the same `features` command again"
    elif faults and not repair:
        told += "; mend them with --repair"
    if upgrade.count:
        told += (
            f"; {upgrade.count} had no checksums, and have them now"
            if repair
            else (f"; {upgrade.count} have no checksums: add them with --repair")
        )
    click.echo(f"{videos} videos, {faults} faulty{told}")
    if faults > sum(done.values()):
        sys.exit(1)


@main.command(epilog=_example("gkcmn-pipe inspect data/features.zarr a.mp4 --picture a.png"))
@click.argument("place", metavar="STORE", type=_PLACE, required=False)
@click.argument("video", required=False)
@click.option("--picture", type=_OUTPUT, help="Write VIDEO's mean activation per clip.")
@click.option("--stats", is_flag=True, help="Mean, deviation and sparsity of each channel, over all videos.")
@force_option
@_with(config_options)
def inspect(
    place: str | None, video: str | None, picture: Path | None, stats: bool, force: bool,
    config_file: Path | None, assignments: tuple[str, ...],
) -> None:  # fmt: skip
    """List the videos of STORE and what failed, or show what it knows of one VIDEO (its key)."""
    config = _config(config_file, assignments, {"paths.store": place})
    from extract.store.feature_store import FeatureStore
    from pipeline.console.tables import failures_table, record_table, statistics_table, videos_table

    if picture is not None and video is None:
        raise click.UsageError("--picture needs a VIDEO")
    if picture is not None:
        from extract.io.outputs import OutputFile
        from pipeline.console.score_figure import check_figure
        from pipeline.outputs.places import settings_inputs
        from pipeline.outputs.recognize import is_figure

        check_figure(picture)
        _check_outputs([OutputFile(path=picture, is_ours=is_figure)], settings_inputs(config_file, config), force)
    console = _console()
    store = FeatureStore.open(config.paths.store)
    if video is not None:
        table = record_table(store, video)
        if picture is not None:
            from pipeline.console.activation_figure import write_activations

            write_activations(picture, store, video)
        console.print(table)
        if picture is not None:
            _say(f"picture -> {picture}")
        return
    console.print(videos_table(store))
    if failures := store.failures():
        console.print(failures_table(failures))
    if stats:
        from extract.store.statistics import channel_statistics

        console.print(statistics_table(channel_statistics(store)))


@main.command(epilog=_example("gkcmn-pipe text data/index.parquet --store data/features.zarr"))
@click.argument("index", type=_PATH, required=False)
@store_option
@_with(config_options)
def text(index: Path | None, store: str | None, config_file: Path | None, assignments: tuple[str, ...]) -> None:
    """Encode the queries of INDEX into word vectors, and keep them in the store.

    Training does this by itself; do it beforehand for a machine without spaCy.
    """
    config = _config(config_file, assignments, {"paths.index": index, "paths.store": store})
    from extract.io.files import shown
    from pipeline.data.index import read_index
    from pipeline.data.queries import ensure_queries

    samples = read_index(config.paths.index)
    report = ensure_queries((sample.query for sample in samples), config.paths.store, config.extract)
    click.echo(f"{len(report.queries)} queries, {report.added} new -> {shown(config.paths.store)}")


@main.command(epilog=_example("gkcmn-pipe train data/index.parquet --store data/features.zarr --out runs/first"))
@click.argument("index", type=_PATH, required=False)
@store_option
@click.option("--out", "run", type=_PATH, help="Folder of the run. [paths.run]")
@click.option(
    "--model",
    "model_name",
    type=click.Choice(["gkcmn", "gkcmn_plus", "bm"]),
    default="gkcmn",
    show_default=True,
    help="The paper's model, our extension of it, or the paper's baseline.",
)
@click.option("--epochs", type=int, help="[train.epochs]")
@click.option("--val", metavar="SPLIT", help="Score this split of INDEX after each epoch. [train.val]")
@force_option
@device_option
@_with(config_options)
def train(
    index: Path | None, store: str | None, run: Path | None, model_name: str, epochs: int | None, val: str | None,
    force: bool, device: str | None, config_file: Path | None, assignments: tuple[str, ...],
) -> None:  # fmt: skip
    """Train a model on the labeled samples of INDEX.

    A run that was interrupted goes on after its last whole epoch. Under torchrun it uses all processes.
    """
    flags = {"paths.index": index, "paths.store": store, "paths.run": run, "train.epochs": epochs,
             "train.val": val, "device": device}  # fmt: skip
    from model.registry import model_config
    from pipeline.outputs.places import settings_inputs
    from pipeline.training.trainer import train as run_training

    config = _config(config_file, assignments, flags, model=model_config(model_name))
    paths = config.paths
    with _progress() as progress:
        task = progress.add_task("epoch", total=None, rate="")

        def on_batch(epoch: int, done: int, total: int, loss: float) -> None:
            name = f"epoch {epoch}/{config.train.epochs}  loss {loss:.3f}"
            whole = config.train.epochs * total
            progress.update(task, description=name, completed=(epoch - 1) * total + done, total=whole)

        def on_epoch(report: EpochReport) -> None:
            shown = report.epoch in (1, config.train.epochs) or report.epoch % max(1, config.train.epochs // 10) == 0
            if shown or report.skipped or report.validation:
                parts = "  ".join(f"{name} {value:.4f}" for name, value in report.losses.items())
                skipped = f"  {report.skipped} steps skipped: not finite" if report.skipped else ""
                scores = "".join(f"  {name} {value:.4f}" for name, value in report.validation.items())
                _say(f"epoch {report.epoch:4d}  loss {report.total:.4f}  ({parts}){scores}{skipped}")

        result = run_training(
            paths.index, paths.store, paths.run, config, force=force, inputs=settings_inputs(config_file, config),
            on_epoch=on_epoch, on_batch=on_batch,
        )  # fmt: skip
    if result.epochs:
        _say(f"{result.epochs[-1].epoch} epochs -> {paths.run}")
    else:
        _say(f"{paths.run} has its {config.train.epochs} epochs already; --epochs gives it more")


@main.command(epilog=_example("gkcmn-pipe evaluate runs/first data/index.parquet --split test"))
@click.argument("run", type=_PATH, required=False)
@click.argument("index", type=_PATH, required=False)
@store_option
@split_option
@click.option("--out", type=_PATH, help="Folder for the results. [default: RUN/evaluation]")
@use_option
@force_option
@_with(scoring_options)
@device_option
@_with(config_options)
def evaluate(
    run: Path | None, index: Path | None, store: str | None, split: str | None, out: Path | None, use: Use,
    force: bool, protocol: Protocol, temporal_gt: bool, thresholds: tuple[float, ...],
    device: str | None, config_file: Path | None, assignments: tuple[str, ...],
) -> None:  # fmt: skip
    """Predict with a trained RUN, and score as `score` does, the samples of INDEX.

    Writes predictions.jsonl, scores.json and scores.png.
    """
    flags = {"paths.run": run, "paths.index": index, "paths.store": store, "device": device}
    config = _config(config_file, assignments, flags)
    paths = config.paths
    out = out or paths.run / "evaluation"
    from pipeline.evaluation.evaluate import evaluate as run_evaluation
    from pipeline.outputs.places import evaluation_output, run_inputs, settings_inputs

    inputs = {"the index": [paths.index], **run_inputs(paths.run), **settings_inputs(config_file, config)}
    _check_outputs([evaluation_output(out)], inputs, force)

    with _progress() as progress:
        task = progress.add_task("evaluate", total=None, rate="")
        report = run_evaluation(
            paths.run, paths.index, paths.store, device=config.device, out=out, split=split, use=use,
            protocol=protocol, temporal_gt=temporal_gt, thresholds=thresholds,
            on_batch=lambda done, total: progress.update(task, completed=done, total=total),
        )  # fmt: skip
    _print_report(report)
    _say(f"predictions, scores and a figure -> {out}")


@main.command(epilog=_example("gkcmn-pipe score predictions.jsonl data/index.parquet --split test --json scores.json"))
@click.argument("predictions", type=_PATH)
@click.argument("index", type=_PATH, required=False)
@split_option
@_with(scoring_options)
@click.option("--json", "json_file", type=_OUTPUT, help="Write the report, for `compare`.")
@click.option("--figure", type=_OUTPUT, help="Write a figure: .png, .svg or .pdf.")
@force_option
@_with(config_options)
def score(
    predictions: Path, index: Path | None, split: str | None,
    protocol: Protocol, temporal_gt: bool, thresholds: tuple[float, ...],
    json_file: Path | None, figure: Path | None, force: bool,
    config_file: Path | None, assignments: tuple[str, ...],
) -> None:  # fmt: skip
    """Score PREDICTIONS of any model on the samples of INDEX: m_tIoU, m_vIoU, vIoU@R.

    PREDICTIONS are JSON lines; boxes are xyxy in pixels, one a frame of the half-open span, or by key frame:

    \b
      {"id": "7", "span": [30, 32], "boxes": [[12, 8, 90, 200], [14, 8, 92, 200]]}
      {"id": "8", "span": [30, 90], "boxes": {"30": [12, 8, 90, 200], "60": [20, 8, 98, 200]}}

    A sample without a prediction counts as 0, and is named.
    """
    config = _config(config_file, assignments, {"paths.index": index})
    from extract.io.outputs import OutputFile
    from pipeline.console.score_figure import check_figure, write_figure
    from pipeline.evaluation.report import write_report
    from pipeline.evaluation.score import score_files as run_scoring
    from pipeline.outputs.places import settings_inputs
    from pipeline.outputs.recognize import is_figure, is_report

    outputs = []
    if json_file is not None:
        outputs.append(OutputFile(path=json_file, is_ours=is_report))
    if figure is not None:
        check_figure(figure)
        outputs.append(OutputFile(path=figure, is_ours=is_figure))
    inputs = {"the file of predictions": [predictions], "the index": [config.paths.index]}
    _check_outputs(outputs, {**inputs, **settings_inputs(config_file, config)}, force)
    report = run_scoring(
        predictions, config.paths.index, split=split,
        protocol=protocol, temporal_gt=temporal_gt, thresholds=thresholds,
    )  # fmt: skip
    try:
        if json_file is not None:
            write_report(json_file, report, predictions=str(predictions), index=str(config.paths.index))
        if figure is not None:
            write_figure(figure, report)
    finally:
        _print_report(report)
    if json_file is not None:
        _say(f"report -> {json_file}")
    if figure is not None:
        _say(f"figure -> {figure}")


@main.command(epilog=_example("gkcmn-pipe compare before.json after.json"))
@click.argument("before", type=_PATH)
@click.argument("after", type=_PATH)
@click.option("--show", type=click.IntRange(0), default=10, show_default=True, help="Samples to list.")
def compare(before: Path, after: Path, show: int) -> None:
    """Compare two reports of `score --json` sample by sample: AFTER (B) less BEFORE (A).

    The interval is a paired bootstrap over videos; a star marks a difference that it sets apart from 0.
    """
    from pipeline.console.tables import changes_table, comparison_table
    from pipeline.evaluation.report import compare_reports

    comparison = compare_reports(before, after)
    console = _console()
    console.print(comparison_table(comparison))
    click.echo(f"{len(comparison.changes)} of {comparison.samples} samples changed")
    if shown := comparison.changes[:show]:
        console.print(changes_table(shown))


@main.group()
def prepare() -> None:
    """Make an index of a data set's own files.

    Every rule that a record meets is counted in a table, and every such record is named in INDEX.findings.jsonl.
    """


@prepare.command(epilog=_example("gkcmn-pipe prepare vidstg test_annotations.json --boxes vidor/ --videos videos/"))
@click.argument("files", nargs=-1, required=True, type=_PATH)
@click.option(
    "--boxes",
    type=_PATH,
    help="VidOR's folder of annotations. Without it time alone can be scored.",
)
@_with(preparing_options)
@_with(config_options)
def vidstg(
    files: tuple[Path, ...], boxes: Path | None, videos: Path | None, store: str | None, out: Path | None,
    force: bool, config_file: Path | None, assignments: tuple[str, ...],
) -> None:  # fmt: skip
    """Make an index of VidSTG: FILES are its train_annotations.json and the like."""
    from pipeline.prepare.vidstg import vidstg_drafts

    inputs: Inputs = {"a file of labels": files, "a file of boxes": boxes.rglob("*.json") if boxes is not None else []}
    _prepare(lambda: vidstg_drafts(files, boxes), inputs, videos, store, out, force, config_file, assignments)


@prepare.command(epilog=_example("gkcmn-pipe prepare hcstvg train_v2.json val_v2.json --videos videos/"))
@click.argument("files", nargs=-1, required=True, type=_PATH)
@_with(preparing_options)
@_with(config_options)
def hcstvg(
    files: tuple[Path, ...], videos: Path | None, store: str | None, out: Path | None, force: bool,
    config_file: Path | None, assignments: tuple[str, ...],
) -> None:  # fmt: skip
    """Make an index of HC-STVG, v1 or v2: FILES are its train.json, val_v2.json and the like."""
    from pipeline.prepare.hcstvg import hcstvg_drafts

    inputs: Inputs = {"a file of labels": files}
    _prepare(lambda: hcstvg_drafts(files), inputs, videos, store, out, force, config_file, assignments)


@prepare.command(epilog=_example("gkcmn-pipe prepare plain labels.jsonl --videos clips/"))
@click.argument("files", nargs=-1, required=True, type=_PATH)
@_with(preparing_options)
@_with(config_options)
def plain(
    files: tuple[Path, ...], videos: Path | None, store: str | None, out: Path | None, force: bool,
    config_file: Path | None, assignments: tuple[str, ...],
) -> None:  # fmt: skip
    """Make an index of your own labels: FILES hold JSON lines, one a sample.

    \b
      {"video": "a.mp4", "query": "the man in red runs", "span": [30, 32],
       "boxes": [[12, 8, 90, 200], null], "split": "train"}
    """
    from pipeline.prepare.jsonl import plain_drafts

    inputs: Inputs = {"a file of labels": files}
    _prepare(lambda: plain_drafts(files), inputs, videos, store, out, force, config_file, assignments)


def _prepare(
    read: Callable[[], Iterator[Draft | Finding]], inputs: Inputs, videos: Path | None, store: str | None,
    out: Path | None, force: bool, config_file: Path | None, assignments: tuple[str, ...],
) -> None:  # fmt: skip
    config = _config(config_file, assignments, {"paths.index": out, "paths.store": store})
    from extract.store.feature_store import FeatureStore
    from pipeline.console.tables import findings_table
    from pipeline.outputs.places import index_outputs, settings_inputs, video_inputs
    from pipeline.prepare.build_index import check_index_name
    from pipeline.prepare.build_index import prepare as run_preparing

    check_index_name(config.paths.index)
    inputs = {**inputs, **video_inputs(videos), **settings_inputs(config_file, config)}
    _check_outputs(index_outputs(config.paths.index), inputs, force)
    with _progress() as progress:
        task = progress.add_task("videos", total=None, rate="")
        prepared = run_preparing(
            read(), config.paths.index, videos=videos, decode_timeout_s=config.extract.decode_timeout_s,
            store=FeatureStore.open(store) if store is not None else FeatureStore.open_if_any(config.paths.store),
            on_video=lambda done, total: progress.update(task, completed=done, total=total),
        )  # fmt: skip
    if prepared.findings:
        _console().print(findings_table(prepared))
    for split, kinds in prepared.counts().items():
        parts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        _say(f"{split or 'no split'}: {parts}, of {prepared.videos(split)} videos")
    _say(
        f"{len(prepared.samples)} samples -> {config.paths.index}; {prepared.rejected} rejected"
        + (f", see {prepared.account}" if prepared.findings else "")
    )


@main.command(epilog=_example('gkcmn-pipe ground video.mp4 "the man in red" --json tube.json --overlay found.mp4'))
@click.argument("video", type=_PATH)
@click.argument("query")
@click.option("--checkpoint", type=_PATH, help="Folder of a trained run. [paths.run]")
@use_option
@click.option("--json", "json_file", type=_OUTPUT, help="Write the whole tube as JSON.")
@click.option("--overlay", type=_OUTPUT, help="Write the video with the tube drawn on it.")
@force_option
@store_option
@device_option
@_with(config_options)
def ground(
    video: Path, query: str, checkpoint: Path | None, use: Use, json_file: Path | None, overlay: Path | None,
    force: bool, store: str | None, device: str | None, config_file: Path | None, assignments: tuple[str, ...],
) -> None:  # fmt: skip
    """Find the tube in VIDEO that QUERY speaks of.

    Without a trained run in the workspace, the shipped checkpoint answers.
    Features are taken from the store, and added to it, if --store names one or the default one is there.
    """
    config = _config(config_file, assignments, {"paths.store": store, "paths.run": checkpoint, "device": device})
    from extract.io.outputs import OutputFile, check_outside_stores
    from pipeline.inference.ground import ground as run_grounding
    from pipeline.inference.ground import write_json
    from pipeline.inference.pretrained import NOTE, SHIPPED, choose_run
    from pipeline.media.overlay import check_overlay, write_overlay
    from pipeline.outputs.places import run_inputs, settings_inputs
    from pipeline.outputs.recognize import is_overlay, is_tube

    run = choose_run(checkpoint, config.paths.run)
    if run == SHIPPED:
        click.echo(f"with   {NOTE}", err=True)
    outputs = []
    if json_file is not None:
        outputs.append(OutputFile(path=json_file, is_ours=is_tube))
    if overlay is not None:
        check_overlay(video, overlay)
        outputs.append(OutputFile(path=overlay, is_ours=is_overlay))
    inputs = {"the source video": [video], **run_inputs(run), **settings_inputs(config_file, config)}
    _check_outputs(outputs, inputs, force)
    if store is not None and "://" not in store:
        check_outside_stores(Path(store), itself=False)
    with _clip_progress() as (_, on_clips, _):
        found = run_grounding(
            video, query, run,
            device=config.device, store_place=store, spare_place=config.paths.store,
            decode_timeout_s=config.extract.decode_timeout_s, use=use, on_clips=on_clips,
        )  # fmt: skip
    if found.record.fault is not None:
        _warn(f"{video}: {found.record.fault}; took what came")
    if found.query.unknown:
        _warn(f"no vector for {', '.join(found.query.unknown)}; each gets the mean of all vectors")
    if found.query.dropped:
        _warn(f"the query's last {found.query.dropped} words are dropped: it has too many")
    try:
        if json_file is not None:
            write_json(found, json_file)
        if overlay is not None:
            with _progress() as progress:
                task = progress.add_task("draw", total=None, rate="")
                write_overlay(
                    video, found.tube, query, overlay,
                    frame_count=found.record.frame_count, timeout_s=config.extract.decode_timeout_s,
                    on_frame=lambda done, total: progress.update(task, completed=done, total=total),
                )  # fmt: skip
    finally:
        _print_grounding(found)
    if json_file is not None:
        _say(f"tube -> {json_file}")
    if overlay is not None:
        _say(f"overlay -> {overlay}")


@main.command(epilog=_example("gkcmn-pipe synth data --videos 12 --seed 0"))
@click.argument("out", type=_PATH, default=Path("data"))
@click.option("--videos", type=_number_from(1), default=12, show_default=True, help="Of the split train.")
@click.option("--val", type=_number_from(0), default=0, show_default=True, help="Videos of the split val.")
@click.option(
    "--test",
    type=_number_from(0),
    default=0,
    show_default=True,
    help="Videos of each of test, test-unseen-words and test-unseen-combinations.",
)
@click.option(
    "--size",
    type=click.Choice(["small", "full"]),
    default="small",
    show_default=True,
    help="Length and rate of the videos.",
)
@click.option("--sentences", type=_number_from(1), default=12, show_default=True, help="The most of one video.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed draws the same videos."
)
@click.option("--workers", type=_WORKERS, default=1, show_default=True, help="Processes that draw.")
@force_option
def synth(
    out: Path, videos: int, val: int, test: int, size: SizeName, sentences: int, seed: int, workers: int, force: bool
) -> None:  # fmt: skip
    """Draw labelled videos into OUT: OUT/videos/SPLIT/*.mp4 and OUT/index.parquet.

    People, animals, vehicles and things that move, with sentences that each are true of one of them in one span.
    The same seed gives the same data. Needs the extra [synth] and Mesa's OpenGL.
    """
    from pipeline.synth.generate import draw_videos
    from pipeline.synth.scene.splits import SPLITS

    counts = {split: {"train": videos, "val": val}.get(split, test) for split in SPLITS}
    total = sum(counts.values())
    with _progress() as progress:
        task = progress.add_task("draw", total=total, rate="")
        index = draw_videos(
            out, counts=counts, seed=seed, size=size, sentences=sentences, workers=workers, force=force,
            on_video=lambda _: progress.advance(task),
        )  # fmt: skip
    _say(f"{total} videos -> {out / 'videos'}, their samples -> {index}")


@main.command(epilog=_example("gkcmn-pipe reproduce table1 --out results --size small"))
@click.argument(
    "tables", nargs=-1, required=True, type=click.Choice(["table1", "table2", "table3", "all", "open-points"])
)
@click.option(
    "--out",
    type=_PATH,
    default=Path("reproduce"),
    show_default=True,
    help="Folder for runs, scores, the page and its figures.",
)
@click.option(
    "--size", type=click.Choice(["small", "full"]), default="small", show_default=True, help="Size of the benchmark."
)
@click.option("--seeds", type=click.IntRange(1), help="Runs of each row. [default: 1 of small, 3 of full]")
@click.option(
    "--cache",
    type=_PATH,
    help="Folder for videos and features, shared by all runs. [default: ~/.cache/gkcmn-pipe/benchmark]",
)
@click.option(
    "--workers",
    type=_WORKERS,
    help="Processes that draw and, on a CPU, extract and train. [default: one a core]",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@force_option
def reproduce(
    tables: tuple[str, ...], out: Path, size: Size, seeds: int | None, cache: Path | None,
    workers: int | None, device: str, force: bool,
) -> None:  # fmt: skip
    """Train and score every row of the paper's TABLES on the benchmark, which is drawn here.

    open-points trains each reading of what the paper leaves open instead, and scores it on the split val.

    Interrupted, the same command goes on. Writes OUT/results.md or OUT/open_points.md. Needs the extra [synth] and
    Mesa's OpenGL.
    """
    if "open-points" in tables and len(tables) > 1:
        raise click.UsageError("open-points stands alone")
    from datetime import UTC, datetime

    from extract.io.files import cache_folder
    from pipeline.benchmark.experiments import open_bench, reproduce_open_points, reproduce_tables
    from pipeline.benchmark.tables import TABLES

    with _progress() as progress:
        tasks: dict[str, Any] = {}

        def on_progress(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total, rate="")
            progress.update(tasks[name], completed=done, visible=done < total)
            if done == total and not sys.stderr.isatty():
                click.echo(f"{datetime.now(UTC):%H:%M:%S} {name}: {total} done", err=True)

        bench = open_bench(
            out, size=size, seeds=seeds or (1 if size == "small" else 3), cache=cache or cache_folder("benchmark"),
            device=device, workers=workers or len(os.sched_getaffinity(0)), force=force,
            on_progress=on_progress,
        )  # fmt: skip
        if "open-points" in tables:
            page = reproduce_open_points(bench)
        else:
            page = reproduce_tables(bench, [name for name in TABLES if name in tables or "all" in tables])
    click.echo(page.read_text(encoding="utf-8"))
    _say(f"page and figures -> {page.parent}")


@main.command(epilog=_example("gkcmn-pipe config --set train.epochs=40 > forty.toml"))
@_with(config_options)
def config(config_file: Path | None, assignments: tuple[str, ...]) -> None:
    """Show every setting as it is resolved, as TOML.

    Defaults, then ./gkcmn.toml or --config, then the environment (GKCMN_TRAIN_EPOCHS=40), then flags.
    """
    from pipeline.config import config_toml

    click.echo(config_toml(_config(config_file, assignments, {})), nl=False)


def _check_modules(names: Iterable[str]) -> None:
    """Check that no module of the user shadows a package that the commands need. Raises ClickException if one does."""
    from importlib.util import find_spec

    for name in names:
        spec = find_spec(name)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        place = (spec.origin or next(iter(places), None)) if spec is not None else None
        if place is None:
            continue  # not installed: the import raises an error
        is_own = name in _PACKAGES and Path(place).resolve() == Path(_HOME, name, "__init__.py")
        # All these libraries are packages, so a single file with such a name is the user's.
        if not is_own and (name in _PACKAGES or not places):
            kind = "gkcmn-pipe's own package" if name in _PACKAGES else "the library"
            raise click.ClickException(
                f"{place}: hides {kind} `{name}`; rename it, or take its folder out of PYTHONPATH"
            )


def _settle_process() -> None:
    """Reset parts of the environment that could break a command: rank variables, COLUMNS and warning filters.

    Raises:
        ClickException: the working folder does not exist.
    """
    try:
        Path.cwd()
    except OSError:
        raise click.ClickException(".: the working folder is gone; change to one that is there") from None
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # set by torchrun
        for name in _RANKS:
            os.environ.pop(name, None)
    columns = os.environ.get("COLUMNS", "")
    if not (columns.isdecimal() and int(columns) >= _LEAST_COLUMNS):
        os.environ.pop("COLUMNS", None)
    # Print characters that cannot be encoded as escapes.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if any("error" in option for option in sys.warnoptions):
        import warnings

        warnings.simplefilter("ignore")
        # Child processes inherit both.
        sys.warnoptions.clear()
        os.environ.pop("PYTHONWARNINGS", None)


def _config(
    file: Path | None, assignments: tuple[str, ...], flags: dict[str, Any], *, model: ModelConfig | None = None
) -> Config:
    """Resolve the settings; a dedicated option takes precedence over --set."""
    from pipeline.config import load_config, parse_assignment

    given = {**dict(parse_assignment(text) for text in assignments), **_given(flags)}
    return load_config(given, file=file, model=model)


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flags.items() if value is not None}


def _check_outputs(outputs: Sequence[Output], inputs: Inputs, force: bool) -> None:
    """Run `extract.io.outputs.check_outputs`; if an output is standard output, print messages to standard error."""
    from extract.io.files import is_standard_output
    from extract.io.outputs import check_outputs
    from pipeline.console.streams import print_to_stderr

    check_outputs(outputs, inputs, force=force)
    if any(is_standard_output(output.path) for output in outputs):
        print_to_stderr()


def _say(text: str) -> None:
    """Print a line about the result, with control characters escaped; under torchrun only in the first process."""
    from extract.io.names import printable

    if _is_first_process():
        click.echo(printable(text))


def _warn(message: str) -> None:
    from extract.io.names import printable

    click.echo(f"Warning: {printable(message)}", err=True)


def _console(*, stderr: bool = False) -> Console:
    """Return a console that prints text literally, without interpreting [red] as markup or :dog: as an emoji."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show a progress bar with the remaining time on standard error, if that is a terminal.

    In a log file, the bar would leave many lines.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = _console(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}"), console=console, transient=True,
        redirect_stdout=sys.stdout.isatty(), disable=not (console.is_terminal and _is_first_process()),
    ) as progress:  # fmt: skip
        yield progress


def _is_first_process() -> bool:
    """Return whether this is the process that prints; torchrun starts several."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _clip_progress() -> Iterator[tuple[Callable[[int], None], OnClips, Callable[[], None]]]:
    """Show the progress of extraction: videos done, clips per second, and remaining time of the current video.

    Yields:
        Three callbacks: for the number of videos, for clips done, and for each completed video.
    """
    import time

    from extract.io.names import printable

    with _progress() as progress:
        whole = progress.add_task("videos", total=None, visible=False, rate="")
        tasks: dict[str, Any] = {}
        begun = time.monotonic()
        counts: dict[str, int] = {}

        def on_clips(key: str, done: int, total: int) -> None:
            if key not in tasks:
                tasks[key] = progress.add_task(printable(key), total=total, rate="")
            counts[key] = done
            rate = sum(counts.values()) / max(1e-9, time.monotonic() - begun)
            progress.update(tasks[key], completed=done, rate=f"{rate:.1f} clips/s", visible=done < total)

        def on_start(videos: int) -> None:
            progress.update(whole, total=videos, visible=videos > 1)

        yield on_start, on_clips, lambda: progress.advance(whole)


def _print_report(report: Report) -> None:
    from pipeline.console.tables import report_table

    _console().print(report_table(report))
    if report.missing:
        shown = ", ".join(report.missing[:5]) + (" ..." if len(report.missing) > 5 else "")
        _warn(f"{len(report.missing)} samples have no prediction and count as 0: {shown}")
    if not report.trivial:
        _warn("no trivial rows: the index does not know its videos' sizes; prepare it with --videos")


def _print_grounding(found: Grounding) -> None:
    from rich.table import Table

    start, end = found.tube.span
    start_s, end_s = found.span_s
    source = "extracted" if found.extracted else "from the store"
    click.echo(f"span   {start_s:.2f} s to {end_s:.2f} s (frames {start} to {end}, end excluded)")
    click.echo(f"score  {found.tube.score:.3f}   features {source}")
    table = Table("frame", "seconds", "x1", "y1", "x2", "y2")
    step = max(1, (end - start - 1) // 7)
    for frame in sorted({*range(start, end, step), end - 1}):
        box = (f"{side:.0f}" for side in found.tube.boxes[frame - start])
        table.add_row(str(frame), f"{found.frame_times[frame]:.2f}", *box)
    _console().print(table)


if __name__ == "__main__":
    main()
