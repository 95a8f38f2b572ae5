"""What one rater sees, in order: a pure function of the study and the rater's number.

Items (a pair of systems on a clip; for opinions one system on a clip) form a ring. Rater n gets the
next stretch of it, so that every item is shown equally often, to within one. The sides of an item
swap with every showing, so each system is A as often as B.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from random import Random
from typing import Any

from jambatalk.errors import InputError
from jambatalk.study.plan import AB, Study, Tones

MOST_BY_DEFAULT = 24
HEADPHONES, PRACTICE, RATING, CHECK = "headphones", "practice", "rating", "check"


@dataclass(frozen=True)
class Trial:
    """One screen.

    id: random, the same on every call. kind: headphones, practice, rating or check. media: files in
    the order A, B.
    systems: what they show (the key), () for tones. instruction: text of a check that tells what to
    choose.
    expected: the right answers by question, {} where there is no right one.
    """

    id: str
    kind: str
    media: tuple[str, ...]
    systems: tuple[str, ...] = ()
    clip: str = ""
    instruction: str | None = None
    expected: dict[str, Any] | None = None
    check: str | None = None

    def public(self) -> dict[str, Any]:
        """What the page may know: no system, no clip, and a check looks like any other trial."""
        kind = RATING if self.kind == CHECK else self.kind
        return {
            "id": self.id,
            "kind": kind,
            "media": list(self.media),
            "instruction": self.instruction,
        }

    def as_json(self) -> dict[str, Any]:
        """Everything, for the record."""
        return asdict(self)


def trial_from(found: dict[str, Any]) -> Trial:
    """The inverse of ``Trial.as_json``."""
    return Trial(**{**found, "media": tuple(found["media"]), "systems": tuple(found["systems"])})


Item = tuple[str, tuple[str, ...]]
"""A clip and the one or two systems that show it."""


@lru_cache(maxsize=8)
def _ring(
    seed: int, clips: tuple[str, ...], groups: tuple[tuple[str, ...], ...]
) -> tuple[list[Item], list[int]]:
    """The items, neighbours from different pairs, and for each the side that its first system
    starts on.
    """
    rng = Random(f"{seed}/ring")
    order = rng.sample(clips, len(clips))
    items: list[Item] = []
    for clip in order:
        items += [(clip, group) for group in rng.sample(groups, len(groups))]
    sides = [i % 2 for i in range(len(items))]
    rng.shuffle(sides)
    return items, sides


def _groups(study: Study) -> tuple[tuple[str, ...], ...]:
    return (
        study.pairs if study.settings.kind == AB else tuple((system,) for system in study.systems)
    )


def trials_per_rater(study: Study) -> int:
    """How many ratings one rater gives. InputError when more are wanted than there are."""
    there = len(_groups(study)) * len(study.clips)
    wanted = study.settings.trials
    if wanted is not None and wanted > there:
        raise InputError(
            f"{wanted} trials per rater are wanted, but there are {there} (pairs or systems times "
            "clips)"
        )
    return min(there, MOST_BY_DEFAULT) if wanted is None else wanted


def trials_for(study: Study, number: int) -> list[Trial]:
    """All screens of the rater with this number (0, 1, 2 ...), headphones first, then practice,
    then ratings and checks.
    """
    settings, count = study.settings, trials_per_rater(study)
    assert settings.seed is not None
    rng = Random(f"{settings.seed}/{number}")
    files = {(one.system, one.clip): name for name, one in study.media.items()}
    items, sides = _ring(settings.seed, study.clips, _groups(study))

    def trial(kind: str, item: Item, swapped: bool, **more: Any) -> Trial:
        clip, systems = item[0], item[1][::-1] if swapped else item[1]
        return Trial(
            _token(rng), kind, tuple(files[s, clip] for s in systems), systems, clip, **more
        )

    ratings = []
    for i in range(number * count, (number + 1) * count):
        showing, place = divmod(i, len(items))
        ratings.append(trial(RATING, items[place], bool((sides[place] + showing) % 2)))
    rng.shuffle(ratings)
    checks = _checks(
        study, rng, lambda **more: trial(CHECK, rng.choice(items), rng.random() < 0.5, **more)
    )
    first = [*_tones(study, rng), trial(PRACTICE, rng.choice(items), rng.random() < 0.5)]
    return first + _spread(ratings, checks, rng)


def _token(rng: Random) -> str:
    return f"{rng.getrandbits(64):016x}"


def _tones(study: Study, rng: Random) -> list[Trial]:
    wanted = study.settings.headphones
    found: list[Tones] = []
    while len(found) < wanted:
        found += rng.sample(study.tones, len(study.tones))
    return [
        Trial(_token(rng), HEADPHONES, (one.file,), expected={"tone": one.quiet})
        for one in found[:wanted]
    ]


def _checks(study: Study, rng: Random, pick: Any) -> list[Trial]:
    """Half of them show a wrong clip on one side (where there are such), the others say what to
    choose.
    """
    settings = study.settings
    wrong = min(len(study.mismatches), math.ceil(settings.checks / 2))
    checks = []
    side = rng.randrange(2)
    for i, one in enumerate(rng.sample(study.mismatches, wrong)):
        right_is_a = (side + i) % 2 == 0
        system = study.media[one.right].system
        media, systems = (one.right, one.wrong), (system, f"{system} (wrong clip)")
        if not right_is_a:
            media, systems = media[::-1], systems[::-1]
        # Only the first question, about the lips, has an answer that is clearly right.
        expected = {"q1": "A" if right_is_a else "B"}
        checks.append(
            Trial(
                _token(rng), CHECK, media, systems, one.clip, expected=expected, check="wrong clip"
            )
        )
    for _ in range(settings.checks - wrong):
        choice = rng.choice([c for c in settings.choices if c != "tie"])
        text = f"This one is different: whatever you see, please answer {choice} to every question."
        checks.append(
            pick(
                instruction=text,
                expected=dict.fromkeys(settings.question_ids, choice),
                check="instruction",
            )
        )
    rng.shuffle(checks)
    return checks


def _spread(ratings: list[Trial], checks: list[Trial], rng: Random) -> list[Trial]:
    """One check in each of as many equal stretches of the ratings, never at their very start."""
    for i in reversed(range(len(checks))):
        low, high = (len(ratings) * i) // len(checks), (len(ratings) * (i + 1)) // len(checks)
        ratings.insert(rng.randint(min(low + 1, high), high), checks[i])
    return ratings
