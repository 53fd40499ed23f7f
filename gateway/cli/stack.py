"""The whole service on this machine: store, Ray and gateways, started and stopped as one."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

import msgspec
from prometheus_client.multiprocess import mark_process_dead

from actors.ray_environment import prepare_environment
from engine.journal.embedded import EmbeddedStore, StoreDied
from gateway.cli.console import people
from gateway.cli.ray_token import check_token
from gateway.cli.sandbox import Account, Sandbox, SandboxDied
from gateway.cli.surroundings import (
    CannotStart,
    Runtime,
    check_reachable,
    check_shared,
    durability_of,
    is_ready,
    locked,
    shown_url,
    stripe_account,
)
from gateway.launch import Launch
from gateway.settings import Settings, is_loopback

_READY_SECONDS = 60.0
_STOP_SECONDS = 8.0
_SUPERVISE_SECONDS = 0.25
#: A store on a full disk ends at every write: it is said once in this time.
_SAY_AGAIN_SECONDS = 10.0


class Stack:
    """Starts everything that is not already running elsewhere, and keeps it running.

    Args:
        settings: which store and cluster to use; its own where they are None.
        host: address to listen on.
        port: to listen on; 0 takes a free one.
        gateways: how many gateway processes share the port.
        dashboard: whether a local cluster serves Ray's dashboard.
    """

    def __init__(
        self,
        settings: Settings,
        host: str = "127.0.0.1",
        port: int = 8000,
        gateways: int = 1,
        *,
        dashboard: bool = True,
    ) -> None:
        self._settings = settings
        self._host = host
        self._port = port
        self._count = gateways
        self._dashboard = dashboard
        self._store: EmbeddedStore | None = None
        self._sandbox: Sandbox | None = None
        self._account = Account("", None, "", ())
        self._gateways: list[subprocess.Popen[bytes]] = []
        self._ray_started = False
        self._stopping = False
        self._said_at = -_SAY_AGAIN_SECONDS
        self._listener: socket.socket | None = None
        self._exits = contextlib.ExitStack()
        self.runtime = Runtime(os.getpid(), "", "", "", None, "")

    def __enter__(self) -> Self:
        """Start everything; nothing is left running if that fails.

        Raises:
            CannotStart: what is in the way, and the remedy.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything."""
        self.stop()

    # -- start ---------------------------------------------------------------------

    def _start(self) -> None:
        settings = self._settings
        if settings.secret_is_public and not is_loopback(self._host):
            raise CannotStart(
                f"tokens would be signed with a secret that everybody knows on {self._host}",
                "Set ONSALE_AUTH_SECRET (32 characters or more), or listen on 127.0.0.1.",
            )
        account = stripe_account(settings)
        self._listener = self._exits.enter_context(self._listen())
        self._exits.enter_context(locked(settings.data_dir))
        self._start_store()
        from gateway.cli.office import back_office, set_count  # noqa: PLC0415 - see there

        self._back_office = back_office(settings, self.runtime.redis_url)
        self.runtime.database = shown_url(self._back_office.database_url)
        if self._back_office.smtp_urls:
            self.runtime.mail = "by SMTP"
        else:
            self.runtime.mail_dir = self._back_office.mail_dir
            self.runtime.mail = f"files in {self._back_office.mail_dir}"
        self._start_ray()
        self._account = account or self._start_sandbox()
        set_count(settings.back_offices, self.runtime.redis_url)
        self._share_metrics()
        self._gateways = [self._start_gateway() for _ in range(self._count)]
        self._await_ready()
        path = settings.data_dir / "runtime.json"
        path.write_bytes(msgspec.json.encode(self.runtime))
        self._exits.callback(path.unlink, missing_ok=True)

    def _share_metrics(self) -> None:
        """Give several gateways files to count in, so that any of them answers for all."""
        if self._count == 1:
            return
        metrics = self._settings.data_dir / "metrics"
        shutil.rmtree(metrics, ignore_errors=True)
        metrics.mkdir(parents=True)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics.resolve())

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, self._port))
        except OSError as error:
            listener.close()
            raise CannotStart(
                f"cannot listen on {self._host}:{self._port} ({error.strerror})",
                "Stop what uses the port, or choose another with --port.",
            ) from error
        # Connections queue here while a gateway is restarted.
        listener.listen(2_048)
        listener.set_inheritable(True)
        host, port = listener.getsockname()[:2]
        self.runtime.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return listener

    def _start_store(self) -> None:
        url = self._settings.redis_url
        if url is None:
            self._store = EmbeddedStore(self._settings.data_dir / "valkey")
            try:
                self._store.start()
            except StoreDied as error:
                raise CannotStart(
                    f"the embedded store did not start: {error.args[0].strip()[-300:]}",
                    f"See {self._settings.data_dir}/valkey/valkey.log.",
                ) from error
            url = self._store.url
        self.runtime.redis_url = url
        self.runtime.durability = asyncio.run(durability_of(url)).value

    def _start_ray(self) -> None:
        prepare_environment(self._settings.data_dir / "ray-token")
        address = self._settings.ray_address
        if address is not None:
            check_reachable(address)
            check_token(address)
        from actors import runtime  # noqa: PLC0415 - Ray reads its environment when imported

        self._ray_started = True
        try:
            if address is None:
                started = runtime.start_local(dashboard=self._dashboard)
                self.runtime.ray_address, self.runtime.dashboard_url = started
            else:
                self.runtime.ray_address = runtime.join(address)
                machines = runtime.machines()
                # It is theirs who use it. Ray ends every process that is connected when the
                # cluster is gone for long; this one must be there to start gateways again.
                self._leave_ray()
                check_shared(self._settings, machines)
        except runtime.RayUnreachable as error:
            raise CannotStart(
                f"no Ray cluster can be used at {address or 'this machine'}: {error}",
                "Check that RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH gives the cluster's token.",
            ) from error

    def _start_sandbox(self) -> Account:
        """Start a Stripe of our own, and return its account."""
        data_dir = self._settings.data_dir
        self._sandbox = Sandbox(data_dir / "stripe-sandbox", self.runtime.url)
        try:
            self._sandbox.start()
        except SandboxDied as error:
            raise CannotStart(
                f"the Stripe sandbox did not start: {error.args[0]}",
                f"See {data_dir}/stripe-sandbox/sandbox.log.",
            ) from error
        self.runtime.stripe_sandbox_url = self._sandbox.account.api_base
        return self._sandbox.account

    def _start_gateway(self) -> subprocess.Popen[bytes]:
        settings = self._settings
        assert self._listener is not None
        launch = Launch(
            socket_fd=self._listener.fileno(),
            redis_url=self.runtime.redis_url,
            # As it was set: "auto" is wherever the cluster of this node is by then.
            ray_address=settings.ray_address or self.runtime.ray_address,
            auth_secret=settings.auth_secret.get_secret_value(),
            rate_limits=settings.rate_limits == "on",
            idle_seconds=settings.idle_seconds,
            prescale_cores=settings.prescale_cores,
            log_level=settings.log_level,
            stripe_api_key=self._account.api_key,
            stripe_api_base=self._account.api_base,
            stripe_publishable_key=self._account.publishable_key,
            stripe_webhook_secrets=self._account.webhook_secrets,
            stripe_account_per_second=settings.stripe_account_per_second,
            stripe_endpoint_per_second=settings.stripe_endpoint_per_second,
            back_office=self._back_office,
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.server"],
            stdin=subprocess.PIPE,
            pass_fds=[launch.socket_fd],
            # Ctrl-C in the terminal is for this process, which stops them in order.
            start_new_session=True,
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(launch) + b"\n")
        # Left open: its end tells the gateway that this process is no more.
        process.stdin.flush()
        return process

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not is_ready(self.runtime.url):
            for process in self._gateways:
                if process.poll() is not None:
                    raise CannotStart(
                        f"a gateway ended with status {process.returncode}", "See its log above."
                    )
            if time.monotonic() > deadline:
                raise CannotStart(
                    "the gateways were not ready in time",
                    "See their log above, and `onsale doctor`.",
                )
            time.sleep(0.05)

    # -- while it runs -------------------------------------------------------------

    def supervise(self) -> None:
        """Restart what dies, until SIGINT or SIGTERM asks for the end."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask_to_stop)
        while not self._stopping:
            self.mend()
            time.sleep(_SUPERVISE_SECONDS)

    def mend(self) -> None:
        """Restart the store, the sandbox and the gateways that have died."""
        if self._store is not None and not self._store.alive():
            self._tell_of_store(self._store.last_words())
            with contextlib.suppress(StoreDied, OSError):  # the next round tries again
                self._store.start()
        if self._sandbox is not None and not self._sandbox.alive():
            with contextlib.suppress(SandboxDied):
                self._sandbox.start()
        for index, process in enumerate(self._gateways):
            if process.poll() is not None:
                _hang_up(process)
                if self._count > 1:
                    mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
                self._gateways[index] = self._start_gateway()

    def _tell_of_store(self, why: str) -> None:
        if time.monotonic() - self._said_at >= _SAY_AGAIN_SECONDS:
            self._said_at = time.monotonic()
            with contextlib.suppress(OSError):  # the log may be on the same full disk
                people.print(f"The store has ended and is started again: {why}", markup=False)

    def _ask_to_stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    # -- stop ----------------------------------------------------------------------

    def stop(self) -> None:
        """Stop gateways first, so that requests under way are answered; the store last."""
        if self._listener is not None:
            # Else connections would queue here until the end and break then.
            self._listener.close()
        for process in self._gateways:
            process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for process in self._gateways:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _hang_up(process)
        self._gateways = []
        self._leave_ray()
        if self._sandbox is not None:
            self._sandbox.stop()
            self._sandbox = None
        if self._store is not None:
            self._store.stop()
            self._store = None
        self._exits.close()

    def _leave_ray(self) -> None:
        if self._ray_started:
            from actors import runtime  # noqa: PLC0415 - see _start_ray

            runtime.leave()
            self._ray_started = False


def _hang_up(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
