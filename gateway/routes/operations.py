"""What operators and their machines ask."""

import asyncio
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse

from engine.journal.contract import Unavailable
from gateway import metrics
from gateway.problems import KINDS, Problem
from gateway.routes.common import TheService, problems

router = APIRouter(tags=["operations"])

#: How long the cluster may take to answer a probe, seconds.
_RAY_SECONDS = 2.0


@router.get("/livez", response_class=PlainTextResponse, responses=problems())
async def live() -> str:
    """Say that this process runs; touches nothing else."""
    return "ok\n"


@router.get("/readyz", responses=problems("not_ready"))
async def ready(service: TheService, request: Request) -> dict[str, str]:
    """Say whether holds can be served, and what is missing if not."""
    found = {"redis": "ok", "ray": "ok", "gateway": "ok"}
    try:
        await service.catalogue.ping()
    except Unavailable as error:
        found["redis"] = str(error)
    try:
        asked = asyncio.to_thread(request.app.state.ray_answers)
        if not await asyncio.wait_for(asked, _RAY_SECONDS):
            found["ray"] = "the cluster does not answer"
    except TimeoutError:
        found["ray"] = "the cluster does not answer in time"
    if service.stopping.is_set():
        found["gateway"] = "stopping"
    missing = [name for name, state in found.items() if state != "ok"]
    if missing:
        raise Problem("not_ready", f"Missing: {', '.join(missing)}.", facts={"parts": found})
    return found


@router.get("/version", responses=problems())
async def versions() -> dict[str, str]:
    """Name the versions that decide how this service behaves."""
    return {name: version(name) for name in ("onsale", "ray", "fastapi", "redis", "msgspec")}


@router.get("/metrics", response_class=PlainTextResponse, responses=problems())
async def prometheus(service: TheService) -> Response:
    """Show the metrics in Prometheus' text format."""
    metrics.WAITING.set(service.batcher.load.commands)
    await service.lookout.look()
    return Response(metrics.exposition(service.lookout), media_type=metrics.CONTENT_TYPE)


@router.get(
    "/problems/{code}",
    response_class=HTMLResponse,
    responses={
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        **problems("not_found"),
    },
)
async def problem_page(
    code: Annotated[str, Path(json_schema_extra={"enum": sorted(KINDS)})], request: Request
) -> Response:
    """Explain a problem: the `type` of every error document leads here."""
    kind = KINDS.get(code)
    if kind is None:
        raise Problem("not_found", "There is no problem of this name.")
    members: dict[str, Any] = {
        "code": code,
        "title": kind.title,
        "status": kind.status,
        "advice": kind.advice,
    }
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse(members)
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in members.items())
    return HTMLResponse(
        f"<!doctype html><html lang=en><title>{kind.title}</title><h1>{kind.title}</h1>"
        f"<dl>{rows}</dl></html>"
    )
