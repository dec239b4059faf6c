"""Background threads: pictures are encoded and written while the next view is computed."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

NUM_THREADS = 2
MOST_WAITING = 4  # tasks; each holds the answers of a view


class Background:
    """Context manager that runs tasks in threads. Its exit waits for all tasks; `run` or the exit raises a task's exception."""

    def __enter__(self) -> "Background":
        self._pool = ThreadPoolExecutor(NUM_THREADS)
        self._pending: deque[Future[Any]] = deque()
        return self

    def run(self, task: Callable[..., Any], *arguments: Any) -> None:
        """Start a task; blocks while too many are unfinished."""
        while len(self._pending) >= MOST_WAITING:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(task, *arguments))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None:
            for task in self._pending:
                task.result()
