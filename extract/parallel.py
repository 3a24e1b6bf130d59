"""Parallel map: one function applied to many items, in this process or with dask in several processes and machines."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Generic, TypeVar

from extract.errors import GkcmnError, WorkerDiedError

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

Item = TypeVar("Item")
Result = TypeVar("Result")
Tell = Callable[..., None]
"""Callback that a work function calls with any arguments; they are passed to `on_event`, also from other processes."""
POLL_S = 5.0
"""Time in seconds after which changes in the number of workers are noticed at the latest."""
_PRELOAD = """
import logging, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
logging.getLogger("distributed").setLevel(logging.CRITICAL)
"""
"""Code that each local worker runs at start. Workers ignore SIGINT: Ctrl-C reaches all processes of a terminal, and
only the main process handles it."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Done(Generic[Item, Result]):
    """Outcome of one item: a result or an error."""

    item: Item
    """The item that was processed."""
    result: Result | None = None
    """Return value of the work function; None after an error."""
    error: BaseException | None = None
    """Exception that ended the work, or None."""

    def value(self) -> Result:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]  # without an error there is a result


def is_alone(items: int, workers: int, scheduler: str | None) -> bool:
    """Return whether the items are processed in this process.

    If so, paths may be relative, and the order of the items is kept.

    Args:
        items: number of items.
        workers: requested number of local processes.
        scheduler: address of a dask scheduler, or None.
    """
    return scheduler is None and min(workers, items) <= 1


def spread(
    work: Callable[[Item, Tell], Result],
    items: Sequence[Item],
    *,
    workers: int,
    scheduler: str | None = None,
    on_event: Tell = lambda *_: None,
) -> Iterator[Done[Item, Result]]:
    """Process each item and yield its outcome when it is finished. A failed item does not stop the others.

    If a worker dies, dask gives its item to another worker, a limited number of times.

    Args:
        work: function of an item and a callback; it must be a module-level function or a `partial` of one. Its result
            passes through the scheduler and must therefore be small.
        items: the items, in the order in which they are started.
        workers: number of processes on this machine, which share its cores; 1 uses this process.
        scheduler: address of a dask scheduler whose workers are used instead of `workers` local processes.
        on_event: called with the arguments that `work` passes to its callback.

    Raises:
        GkcmnError: the local workers cannot be started, or the scheduler cannot be reached or was lost.
    """
    if is_alone(len(items), workers, scheduler):
        for item in items:
            yield _done_here(work, item, on_event)
        return
    workers = min(workers, len(items))
    topic = f"gkcmn-{secrets.token_hex(8)}"  # unique, because other commands may use the same scheduler
    threads = max(1, len(os.sched_getaffinity(0)) // workers) if scheduler is None else None
    with _client(workers, scheduler) as client:
        client.subscribe_topic(topic, lambda event: on_event(*event[1]))

        def submit(item: Item) -> Future[Result]:
            return client.submit(_on_worker, work, item, threads, topic, pure=False)

        yield from _each(client, submit, items, scheduler or "dask")


def _each(
    client: Client, submit: Callable[[Item], Future[Result]], items: Sequence[Item], place: str
) -> Iterator[Done[Item, Result]]:
    """Submit one task per worker thread, and yield outcomes as tasks finish.

    No worker gets more tasks than threads, because dask blames every task queued on a dead worker for its death. Each
    task is released as soon as it has finished: otherwise dask would run it again if the worker that holds its result
    died.
    """
    from distributed import CancelledError, wait

    todo = deque(items)
    running: dict[Future[Result], Item] = {}
    is_warned = False
    while todo or running:
        try:
            threads = sum(client.nthreads().values())
            if threads == 0 and not is_warned:
                _log.warning("%s has no workers; waiting for some", place)
            is_warned = threads == 0
            while todo and len(running) < max(1, threads):
                item = todo.popleft()
                running[submit(item)] = item
            with suppress(TimeoutError):
                wait(list(running), timeout=POLL_S, return_when="FIRST_COMPLETED")
            ended = [_released(task, running.pop(task)) for task in list(running) if task.done()]
        except (CancelledError, OSError) as error:
            raise GkcmnError(f"{place}: the scheduler went away; run the same command again") from error
        yield from ended


def _released(task: Future[Result], item: Item) -> Done[Item, Result]:
    from distributed import KilledWorker

    error = task.exception()
    result = task.result() if error is None else None
    task.release()
    if isinstance(error, KilledWorker):
        error = WorkerDiedError(
            f"{error.allowed_failures + 1} workers died at it, perhaps for want of memory; see the workers' "
            "logs, and try it alone"
        )
    return Done(item=item, result=result, error=error)


def _done_here(work: Callable[[Item, Tell], Result], item: Item, on_event: Tell) -> Done[Item, Result]:
    try:
        return Done(item=item, result=work(item, on_event))
    except Exception as error:  # noqa: BLE001 - the caller handles the error, as with an error on a worker
        return Done(item=item, error=error)


def _on_worker(work: Callable[[Item, Tell], Result], item: Item, threads: int | None, topic: str) -> Result:
    """Run the work function as a task of a dask worker."""
    import torch
    from distributed import get_worker

    if threads is not None:
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # for the decoder process too; dask sets it to 1
    worker = get_worker()
    return work(item, lambda *event: worker.log_event(topic, event))


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Client]:
    """Connect to a dask scheduler, or to a new cluster of processes on this machine."""
    import dask
    from distributed import Client

    # Silence dask's log: the outcome of each item already contains its error.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout="10s")
        except (OSError, ValueError, TypeError) as error:
            raise GkcmnError(f"{scheduler}: no dask scheduler answers ({error}); check the address") from error
        with client:
            yield client
        return
    with (
        _workers_environment(),
        # By default dask sets MALLOC_TRIM_THRESHOLD_, which returns freed memory to the operating system at once.
        # Reallocating every large tensor then doubles the run time, so the variable is not set.
        dask.config.set({"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}),
        _cluster(workers) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def _cluster(workers: int) -> Iterator[LocalCluster]:
    """Start processes on this machine, and stop them at the end. Raises GkcmnError if they cannot be started."""
    from distributed import LocalCluster

    with ExitStack() as stack:
        with _signals_later():
            try:
                # Disable dask's memory monitoring: the memory needed for an item is small, whatever the item's size.
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    memory_limit=0,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                    preload=_PRELOAD,
                )
            except (OSError, RuntimeError) as error:  # TimeoutError is an OSError
                raise GkcmnError(f"{workers} workers: they cannot be started ({error}); use fewer --workers") from error
            stack.enter_context(cluster)
        yield cluster


@contextmanager
def _signals_later() -> Iterator[None]:
    """Delay SIGINT and SIGTERM until the block ends, because dask cannot stop a partially started cluster.

    Processes and threads started in the block never receive SIGINT. Outside the main thread this has no effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    before = {
        number: signal.signal(number, lambda came, _: arrived.append(came))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    # New processes inherit the signal mask but no handlers: without the mask, Ctrl-C would end them with a traceback
    # while they import. Python's resource tracker unblocks the signals when it starts, so it is started first.
    resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
        for came in dict.fromkeys(arrived):
            signal.raise_signal(came)


@contextmanager
def _workers_environment() -> Iterator[None]:
    """Set environment variables for worker processes, and restore the environment at the end.

    dask leaves OMP_NUM_THREADS=1 in this process, which is undone too.
    """
    kept = dict(os.environ)
    os.environ["PYTHONSAFEPATH"] = "1"  # a random.py in the working folder must not shadow the standard library
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
