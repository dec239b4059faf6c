"""What worker processes share: how many the machine has room for, and who answers Ctrl-C."""

import os
import signal


def num_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ignore_interrupts() -> None:
    """Initialise a worker: its parent is interrupted by Ctrl-C and ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
