"""One job in a process of its own: ``python -m jambatalk.live.jobs.worker FOLDER WEIGHTS LONGEST``.

Says how it goes in lines of JSON on standard output, and ends when standard input does: its server is gone then, and another
may begin the job anew.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.live.jobs.job import Job
from jambatalk.live.jobs.lock import FileLock
from jambatalk.live.jobs.store import UPLOAD

ANIMATED = 0.2  # share of the progress that is done when a video's motion is there


def main(arguments: list[str]) -> int:
    """0 when there is a result or a sentence that says why not."""
    folder, weights, longest = Path(arguments[0]), arguments[1] or None, float(arguments[2])
    # Whatever a library prints must not come between the lines of JSON.
    said = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    _give_way()

    def say(**what: Any) -> None:
        said.write(json.dumps(what) + "\n")
        said.flush()

    # A worker of a server that died may need a moment to notice.
    try:
        FileLock(folder / "lock", patience=30.0)
    except OSError as error:
        say(error=f"another worker still has this job ({error.strerror or type(error).__name__})")
        return 0
    job = Job.of(json.loads((folder / "job.json").read_text("utf-8")))
    try:
        say(result=True, seconds=work(job, folder, weights, longest, say))
    except InputError as error:
        say(error=" ".join(str(error).replace(str(folder / UPLOAD), job.name).split()))
    except OSError as error:
        say(error=f"the result cannot be written ({error.strerror or type(error).__name__})")
    return 0


def work(job: Job, folder: Path, weights: str | None, longest: float, say: Any) -> float:
    """Make the result; gives the seconds of sound. InputError when it cannot be made."""
    import torch

    torch.set_num_threads(1)
    import jambatalk
    from jambatalk.audio import RATE, Speech
    from jambatalk.audio.blocks import open_blocks
    from jambatalk.audio.long import gather
    from jambatalk.life import LifeSettings, enliven

    options = job.options

    def report(stage: str, start: float, share: float) -> Any:
        last = [-1.0]

        def progress(done: float, total: float) -> None:
            value = round(start + share * min(done / total, 1.0) if total else start, 3)
            if value >= last[0] + 0.01:
                last[0] = value
                say(stage=stage, progress=value)

        return progress

    say(stage="reading", progress=0.0)
    speech = Speech(gather(_limited(open_blocks(str(folder / UPLOAD)), longest, RATE)))
    talker = jambatalk.load(weights, style=options.style)
    share = ANIMATED if options.format == "mp4" else 0.9
    heard, count = 0, report("animating", 0.0, share)

    def blocks() -> Iterator[NDArray[np.float32]]:
        nonlocal heard
        for block in speech.blocks():
            yield block
            heard += len(block)
            count(heard, len(speech.samples))

    motion = talker.animate_blocks(blocks(), speech)
    if options.fps is not None:
        motion = motion.resampled(options.fps)
    motion = enliven(motion, LifeSettings.parse(options.life))
    identity = None if options.identity == "default" else options.identity
    progress = report("writing", share, 1 - share)
    motion.save(folder / job.result, size=(options.size, options.size), identity=identity, progress=progress)
    return speech.seconds


def _limited(blocks: Iterator[NDArray[np.float32]], longest: float, rate: int) -> Iterator[NDArray[np.float32]]:
    """A small file may hold days of silence: no further than the limit."""
    heard = 0
    for block in blocks:
        heard += len(block)
        if heard > longest * rate:
            raise InputError(f"the sound is longer than {longest:.0f} s, which is the most that this server takes")
        yield block


def _give_way() -> None:
    """Live sessions come first: this process gets what they leave."""
    with suppress(OSError, AttributeError):
        os.nice(10)
    with suppress(OSError, AttributeError):
        # Linux: a session that wakes up takes the core at once, where niceness alone lets a worker end its turn.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError, AttributeError):
        # Where Linux groups processes by their sessions, niceness counts within a group alone: this one's own group is lowered.
        if os.getsid(0) == os.getpid():
            Path("/proc/self/autogroup").write_text("19")


def _end_with_the_server() -> None:
    while sys.stdin.buffer.read(1):
        pass
    # The renderer's own processes go with it; nothing needs to be put in order, since results appear by renaming.
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
