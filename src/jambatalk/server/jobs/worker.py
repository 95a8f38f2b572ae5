"""Run one job in a process of its own.

    python -m jambatalk.server.jobs.worker FOLDER WEIGHTS LONGEST [CHARACTER]

It reports its progress and its end, and ends when its server does: another may start the job anew.
Nothing needs to be put in order then, since results appear by renaming.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.file_lock import FileLock, LockHeldError
from jambatalk.server.jobs.store import UPLOAD, Job, read_job
from jambatalk.supervised_process import end_with_parent, lower_priority, reporter

ANIMATED = 0.2
"""Share of the progress that is done when a video's motion is there."""


def main(arguments: list[str]) -> int:
    """Run one job; 0 when there is a result or a sentence that says why not."""
    folder, weights, longest = Path(arguments[0]), arguments[1] or None, float(arguments[2])
    character = arguments[3] if len(arguments) > 3 else None
    report = reporter()
    end_with_parent()
    lower_priority()  # live sessions come first
    job = read_job(folder)
    try:
        # A worker of a server that died may need a moment to notice.
        with FileLock(folder / "lock", wait=30.0):
            report(result=True, seconds=work(job, folder, weights, longest, report, character))
    except InputError as error:
        report(error=" ".join(str(error).replace(str(folder / UPLOAD), job.name).split()))
    except LockHeldError as error:
        report(error=f"another worker still has this job ({error.holder})")
    except OSError as error:
        report(error=f"the result cannot be written ({error.strerror or type(error).__name__})")
    return 0


def work(
    job: Job,
    folder: Path,
    weights: str | None,
    longest: float,
    report: Callable[..., None],
    character: str | None = None,
) -> float:
    """Make the result.

    Returns:
        The seconds of sound.

    Raises:
        InputError: it cannot be made.
    """
    import torch

    torch.set_num_threads(1)
    import jambatalk
    from jambatalk.audio import SAMPLE_RATE, Speech
    from jambatalk.audio.decode import open_blocks
    from jambatalk.audio.speech import gather
    from jambatalk.idle import IdleSettings, add_idle_motion
    from jambatalk.motion import FORMATS

    def stage(name: str, start: float, share: float) -> Any:
        last = [-1.0]

        def progress(done: float, total: float) -> None:
            value = round(start + share * min(done / total, 1.0) if total else start, 3)
            if value >= last[0] + 0.01:
                last[0] = value
                report(stage=name, progress=value)

        return progress

    options = job.options
    report(stage="reading", progress=0.0)
    speech = Speech(gather(_limited(open_blocks(str(folder / UPLOAD)), longest, SAMPLE_RATE)))
    face = None if character is None else jambatalk.Face.load(character)
    talker = jambatalk.load(
        weights, face=face, style=options.style, articulation=options.articulation
    )
    share = ANIMATED if options.format == "mp4" else 0.9
    count, progress = 0, stage("animating", 0.0, share)

    def blocks() -> Iterator[NDArray[np.float32]]:
        nonlocal count
        for block in speech.blocks():
            yield block
            count += len(block)
            progress(count, len(speech.samples))

    motion = talker.animate_blocks(blocks(), speech)
    known = FORMATS[f".{options.format}"]
    fps = options.fps if options.fps is not None else known.fps
    if fps is not None:
        motion = motion.resampled(fps)
    idle = IdleSettings.for_output(options.life, known.is_picture)
    motion = add_idle_motion(motion, idle)
    if not known.needs_face and options.shapes != "arkit":
        motion = motion.to_shapes(options.shapes)
    motion.save(
        folder / job.result,
        size=(options.size, options.size),
        identity=None if options.identity == "default" else options.identity,
        progress=stage("writing", share, 1 - share),
    )
    return speech.seconds


def _limited(
    blocks: Iterator[NDArray[np.float32]], longest: float, rate: int
) -> Iterator[NDArray[np.float32]]:
    """Stop at the limit: a small file may hold days of silence."""
    count = 0
    for block in blocks:
        count += len(block)
        if count > longest * rate:
            raise InputError(
                f"the sound is longer than {longest:.0f} s, the most that this server takes"
            )
        yield block


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
