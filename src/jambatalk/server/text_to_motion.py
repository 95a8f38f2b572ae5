"""Text in, motion out, for a voice that sounds elsewhere, such as the browser's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from jambatalk.server.access import HEADERS, check_token, first_problem, refusals
from jambatalk.text import Timeline, timeline
from jambatalk.text.phone_motion import PhoneMotion, load_phone_motion

FPS = 50.0
MAX_TEXT = 1000
MAX_BODY = 16_384
BODY_TIMEOUT = 10.0
"""Seconds until a request must be whole."""

WORKERS = ThreadPoolExecutor(2, thread_name_prefix="text-to-motion")
"""Texts in work at the same time: live sessions must not wait for a flood of them."""

router = APIRouter(dependencies=[Depends(check_token)])


class SpeakRequest(BaseModel):
    """An English text. rate: how fast, 1 is about how synthetic voices speak."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=MAX_TEXT)
    rate: float = Field(1.0, ge=0.5, le=3.0, allow_inf_nan=False)


class SpokenWordInfo(BaseModel):
    """One word: times in seconds, and where it stands in the text.

    Args:
        char, length: in UTF-16 code units, as browsers count.
    """

    text: str
    start: float
    end: float
    char: int
    length: int


class SpokenMotion(BaseModel):
    """weights: a row a frame, on ``names``; frame k is at k / fps seconds."""

    fps: float
    names: list[str]
    weights: list[list[float]]
    seconds: float
    words: list[SpokenWordInfo]


@router.post(
    "/v1/speak",
    response_model=SpokenMotion,
    summary="English text to motion, for a voice elsewhere",
    responses=refusals(400, 408, 413),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": SpeakRequest.model_json_schema()}},
        }
    },
)
async def speak(request: Request) -> Response:
    try:
        body = await asyncio.wait_for(_read_body(request), BODY_TIMEOUT)
    except asyncio.TimeoutError:
        raise HTTPException(408, f"the request was not whole in {BODY_TIMEOUT:.0f} s") from None
    except ClientDisconnect as error:
        raise HTTPException(400, "the request broke off") from error
    wanted = parse(body)
    found = await asyncio.get_running_loop().run_in_executor(WORKERS, answer, wanted)
    return Response(found, media_type="application/json", headers=HEADERS)


async def _read_body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"the request is larger than {MAX_BODY:,} bytes")
    return body


def parse(body: bytes) -> SpeakRequest:
    """Check a request's body.

    Raises:
        HTTPException: 422, with what is wrong.
    """
    try:
        return SpeakRequest.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(422, first_problem(error)) from error


@lru_cache(maxsize=1)
def phone_motion() -> PhoneMotion:
    """The phone model of the package."""
    return load_phone_motion()


def answer(wanted: SpeakRequest) -> bytes:
    """Give the reply as JSON.

    Raises:
        HTTPException: 422, the text holds no word.
    """
    spoken = timeline(wanted.text, wanted.rate)
    if not spoken.words:
        raise HTTPException(422, "text: there is no English word in it, expected at least one")
    return b"".join(_json(spoken))


def _json(spoken: Timeline) -> Iterator[bytes]:
    model = phone_motion()
    frames = int(np.ceil(spoken.seconds * FPS)) + 1
    weights = model.weights(spoken.phones, frames, FPS)
    moving = np.flatnonzero(weights.max(0) > 5e-4)
    names = [model.names[k] for k in moving]
    words = [
        vars(word) | {"start": round(word.start, 3), "end": round(word.end, 3)}
        for word in spoken.words
    ]
    head = {"fps": FPS, "names": names, "seconds": round(spoken.seconds, 3), "words": words}
    yield json.dumps(head)[:-1].encode() + b', "weights": ['
    # Row by row: one call for all of it would keep every other thread waiting.
    for k, row in enumerate(np.round(weights[:, moving].astype(np.float64), 3).tolist()):
        yield (b"," if k else b"") + json.dumps(row, separators=(",", ":")).encode()
    yield b"]}"
