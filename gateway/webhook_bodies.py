"""What organizers send about their webhook endpoints."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from engine.back_office_limits import ENDPOINT_URL_LENGTH_MAX
from engine.store.webhook_contract import WebhookKind
from gateway.bodies import Body, form


class EndpointBody(Body):
    """Body of `POST /webhook-endpoints`: without `kinds`, every kind there is or will be."""

    model_config = form(
        url="https://example.com/onsale", kinds=["booking.confirmed", "booking.refunded"]
    )

    url: Annotated[str, StringConstraints(min_length=1, max_length=ENDPOINT_URL_LENGTH_MAX)]
    kinds: Annotated[list[WebhookKind], Field(min_length=1, max_length=len(WebhookKind))] | None = (
        None
    )

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        if self.kinds is not None and len(set(self.kinds)) < len(self.kinds):
            raise ValueError("kinds names one for the second time")
        return self
