"""One gateway process: connects, serves on an inherited socket, ends in good order.

`onsale up` starts `python -m gateway.server` once for each gateway, with Ray's settings in
the environment.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time

import structlog
import uvicorn
from msgspec import json

from actors import runtime
from actors.back_office.targets import Names, Targets
from actors.handles import RayOwners, RayPayments, RayWards
from actors.process import configure_logging, tune_interpreter
from actors.processes import OwnerSettings, PaymentSettings
from engine.journal.catalogue import Catalogue
from engine.journal.connect import connect
from engine.journal.contacts import Contacts
from engine.journal.controls import Controls
from engine.journal.pulses import Pulses
from engine.journal.redis_streams import RedisStreams
from engine.store.sql import open_store
from engine.store.vault import Vault
from engine.store.webhooks import SqlWebhooks
from engine.tickets.seal import Seals
from gateway import metrics
from gateway.app import make_app, make_inner
from gateway.auth import Tokens, derive_key
from gateway.books import Books
from gateway.direct import DirectProtocol
from gateway.gate import Gatekeeper
from gateway.launch import Launch
from gateway.listening import Listening
from gateway.lookout import Lookout
from gateway.paying import Paying
from gateway.rate_limits import RateLimits
from gateway.service import Desks, Oversight, Service
from gateway.ticketing import Ticketing

log = structlog.get_logger(__name__)

#: How long requests under way may take once the gateway has taken leave, seconds: as long
#: as REQUEST_DEADLINE_MS lets them, and the whole service still ends within ten.
_GRACE_SECONDS = 5
#: How long it goes on taking requests then, telling each client to connect anew, seconds.
_LEAVE_SECONDS = 0.5


#: Names of webhook endpoints that are looked up at the same time.
_RESOLVERS = 4


class _Server(uvicorn.Server):
    """Ends without cutting anybody off.

    Once it was asked to stop, streams end, and every answer says that it is the last one
    on its connection. Connections on which nothing was asked meanwhile are closed then: a
    request that was sent just before would be lost with them.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._stopping = service.stopping
        self._books = service.books
        self._gatekeeper = service.gatekeeper
        self._load = service.batcher.load
        self._beside: list[asyncio.Task[None]] = []
        self._listening: list[Listening] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections from these sockets."""
        await super().startup([])
        # Waited for: a stop holds for gateways that start, too.
        await self._gatekeeper.open()
        self._beside = [
            asyncio.create_task(self._gatekeeper.watch()),
            asyncio.create_task(metrics.note_waiting(self._load)),
            # Not waited for: sales and doors do without it.
            asyncio.create_task(self._books.open()),
        ]
        for task in self._beside:
            task.add_done_callback(_tell_mistake)
        self._listening = [Listening(listener, self._protocol) for listener in sockets or []]

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, take leave of those there are, then close them."""
        for listening in self._listening:
            listening.end()
        self._stopping.set()
        give_up = time.monotonic() + _LEAVE_SECONDS
        while time.monotonic() < give_up:
            if not self.server_state.connections:
                break
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
        # Done what they asked for; uvicorn would raise them again, and Ray's handler would
        # try to take leave of a cluster that may be gone.
        self._captured_signals.clear()


def _tell_mistake(task: asyncio.Task[None]) -> None:
    """Say at once what would else be said when the process ends, and end it: Ctrl-C's way."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("work_ended", exc_info=task.exception())
        os.kill(os.getpid(), signal.SIGTERM)


def _desks(launch: Launch, payments: RayPayments) -> Desks:
    back_office = launch.back_office
    vault = Vault(back_office.data_keys)
    store = open_store(back_office.database_url, vault)
    return Desks(
        Paying(
            payments,
            RedisStreams(connect(launch.redis_url)),
            launch.stripe_webhook_secrets,
            launch.stripe_publishable_key,
        ),
        Ticketing(Seals(back_office.seal_keys), back_office.number_key),
        Books(store, Contacts(connect(launch.redis_url)), vault),
        SqlWebhooks(store.database, vault),
        Targets(Names(_RESOLVERS), private=back_office.private_targets),
    )


def _oversight(launch: Launch) -> Oversight:
    client = connect(launch.redis_url)
    gatekeeper = Gatekeeper(Controls(client), secrets.token_hex(8))
    return Oversight(gatekeeper, Lookout(RedisStreams(client), Pulses(client), gatekeeper))


def run(launch: Launch) -> None:
    """Serve until SIGTERM or SIGINT."""
    configure_logging(launch.log_level)
    # It announces itself in the style of a development server.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # Ray replaces the handler of SIGTERM: connect first, uvicorn installs its own later.
    runtime.join(launch.ray_address)
    runtime.keep_asking()
    owner_settings = OwnerSettings(launch.redis_url, launch.idle_seconds)
    payment_settings = PaymentSettings(
        launch.redis_url,
        launch.stripe_api_key,
        launch.stripe_api_base,
        launch.stripe_account_per_second,
        launch.stripe_endpoint_per_second,
    )
    owners = RayOwners(owner_settings)
    wards = RayWards(owner_settings, payment_settings, launch.back_office)
    runtime.ensure_warden(wards, launch.redis_url, launch.prescale_cores)
    payments = RayPayments(payment_settings, owners)
    payments.start()
    service = Service(
        owners,
        Catalogue(connect(launch.redis_url)),
        Tokens(launch.auth_secret),
        derive_key(launch.auth_secret, "ids"),
        RateLimits() if launch.rate_limits else None,
        _desks(launch, payments),
        _oversight(launch),
    )
    app = make_app(make_inner(), service, runtime.answers)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=DirectProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        # Behind a proxy of yours: its address in FORWARDED_ALLOW_IPS, and the rate limits
        # see the client's.
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=75,
    )
    config.load()
    tune_interpreter()
    _Server(config, service).run([socket.socket(fileno=launch.socket_fd)])
    # Ray's own way out takes seconds and has nothing left to say.
    sys.stderr.flush()
    os._exit(0)


def _end_with_parent() -> None:
    """End when `onsale up` is gone: it could not be started again while we have its port."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches `onsale up`, which tells us
    told = json.decode(sys.stdin.buffer.readline(), type=Launch)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    run(told)
