"""Jobs over HTTP: upload speech, watch, download."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import FastAPI, Header, HTTPException, Path, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from jambatalk.errors import InputError
from jambatalk.motion import FORMATS
from jambatalk.server.jobs.runner import Runner
from jambatalk.server.jobs.store import (
    DONE,
    FAILED,
    KINDS,
    LARGEST_SIDE,
    UPLOAD,
    Full,
    Job,
    JobOptions,
)
from jambatalk.server.settings import ServerSettings

LONGEST_WAIT = 30.0
LEAST_PACE = 4096
"""Bytes a second of an upload, on the average."""
FULL_DISK = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
NO_ROOM = "the server's disk is full"

Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="What the upload answered")]
Authorization = Annotated[str | None, Header()]


class JobInfo(BaseModel):
    """How far a job is. progress: 0 to 1. Times in seconds since 1970."""

    id: str
    name: str
    status: Literal["queued", "running", "done", "failed"]
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


def info(job: Job) -> dict[str, Any]:
    """What clients are told about a job."""
    told = {name: value for name, value in job.plain().items() if name in JobInfo.model_fields}
    result = f"/v1/jobs/{job.id}/result" if job.status == DONE else None
    return told | {
        "progress": round(job.progress, 3),
        "format": job.options.format,
        "result": result,
    }


def add_jobs(
    app: FastAPI,
    runner: Runner,
    limits: ServerSettings,
    identities: list[str],
    styles: list[str],
    check: Callable[[str | None], None],
    headers: dict[str, str],
) -> None:
    """The routes. identities, styles: what there is to choose from. check: raises for a wrong token."""
    store = runner.store
    said = {
        "description": "One sentence says why.",
        "content": {"application/json": {"example": {"error": "..."}}},
    }

    def refusals(*codes: int) -> dict[int | str, dict[str, Any]]:
        return dict.fromkeys((401, 403, 422, *codes), said)

    def found(identifier: str) -> Job:
        job = store.get(identifier)
        if job is None:
            raise HTTPException(404, "there is no such job; results are kept for a while only")
        return job

    @app.post(
        "/v1/jobs",
        status_code=202,
        response_model=JobInfo,
        summary="Speech to motion or video",
        responses=refusals(400, 408, 411, 413, 503, 507),
        openapi_extra={
            "requestBody": {
                "required": True,
                "description": "A sound or video file as it is",
                "content": {
                    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
                },
            }
        },
    )
    async def upload(
        request: Request,
        format: Annotated[Literal[KINDS], Query()] = "mp4",  # type: ignore[valid-type]
        fps: Annotated[float | None, Query(ge=1, le=240)] = None,
        size: Annotated[
            int, Query(ge=16, le=LARGEST_SIDE, description="Pixels each way, of a video")
        ] = 512,
        identity: Annotated[str | None, Query(max_length=64)] = None,
        style: Annotated[str | None, Query(max_length=64)] = None,
        life: Annotated[
            str, Query(max_length=200, description="on, off, or such as blinks=0.5,head=0")
        ] = "off",
        name: Annotated[str, Query(max_length=1000, description="What to call it")] = "speech",
        authorization: Authorization = None,
    ) -> JSONResponse:
        check(authorization)
        try:
            options = JobOptions(format, fps, size, identity or None, style or None, life)
            _check_choices(options, identities, styles)
        except InputError as error:
            raise HTTPException(422, str(error)) from error
        told = request.headers.get("content-length", "")
        size_told = int(told) if told.isdigit() and len(told) < 20 else None
        if size_told is not None and size_told > limits.upload_bytes:
            raise HTTPException(413, _too_large(limits.upload_bytes))
        try:
            # Looking through the jobs may delete old ones, gigabytes perhaps: not in the loop that sends the frames.
            identifier, folder = await asyncio.to_thread(
                store.begin, size_told or limits.upload_bytes
            )
        except Full as error:
            raise HTTPException(503, str(error), {"Retry-After": "60"}) from error
        except OSError as error:
            raise HTTPException(507, NO_ROOM) from error
        try:
            await _receive(request, folder / UPLOAD, limits)
            job = await asyncio.to_thread(store.add, identifier, folder, name, options)
        except BaseException as error:
            store.abandon(folder)
            if isinstance(error, OSError) and error.errno in FULL_DISK:
                raise HTTPException(507, NO_ROOM) from error
            if isinstance(error, ClientDisconnect):
                raise HTTPException(400, "the upload broke off") from error
            raise
        return JSONResponse(info(job), 202, headers | {"Location": f"/v1/jobs/{job.id}"})

    @app.get("/v1/jobs", response_model=JobList, summary="All jobs", responses=refusals())
    def every(authorization: Authorization = None) -> JSONResponse:
        check(authorization)
        store.sweep()
        return JSONResponse({"jobs": [info(job) for job in store.all()]}, headers=headers)

    @app.get(
        "/v1/jobs/{identifier}",
        response_model=JobInfo,
        summary="How far a job is",
        responses=refusals(404),
    )
    async def one(
        identifier: Id,
        wait: Annotated[
            float, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait until it has ended")
        ] = 0.0,
        authorization: Authorization = None,
    ) -> JSONResponse:
        check(authorization)
        job = found(identifier)
        until = asyncio.get_running_loop().time() + wait
        while not job.ended and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.1)
            job = found(identifier)
        return JSONResponse(info(job), headers=headers)

    @app.get(
        "/v1/jobs/{identifier}/result",
        summary="What was made",
        response_class=Response,
        responses=refusals(400, 404, 409, 416)
        | {
            code: {
                "description": "The file",
                "content": {known.mime.split(";")[0]: {} for known in FORMATS.values()},
            }
            for code in (200, 206)
        },
    )
    def result(identifier: Id, authorization: Authorization = None) -> Response:
        check(authorization)
        job = found(identifier)
        if job.status == FAILED:
            raise HTTPException(409, f"the job failed: {job.error}")
        if job.status != DONE:
            raise HTTPException(409, f"the job is {job.status}, there is no result yet")
        stem = job.name.rsplit(".", 1)[0] or "speech"
        disposition = (
            f"attachment; filename*=UTF-8''{quote(f'{stem}.{job.options.format}', safe='')}"
        )
        if not (store.path(job) / job.result).is_file():
            raise HTTPException(404, "the result is no longer there")
        return FileResponse(
            store.path(job) / job.result,
            media_type=FORMATS[f".{job.options.format}"].mime,
            headers=headers | {"Content-Disposition": disposition},
        )

    @app.delete(
        "/v1/jobs/{identifier}",
        status_code=204,
        summary="Cancel or forget a job",
        responses=refusals(404),
    )
    def forget(identifier: Id, authorization: Authorization = None) -> Response:
        check(authorization)
        if not runner.cancel(identifier):
            raise HTTPException(404, "there is no such job; results are kept for a while only")
        return Response(status_code=204, headers=headers)


async def _receive(request: Request, path: FilePath, limits: ServerSettings) -> None:
    """The body onto the disk, piece by piece."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    size = 0
    pieces = request.stream().__aiter__()
    with path.open("xb") as file:
        while True:
            # A place among those that wait is not held by a byte now and then.
            pace = limits.upload_timeout + size / LEAST_PACE
            left = began + min(limits.longest_upload, pace) - loop.time()
            try:
                piece = await asyncio.wait_for(pieces.__anext__(), min(limits.upload_timeout, left))
            except StopAsyncIteration:
                break
            except asyncio.TimeoutError:
                if left > limits.upload_timeout or not size:
                    slow = f"nothing came for {limits.upload_timeout:.0f} s"
                elif pace < limits.longest_upload:
                    slow = f"the upload is slower than {LEAST_PACE:,} bytes a second"
                else:
                    slow = f"the upload took longer than {limits.longest_upload:.0f} s"
                raise HTTPException(408, slow) from None
            size += len(piece)
            if size > limits.upload_bytes:
                raise HTTPException(413, _too_large(limits.upload_bytes))
            await asyncio.to_thread(file.write, piece)
    if not size:
        raise HTTPException(422, "the body is empty, expected a sound or video file")


def _too_large(most: int) -> str:
    return f"the upload is larger than {most:,} bytes, which is the most that this server takes"


def _check_choices(options: JobOptions, identities: list[str], styles: list[str]) -> None:
    for what, value, known in (
        ("identity", options.identity, identities),
        ("style", options.style, styles),
    ):
        if value is not None and value not in known:
            raise InputError(
                f"there is no {what} {value[:40]!r}, expected one of {', '.join(known) or 'none'}"
            )
