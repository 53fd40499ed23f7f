"""The process of the sandbox; see `loadtests.stripe_sandbox`."""

import argparse
import gc
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from loadtests.stripe_sandbox.sandbox import Sandbox, Settings
from loadtests.stripe_sandbox.server import serve
from loadtests.stripe_sandbox.webhooks import Patience

#: Every object lives as long as the sandbox; to look for garbage among them takes longer
#: the more there are, and finds none.
_GC_THRESHOLD = 200_000
_BACKLOG = 2_048


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.stripe_sandbox",
        description="A Stripe of our own, for tests. NO MONEY MOVES.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--port", type=int, default=0, help="0 takes a free one")
    where.add_argument("--fd", type=int, help="an inherited socket that listens")
    parser.add_argument("--data-dir", type=Path, help="keeps the books over restarts")
    parser.add_argument("--webhook-url", help="of an endpoint for all events")
    parser.add_argument("--webhook-secret", default=Settings().webhook_secret)
    parser.add_argument("--api-key", default=Settings().api_key)
    parser.add_argument("--seed", type=int, default=0, help="of all faults")
    parser.add_argument(
        "--settle-seconds",
        type=float,
        default=Settings().settle_seconds,
        help="how long payments are processing and refunds pending, where they are",
    )
    patience = Patience()
    for name, what in (
        ("first", "pause before a webhook is repeated; doubles each time"),
        ("longest", "longest pause"),
        ("total", "after this a webhook is not repeated any more"),
        ("answer", "how long an endpoint may take to answer"),
    ):
        parser.add_argument(
            f"--webhook-{name}-seconds", type=float, default=getattr(patience, name), help=what
        )
    parser.add_argument("--with-parent", action="store_true", help="end when stdin closes")
    return parser.parse_args()


def _listen(arguments: argparse.Namespace) -> socket.socket:
    if arguments.fd is not None:
        return socket.socket(fileno=arguments.fd)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", arguments.port))
    listener.listen(_BACKLOG)
    return listener


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4_096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve as the command line says, until SIGTERM or SIGINT."""
    arguments = _arguments()
    listener = _listen(arguments)
    sandbox = Sandbox(
        Settings(
            api_key=arguments.api_key,
            data_dir=arguments.data_dir,
            webhook_url=arguments.webhook_url,
            webhook_secret=arguments.webhook_secret,
            seed=arguments.seed,
            settle_seconds=arguments.settle_seconds,
            patience=Patience(
                arguments.webhook_first_seconds,
                arguments.webhook_longest_seconds,
                arguments.webhook_total_seconds,
                arguments.webhook_answer_seconds,
            ),
        )
    )
    if arguments.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    gc.set_threshold(_GC_THRESHOLD)
    serve(sandbox, listener)


if __name__ == "__main__":
    main()
