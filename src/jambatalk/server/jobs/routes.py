"""Jobs over HTTP: upload speech, watch, download."""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import AsyncIterator
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from jambatalk.errors import InputError
from jambatalk.face.head import identities
from jambatalk.face.shape_sets import SHAPE_SETS
from jambatalk.idle import AUTO
from jambatalk.motion import FORMATS
from jambatalk.server.access import HEADERS, check_token, refusals
from jambatalk.server.jobs.multipart import multipart_boundary, uploaded_file
from jambatalk.server.jobs.runner import Runner
from jambatalk.server.jobs.store import (
    DONE,
    FAILED,
    KINDS,
    MAX_SIDE,
    UPLOAD,
    Full,
    Job,
    JobOptions,
    JobStore,
    Status,
)
from jambatalk.server.settings import ServerSettings

MAX_WAIT = 30.0
MIN_PACE = 4096
"""Bytes per second of an upload, on average."""

FULL_DISK = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
NO_ROOM = "the server's disk is full"
NO_JOB = "there is no such job; results are kept for a while only"

router = APIRouter(dependencies=[Depends(check_token)])
Identifier = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="What the upload answered")]


class JobInfo(BaseModel):
    """How far a job is. progress: 0 to 1. Times in seconds since 1970."""

    id: str
    name: str
    status: Status
    stage: str
    progress: float
    attempts: int
    format: str
    created: float
    finished: float | None
    seconds: float | None
    bytes: int | None
    error: str | None
    result: str | None


class JobList(BaseModel):
    """All jobs, the oldest first."""

    jobs: list[JobInfo]


def describe(job: Job) -> dict[str, Any]:
    """Give what clients may know of a job."""
    values = {name: value for name, value in job.plain().items() if name in JobInfo.model_fields}
    return values | {
        "progress": round(job.progress, 3),
        "format": job.options.format,
        "result": f"/v1/jobs/{job.id}/result" if job.status == DONE else None,
    }


def job_options(
    request: Request,
    format: Annotated[Literal[KINDS], Query()] = "mp4",  # type: ignore[valid-type]
    fps: Annotated[float | None, Query(ge=1, le=240)] = None,
    size: Annotated[
        int, Query(ge=16, le=MAX_SIDE, description="Pixels each way, of a video")
    ] = 512,
    identity: Annotated[str | None, Query(max_length=64)] = None,
    style: Annotated[str | None, Query(max_length=64)] = None,
    life: Annotated[
        str, Query(max_length=200, description="on, off, auto (on in videos), or blinks=0.5")
    ] = AUTO,
    articulation: Annotated[
        float, Query(ge=0.5, le=1.5, description="How far the mouth moves")
    ] = 1.0,
    shapes: Annotated[
        str, Query(max_length=40, description=f"Names of the weights: {', '.join(SHAPE_SETS)}")
    ] = "arkit",
) -> JobOptions:
    """Read a job's options from the query; a FastAPI dependency."""
    try:
        options = JobOptions(
            format, fps, size, identity or None, style or None, life, articulation, shapes
        )
        styles = list(request.app.state.engine.talker.styles)
        _check_choice("identity", options.identity, identities())
        _check_choice("style", options.style, styles)
    except InputError as error:
        raise HTTPException(422, str(error)) from error
    return options


def _check_choice(what: str, value: str | None, known: list[str]) -> None:
    if value is not None and value not in known:
        choices = ", ".join(known) or "none"
        raise InputError(f"there is no {what} {value[:40]!r}, expected one of {choices}")


def job_runner(request: Request) -> Runner:
    """The runner of the application; a FastAPI dependency."""
    found: Runner = request.app.state.runner
    return found


Workers = Annotated[Runner, Depends(job_runner)]
FILE = {"type": "string", "format": "binary"}


@router.post(
    "/v1/jobs",
    status_code=202,
    response_model=JobInfo,
    summary="Speech to motion or video",
    responses=refusals(400, 408, 411, 413, 503, 507),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "A sound or video file as it is, or as the first file of a form",
            "content": {"application/octet-stream": {"schema": FILE}},
        }
    },
)
async def upload(
    request: Request,
    runner: Workers,
    options: Annotated[JobOptions, Depends(job_options)],
    name: Annotated[str | None, Query(max_length=1000, description="What to call it")] = None,
) -> JSONResponse:
    store, settings = runner.store, request.app.state.settings
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isdecimal() and len(announced) < 20 else None
    if size is not None and size > settings.upload_bytes:
        raise HTTPException(413, _too_large(settings.upload_bytes))
    boundary = multipart_boundary(request.headers.get("content-type", ""))
    try:
        # This may delete old jobs, gigabytes perhaps: not in the loop that sends the frames.
        identifier, folder = await asyncio.to_thread(store.begin, size or settings.upload_bytes)
    except Full as error:
        raise HTTPException(503, str(error), {"Retry-After": "60"}) from error
    except OSError as error:
        raise HTTPException(507, NO_ROOM) from error
    try:
        pieces = _pieces(request, settings)
        if boundary is not None:
            file_name, pieces = await uploaded_file(pieces, boundary)
            name = name or file_name
        await _write(pieces, folder / UPLOAD)
        job = await asyncio.to_thread(store.add, identifier, folder, name or "speech", options)
    except BaseException as error:
        store.abandon(folder)
        if isinstance(error, InputError):
            raise HTTPException(422, str(error)) from error
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            raise HTTPException(507, NO_ROOM) from error
        if isinstance(error, ClientDisconnect):
            raise HTTPException(400, "the upload broke off") from error
        raise
    return JSONResponse(describe(job), 202, HEADERS | {"Location": f"/v1/jobs/{job.id}"})


