"""Serves a peer that keeps nothing: what a framework, or a process, can do at most.

python -m loadtests.peers.ceilings PORT (echo | raw)
"""

import sys

import uvloop
from starlette.types import ASGIApp

from loadtests.peers import echo_app, raw_app
from loadtests.peers.front import serve_app

CEILINGS: dict[str, ASGIApp] = {"echo": echo_app.app, "raw": raw_app.app}

if __name__ == "__main__":
    port, name = sys.argv[1:]
    uvloop.run(serve_app(int(port), CEILINGS[name]))
