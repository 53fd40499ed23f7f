"""What Ray reads from the environment. Import nothing of Ray before this was called."""

import os
import secrets
import sys
from pathlib import Path

#: What every process must have in its environment before it imports or starts Ray.
#: A mismatch of the mode between two processes looks like a cluster that hangs.
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Owners must not be the first victims when memory is short.
    "RAY_worker_oom_score_adjustment": "0",
    # Owners are the service itself; at Ray's default niceness of 15 anything would go first.
    "RAY_worker_niceness": "0",
}


def prepare_environment(token_file: Path) -> None:
    """Set what Ray reads from the environment, and make its token if there is none.

    A token that the operator has set (RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH) is kept.
    """
    assert "ray" not in sys.modules, "Ray was imported before its environment was set"
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        return
    token_file.parent.mkdir(parents=True, exist_ok=True)
    if not token_file.exists():
        token_file.touch(mode=0o600)
        token_file.write_text(secrets.token_hex(32))
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token_file.resolve())
