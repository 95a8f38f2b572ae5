"""The layers of life together, over the frames of a stream."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE
from jambatalk.errors import InputError, reading
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.idle.behaviours import BROW, LIFT, Blinks, Breath, Brows, Gaze, Head
from jambatalk.idle.prosody import (
    HOP,
    PITCH_WINDOW,
    QUIETEST_SPEECH,
    SILENCE,
    TICK,
    Prosody,
    levels,
    pitch,
)
from jambatalk.motion import Motion

# How strong each layer of life is.


STRONGEST = 2.0
LAYERS = ("blinks", "gaze", "head", "breath", "brows")


AUTO = "auto"
"""On where a picture is made, off for files of weights: those are other programs' to enliven."""


@dataclass(frozen=True)
class IdleSettings:
    """Strengths 0 (none) to 2 of the layers, and the seed (0 to 2**63 - 1) that all their chances
    come from.

    blinks: how often, relative to people's rates. gaze: how far the eyes wander. head: how far the
    head moves. breath: how much a breath shows. brows: how far they rise. InputError for anything
    else.
    """

    blinks: float = 1.0
    gaze: float = 1.0
    head: float = 1.0
    breath: float = 1.0
    seed: int = 0
    brows: float = 1.0

    def __post_init__(self) -> None:
        for name in LAYERS:
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or not 0 <= value <= STRONGEST:
                raise InputError(
                    f"life's {name} is {value!r}, expected a strength from 0 to {STRONGEST:g}"
                )
            object.__setattr__(self, name, float(value))
        if (
            isinstance(self.seed, bool)
            or not isinstance(self.seed, int)
            or not 0 <= self.seed < 1 << 63
        ):
            raise InputError(
                f"life's seed is {self.seed!r}, expected a whole number from 0 to 2**63 - 1"
            )

    @property
    def off(self) -> bool:
        """Whether no layer does anything."""
        return not any(getattr(self, name) for name in LAYERS)

    @classmethod
    def parse(cls, text: str) -> IdleSettings:
        """Read ``on``, ``off``, or values such as ``blinks=0.5,head=0`` (the rest as in ``on``)."""
        word = text.strip().lower()
        if word == "on":
            return cls()
        if word == "off":
            return cls(0, 0, 0, 0, brows=0)
        values: dict[str, Any] = {}
        for part in text.split(","):
            name, equals, number = (piece.strip() for piece in part.partition("="))
            if not equals or name in values:
                raise InputError(
                    f"life is {text!r}, expected on, off, or each value once: blinks=0.5,head=0"
                )
            try:
                values[name] = int(number) if name == "seed" else float(number)
            except ValueError:
                raise InputError(f"life's {name} is {number!r}, expected a number") from None
        return cls.from_dict(values)

    @classmethod
    def for_output(cls, text: str, picture: bool) -> IdleSettings:
        """Read ``auto``, which is on where a picture is made and off for files of weights, or what
        ``parse`` takes.

        Raises:
            InputError: the text is neither.
        """
        if text.strip().lower() == AUTO:
            return cls() if picture else cls.parse("off")
        return cls.parse(text)

    @classmethod
    def of(cls, life: IdleSettings | bool | str | None) -> IdleSettings:
        """The settings themselves, or for True, False, None or a text as of ``parse``.

        Raises:
            InputError: anything else.
        """
        if isinstance(life, cls):
            return life
        if isinstance(life, bool) or life is None:
            return cls() if life else cls.parse("off")
        if isinstance(life, str):
            return cls.parse(life)
        raise InputError(
            f"life is a {type(life).__name__}, expected True, a text such as 'blinks=0.5,head=0', "
            "or IdleSettings"
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> IdleSettings:
        """Of JSON: any of the fields by name; the rest as in ``IdleSettings()``."""
        if not isinstance(values, Mapping):
            raise InputError(
                f"life is {values!r}, expected an object such as {{'blinks': 0.5, 'head': 0}}"
            )
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise InputError(f"life has no {name!r}, expected one of {', '.join(known)}")
        return cls(**values)


Array = NDArray[np.float32]

BLINK = ("eyeBlinkLeft", "eyeBlinkRight")
WIDE = ("eyeWideLeft", "eyeWideRight")
# Each eye's shapes towards the face's own left and right, and up and down.
LEFT, RIGHT = ("eyeLookOutLeft", "eyeLookInRight"), ("eyeLookInLeft", "eyeLookOutRight")
OUTER_BROWS = ("browOuterUpLeft", "browOuterUpRight")
UP, DOWN = ("eyeLookUpLeft", "eyeLookUpRight"), ("eyeLookDownLeft", "eyeLookDownRight")

SIDEWARD, UPWARD, DOWNWARD = 30.0, 25.0, 25.0
"""Degrees that an eye turns at weight 1 of its eyeLook shapes."""

LID_WITH_BROW = 0.3
"""Of a rise of the brows, how much of it the upper lids go along, in eyeWide."""

LID_DOWN, LID_UP = 0.25, 0.2
"""Of eyeLookDown and eyeLookUp, how much the lids go along, in eyeBlink and eyeWide."""

# A step of the clock is 10 ms; rounding in index * 100 / fps must not put a frame before a step
# that is exactly at its time.
SLACK = 1e-6


class IdleMotion:
    """Blinks, gaze, head motion, brows and breath over the frames of a stream, the same however
    sound and frames are cut.

    settings: strengths and seed. names: the K shapes of the frames that come in. fps: frames a
    second, at most 240. A frame follows the sound up to its own time. Only eyes, brows and head
    move: no shape of the mouth or the jaw is touched. InputError for frames without shapes, or
    another fps.
    """

    def __init__(self, settings: IdleSettings, names: tuple[str, ...], fps: float) -> None:
        if not names:
            raise InputError(
                "life moves shapes such as eyeBlinkLeft, but this motion has none: leave life off"
            )
        if not (math.isfinite(fps) and 0 < fps <= 240):
            raise InputError(f"fps is {fps}, expected more than 0 and at most 240 frames a second")
        self.settings, self.fps = settings, float(fps)
        self._inputs = tuple(names)
        wanted: set[str] = set()
        if settings.blinks:
            wanted.update(BLINK)
        if settings.gaze:
            wanted.update(LEFT + RIGHT + UP + DOWN + BLINK + WIDE)
        if settings.breath:
            wanted.add("browInnerUp")
        if settings.brows:
            wanted.update(("browInnerUp", *OUTER_BROWS, *WIDE))
        self._names = self._inputs + tuple(
            name for name in ARKIT_NAMES if name in wanted and name not in self._inputs
        )
        self._column = {name: index for index, name in enumerate(self._names)}
        self.reset()

    @property
    def names(self) -> tuple[str, ...]:
        """The shapes of the frames that come out: those that came in, then those that life adds."""
        return self._names

    @property
    def off(self) -> bool:
        """Whether frames come out as they came in, to the bit."""
        return self.settings.off

    def reset(self) -> None:
        """As new: the same seed begins anew."""
        settings = self.settings
        self._prosody = Prosody()
        self._blinks = Blinks(settings.blinks, settings.seed)
        self._gaze = Gaze(settings.gaze, settings.seed)
        self._head = Head(settings.head, settings.seed)
        self._breath = Breath(settings.breath, settings.seed)
        self._brows = Brows(settings.brows, settings.seed)
        self._frame = self._tick = 0  # frames that came out, steps of the clock that were made
        self._kept = np.zeros(0, np.float32)  # sound that fills no step yet
        self._before = np.zeros(PITCH_WINDOW - HOP, np.float32)  # sound before that
        self._levels: list[float] = []  # of steps that are to come
        self._hertz: list[float] = []
        self._next = 0  # of them

    def feed(self, samples: Array) -> None:
        """Sound (n,) float32 at 16 kHz in -1..1, in order, in any pieces."""
        if self.off:
            return
        sound = np.concatenate([self._kept, np.asarray(samples, np.float32)])
        whole = len(sound) // HOP * HOP
        new = levels(sound[:whole])
        self._levels = self._levels[self._next :] + new
        self._hertz = self._hertz[self._next :] + self._pitches(sound[:whole], new)
        self._next = 0
        self._kept = sound[whole:].copy()

    def _pitches(self, sound: Array, new: list[float]) -> list[float]:
        """The fundamental frequency at the end of each step, 0 where nobody asks for it.

        Step by step, so that it does not matter how many there are.
        """
        if not self.settings.brows:
            return [0.0] * len(new)
        whole = np.concatenate([self._before, sound])
        self._before = whole[len(whole) - (PITCH_WINDOW - HOP) :].copy()
        return [
            pitch(whole[HOP * k : HOP * k + PITCH_WINDOW]) if level > QUIETEST_SPEECH else 0.0
            for k, level in enumerate(new)
        ]

    def apply(self, weights: Array) -> tuple[Array, Array | None]:
        """The next n frames (n, K) in 0..1 -> (n, K2) float32 in 0..1 on ``names``, and the head's
        pose (n, 3) float32 radians.

        The sound up to the frames' times has been heard; where it has not, there is silence. The
        pose is None when neither the head nor the breath moves it.
        """
        if self.off:
            return weights, None
        if weights.ndim != 2 or weights.shape[1] != len(self._inputs):
            raise InputError(
                f"frames have shape {weights.shape}, expected (n, {len(self._inputs)})"
            )
        made = np.array([self._one() for _ in range(len(weights))], np.float64).reshape(-1, 8)
        closed, x, y, air, raised = made[:, :5].T
        out = np.zeros((len(weights), len(self._names)), np.float32)
        out[:, : weights.shape[1]] = weights
        if self.settings.gaze:
            self._look(out, x, y, closed)
        if self.settings.blinks:
            for name in BLINK:
                self._raise(out, name, closed)
        if self.settings.breath:
            self._raise(out, "browInnerUp", BROW * air)
        if self.settings.brows:
            self._raise(out, "browInnerUp", raised)
            for name, side in zip(OUTER_BROWS, (self._brows.left, self._brows.right), strict=True):
                self._raise(out, name, raised * side)
            for name in WIDE:
                self._raise(out, name, LID_WITH_BROW * raised * (1 - closed))
        pose = (
            made[:, 5:].astype(np.float32) if self.settings.head or self.settings.breath else None
        )
        return out, pose

    def _one(self) -> tuple[float, ...]:
        """The next frame: lids 0..1, eyes in degrees to the left and up, air, brows 0..1, and the
        head's three angles."""
        position = self._frame * (1.0 / TICK) / self.fps
        time = self._frame / self.fps
        while self._tick + 1 <= position + SLACK:
            self._step()
        self._frame += 1
        settings = self.settings
        air = self._breath.at(min(max(position - self._tick, 0.0), 1.0)) if settings.breath else 0.0
        pitch, yaw, roll = self._head.at(time) if settings.head else (0.0, 0.0, 0.0)
        pitch -= LIFT * air
        x, y = self._gaze.at(time) if settings.gaze else (0.0, 0.0)
        against = min(settings.gaze, 1.0)
        x, y = x - against * math.degrees(yaw), y + against * math.degrees(pitch)
        lids = self._blinks.at(time) if settings.blinks else 0.0
        raised = self._brows.at(time) if settings.brows else 0.0
        return lids, x, y, air, raised, pitch, yaw, roll

    def _step(self) -> None:
        if self._next < len(self._levels):
            level, hertz = self._levels[self._next], self._hertz[self._next]
            self._next += 1
        else:
            level, hertz = SILENCE, 0.0
        self._tick += 1
        time, settings = self._tick / 100, self.settings
        self._prosody.tick(level, hertz)
        if settings.blinks:
            self._blinks.tick(time, self._prosody)
        if settings.gaze:
            self._gaze.tick(time, self._prosody)
        if settings.head:
            self._head.tick(time, self._prosody)
        if settings.breath:
            self._breath.tick(time, self._prosody)
        if settings.brows:
            self._brows.tick(time, self._prosody)

    def _look(
        self,
        out: Array,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        closed: NDArray[np.float64],
    ) -> None:
        """The eyes' own directions turned by (x, y) degrees; lids go along with what life adds in
        height."""
        for eye in range(2):
            self._turn(out, LEFT[eye], RIGHT[eye], x / SIDEWARD)
            self._turn(out, UP[eye], DOWN[eye], np.where(y > 0, y / UPWARD, y / DOWNWARD))
            self._raise(out, BLINK[eye], LID_DOWN * np.maximum(-y / DOWNWARD, 0))
            self._raise(out, WIDE[eye], LID_UP * np.maximum(y / UPWARD, 0) * (1 - closed))

    def _turn(self, out: Array, one: str, other: str, by: NDArray[np.float64]) -> None:
        first, second = self._column[one], self._column[other]
        value = (out[:, first].astype(np.float64) - out[:, second] + by).clip(-1.0, 1.0)
        out[:, first], out[:, second] = np.maximum(value, 0), np.maximum(-value, 0)

    def _raise(self, out: Array, name: str, value: NDArray[np.float64]) -> None:
        """A shape to at least ``value``: what the network does with it stays where it is more."""
        column = self._column[name]
        out[:, column] = np.maximum(out[:, column], value.clip(0.0, 1.0))

    def state(self) -> dict[str, Any]:
        """All that it remembers, exact: numbers, and arrays of the sound that has not been used
        yet."""
        return {
            "settings": asdict(self.settings),
            "fps": self.fps,
            "names": list(self._inputs),
            "frame": self._frame,
            "tick": self._tick,
            "kept": self._kept.copy(),
            "before": self._before.copy(),
            "levels": np.array(self._levels[self._next :], np.float64),
            "hertz": np.array(self._hertz[self._next :], np.float64),
            "prosody": self._prosody.state(),
            "blinks": self._blinks.state(),
            "gaze": self._gaze.state(),
            "head": self._head.state(),
            "breath": self._breath.state(),
            "brows": self._brows.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. InputError when it belongs to other settings, shapes or frame
        rates, or is none."""
        with reading("the saved idle motion"):
            if IdleSettings.from_dict(state["settings"]) != self.settings:
                raise InputError(
                    f"life was saved with {state['settings']}, expected {asdict(self.settings)}"
                )
            if state["fps"] != self.fps or tuple(state["names"]) != self._inputs:
                raise InputError("life was saved for frames with another rate or other shapes")
            for name in ("prosody", *LAYERS):
                getattr(self, f"_{name}").load_state(state[name])
            self._frame, self._tick = int(state["frame"]), int(state["tick"])
            self._kept = np.array(state["kept"], np.float32)
            self._before = np.array(state["before"], np.float32)
            self._levels, self._next = np.asarray(state["levels"], np.float64).tolist(), 0
            self._hertz = np.asarray(state["hertz"], np.float64).tolist()


# Life over a motion that is there as a whole.


def add_idle_motion(motion: Motion, settings: IdleSettings | None = None) -> Motion:
    """The motion with blinks, gaze, head motion and breath, as a stream with the same settings
    would show it.

    The head follows ``motion.speech``; without one there is silence. A head pose that the motion
    has is added to life's. settings: None for ``IdleSettings()``. InputError for a motion of
    vertices, which has no shapes to move.
    """
    settings = settings if settings is not None else IdleSettings()
    if settings.off:
        return motion
    if motion.weights is None:
        raise InputError("life moves shapes such as eyeBlinkLeft, but this motion moves vertices")
    life = IdleMotion(settings, motion.names, motion.fps)
    weights = np.asarray(motion.weights, np.float32)
    parts, heard, made = [], 0, 0
    for block in motion.speech.blocks() if motion.speech is not None else ():
        life.feed(block)
        heard += len(block)
        # Frames whose own time has been heard.
        ready = min(math.floor(heard / SAMPLE_RATE * motion.fps), len(weights))
        parts.append(life.apply(weights[made:ready]))
        made = max(made, ready)
    parts.append(life.apply(weights[made:]))
    poses = [pose for _, pose in parts if pose is not None]
    pose = np.concatenate(poses) if poses else None
    if motion.head_pose is not None:
        own = np.asarray(motion.head_pose, np.float32)
        pose = own if pose is None else own + pose
    return replace(
        motion,
        weights=np.concatenate([made for made, _ in parts]),
        names=life.names,
        head_pose=pose,
    )
