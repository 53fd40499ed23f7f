"""What `onsale up` tells a gateway process."""

from msgspec import Struct

from actors.back_office.settings import BackOfficeSettings


class Launch(Struct, frozen=True):
    """What a gateway process is told on its standard input, as one line of JSON.

    Secrets travel this way because arguments and environments can be read by others. The
    input stays open for as long as `onsale up` lives.
    """

    socket_fd: int
    redis_url: str
    ray_address: str
    auth_secret: str
    rate_limits: bool
    idle_seconds: float
    prescale_cores: int
    log_level: str
    stripe_api_key: str
    stripe_api_base: str | None
    stripe_publishable_key: str
    stripe_webhook_secrets: tuple[str, ...]
    stripe_account_per_second: float
    stripe_endpoint_per_second: float
    back_office: BackOfficeSettings