@router.get("/v1/jobs", response_model=JobList, summary="All jobs", responses=refusals())
def list_jobs(runner: Workers) -> JSONResponse:
    runner.store.sweep()
    return JSONResponse({"jobs": [describe(job) for job in runner.store.all()]}, headers=HEADERS)


@router.get(
    "/v1/jobs/{identifier}",
    response_model=JobInfo,
    summary="How far a job is",
    responses=refusals(),
)
async def one_job(
    identifier: Identifier,
    runner: Workers,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT, description="Seconds to wait until it has ended")
    ] = 0.0,
) -> JSONResponse:
    clock = asyncio.get_running_loop().time
    until = clock() + wait
    while not (job := _find(runner.store, identifier)).ended and clock() < until:
        await asyncio.sleep(0.1)
    return JSONResponse(describe(job), headers=HEADERS)


@router.get(
    "/v1/jobs/{identifier}/result",
    summary="What was made",
    response_class=Response,
    responses=refusals(400, 409, 416)
    | {
        key: {
            "description": "The file",
            "content": {known.mime.split(";")[0]: {} for known in FORMATS.values()},
        }
        for key in (200, 206)
    },
)
def result(identifier: Identifier, runner: Workers) -> Response:
    job = _find(runner.store, identifier)
    if job.status == FAILED:
        raise HTTPException(409, f"the job failed: {job.error}")
    if job.status != DONE:
        raise HTTPException(409, f"the job is {job.status}, there is no result yet")
    path, suffix = runner.store.path(job) / job.result, f".{job.options.format}"
    if not path.is_file():
        raise HTTPException(404, "the result is no longer there")
    name = f"{job.name.rsplit('.', 1)[0] or 'speech'}{suffix}"
    # The first form for programs that do not read the second (curl -OJ).
    plain = re.sub(r'[^ -~]|["\\%]', "_", name)
    disposition = {
        "Content-Disposition": f'attachment; filename="{plain}"; '
        f"filename*=UTF-8''{quote(name, safe='')}"
    }
    return FileResponse(path, media_type=FORMATS[suffix].mime, headers=HEADERS | disposition)


@router.delete(
    "/v1/jobs/{identifier}", status_code=204, summary="Cancel or remove a job", responses=refusals()
)
def remove(identifier: Identifier, runner: Workers) -> Response:
    if not runner.cancel(identifier):
        raise HTTPException(404, NO_JOB)
    return Response(status_code=204, headers=HEADERS)


def _find(store: JobStore, identifier: str) -> Job:
    job = store.get(identifier)
    if job is None:
        raise HTTPException(404, NO_JOB)
    return job


async def _pieces(request: Request, settings: ServerSettings) -> AsyncIterator[bytes]:
    """The body piece by piece, within the limits of size and time."""
    clock = asyncio.get_running_loop().time
    began, size = clock(), 0
    pieces = request.stream().__aiter__()
    while True:
        # A place among those that wait is not held by a byte now and then.
        pace = settings.upload_timeout + size / MIN_PACE
        left = began + min(settings.longest_upload, pace) - clock()
        try:
            piece = await asyncio.wait_for(pieces.__anext__(), min(settings.upload_timeout, left))
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError:
            if left > settings.upload_timeout or not size:
                slow = f"nothing came for {settings.upload_timeout:.0f} s"
            elif pace < settings.longest_upload:
                slow = f"the upload is slower than {MIN_PACE:,} bytes a second"
            else:
                slow = f"the upload took longer than {settings.longest_upload:.0f} s"
            raise HTTPException(408, slow) from None
        size += len(piece)
        if size > settings.upload_bytes:
            raise HTTPException(413, _too_large(settings.upload_bytes))
        yield piece


async def _write(pieces: AsyncIterator[bytes], path: FilePath) -> None:
    size = 0
    with path.open("xb") as file:
        async for piece in pieces:
            size += len(piece)
            await asyncio.to_thread(file.write, piece)
    if not size:
        raise HTTPException(422, "the body is empty, expected a sound or video file")


def _too_large(most: int) -> str:
    return f"the upload is larger than {most:,} bytes, the most that this server takes"
