"""What every process of the product sets up once, and how it names itself."""

import gc
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog
from structlog.typing import Processor

#: Allocations before the youngest generation is collected. The objects of a hold hold no
#: cycles, so that collecting them often finds nothing and costs a stall each time.
_GC_THRESHOLDS = (50_000, 50, 1_000)
#: Ray's threads and the event loop share one interpreter lock: the loop gets it back
#: after this long instead of after 5 ms.
_SWITCH_INTERVAL_SECONDS = 0.0005


def tune_interpreter() -> None:
    """Prepare the interpreter for short turns: call it once everything is imported."""
    sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def configure_logging(level: str = "INFO") -> None:
    """Write one JSON object a line to standard error: our own events and those of libraries."""
    said: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=said,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level)
    for talkative in ("stripe", "httpx", "httpcore"):
        # At their most talkative they log bodies, which hold the secrets of buyers' payments.
        logging.getLogger(talkative).setLevel(logging.WARNING)
    # They tell of every table left out of a font, and of every look at the database's schema.
    for talkative in ("fontTools", "alembic"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*said, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def process_started(pid: int) -> int:
    """Return when a process started as the kernel counts it, 0 where that is not known.

    With the number of the process this names it for ever: numbers are given out again.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])


def take_over_oom_score() -> None:
    """Be as unlikely to be killed when memory is short as the parent is, where that is allowed.

    Ray's raylet gives its workers a score of 0 at least, whatever its own is, as soon as they
    are forked: long before anything of theirs runs. A process may go down again as far as it
    had inherited (`oom_score_adj` in proc(5)) without being privileged.
    """
    own = Path("/proc/self/oom_score_adj")
    try:
        of_parent = int(Path(f"/proc/{os.getppid()}/oom_score_adj").read_text())
        if of_parent < int(own.read_text()):
            own.write_text(str(of_parent))
    except OSError:
        pass  # not Linux, or not allowed: it stays what Ray has made it


def preempt_nobody() -> None:
    """Have no thread of this process take a core from a running one as soon as it wakes.

    Where cores are free it runs at once, as before. Where they are not, whoever runs ends its
    slice of some milliseconds first: many owners that wake by turns would cut each other, and
    the gateways, into pieces, and find their caches cold each time.
    """
    if not hasattr(os, "SCHED_BATCH"):
        return  # not Linux
    _of_each_thread(lambda thread: os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0)))


def leave_a_core() -> None:
    """Keep every thread of this process off the first core that it may use, if there are others.

    A gateway is one thread and takes several times as much CPU for a hold as the owner: it is
    what a busy machine waits for. Where owners stay off one core, the kernel finds that this is
    the one to leave a gateway on; its caches are warm then, and owners do not queue behind it.
    """
    if not hasattr(os, "sched_setaffinity"):
        return  # not Linux
    cores = os.sched_getaffinity(0)
    others = cores - {min(cores)}
    if others:
        _of_each_thread(lambda thread: os.sched_setaffinity(thread, others))


def _of_each_thread(set_one: Callable[[int], None]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        # It has just ended, or the machine does not allow it: then it stays as it is.
        with suppress(OSError):
            set_one(int(thread.name))


def kill_process(pid: int, started: int) -> bool:
    """Kill a process of this machine, if it is still the one that started then."""
    if process_started(pid) != started:
        return False
    os.kill(pid, 9)
    return True
