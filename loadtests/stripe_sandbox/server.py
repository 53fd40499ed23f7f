"""The server: Starlette routes behind uvicorn, on one socket of this machine."""

import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from loadtests.stripe_sandbox.api import ABORT, Endpoint
from loadtests.stripe_sandbox.control import Control
from loadtests.stripe_sandbox.errors import refused
from loadtests.stripe_sandbox.operations import OPERATIONS
from loadtests.stripe_sandbox.sandbox import Sandbox

#: How long requests under way may take once it was asked to stop, seconds.
_GRACE_SECONDS = 1


class _Protocol(HttpToolsProtocol):
    """HTTP that can be broken off."""

    def on_message_begin(self) -> None:
        """Tell the application how."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"abort": self.transport.abort}}


class Server(uvicorn.Server):
    """Says when it listens, and ends without raising the signal again that ended it."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections from these sockets."""
        await super().startup(sockets)
        self._listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in good order."""
        await super().shutdown(sockets)
        self._captured_signals.clear()


def make_app(sandbox: Sandbox) -> Starlette:
    """Return the application."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        sandbox.start()
        yield
        await sandbox.stop()

    in_flight: set[str] = set()
    api = [
        Route(one.path, Endpoint(sandbox, one, in_flight), methods=[one.method])
        for one in OPERATIONS
    ]
    # Browsers confirm payments themselves, from pages of any origin.
    cors = Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])
    return Starlette(
        routes=[*api, *Control(sandbox).routes()],
        middleware=[cors],
        exception_handlers={404: _unknown, 405: _unknown},
        lifespan=lifespan,
    )


def serve(sandbox: Sandbox, listener: socket.socket) -> None:
    """Serve on a socket that is bound to this machine, until SIGTERM or SIGINT."""
    url = sandbox.site = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def announce() -> None:
        print(json.dumps({"url": url, "pid": os.getpid()}), flush=True)  # noqa: T201
        print(  # noqa: T201
            f"\n*** STRIPE SANDBOX at {url}: NO MONEY MOVES. For tests only. ***\n",
            file=sys.stderr,
            flush=True,
        )

    config = uvicorn.Config(
        make_app(sandbox),
        loop="uvloop",
        http=_Protocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        headers=[("X-Sandbox", "no money moves")],
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=75,
    )
    Server(config, announce).run([listener])


async def _unknown(request: Request, _: Exception) -> Response:
    error = refused(f"Unrecognized request URL ({request.method}: {request.url.path}).")
    body = msgspec.json.encode({"error": error.error})
    return Response(body, 404, media_type="application/json")
