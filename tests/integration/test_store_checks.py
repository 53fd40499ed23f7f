"""What a server's settings promise is read from the server, and a losing one is refused."""

from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from engine.journal.connect import Durability, StoreUnfit, check_store, connect
from engine.journal.embedded import EmbeddedStore
from tests.proxy import Proxy
from tests.servers import running_store


async def checked(directory: Path, **settings: str) -> Durability:
    names = {name.replace("_", "-"): value for name, value in settings.items()}
    with running_store(directory, settings=names) as store:
        async with connect(store.url) as client:
            return await check_store(client)


async def test_the_embedded_store_forces_every_write_to_disk(redis: Redis) -> None:
    assert await check_store(redis) is Durability.ALWAYS


async def test_a_server_that_forces_its_file_every_second_is_named_so(tmp_path: Path) -> None:
    assert await checked(tmp_path, appendfsync="everysec") is Durability.EVERY_SECOND


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "evicts keys"),
        ({"maxmemory_policy": "volatile-ttl"}, "evicts keys"),
        ({"appendonly": "no"}, "no append-only file"),
        ({"appendfsync": "no"}, "never forces"),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else None,
)
async def test_a_server_that_would_lose_what_was_promised_is_refused(
    settings: dict[str, str], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(StoreUnfit, match=complaint) as unfit:
        await checked(tmp_path, **settings)
    remedy = str(unfit.value).partition("; ")[2]
    assert remedy.startswith("set "), "the operator is told what to do"


async def test_a_server_that_hides_its_settings_is_not_called_durable(
    store: EmbeddedStore, redis: Redis
) -> None:
    await redis.acl_setuser(
        "tenant", enabled=True, passwords=["+secret"], commands=["+@all", "-config"], keys=["*"]
    )
    try:
        async with Redis.from_url(store.url, username="tenant", password="secret") as client:
            assert await check_store(client) is Durability.UNKNOWN
    finally:
        await redis.acl_deluser("tenant")


class OldServer:
    """Answers INFO as a server of some version would."""

    def __init__(self, **versions: str) -> None:
        self.versions = versions

    async def info(self, section: str) -> dict[str, str]:
        return {"server": self.versions, "persistence": {"aof_enabled": "1"}}.get(section, {})

    async def config_get(self, name: str) -> dict[str, str]:
        return {name: "always"}


@pytest.mark.parametrize("version", ["6.2.14", "6.9", "2.8.0", "6.10.1"])
async def test_a_server_without_what_the_scripts_need_is_refused(version: str) -> None:
    with pytest.raises(StoreUnfit, match=version):
        await check_store(OldServer(redis_version=version))


@pytest.mark.parametrize(
    "versions",
    [
        {"redis_version": "7.0.0"},
        {"redis_version": "10.0.1"},
        {"redis_version": "7.2.4", "valkey_version": "9.1.2"},
    ],
    ids=str,
)
async def test_every_later_server_will_do(versions: dict[str, str]) -> None:
    assert await check_store(OldServer(**versions)) is Durability.ALWAYS


async def test_a_server_that_does_not_answer_is_not_called_unfit(proxy: Proxy) -> None:
    await proxy.refuse()
    async with connect(proxy.url) as client:
        with pytest.raises((RedisError, OSError)):
            await check_store(client)
