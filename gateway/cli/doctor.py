"""`onsale doctor`: is this machine, and what runs on it, fit for an on-sale?"""

import asyncio
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import typer
from redis.exceptions import RedisError
from rich.table import Table

from engine.journal.connect import StoreUnfit, check_store, connect
from gateway.cli.console import people, read_settings
from gateway.cli.surroundings import is_ready, running
from gateway.settings import Settings

#: Result of one check: fit or not, what was found, what to do about it.
Finding = tuple[bool, str, str]

_FILES_MIN = 4_096
_FSYNC_MS_MAX = 20.0


def doctor() -> None:
    """Check settings, store, disk and limits; status 0 only if nothing is in the way."""
    settings = read_settings()
    table = Table("", "check", "found", "remedy", box=None)
    fit = True
    for name, (good, found, remedy) in _findings(settings):
        fit &= good
        table.add_row("[green]ok[/]" if good else "[red]no[/]", name, found, "" if good else remedy)
    people.print(table)
    if not fit:
        raise typer.Exit(1)


def _findings(settings: Settings) -> Iterator[tuple[str, Finding]]:
    checks: dict[str, Callable[[Settings], Finding]] = {
        "Python": _python,
        "asserts": _asserts,
        "open files": _open_files,
        "disk": _disk,
        "secret": _secret,
        "store": _store,
        "service": _service,
    }
    for name, check in checks.items():
        yield name, check(settings)


def _python(_settings: Settings) -> Finding:
    return sys.version_info >= (3, 11), sys.version.split()[0], "Use Python 3.11 or newer."


def _asserts(_settings: Settings) -> Finding:
    remedy = "Do not run with -O or PYTHONOPTIMIZE: the asserts are the invariants."
    return __debug__, "on" if __debug__ else "off", remedy


def _open_files(_settings: Settings) -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft >= _FILES_MIN, f"{soft} (at most {hard})", f"ulimit -n {_FILES_MIN} or more."


def _disk(settings: Settings) -> Finding:
    """Measure what every answer waits for: a small write forced to disk."""
    directory = settings.data_dir if settings.data_dir.exists() else Path()
    took = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(20):
            began = time.perf_counter()
            file.write(bytes(4_096))
            file.flush()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1_000)
    median = sorted(took)[len(took) // 2]
    return median <= _FSYNC_MS_MAX, f"fsync {median:.2f} ms", "Use a faster disk for the store."


def _secret(settings: Settings) -> Finding:
    found = "default, on loopback only" if settings.secret_is_public else "set"
    return True, found, ""


def _store(settings: Settings) -> Finding:
    runtime = running(settings.data_dir)
    url = settings.redis_url or (runtime.redis_url if runtime else None)
    if url is None:
        return True, "embedded, starts with the service", ""
    return asyncio.run(_check(url))


async def _check(url: str) -> Finding:
    client = connect(url)
    try:
        return True, (await check_store(client)).value, ""
    except StoreUnfit as error:
        return False, error.args[0], error.args[1]
    except (RedisError, OSError, TimeoutError, ValueError) as error:
        return False, f"{type(error).__name__}: {error}", "Start it, or check ONSALE_REDIS_URL."
    finally:
        await client.aclose()


def _service(settings: Settings) -> Finding:
    runtime = running(settings.data_dir)
    if runtime is None:
        return True, "not running", ""
    return is_ready(runtime.url), runtime.url, f"See {runtime.url}/readyz for what is missing."
