"""Text in, motion out, for a voice whose sound the server never hears: what the page needs to speak with the browser's voice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Annotated

import numpy as np
from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from jambatalk.data.phone_motion import PhoneMotion, load_phone_motion
from jambatalk.live.spoken import Timeline, timeline

FPS = 50.0
LONGEST_TEXT = 1000
LARGEST_BODY = 16_384
BODY_TIMEOUT = 10.0
"""Seconds until a request must be whole."""
AT_ONCE = 2
"""Texts in work at the same time: the live sessions' network must not wait for a flood of them."""


class SpeakRequest(BaseModel):
    """An English text. rate: how fast, 1 is about how synthetic voices speak."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=LONGEST_TEXT)
    rate: float = Field(1.0, ge=0.5, le=3.0, allow_inf_nan=False)


class SpokenWordInfo(BaseModel):
    """Times in seconds; char, length: where the word stands in the text, in UTF-16 code units, as browsers count."""

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


def add_speak(app: FastAPI, check: Callable[[str | None], None], headers: dict[str, str]) -> None:
    """The route. check: raises for a wrong token."""
    said = {"description": "One sentence says why.", "content": {"application/json": {"example": {"error": "..."}}}}
    free = asyncio.Semaphore(AT_ONCE)

    @app.post(
        "/v1/speak", response_model=SpokenMotion, summary="English text to motion, for a voice elsewhere",
        responses=dict.fromkeys((400, 401, 403, 408, 413, 422), said),
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/json": {"schema": SpeakRequest.model_json_schema()}}}
        },
    )  # fmt: skip
    async def speak(request: Request, authorization: Annotated[str | None, Header()] = None) -> Response:
        check(authorization)
        try:
            body = await asyncio.wait_for(_body(request), BODY_TIMEOUT)
        except asyncio.TimeoutError:
            raise HTTPException(408, f"the request was not whole within {BODY_TIMEOUT:.0f} s") from None
        except ClientDisconnect as error:
            raise HTTPException(400, "the request broke off") from error
        wanted = parse(body)
        async with free:
            found = await asyncio.to_thread(answer, wanted)
        return Response(found, media_type="application/json", headers=headers)


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            raise HTTPException(413, f"the request is larger than {LARGEST_BODY:,} bytes")
    return body


def parse(body: bytes) -> SpeakRequest:
    """A request's body. HTTPException 422 says what is wrong with it."""
    try:
        return SpeakRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise HTTPException(422, f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}") from error


@lru_cache(maxsize=1)
def phone_motion() -> PhoneMotion:
    """The phone model of the package."""
    return load_phone_motion()


def answer(wanted: SpeakRequest) -> bytes:
    """The reply as JSON. HTTPException 422 when the text holds nothing that can be said."""
    line = timeline(wanted.text, wanted.rate)
    if not line.words:
        raise HTTPException(422, "text: there is no English word in it, expected at least one")
    return b"".join(_written(line))


def _written(line: Timeline) -> Iterator[bytes]:
    model = phone_motion()
    frames = int(np.ceil(line.seconds * FPS)) + 1
    weights = model.weights(line.phones, frames, FPS)
    moving = np.flatnonzero(weights.max(0) > 5e-4)
    names = [model.names[k] for k in moving]
    words = [vars(word) | {"start": round(word.start, 3), "end": round(word.end, 3)} for word in line.words]
    head = {"fps": FPS, "names": names, "seconds": round(line.seconds, 3), "words": words}
    yield json.dumps(head)[:-1].encode() + b', "weights": ['
    # Row by row: one call for all of it would keep every other thread waiting.
    for k, row in enumerate(np.round(weights[:, moving].astype(np.float64), 3).tolist()):
        yield (b"," if k else b"") + json.dumps(row, separators=(",", ":")).encode()
    yield b"]}"
