"""One live conversation with a talker, in memory that does not grow."""

from __future__ import annotations

import math
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE
from jambatalk.audio.decode import check_samples
from jambatalk.errors import InputError
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.ops.backend import one_thread
from jambatalk.streaming.frame_rate import FrameRate
from jambatalk.streaming.jitter_buffer import JitterBuffer, PacketStats
from jambatalk.streaming.neutral import NeutralFade, eased, fade_to_neutral
from jambatalk.streaming.resampler import Resampler
from jambatalk.streaming.serialize import deserialize, serialize, tensors_of, with_tensors

if TYPE_CHECKING:
    from jambatalk.idle import IdleSettings
    from jambatalk.streaming.overlay import MotionOverlay
    from jambatalk.talker import Talker

Array = NDArray[np.float32]

# Hops that go through the network at once at most: bounds memory when someone pushes an hour in one piece.
LARGEST_CHUNK = 256
# Hops that are too little to be shared out among threads.
FEW = 8
LOWEST_RATE, HIGHEST_RATE = 1000, 384_000
LONGEST_PATIENCE = 2.0


@dataclass(frozen=True)
class Frame:
    """What the face does at one moment.

    time: seconds since the first sample of the turn. weights: (K,) float32 in 0..1. names: the K shape names.
    head_pose: (3,) float32 radians (pitch, yaw, roll), None without head motion. turn: how many turns ended before.
    index: of the frame in its turn.
    """

    time: float
    weights: Array
    names: tuple[str, ...]
    head_pose: Array | None = None
    turn: int = 0
    index: int = 0

    def __getitem__(self, name: str) -> float:
        """The weight of one shape: ``frame["jawOpen"]``."""
        return float(self.weights[self.names.index(name)])


@dataclass(frozen=True)
class Frames:
    """Frames in a row: weights (n, K), pose (n, 3) or None, the index of the first in its turn, and the turn."""

    first: int
    weights: Array
    pose: Array | None
    turn: int

    def __len__(self) -> int:
        return len(self.weights)


@dataclass
class _Turn:
    """Where a turn is: counts, and sound on its way to the network."""

    pending: Array = field(
        default_factory=lambda: np.zeros(0, np.float32)
    )  # at 16 kHz, not yet a whole hop or not yet run
    missing: Array = field(
        default_factory=lambda: np.zeros(0, bool)
    )  # of the same samples, whether they were concealed
    heard: int = 0  # samples at 16 kHz
    steps: int = 0  # hops that went through the network
    ended: bool = False
    delayed: deque[tuple[Array, float]] = field(
        default_factory=deque
    )  # (sound, gain) of hops whose frame is not out yet


