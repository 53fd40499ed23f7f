"""What a command finds in its way before anything starts."""

import pytest

from gateway.cli.surroundings import CannotStart, check_shared
from gateway.settings import Settings

_SHARED = {
    "redis_url": "redis://redis.internal",
    "database_url": "postgresql://postgres.internal/onsale",
    "stripe_api_key": "sk_test_1",
}


def test_on_several_machines_everything_is_reached_by_all(monkeypatch):
    monkeypatch.delenv("STRIPE_API_KEY", raising=False)
    check_shared(Settings(**_SHARED), 3)
    check_shared(Settings(), 1)
    for name, value in {
        "redis_url": None,
        "database_url": None,
        "stripe_api_key": None,
        "database_url ": "sqlite:///onsale.db",
    }.items():
        with pytest.raises(CannotStart, match="3 machines") as caught:
            check_shared(Settings(**_SHARED | {name.strip(): value}), 3)
        named = str(caught.value)
        assert ("REDIS" in named) == (name == "redis_url")
        assert ("DATABASE_URL" in named) == name.startswith("database_url")
        assert ("STRIPE" in named) == (name == "stripe_api_key")
