"""What a command finds around it: a data directory, a store, a cluster, a running service."""

import contextlib
import fcntl
import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct
from redis.exceptions import RedisError

from engine.journal.connect import Durability, StoreUnfit, check_store, connect
from gateway.cli.sandbox import Account
from gateway.settings import Settings


class CannotStart(Exception):
    """Something is in the way. Arguments: what, and the remedy."""

    def __str__(self) -> str:
        return f"{self.args[0]}. {self.args[1]}"


class Runtime(Struct):
    """Where a running service is, for the other commands; kept in the data directory."""

    pid: int
    url: str
    redis_url: str
    ray_address: str
    dashboard_url: str | None
    durability: str
    stripe_sandbox_url: str | None = None
    database: str = ""
    mail: str = ""
    #: Where mails are written as files; None where they go by SMTP.
    mail_dir: str | None = None


def stripe_account(settings: Settings) -> Account | None:
    """Return the Stripe account that is set, None if none is."""
    if settings.stripe_api_key is None:
        return None
    given = settings.stripe_webhook_secret
    secrets = [] if given is None else given.get_secret_value().split(",")
    secrets = [secret.strip() for secret in secrets if secret.strip()]
    if not secrets:
        raise CannotStart(
            "STRIPE_API_KEY is set and STRIPE_WEBHOOK_SECRET is not",
            "Set it to the signing secret of the webhook endpoint (whsec_…).",
        )
    return Account(
        settings.stripe_api_key.get_secret_value(),
        settings.stripe_api_base,
        settings.stripe_publishable_key,
        tuple(secrets),
    )


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Keep a data directory to this process for the length of a block.

    Raises:
        CannotStart: another process has it, or it cannot be written to.
    """
    with contextlib.ExitStack() as exits:
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            lock: IO[str] = exits.enter_context((data_dir / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotStart(
                f"another onsale runs on the data directory {data_dir}",
                "Stop it, or set ONSALE_DATA_DIR.",
            ) from error
        except OSError as error:
            raise CannotStart(
                f"cannot write to the data directory {data_dir} ({error.strerror})",
                "Set ONSALE_DATA_DIR to a directory that can be written to.",
            ) from error
        yield


async def durability_of(url: str) -> Durability:
    """Return what the store promises. Raises CannotStart."""
    client = connect(url)
    try:
        return await check_store(client)
    except StoreUnfit as error:
        raise CannotStart(
            f"the store cannot be used: {error.args[0]}", f"{error.args[1]}."
        ) from error
    except (RedisError, OSError, TimeoutError, ValueError) as error:
        raise CannotStart(
            f"no Redis answers at {shown_url(url)} ({type(error).__name__}: {error})",
            "Start it, check ONSALE_REDIS_URL, or unset it to use the embedded store.",
        ) from error
    finally:
        await client.aclose()


def check_reachable(ray_address: str) -> None:
    """Find out at once what Ray would find out in a minute. Raises CannotStart."""
    host, colon, port = ray_address.rpartition(":")
    if not colon or not port.isdigit():
        return  # "auto": Ray knows where on this machine
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError as error:
        raise CannotStart(
            f"nothing answers at RAY_ADDRESS {ray_address} ({error})",
            "Start the cluster, or unset RAY_ADDRESS to use one on this machine.",
        ) from error


def check_shared(settings: Settings, machines: int) -> None:
    """Find what actors on other machines would look for in vain. Raises CannotStart."""
    database = settings.database_url
    local = database is None or database.get_secret_value().startswith("sqlite")
    own = {
        "ONSALE_REDIS_URL": settings.redis_url is None,
        "ONSALE_DATABASE_URL": local,
        "STRIPE_API_KEY": settings.stripe_api_key is None,
    }
    if machines > 1 and any(own.values()):
        names = ", ".join(name for name, is_own in own.items() if is_own)
        raise CannotStart(
            f"this Ray cluster has {machines} machines, and what is this one's own instead of "
            f"being set ({names}) cannot be reached from the others",
            "Set them; PostgreSQL instead of SQLite.",
        )


def shown_url(url: str) -> str:
    """Return a URL without the password that may stand in it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def port_is_free(host: str, port: int) -> bool:
    """Tell whether a port can be listened on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def is_ready(url: str) -> bool:
    """Tell whether a service answers that it is ready."""
    host = url.partition("://")[2]
    connection = http.client.HTTPConnection(host, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def running(data_dir: Path) -> Runtime | None:
    """Return where the service of this data directory runs, None if it does not."""
    try:
        runtime = msgspec.json.decode((data_dir / "runtime.json").read_bytes(), type=Runtime)
        os.kill(runtime.pid, 0)
    except (OSError, msgspec.MsgspecError):
        return None
    return runtime