class Session:
    """Push sound in any pieces, get frames as soon as their look-ahead has been heard.

    The frame at time t comes out once the sound up to t + look-ahead is in. Speech comes in turns: ``flush`` ends one (the
    rest is treated as followed by silence), ``interrupt`` breaks one off, and the next sound begins the next, at time 0.

    rate: samples a second that are pushed. fps: frames a second that come out, None for the network's own. life: blinks,
    gaze, head motion and breath over the speech, or a layer of one's own (``streaming.overlay``), None for none. style: a way of
    speaking, None for the talker's. patience: seconds of later sound that may wait for a packet that is out of order, where
    packets have indices.
    """

    def __init__(
        self,
        talker: Talker,
        rate: int = SAMPLE_RATE,
        fps: float | None = None,
        life: IdleSettings | MotionOverlay | None = None,
        style: str | None = None,
        patience: float = 0.06,
    ) -> None:
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise InputError(f"sample rate is {rate}, expected {LOWEST_RATE} to {HIGHEST_RATE} Hz")
        if fps is not None and not 1 <= fps <= 240:
            raise InputError(f"fps is {fps}, expected 1 to 240 frames a second")
        if not 0 <= patience <= LONGEST_PATIENCE:
            raise InputError(
                f"patience is {patience}, expected 0 to {LONGEST_PATIENCE:.0f} seconds"
            )
        self.talker, self.rate, self.patience = talker, int(rate), patience
        self.fps = float(fps) if fps is not None else talker.fps
        self.style = style
        self._style = _style_index(talker, style)
        self._packets = JitterBuffer(self.rate, patience)
        self._resampler = None if self.rate == SAMPLE_RATE else Resampler(self.rate, SAMPLE_RATE)
        self._frame_rate = FrameRate(talker.fps, self.fps)
        self._rest = NeutralFade(talker.fps)
        if life is not None and not talker.names:
            raise InputError(
                "a layer moves shapes such as eyeBlinkLeft, but this network moves vertices: leave it off"
            )
        self._life = _layer(life, talker.names, self.fps)
        self.names = self._life.names if self._life is not None else talker.names
        self.reset()

    @property
    def look_ahead_ms(self) -> float:
        """How much sound after a frame's own time must have been pushed before it comes out, at most, in milliseconds."""
        resampling = self._resampler.delay if self._resampler is not None else 0.0
        return self.talker.look_ahead_ms + 1000 * (resampling + self._frame_rate.delay)

    @property
    def losses(self) -> PacketStats:
        """Samples (at ``rate``) that were lost and concealed, came too late, or came twice, since the session began."""
        return self._packets.losses

    @property
    def pending_seconds(self) -> float:
        """Sound that waits for the network, in seconds."""
        return len(self._turn.pending) / SAMPLE_RATE

    def reset(self) -> None:
        """Forget everything heard: as new."""
        self.turn = 0
        self._packets.losses = PacketStats()
        self._life_frames = self._life_samples = self._life_ahead = 0
        if self._life is not None:
            self._life.reset()
        self._new_turn()

    def _new_turn(self) -> None:
        self.state: Any = self.talker.model.init_state()
        self._turn = _Turn()
        self._last: Array | None = None  # weights of the last frame that came out, without life
        self._made = 0  # frames that came out in this turn
        self._packets.reset()
        if self._resampler is not None:
            self._resampler.reset()
        self._frame_rate.reset()
        self._rest.reset()
        # Sound of the last turn that went beyond its frames (less than one of them).
        self._life_ahead = max(
            self._life_samples - math.ceil(self._life_frames / self.fps * SAMPLE_RATE), 0
        )

    # What most users call.

    def push(self, samples: NDArray[Any], at: int | None = None) -> list[Frame]:
        """samples (n,) mono in -1..1 at the session's rate (int16 is scaled) -> the frames that became ready.

        at: index of the first sample on the sender's clock, where packets may be lost, late, out of order or twice (the
        turn begins with the first packet); None: right after the last. What is missing is concealed, and the face comes to
        rest if it stays away. InputError for samples or an index that cannot be.
        """
        self.take(samples, at)
        return self.listed(self._run())

    def advance(self, at: int) -> list[Frame]:
        """The sound before index ``at`` of the sender's clock should be here by now: what is missing is concealed."""
        self.conceal(at)
        return self.listed(self._run())

    def flush(self) -> list[Frame]:
        """The end of speech: the frames that are still owed; then a new turn begins."""
        self.end()
        return self.listed(self._run()) + self.listed(self.finish())

    def interrupt(self) -> list[Frame]:
        """Barge-in: drops what was not shown, gives the frames (160 ms) that bring the face to rest, and begins a new turn."""
        return self.listed(self.break_off())

    def push_array(self, samples: NDArray[Any]) -> tuple[int, Array]:
        """As ``push``, but (index of the first frame, weights (n, K))."""
        self.take(samples)
        frames = self._run()
        return frames.first, frames.weights

    def flush_array(self) -> tuple[int, Array]:
        """As ``flush``, but (index of the first frame, weights (n, K))."""
        self.end()
        frames = self._run()
        return frames.first, np.concatenate([frames.weights, self.finish().weights])

    # What runs many sessions through the network at once calls: take or end, then hops, network, give; then finish.

    def take(self, samples: NDArray[Any], at: int | None = None) -> None:
        """As ``push``, without running the network."""
        checked = _checked(samples)
        if at is not None and not 0 <= at < 1 << 62:
            raise InputError(f"a packet has the index {at}, expected a whole number from 0 on")
        if self._turn.ended:
            raise InputError("the turn has ended: finish it before more sound comes")
        self._sound(self._packets.push(checked, at))

    def conceal(self, at: int) -> None:
        """As ``advance``, without running the network."""
        self._sound(self._packets.advance(at))

    def end(self) -> None:
        """No more sound comes in this turn: silence is added for the frames that are owed."""
        if self._turn.ended:
            return
        self._sound(self._packets.end())
        if self._resampler is not None:
            self._add(self._resampler(np.zeros(0, np.float32), last=True), False)
        turn, config = self._turn, self.talker.model.config
        turn.ended = True
        if turn.heard:
            total = -(-turn.heard // config.hop)  # frames that this much sound owes
            silence = np.zeros((total + config.delay) * config.hop - turn.heard, np.float32)
            turn.pending = np.concatenate([turn.pending, silence])
            turn.missing = np.concatenate([turn.missing, np.zeros(len(silence), bool)])

    @property
    def ended(self) -> bool:
        """Whether the turn's speech is over."""
        return self._turn.ended

    @property
    def ready(self) -> int:
        """Hops of sound that the network can run."""
        return len(self._turn.pending) // self.talker.model.config.hop

    def hops(self, most: int) -> Array:
        """The next hops to run, up to ``most``, as samples (n * hop,); ``give`` takes them off."""
        count = min(self.ready, most)
        return self._turn.pending[: count * self.talker.model.config.hop]

    def style_index(self) -> int | None:
        """Which of the network's styles speaks; None for the one that the talker has chosen."""
        return self._style

    def give(self, y: Array, state: Any) -> Frames:
        """What the network made (n, K) of the next n hops, and its state after them -> the frames that became ready."""
        turn, config = self._turn, self.talker.model.config
        self.state = state
        count = len(y)
        used = count * config.hop
        gains = []
        for k in range(count):
            part = slice(k * config.hop, (k + 1) * config.hop)
            turn.delayed.append(
                (turn.pending[part], self._rest.step(bool(turn.missing[part].all())))
            )
        turn.pending, turn.missing = turn.pending[used:].copy(), turn.missing[used:].copy()
        skip = min(max(config.delay - turn.steps, 0), count)
        turn.steps += count
        sounds = []
        for _ in range(count - skip):
            sound, gain = turn.delayed.popleft()
            sounds.append(sound)
            gains.append(gain)
        values = y[skip:]
        if self.talker.names:
            values = np.clip(values, 0.0, 1.0)
        if gains and min(gains) < 1.0:
            values = values * np.array([eased(gain) for gain in gains], np.float32)[:, None]
        return self._out(self._frame_rate(values), sounds)

    def finish(self) -> Frames:
        """After ``end``, once the network has run all hops: the last frames; then a new turn begins."""
        if not self._turn.ended or self.ready:
            raise RuntimeError("finish() comes after end(), once all hops have run")
        frames = self._out(self._frame_rate(self._nothing(), last=True), [])
        self._new_turn()
        self.turn += 1
        return frames

    def break_off(self) -> Frames:
        """As ``interrupt``, as one piece."""
        last = self._last
        frames = self._out(
            fade_to_neutral(last, self.fps) if last is not None else self._nothing(), []
        )
        self._new_turn()
        self.turn += 1
        return frames

    def listed(self, frames: Frames) -> list[Frame]:
        """One object per frame."""
        pose: Any = frames.pose if frames.pose is not None else [None] * len(frames)
        return [
            Frame(
                (frames.first + i) / self.fps,
                row,
                self.names,
                pose[i],
                frames.turn,
                frames.first + i,
            )
            for i, row in enumerate(frames.weights)
        ]

    def _nothing(self) -> Array:
        return np.zeros((0, self.talker.model.config.outputs), np.float32)

    def _sound(self, pieces: list[tuple[Array, bool]]) -> None:
        for samples, missing in pieces:
            self._add(samples if self._resampler is None else self._resampler(samples), missing)

    def _add(self, samples: Array, missing: bool) -> None:
        turn = self._turn
        turn.heard += len(samples)
        # Clipped after resampling, as recordings are: what is a little over full scale is the same sound on every way.
        turn.pending = np.concatenate([turn.pending, np.clip(samples, -1.0, 1.0)])
        turn.missing = np.concatenate([turn.missing, np.full(len(samples), missing)])

    def _run(self) -> Frames:
        """All hops that are there through the network."""
        model, first, parts = self.talker.model, self._made, []
        style = {} if self._style is None else {"style": torch.tensor([self._style])}
        while self.ready:
            hops = torch.from_numpy(self.hops(LARGEST_CHUNK))[None]
            few = hops.shape[1] <= FEW * model.config.hop
            with torch.inference_mode(), one_thread() if few else nullcontext():
                y, state = model(hops.to(self.talker.device), self.state, **style)
            parts.append(self.give(y[0].float().cpu().numpy(), state))
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Frames(first, np.zeros((0, self._width), np.float32), None, self.turn)
        poses = [part.pose for part in parts if part.pose is not None]
        weights = np.concatenate([part.weights for part in parts])
        return Frames(parts[0].first, weights, np.concatenate(poses) if poses else None, self.turn)

    @property
    def _width(self) -> int:
        return len(self.names) if self.names else self.talker.model.config.outputs

    def _out(self, values: Array, sounds: list[Array]) -> Frames:
        """Frames at the output rate, with life over them; ``sounds``: the sound at their times, for what moves with it."""
        first, pose = self._made, None
        self._made += len(values)
        if len(values):
            self._last = values[-1]
        if self._life is not None:
            self._life_frames += len(values)
            self._hear(sounds)
            values, pose = self._life.apply(values)
        return Frames(first, values, pose, self.turn)

    def _hear(self, sounds: list[Array]) -> None:
        """Life hears the sound of the frames, which go on through turns while the sound's clock starts anew in each."""
        assert self._life is not None
        for sound in sounds:
            skipped = min(self._life_ahead, len(sound))
            self._life_ahead -= skipped
            self._life.hear(sound[skipped:])
            self._life_samples += len(sound) - skipped
        # A turn's last frames and an interruption's have no sound of their own.
        short = math.ceil(self._life_frames / self.fps * SAMPLE_RATE) - self._life_samples
        if short > 0:
            self._life.hear(np.zeros(short, np.float32))
            self._life_samples += short

    # Storing a session.

    def save(self) -> bytes:
        """All that the session knows, as a safetensors file's bytes: ``Talker.restore`` goes on from it, to the bit."""
        turn = self._turn
        return serialize(
            {
                "format": 1,
                "weights": self.talker.weights_sha256,
                "rate": self.rate,
                "fps": self.fps,
                "style": self.style,
                "patience": self.patience,
                "turn": self.turn,
                "made": self._made,
                "last": self._last,
                "network": {
                    name: tensor.cpu().numpy() for name, tensor in tensors_of(self.state).items()
                },
                "pending": turn.pending,
                "missing": turn.missing,
                "heard": turn.heard,
                "steps": turn.steps,
                "ended": turn.ended,
                "delayed": [{"sound": sound, "gain": gain} for sound, gain in turn.delayed],
                "rest": {"gain": self._rest.gain, "missing": self._rest.missing},
                "packets": self._packets.state(),
                "frame_rate": self._frame_rate.state(),
                "resampler": None if self._resampler is None else self._resampler.state(),
                "life": None if self._life is None else self._life.state(),
                "life_frames": self._life_frames,
                "life_samples": self._life_samples,
                "life_ahead": self._life_ahead,
            }
        )

    @classmethod
    def restore(
        cls, talker: Talker, data: bytes, life: IdleSettings | MotionOverlay | None = None
    ) -> Session:
        """The session that ``save`` stored, with the life that it had; ``life``: where that was a layer of one's own, one of its
        kind, which takes over its state.

        InputError when it is damaged, of other weights than the talker's, or had a layer of one's own and gets none.
        """
        tree = deserialize(data)
        if tree.get("format") != 1 or tree.get("weights") != talker.weights_sha256:
            raise InputError(
                f"the session was saved with weights {str(tree.get('weights'))[:12]}, expected those of this talker "
                f"({talker.weights_sha256[:12]})"
            )
        try:
            if life is None and tree["life"] is not None and "settings" in tree["life"]:
                life = _settings_of(tree["life"])
            if (tree["life"] is None) != (life is None):
                raise InputError(
                    "the session was saved with a layer and gets none, or the other way round"
                )
            session = cls(talker, tree["rate"], tree["fps"], life, tree["style"], tree["patience"])
            session._load(tree)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise InputError(
                f"the saved session is damaged ({type(error).__name__}: {error})"
            ) from error
        return session

    def _load(self, tree: dict[str, Any]) -> None:
        self.turn, self._made = tree["turn"], tree["made"]
        self._last = tree["last"]
        self.state = with_tensors(
            self.state, {name: torch.from_numpy(a) for name, a in tree["network"].items()}
        )
        delayed = deque((one["sound"], one["gain"]) for one in tree["delayed"])
        self._turn = _Turn(
            tree["pending"], tree["missing"], tree["heard"], tree["steps"], tree["ended"], delayed
        )
        self._rest.gain, self._rest.missing = tree["rest"]["gain"], tree["rest"]["missing"]
        self._packets.load_state(tree["packets"])
        self._frame_rate.load_state(tree["frame_rate"])
        if self._resampler is not None:
            self._resampler.load_state(tree["resampler"])
        if self._life is not None:
            self._life.load_state(tree["life"])
        self._life_frames, self._life_samples, self._life_ahead = (
            tree[f"life_{n}"] for n in ("frames", "samples", "ahead")
        )


def _settings_of(state: dict[str, Any]) -> IdleSettings:
    from jambatalk.idle import IdleSettings

    return IdleSettings.from_dict(state["settings"])


def _layer(
    life: IdleSettings | MotionOverlay | None, names: tuple[str, ...], fps: float
) -> MotionOverlay | None:
    from jambatalk.idle import IdleMotion, IdleSettings

    if isinstance(life, IdleSettings):
        return None if life.off else IdleMotion(life, names, fps)
    return life


def _style_index(talker: Talker, style: str | None) -> int | None:
    if style is None:
        return None
    if style not in talker.styles:
        there = (
            f"choose from {', '.join(talker.styles)}"
            if talker.styles
            else "this network has one way of speaking"
        )
        raise InputError(f"no style {style!r}: {there}")
    if not isinstance(talker.model, SpeechToMotion):
        raise InputError(f"{talker.path} speaks in the style that it was exported with")
    return talker.styles.index(style)


def _checked(samples: NDArray[Any]) -> Array:
    array = np.asarray(samples)
    if array.ndim != 1:
        raise InputError(f"pushed samples have shape {array.shape}, expected one channel (n,)")
    if array.dtype == np.int16:
        return array.astype(np.float32) / 32768.0
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"pushed samples are {array.dtype}, expected float32 in -1..1 or int16")
    array = array.astype(np.float32)
    check_samples(array, "the pushed sound")
    return array
