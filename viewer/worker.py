"""One thread that computes for all visitors, in turn: each visitor's newest request replaces the older one of its kind."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Stale: TypeAlias = Callable[[], bool]
Work: TypeAlias = Callable[[Stale], Any]


@dataclass(eq=False)
class _Job:
    work: Work
    ready_at: float
    """Monotonic seconds before which it does not start."""
    future: Future = field(default_factory=Future)
    stale: threading.Event = field(default_factory=threading.Event)


class Worker:
    """Runs requests one at a time, taking turns between visitors.

    Rendering and relevancy use all cores, so that two at once would only delay each other. A request is a function of `stale`,
    which turns true when the same visitor made a newer request of the same kind: long work asks it between steps and returns.
    """

    def __init__(self) -> None:
        self._visitors: OrderedDict[Hashable, OrderedDict[Hashable, _Job]] = OrderedDict()
        self._running: tuple[Hashable, Hashable, _Job] | None = None
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="viewer-worker", daemon=True)
        self._thread.start()

    def submit(self, visitor: Hashable, kind: Hashable, work: Work, delay: float = 0.0) -> Future:
        """Run `work` after `delay` seconds, once it is the visitor's turn; its result is the future's.

        A waiting request of the same visitor and kind is cancelled, a running one becomes stale.
        """
        job = _Job(work, time.monotonic() + delay)
        with self._changed:
            if self._stopped:
                job.future.cancel()
                return job.future
            waiting = self._visitors.setdefault(visitor, OrderedDict())
            replaced = waiting.pop(kind, None)
            if replaced is not None:
                replaced.future.cancel()
            if self._running is not None and self._running[:2] == (visitor, kind):
                self._running[2].stale.set()
            waiting[kind] = job
            self._changed.notify_all()
        return job.future

    def waiting(self, visitor: Hashable) -> int:
        """Requests of the visitor that have not started."""
        with self._changed:
            return len(self._visitors.get(visitor, ()))

    def forget(self, visitor: Hashable) -> None:
        """Cancel everything that a visitor who left has asked for."""
        with self._changed:
            for job in self._visitors.pop(visitor, {}).values():
                job.future.cancel()
            if self._running is not None and self._running[0] == visitor:
                self._running[2].stale.set()

    def stop(self) -> None:
        """Cancel all requests and wait for the running one."""
        with self._changed:
            for visitor in list(self._visitors):
                self.forget(visitor)
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while (chosen := self._next()) is not None:
            job = chosen[2]
            if job.future.set_running_or_notify_cancel():
                try:
                    job.future.set_result(job.work(job.stale.is_set))
                except Exception as error:  # noqa: BLE001 - the future hands it to the caller
                    job.future.set_exception(error)
            with self._changed:
                self._running = None

    def _next(self) -> tuple[Hashable, Hashable, _Job] | None:
        """The next ready request, the visitor who waited longest first; None when stopped."""
        with self._changed:
            while not self._stopped:
                now, earliest = time.monotonic(), None
                for visitor, jobs in self._visitors.items():
                    for kind, job in jobs.items():
                        if job.ready_at <= now:
                            del jobs[kind]
                            if jobs:
                                self._visitors.move_to_end(visitor)
                            else:
                                del self._visitors[visitor]
                            self._running = (visitor, kind, job)
                            return self._running
                        earliest = job.ready_at if earliest is None else min(earliest, job.ready_at)
                self._changed.wait(None if earliest is None else earliest - now)
            return None
