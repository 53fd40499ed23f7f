"""Whether a Ray cluster takes our token: asked once, before Ray itself does.

Ray finds out in half a minute, in a screenful of its log, and without saying what is wrong.
"""

import os
from pathlib import Path

from gateway.cli.surroundings import CannotStart

#: A call that every control service answers at once; an empty message asks it.
_CALL = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_PATIENCE_SECONDS = 3.0


def check_token(ray_address: str) -> None:
    """Return if a cluster takes the token of this process's environment, or cannot say.

    Raises:
        CannotStart: it does not, or there is none to be read.
    """
    if os.environ.get("RAY_AUTH_MODE") != "token" or os.environ.get("RAY_USE_TLS", "0") != "0":
        return
    if ":" not in ray_address:
        return  # "auto": Ray knows where on this machine
    token, source = _token()
    import grpc  # type: ignore[import-untyped]  # noqa: PLC0415 - only with a cluster to ask

    try:
        with grpc.insecure_channel(ray_address) as channel:
            ask = channel.unary_unary(_CALL)
            metadata = (("authorization", f"Bearer {token}"),)
            ask(b"", timeout=_PATIENCE_SECONDS, metadata=metadata)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
            return  # Ray tells better what else may be wrong
        raise CannotStart(
            f"the Ray cluster at {ray_address} refuses the token of {source}",
            "Set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's own token.",
        ) from error


def _token() -> tuple[str, str]:
    """Return the token and where it is from, as Ray finds it. Raises CannotStart."""
    token = os.environ.get("RAY_AUTH_TOKEN")
    if token:
        return token, "RAY_AUTH_TOKEN"
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    try:
        return Path(path).read_text().strip(), path
    except OSError as error:
        raise CannotStart(
            f"the Ray token cannot be read from {path} ({error.strerror})",
            "Set RAY_AUTH_TOKEN_PATH to a file with the cluster's token.",
        ) from error
