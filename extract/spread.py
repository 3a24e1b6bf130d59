"""One function over many items: in this process, or spread by dask over processes and machines."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from extract.errors import GkcmnError, WorkerDiedError

if TYPE_CHECKING:
    from distributed import Client

Item = TypeVar("Item")
Result = TypeVar("Result")
Tell = Callable[..., None]
"""Called while an item is worked on; what it is given reaches `on_event`, wherever the work is done."""
_TOPIC = "gkcmn-events"
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
    with _client(workers, scheduler) as client:
        from distributed import KilledWorker, as_completed

        client.subscribe_topic(_TOPIC, lambda event: on_event(*event[1]))
        threads = max(1, len(os.sched_getaffinity(0)) // workers) if scheduler is None else None
        tasks = {client.submit(_on_worker, work, item, threads, pure=False): item for item in items}
        for task in as_completed(tasks):
            if task.cancelled():
                raise GkcmnError(f"{scheduler or 'dask'}: the scheduler went away; run the same command again")
            error = task.exception()
            if error is None:
                yield Done(item=tasks[task], result=task.result())
                continue
            if isinstance(error, KilledWorker):
                error = WorkerDiedError(
                    f"{error.allowed_failures + 1} workers died at it, perhaps for want of memory; see the workers' "
                    "logs, and try it alone"
                )
            yield Done(item=tasks[task], error=error)


def _done_here(work: Callable[[Item, Tell], Result], item: Item, on_event: Tell) -> Done[Item, Result]:
    try:
        return Done(item=item, result=work(item, on_event))
    except Exception as error:  # noqa: BLE001 - the caller decides, as for a worker's
        return Done(item=item, error=error)


def _on_worker(work: Callable[[Item, Tell], Result], item: Item, threads: int | None) -> Result:
    """The task that a dask worker runs."""
    import torch
    from distributed import get_worker

    if threads is not None:
        torch.set_num_threads(threads)
    worker = get_worker()
    return work(item, lambda *event: worker.log_event(_TOPIC, event))


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Client]:
    """A client of that scheduler, or of a cluster of processes on this machine."""
    from distributed import Client, LocalCluster

    if scheduler is not None:
        try:
            client = Client(scheduler, timeout="10s")
        except (OSError, ValueError) as error:
            raise GkcmnError(f"{scheduler}: no dask scheduler answers ({error}); check the address") from error
        with client:
            if not client.scheduler_info()["workers"]:
                _log.warning("%s has no workers yet; waiting for some", scheduler)
            yield client
        return
    with (
        # What is done with an item needs little memory, however large it is: dask need not watch over it.
        LocalCluster(n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client
