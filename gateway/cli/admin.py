"""How a command asks a running service, as an admin."""

import json
import urllib.error
import urllib.request
from typing import Any

from gateway.auth import Tokens
from gateway.cli.console import fail
from gateway.cli.surroundings import Runtime, running
from gateway.settings import Settings

#: Longest wait for an answer, seconds: the store's own time limit and some.
_SECONDS_MAX = 10


def service_of(settings: Settings) -> Runtime:
    """Return where the service of these settings runs, or leave saying that it does not."""
    runtime = running(settings.data_dir)
    if runtime is None:
        raise fail(f"no service runs on the data directory {settings.data_dir}; `onsale up` first")
    return runtime


def ask(
    url: str, settings: Settings, who: str, method: str, path: str, body: object = None
) -> dict[str, Any]:
    """Send a request to a path under the API's base and return the answer, or leave."""
    token = Tokens(settings.auth_secret.get_secret_value()).make("admin", who)
    request = urllib.request.Request(  # noqa: S310 - our own service
        f"{url}/api/v1/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS_MAX) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        raise fail(_said(error)) from error
    except (OSError, ValueError) as error:
        raise fail(f"the service at {url} does not answer ({error})") from error
    return found


def _said(error: urllib.error.HTTPError) -> str:
    problem = json.load(error)
    wrong = [f"{field['pointer']} {field['message']}" for field in problem.get("errors", ())]
    return "; ".join([str(problem["detail"]), *wrong])
