"""Settings of the product: read once from the environment, validated, passed in."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine.limits import PARTITIONS

#: Signs tokens when ONSALE_AUTH_SECRET is unset. Everybody knows it, so it is refused
#: wherever anybody but this machine can reach the service.
LOOPBACK_SECRET = "onsale-on-loopback-only-not-a-secret"  # noqa: S105
_SECRET_LENGTH_MIN = 32


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < _SECRET_LENGTH_MIN:
        raise ValueError(f"must have at least {_SECRET_LENGTH_MIN} characters")
    return secret


def _all_long_enough(secrets: SecretStr | None) -> SecretStr | None:
    for secret in _listed(secrets):
        _long_enough(SecretStr(secret))
    return secrets


def _listed(secrets: SecretStr | None) -> tuple[str, ...]:
    if secrets is None:
        return ()
    return tuple(secret.strip() for secret in secrets.get_secret_value().split(","))


class Settings(BaseSettings):
    """What an operator may set. All processes of a deployment must agree on it.

    The embedded store and a local Ray cluster serve where `redis_url` and `ray_address`
    are None, and a sandbox that moves no money where `stripe_api_key` is. While a webhook
    secret is rotated, `stripe_webhook_secret` has both, separated by a comma; `ticket_keys`
    has all secrets whose QR codes are still around, the newest first, and `data_keys` those
    under which personal data may still lie. Organizers' webhooks go to public addresses
    only, unless `webhook_private_targets` opens closed networks.
    """

    model_config = SettingsConfigDict(
        extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )

    redis_url: Annotated[str | None, Field(validation_alias="ONSALE_REDIS_URL")] = None
    ray_address: Annotated[str | None, Field(validation_alias="RAY_ADDRESS")] = None
    auth_secret: Annotated[
        SecretStr, AfterValidator(_long_enough), Field(validation_alias="ONSALE_AUTH_SECRET")
    ] = SecretStr(LOOPBACK_SECRET)
    ticket_keys: Annotated[
        SecretStr | None,
        AfterValidator(_all_long_enough),
        Field(validation_alias="ONSALE_TICKET_KEYS"),
    ] = None
    data_keys: Annotated[
        SecretStr | None,
        AfterValidator(_all_long_enough),
        Field(validation_alias="ONSALE_DATA_KEYS"),
    ] = None
    database_url: Annotated[SecretStr | None, Field(validation_alias="ONSALE_DATABASE_URL")] = None
    smtp_url: Annotated[SecretStr | None, Field(validation_alias="ONSALE_SMTP_URL")] = None
    mail_from: Annotated[str, Field(validation_alias="ONSALE_MAIL_FROM")] = "tickets@localhost"
    notify_urls: Annotated[SecretStr | None, Field(validation_alias="ONSALE_NOTIFY_URLS")] = None
    back_offices: Annotated[
        int, Field(ge=1, le=PARTITIONS, validation_alias="ONSALE_BACK_OFFICES")
    ] = 1
    data_dir: Annotated[Path, Field(validation_alias="ONSALE_DATA_DIR")] = Path(".onsale")
    rate_limits: Annotated[Literal["on", "off"], Field(validation_alias="ONSALE_RATE_LIMITS")] = (
        "on"
    )
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Field(validation_alias="ONSALE_LOG_LEVEL")
    ] = "INFO"
    idle_seconds: Annotated[
        float, Field(gt=0, le=86_400, validation_alias="ONSALE_IDLE_SECONDS")
    ] = 300.0
    prescale_cores: Annotated[
        int, Field(ge=0, le=100_000, validation_alias="ONSALE_PRESCALE_CORES")
    ] = 0

    stripe_api_key: Annotated[
        SecretStr | None, Field(min_length=1, validation_alias="STRIPE_API_KEY")
    ] = None
    stripe_webhook_secret: Annotated[
        SecretStr | None, Field(min_length=1, validation_alias="STRIPE_WEBHOOK_SECRET")
    ] = None
    stripe_publishable_key: Annotated[str, Field(validation_alias="STRIPE_PUBLISHABLE_KEY")] = ""
    stripe_api_base: Annotated[
        str | None, Field(pattern="^https?://", validation_alias="STRIPE_API_BASE")
    ] = None

    stripe_account_per_second: Annotated[
        float, Field(gt=0, le=10_000, validation_alias="ONSALE_STRIPE_ACCOUNT_PER_SECOND")
    ] = 100.0
    stripe_endpoint_per_second: Annotated[
        float, Field(gt=0, le=10_000, validation_alias="ONSALE_STRIPE_ENDPOINT_PER_SECOND")
    ] = 25.0

    webhook_private_targets: Annotated[
        Literal["deny", "allow"], Field(validation_alias="ONSALE_WEBHOOK_PRIVATE_TARGETS")
    ] = "deny"

    @property
    def ticket_secrets(self) -> tuple[str, ...]:
        """Secrets of QR codes, the newest first."""
        return _listed(self.ticket_keys) or (self.auth_secret.get_secret_value(),)

    @property
    def data_secrets(self) -> tuple[str, ...]:
        """Secrets of personal data, the newest first."""
        return _listed(self.data_keys) or (self.auth_secret.get_secret_value(),)

    @property
    def secret_is_public(self) -> bool:
        """Whether tokens are signed with the secret that everybody knows."""
        return self.auth_secret.get_secret_value() == LOOPBACK_SECRET


def is_loopback(host: str) -> bool:
    """Tell whether an address is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
