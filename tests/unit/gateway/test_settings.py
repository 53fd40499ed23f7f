"""Settings: read from the environment, refused where they make no sense."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.settings import LOOPBACK_SECRET, Settings, is_loopback

NAMES = (
    "ONSALE_REDIS_URL", "RAY_ADDRESS", "ONSALE_AUTH_SECRET", "ONSALE_DATA_DIR",
    "ONSALE_RATE_LIMITS", "ONSALE_LOG_LEVEL", "ONSALE_IDLE_SECONDS", "ONSALE_TICKET_KEYS",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_every_setting_is_documented() -> None:
    table = (Path(__file__).parents[3] / "docs" / "OPERATING.md").read_text()
    table = table.replace("`…_ENDPOINT_PER_SECOND`", "`ONSALE_STRIPE_ENDPOINT_PER_SECOND`")
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    for field in Settings.model_fields.values():
        name = f"`{field.validation_alias}`"
        assert any(name in row.split("|")[1] for row in rows), name


def test_without_an_environment_everything_is_local() -> None:
    settings = Settings()
    assert settings.redis_url is None
    assert settings.ray_address is None
    assert settings.data_dir == Path(".onsale")
    assert settings.rate_limits == "on"
    assert settings.secret_is_public


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONSALE_REDIS_URL", "redis://store:6379/0")
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setenv("ONSALE_AUTH_SECRET", "s" * 32)
    monkeypatch.setenv("ONSALE_DATA_DIR", "/var/lib/onsale")
    monkeypatch.setenv("ONSALE_RATE_LIMITS", "off")
    monkeypatch.setenv("ONSALE_IDLE_SECONDS", "1.5")
    settings = Settings()
    assert settings.redis_url == "redis://store:6379/0"
    assert settings.ray_address == "head:6379"
    assert settings.auth_secret.get_secret_value() == "s" * 32
    assert settings.data_dir == Path("/var/lib/onsale")
    assert settings.rate_limits == "off"
    assert settings.idle_seconds == 1.5
    assert not settings.secret_is_public


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ONSALE_AUTH_SECRET", "short"),
        ("ONSALE_AUTH_SECRET", ""),
        ("ONSALE_TICKET_KEYS", "short"),
        ("ONSALE_TICKET_KEYS", "k" * 32 + ",short"),
        ("ONSALE_TICKET_KEYS", "k" * 32 + ","),
        ("ONSALE_RATE_LIMITS", "no"),
        ("ONSALE_IDLE_SECONDS", "0"),
        ("ONSALE_IDLE_SECONDS", "soon"),
        ("ONSALE_LOG_LEVEL", "LOUD"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert caught.value.errors()[0]["loc"] == (name,)


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONSALE_AUTH_SECRET", "the-real-secret-of-this-deployment")
    assert "the-real-secret" not in repr(Settings())
    monkeypatch.setenv("ONSALE_AUTH_SECRET", "too-short-secret")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert "too-short-secret" not in str(caught.value)


def test_the_secret_that_everybody_knows_is_long_enough_to_work() -> None:
    assert len(LOOPBACK_SECRET) >= 32


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_is_this_machine_only(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "", "127.0.0.1.nip.io"]
)
def test_everything_else_may_be_reached_by_others(host: str) -> None:
    assert not is_loopback(host)


def test_codes_are_sealed_with_the_secret_of_the_deployment_or_keys_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ONSALE_AUTH_SECRET", "s" * 32)
    assert Settings().ticket_secrets == ("s" * 32,)
    monkeypatch.setenv("ONSALE_TICKET_KEYS", f"{'k' * 32}, {'s' * 32}")
    assert Settings().ticket_secrets == ("k" * 32, "s" * 32)
    assert "kkk" not in repr(Settings())
