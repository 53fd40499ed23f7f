"""Connections to Redis or Valkey, and what its settings promise."""

from enum import StrEnum

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from engine.limits import REDIS_CONNECTIONS_MAX, REDIS_TIMEOUT_SECONDS

#: The oldest server that has everything the scripts use.
SERVER_VERSION_MIN = (7, 0)


def connect(url: str, timeout_seconds: float = REDIS_TIMEOUT_SECONDS) -> Redis:
    """Return a client that never repeats a command by itself, and never has too many at once.

    redis-py retries by default; an append whose reply was lost would be sent twice. And
    its ordinary pool refuses the hundred and first command at a time instead of letting
    it wait. Where it listens for notices of maintenance, version 8.1 hands out connections that
    the server has closed while nobody used them.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=REDIS_CONNECTIONS_MAX,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return Redis.from_pool(pool)


class Durability(StrEnum):
    """What an acknowledged write survives."""

    #: Survives the crash of the process and of the machine.
    ALWAYS = "fsync before every answer"
    #: Survives the crash of the process; a crash of the machine loses up to a second.
    EVERY_SECOND = "fsync every second"
    #: The server does not say (managed services hide CONFIG): ask its operator.
    UNKNOWN = "unknown: the server hides its settings"


class StoreUnfit(Exception):
    """The server would lose what was promised. Arguments: what is wrong, the remedy."""

    def __str__(self) -> str:
        """Return one line: what is wrong, and the remedy."""
        return f"{self.args[0]}; {self.args[1]}"


async def check_store(client: Redis) -> Durability:
    """Return the durability class of the server, refusing one that loses data.

    Raises:
        StoreUnfit: too old, evicts keys, or keeps nothing on disk.
        RedisError, OSError: the server does not answer.
    """
    server = await client.info("server")
    version = server.get("valkey_version") or server["redis_version"]
    if tuple(map(int, str(version).split(".")[:2])) < SERVER_VERSION_MIN:
        raise StoreUnfit(f"the server is version {version}", "Redis 7.0 or Valkey is needed")
    memory = await client.info("memory")
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        raise StoreUnfit(
            f"the server evicts keys (maxmemory-policy {policy})",
            "set maxmemory-policy noeviction",
        )
    persistence = await client.info("persistence")
    if not int(persistence.get("aof_enabled", 0)):
        raise StoreUnfit("the server keeps no append-only file", "set appendonly yes")
    try:
        settings = await client.config_get("appendfsync")
    except ResponseError:
        return Durability.UNKNOWN
    fsync = settings.get("appendfsync")
    if fsync == "always":
        return Durability.ALWAYS
    if fsync == "everysec":
        return Durability.EVERY_SECOND
    raise StoreUnfit(
        f"the server never forces its file to disk (appendfsync {fsync})",
        "set appendfsync always",
    )


__all__ = ["Durability", "RedisError", "StoreUnfit", "check_store", "connect"]
