"""One training of a suite in a process of its own: ``python -m jambatalk.ablation.worker RUN CACHE DATA...``

RUN holds settings.yaml; when the training has ended it gets done.json. The process ends when its standard input does: a runner
that is killed leaves no training behind.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from jambatalk.files import replacing

DONE, SETTINGS, LOCK = "done.json", "settings.yaml", ".lock"
GONE = 3  # status when the runner is gone


def work(run: Path, cache: Path, data: list[Path]) -> None:
    """Train in the folder ``run``, or go on with what is there."""
    from jambatalk.ablation.lock import locked
    from jambatalk.nn.model import parameter_count
    from jambatalk.training.build import build_task
    from jambatalk.training.config import load_train_config
    from jambatalk.training.loop import Trainer

    # The lock of a worker whose runner was killed is free within moments.
    with locked(run / LOCK, str(run), wait=20):
        config = load_train_config(run / SETTINGS)
        task = build_task(config, data, cache)
        trainer = Trainer(config, task, run)
        if trainer.resume():
            print(f"resumed at step {trainer.step}", flush=True)
        trainer.run()
        if not (run / "best.safetensors").exists():
            trainer.export(run / "best.safetensors")
        facts = {
            "steps": trainer.step, "score": trainer.best.score, "parameters": parameter_count(task.network),
            "data_hash": task.data_hash,
        }  # fmt: skip
        with replacing(run / DONE) as temporary:
            temporary.write_text(json.dumps(facts), encoding="utf-8")


def _end_with_the_runner() -> None:
    # Below Python's buffers, whose locks a waiting thread would keep when the process ends by itself.
    while os.read(0, 1):
        pass
    os._exit(GONE)


def main(arguments: list[str]) -> int:
    """Status 0, or 2 with one line on standard error for bad input."""
    from jambatalk.cli.plain import BAD_INPUT, EXPECTED, one_line

    threading.Thread(target=_end_with_the_runner, daemon=True).start()
    run, cache, *data = map(Path, arguments)
    try:
        work(run, cache, data)
    except EXPECTED as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return BAD_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
