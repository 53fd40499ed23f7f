"""`onsale bench`: measure this machine."""

import subprocess
import sys
from typing import Annotated

import typer


def bench(
    quick: Annotated[bool, typer.Option(help="A minute, without a verdict.")] = False,
    verdict: Annotated[bool, typer.Option(help="Status 1 if a floor is missed.")] = True,
) -> None:
    """Measure the durable hold path against its peers, in one run, and print a table."""
    options = [*(["--quick"] if quick else []), *([] if verdict else ["--no-verdict"])]
    finished = subprocess.run([sys.executable, "-m", "loadtests.bench", *options], check=False)  # noqa: S603
    raise typer.Exit(finished.returncode)
