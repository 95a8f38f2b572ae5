"""Raters and their answers in SQLite: an answer is on the disk before the browser is answered that
it was stored.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jambatalk.errors import InputError, reading
from jambatalk.study.trials import Trial, trial_from

SCHEMA = """
CREATE TABLE IF NOT EXISTS raters (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, joined INTEGER NOT NULL,
    consent TEXT NOT NULL, trials TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS answers (
    rater TEXT NOT NULL REFERENCES raters(id) ON DELETE CASCADE,
    trial TEXT NOT NULL, answer TEXT NOT NULL, took_ms INTEGER NOT NULL,
    plays INTEGER NOT NULL, received INTEGER NOT NULL, PRIMARY KEY (rater, trial)
);
"""


@dataclass(frozen=True)
class Answer:
    """One stored answer. values: by question. took_ms: from showing the trial to answering it.
    plays: how often videos played.
    """

    trial: str
    values: dict[str, Any]
    took_ms: int
    plays: int


@dataclass(frozen=True)
class Rater:
    """One rater with all trials in order and the answers given so far. id: random. number: in order
    of joining, from 0.
    """

    id: str
    number: int
    trials: tuple[Trial, ...]
    answers: dict[str, Answer]


class Full(Exception):
    """As many raters have joined as are wanted."""


class Store:
    """The answers of a study. One connection, one writer at a time; threads may share it.

    Write-ahead log with ``synchronous=FULL``: when ``add`` returns, the answer has been forced to
    the disk, and a killed process or a lost power supply takes nothing back. Several servers may
    use one file.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=20.0
            )
            for pragma in (
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                "secure_delete=ON",
            ):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise InputError(
                f"{path} cannot be used as the database of answers ({error})"
            ) from error

    def close(self) -> None:
        """Close the file; the log is folded into it."""
        with self._lock:
            self._db.close()

    def join(
        self, rater: str, consent: str, most: int, plan: Callable[[int], list[Trial]]
    ) -> Rater:
        """The rater with this id, made known with the lowest free number if new. Full when ``most``
        are already there.
        """
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if not self._db.execute("SELECT 1 FROM raters WHERE id = ?", (rater,)).fetchone():
                    taken = {number for (number,) in self._db.execute("SELECT number FROM raters")}
                    if len(taken) >= most:
                        raise Full
                    number = next(n for n in range(len(taken) + 1) if n not in taken)
                    trials = json.dumps(
                        [trial.as_json() for trial in plan(number)], ensure_ascii=False
                    )
                    row = (rater, number, int(time.time()), consent, trials)
                    self._db.execute("INSERT INTO raters VALUES (?, ?, ?, ?, ?)", row)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        found = self.rater(rater)
        assert found is not None
        return found

    def rater(self, rater: str) -> Rater | None:
        """The rater with this id, None if unknown."""
        with self._lock:
            return next(iter(_raters(self._db, rater)), None)

    def add(self, rater: str, answer: Answer) -> bool:
        """Store an answer durably; False if the rater is not known. The first one to a trial stays:
        a second changes nothing.
        """
        row = (
            rater,
            answer.trial,
            json.dumps(answer.values),
            answer.took_ms,
            answer.plays,
            int(time.time()),
        )
        with self._lock:
            try:
                self._db.execute(
                    "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row
                )
            except sqlite3.IntegrityError:  # the rater has withdrawn in the meantime
                return False
        return True

    def forget(self, rater: str) -> None:
        """Delete a rater and all their answers, overwriting them in the file."""
        with self._lock:
            self._db.execute("DELETE FROM raters WHERE id = ?", (rater,))
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def counts(self) -> tuple[int, int]:
        """How many raters and answers there are."""
        with self._lock:
            return tuple(
                self._db.execute(
                    "SELECT (SELECT count(*) FROM raters), (SELECT count(*) FROM answers)"
                ).fetchone()
            )


def read_raters(path: Path) -> list[Rater]:
    """All raters with their answers, in order of joining; also while a server writes. InputError
    when there are none.
    """
    if not path.is_file():
        raise InputError(
            f"{path} does not exist: nobody has answered yet (jambatalk study serve collects "
            "answers)"
        )
    with reading(path, "a database of answers"):
        # Not mode=ro: a log left by a killed server must be folded in first, which needs write
        # access.
        db = sqlite3.connect(path, timeout=20.0)
        try:
            return _raters(db)
        finally:
            db.close()


def _raters(db: sqlite3.Connection, only: str | None = None) -> list[Rater]:
    answers: dict[str, dict[str, Answer]] = {}
    for rater, trial, answer, took, plays in db.execute(
        "SELECT rater, trial, answer, took_ms, plays FROM answers WHERE ?1 IS NULL OR rater = ?1",
        (only,),
    ):
        answers.setdefault(rater, {})[trial] = Answer(trial, json.loads(answer), took, plays)
    rows = db.execute(
        "SELECT id, number, trials FROM raters WHERE ?1 IS NULL OR id = ?1 ORDER BY number", (only,)
    )
    return [
        Rater(
            rater,
            number,
            tuple(trial_from(one) for one in json.loads(trials)),
            answers.get(rater, {}),
        )
        for rater, number, trials in rows
    ]
