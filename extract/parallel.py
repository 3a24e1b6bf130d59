"""One function over many items: in this process, or spread by dask over processes and machines."""

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
"""Called while an item is worked on; what it is given reaches `on_event`, wherever the work is done."""
POLL_S = 5.0
"""After which workers that came or went are noticed, if no item ends before."""
_PRELOAD = """
import logging, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
logging.getLogger("distributed").setLevel(logging.CRITICAL)
"""
"""Run by each worker of this machine: Ctrl-C reaches all processes of a terminal, and the first alone answers it."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Done(Generic[Item, Result]):
    """What became of one item: a result, or why there is none."""

    item: Item
    result: Result | None = None
    error: BaseException | None = None

    def value(self) -> Result:
        """The result. Raises the error where there is one."""
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]  # without an error it is one


def is_alone(items: int, workers: int, scheduler: str | None) -> bool:
    """Whether so many items are worked on in this process: then paths may be relative, and order is kept."""
    return scheduler is None and min(workers, items) <= 1


def spread(
    work: Callable[[Item, Tell], Result],
    items: Sequence[Item],
    *,
    workers: int,
    scheduler: str | None = None,
    on_event: Tell = lambda *_: None,
) -> Iterator[Done[Item, Result]]:
    """Work on each item, and yield what became of it as it ends. An item that fails does not end the others.

    An item whose worker dies is given to another one, some times.

    Args:
        work: what is done with an item; a function of a module, or a partial of one. What it returns goes through
            the scheduler: keep it small.
        items: in the order in which they are begun.
        workers: processes on this machine, which share its cores; 1 is this process itself.
        scheduler: address of a dask scheduler whose workers take the place of `workers`.
        on_event: told what `work` tells.

    Raises:
        GkcmnError: there is no such scheduler, or it went away.
    """
    if is_alone(len(items), workers, scheduler):
        for item in items:
            yield _done_here(work, item, on_event)
        return
    workers = min(workers, len(items))
    topic = f"gkcmn-{secrets.token_hex(8)}"  # another command on the same scheduler has its own
    threads = max(1, len(os.sched_getaffinity(0)) // workers) if scheduler is None else None
    with _client(workers, scheduler) as client:
        client.subscribe_topic(topic, lambda event: on_event(*event[1]))

        def submit(item: Item) -> Future[Result]:
            return client.submit(_on_worker, work, item, threads, topic, pure=False)

        yield from _each(client, submit, items, scheduler or "dask")


def _each(
    client: Client, submit: Callable[[Item], Future[Result]], items: Sequence[Item], place: str
) -> Iterator[Done[Item, Result]]:
    """Keep each worker's threads busy, and none with more: what waits at a worker that dies counts as its killer.

    A task is released when it has ended: dask would do it again if the worker that holds its result died.
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
    except Exception as error:  # noqa: BLE001 - the caller decides, as for a worker's
        return Done(item=item, error=error)


def _on_worker(work: Callable[[Item, Tell], Result], item: Item, threads: int | None, topic: str) -> Result:
    """The task that a dask worker runs."""
    import torch
    from distributed import get_worker

    if threads is not None:
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # the decoder's too, where dask has set 1
    worker = get_worker()
    return work(item, lambda *event: worker.log_event(topic, event))


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Client]:
    """A client of that scheduler, or of a cluster of processes on this machine."""
    import dask
    from distributed import Client

    # What becomes of an item is told by its outcome.
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
        # dask has freed memory go back to the system at once, and every large tensor fetched anew: twice the time.
        dask.config.set({"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}),
        _cluster(workers) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def _cluster(workers: int) -> Iterator[LocalCluster]:
    """Start processes on this machine, and end them. Raises GkcmnError where it cannot hold so many."""
    from distributed import LocalCluster

    with ExitStack() as stack:
        with _signals_later():
            try:
                # What is done with an item needs little memory, however large it is: dask need not watch over it.
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
    """Keep SIGINT and SIGTERM until the block ends: dask cannot end a cluster that has not wholly started.

    Processes and threads that the block starts never receive SIGINT. Nothing changes outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    before = {
        number: signal.signal(number, lambda came, _: arrived.append(came))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    # A new process inherits the mask, but no handler: Ctrl-C would end it with a traceback while it imports.
    # Python's resource tracker lifts the mask when it starts, so it is started first.
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
    """Set what worker processes inherit, and undo it and what dask does: it leaves their OMP_NUM_THREADS=1 here."""
    kept = dict(os.environ)
    os.environ["PYTHONSAFEPATH"] = "1"  # a random.py in the working folder is not the standard library's
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
