"""A service for the length of a run, and Locust against it: `make load`.

    python -m loadtests.locust [--web] [--buyers N] [what Locust takes]

The service listens on loopback on a free port, over a temporary data directory, with its
rate limits off and a Stripe sandbox of its own. Ends with Locust's status: 0 only if all
objectives are met.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from loadtests.bench.processes import HOST, BenchFailed, free_port
from loadtests.bench.servers import Onsale, onsale

_ROOT = Path(__file__).parents[2]
_LOCUSTFILE = Path(__file__).with_name("locustfile.py")
#: Workers that are told to leave do so within this time, seconds.
_STOP_SECONDS = 60.0


def main() -> int:
    """Run everything; return the exit status."""
    options, others = _options()
    locust = Path(options.locust)
    if not locust.exists():
        sys.stderr.write(f"{locust} is not there: `make load` makes it, or give --locust\n")
        return 2
    # Several runs may begin in one second.
    kept = Path(options.output) / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
    kept.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="onsale-load-") as directory:
        sys.stderr.write(f"Starting a service, and {options.buyers:,} buyers get their tokens …\n")
        with onsale(Path(directory), options.buyers) as service:
            status = _locust(locust, Path(directory), service, kept, options.web, others)
    sys.stderr.write(f"Reports are in {kept}\n")
    return status


def _options() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="python -m loadtests.locust", description=__doc__)
    parser.add_argument("--web", action="store_true", help="serve Locust's web form instead")
    parser.add_argument("--buyers", type=int, default=5_000, help="how many have tokens")
    parser.add_argument("--locust", default=".venv-load/bin/locust", help="the command")
    parser.add_argument("--output", default="load-results", help="directory of reports")
    return parser.parse_known_args()


def _locust(
    locust: Path, directory: Path, service: Onsale, kept: Path, web: bool, others: list[str]
) -> int:
    tokens = directory / "buyers"
    tokens.write_text("\n".join(service.buyers) + "\n")
    tokens.chmod(0o600)
    environment = os.environ | {
        "PYTHONPATH": str(_ROOT),
        "ONSALE_LOAD_TOKENS_FILE": str(tokens),
        "ONSALE_LOAD_SANDBOX_URL": service.sandbox_url,
        # Not on the command line, where everybody on the machine can read it.
        "ONSALE_LOAD_ORGANIZER_TOKEN": service.organizer,
        "ONSALE_LOAD_WEBHOOK_SECRET": service.webhook_secret,
        "ONSALE_LOAD_VERDICT_FILE": str(kept / "verdict.json"),
    }
    how = ["--class-picker", "--web-host", HOST] if web else ["--headless", "--only-summary"]
    command = [
        *(str(locust), "-f", str(_LOCUSTFILE), "--host", service.url, "--loglevel", "ERROR"),
        *("--html", str(kept / "report.html"), "--csv", str(kept / "stats")),
        *("--json-file", str(kept / "stats")),  # to which Locust adds ".json"
        *(*_meeting_point(), *how, *others),
    ]
    with subprocess.Popen(  # noqa: S603 - our own command
        command,
        env=environment,
        # Ctrl-C in the terminal is for this process, which ends Locust in good order.
        start_new_session=True,
    ) as process:
        try:
            return process.wait()
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End Locust and its workers; what was measured until now is judged."""
    try:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # SIGTERM ends it without a verdict
            process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        sys.stderr.write("Locust does not end, and is killed\n")
    finally:
        with contextlib.suppress(ProcessLookupError):  # none of them is left
            os.killpg(process.pid, signal.SIGKILL)


def _meeting_point() -> list[str]:
    """Have master and workers, with --processes, meet on loopback, in nobody's way."""
    where = {"bind-host": HOST, "bind-port": str(free_port()), "host": HOST}
    where["port"] = where["bind-port"]
    return [word for name, value in where.items() for word in (f"--master-{name}", value)]


if __name__ == "__main__":
    # Whoever asks for the end gets it with everything stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        status = main()
    except BenchFailed as failure:
        sys.stderr.write(f"{failure}\n")
        status = 2
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
