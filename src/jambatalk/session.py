"""One live conversation with a talker, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE
from jambatalk.errors import InputError, reading, shown
from jambatalk.face.shape_sets import ShapeConverter
from jambatalk.ops.threads import free_threads, one_thread
from jambatalk.streaming.core import Frames, NetworkSpec, StreamCore
from jambatalk.streaming.jitter_buffer import PacketStats
from jambatalk.streaming.overlay import MotionOverlay
from jambatalk.streaming.serialize import deserialize, serialize, tensors_of, with_tensors

if TYPE_CHECKING:
    from jambatalk.idle import IdleSettings

Array = NDArray[np.float32]

MAX_CHUNK = 256
"""Hops that go through the network at once: bounds memory when an hour is pushed in one piece."""

SINGLE_THREAD_HOPS = 8
"""Up to so many hops run on one thread: sharing them out costs more than it gains."""


class StreamModel(Protocol):
    """What a session needs of a talker (``jambatalk.Talker`` is one): a network and its names."""

    @property
    def model(self) -> Any:
        """The network: ``config``, ``init_state()`` and ``model(samples, state) -> (y, state)``."""

    @property
    def names(self) -> tuple[str, ...]:
        """Shape names of the outputs; none for a network that moves vertices."""

    @property
    def fps(self) -> float:
        """Frames per second of the network."""

    @property
    def device(self) -> str:
        """Where the network runs."""

    @property
    def look_ahead_ms(self) -> float:
        """Milliseconds of later sound that a frame depends on."""

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights' file."""

    @property
    def articulation(self) -> float:
        """How far the mouth moves where a session asks for nothing else."""

    def style_index(self, style: str | None) -> int | None:
        """The number of a speaking style; None for the talker's own."""


MOUTH = ("jaw", "mouth", "tongue", "cheekPuff")
"""How the names of the shapes begin that ``articulation`` scales."""
LEAST_ARTICULATION, MOST_ARTICULATION = 0.5, 1.5


def articulation_gains(names: Sequence[str], articulation: float) -> Array | None:
    """Return the factors of shapes that make a mouth move more or less.

    Lip geometry is linear in the weights and the head's lips touch at rest, so a gap of 0 stays 0
    and lips do not cross. A gap that is not quite 0 grows by the factor, too.

    Args:
        names: of the shapes.
        articulation: 0.5 (mumbled) to 1.5 (over-articulated).

    Returns:
        (K,) float32; None for 1.0, which changes nothing.

    Raises:
        InputError: the value is out of range, or the network moves vertices.
    """
    if type(articulation) not in (int, float) or not (
        LEAST_ARTICULATION <= articulation <= MOST_ARTICULATION
    ):
        raise InputError(
            f"articulation is {shown(articulation)}, expected {LEAST_ARTICULATION} to "
            f"{MOST_ARTICULATION}"
        )
    if articulation == 1.0:
        return None
    if not names:
        raise InputError(
            "articulation scales shapes of the mouth, but this network moves vertices: expected 1"
        )
    return np.array([articulation if n.startswith(MOUTH) else 1.0 for n in names], np.float32)


@dataclass(frozen=True)
class Frame:
    """What the face does at one moment.

    Args:
        time: seconds since the first sample of the turn.
        weights: (K,) float32 in 0..1.
        names: the K shape names.
        head_pose: (3,) float32 radians (pitch, yaw, roll), None without head motion.
        turn: how many turns ended before.
        index: number of the frame in its turn.
    """

    time: float
    weights: Array
    names: tuple[str, ...]
    head_pose: Array | None = None
    turn: int = 0
    index: int = 0

    def __getitem__(self, name: str) -> float:
        """The weight of one shape: ``frame["jawOpen"]``.

        Raises:
            KeyError: the frame has no such shape.
        """
        if name not in self.names:
            lower = {known.lower(): known for known in self.names}
            close = get_close_matches(str(name).lower(), lower, 1)
            hint = f", did you mean {lower[close[0]]!r}?" if close else ""
            raise KeyError(f"unknown shape {name!r}{hint}")
        return float(self.weights[self.names.index(name)])


class Session:
    """Push sound in any pieces, get frames as soon as their look-ahead has been pushed.

    The frame at time t comes out once the sound up to t + look-ahead is in. Speech comes in turns:
    ``flush`` ends one (as if silence followed), ``interrupt`` breaks one off, and the next sound
    begins the next, at time 0.

    Args:
        talker: the network and its names.
        rate: samples per second that are pushed.
        fps: frames per second that come out; None for the network's own.
        life: idle motion over the speech (blinks, gaze, head motion, breath), or another
            ``streaming.overlay.MotionOverlay``; None for none.
        style: a speaking style; None for the talker's.
        patience: seconds of later sound that may wait for a packet out of order, where packets
            have indices.
        articulation: how far the mouth moves, 0.5 to 1.5 times what the network says; see
            ``articulation_gains``. None for the talker's.
        shapes: names of the frames' weights: ``arkit``, ``oculus``, ``vrm`` or ``microsoft``; see
            ``face.shape_sets``.

    Raises:
        InputError: a value is out of range.
    """

    def __init__(
        self,
        talker: StreamModel,
        rate: int = SAMPLE_RATE,
        fps: float | None = None,
        life: IdleSettings | MotionOverlay | bool | str | None = None,
        style: str | None = None,
        patience: float = 0.06,
        articulation: float | None = None,
        shapes: str = "arkit",
    ) -> None:
        self.talker, self.style = talker, style
        self.articulation = talker.articulation if articulation is None else articulation
        self.style_index = talker.style_index(style)
        config = talker.model.config
        network = NetworkSpec(config.hop, config.delay, talker.fps, config.outputs, talker.names)
        overlay = _overlay(life, talker.names, fps if fps is not None else talker.fps)
        gains = articulation_gains(talker.names, self.articulation)
        self.core = StreamCore(network, rate, fps, overlay, patience, gains)
        self.shapes, self._convert = shapes, None
        if shapes != "arkit":
            self._convert = ShapeConverter(self.core.names, shapes)
        self._half_sample = b""

    @property
    def rate(self) -> int:
        """Samples per second that are pushed."""
        return self.core.rate

    @property
    def fps(self) -> float:
        """Frames per second that come out."""
        return self.core.fps

    @property
    def names(self) -> tuple[str, ...]:
        """Shape names of the frames."""
        return self.core.names if self._convert is None else self._convert.names

    @property
    def turn(self) -> int:
        """How many turns have ended."""
        return self.core.turn

    @property
    def patience(self) -> float:
        """Seconds of later sound that may wait for a missing packet."""
        return self.core.patience

    @property
    def look_ahead_ms(self) -> float:
        """Milliseconds of sound after a frame's time that must be in before it comes, at most."""
        return self.talker.look_ahead_ms + 1000 * self.core.delay

    @property
    def losses(self) -> PacketStats:
        """Samples (at ``rate``) that were lost, late or repeated since the session began."""
        return self.core.stats

    @property
    def pending_seconds(self) -> float:
        """Seconds of sound that wait for the network."""
        return self.core.pending_seconds

    @property
    def state(self) -> Any:
        """The network's state after the sound that it has run."""
        state = self.core.network_state
        return self.talker.model.init_state() if state is None else state

    def reset(self) -> None:
        """Forget everything that was pushed: as new."""
        self.core.reset()
        self._half_sample = b""

    def push(self, samples: Any, at: int | None = None) -> list[Frame]:
        """Add sound.

        Args:
            samples: one channel at the session's rate: (n,), (n, 1) or (1, n) floats in -1..1 or
                int16, or bytes of little-endian int16 (a sample may be split over two calls).
            at: index of the first sample on the sender's clock, where packets may be lost, late,
                out of order or twice; the turn begins with the first packet. What is missing is
                concealed, and the face comes to rest if it stays away. None: right after the last.

        Returns:
            The frames that became ready.

        Raises:
            InputError: not such samples, or an impossible index.
        """
        self.core.feed(self._whole_samples(samples, at), at)
        return self.to_frames(self._run())

    def advance(self, at: int) -> list[Frame]:
        """Conceal what is missing before index ``at`` of the sender's clock."""
        self.core.conceal(at)
        return self.to_frames(self._run())

    def flush(self) -> list[Frame]:
        """End the speech: give the remaining frames, and begin a new turn."""
        self.core.end_turn()
        return self.to_frames(self._run()) + self.to_frames(self._finish_turn())

    def interrupt(self) -> list[Frame]:
        """Barge in: drop what was not shown, give the frames (160 ms) to the neutral face, and
        begin a new turn."""
        self._half_sample = b""
        return self.to_frames(self.core.interrupt())

    def push_array(self, samples: Any) -> tuple[int, Array]:
        """As ``push``, but (index of the first frame, weights (n, K))."""
        self.core.feed(self._whole_samples(samples, None))
        frames = self._run()
        return frames.first, self._converted(frames.weights)

    def flush_array(self) -> tuple[int, Array]:
        """As ``flush``, but (index of the first frame, weights (n, K))."""
        self.core.end_turn()
        frames = self._run()
        weights = np.concatenate([frames.weights, self._finish_turn().weights])
        return frames.first, self._converted(weights)

    def _converted(self, weights: Array) -> Array:
        return weights if self._convert is None else self._convert(weights)

    def to_frames(self, frames: Frames) -> list[Frame]:
        """One object per frame."""
        pose: Any = frames.pose if frames.pose is not None else [None] * len(frames)
        first, fps = frames.first, self.fps
        return [
            Frame((first + i) / fps, row, self.names, pose[i], frames.turn, first + i)
            for i, row in enumerate(self._converted(frames.weights))
        ]

    def _run(self) -> Frames:
        """Run the network over all pending hops."""
        core, model, parts = self.core, self.talker.model, []
        style = (
            {}
            if self.style_index is None
            else {"style": torch.tensor([self.style_index], device="cpu")}
        )
        while core.pending_hops:
            hops = torch.from_numpy(core.next_chunk(MAX_CHUNK))[None]
            few = hops.shape[1] <= SINGLE_THREAD_HOPS * model.config.hop
            try:
                with torch.inference_mode(), one_thread() if few else free_threads():
                    y, state = model(hops.to(self.talker.device), self.state, **style)
            except ArithmeticError as error:
                # Sound is checked when it is pushed, so this comes from a stored state.
                raise InputError("the network cannot compute: its state is damaged") from error
            parts.append(core.accept(y[0].float().cpu().numpy(), state))
        if len(parts) < 2:
            return parts[0] if parts else core.no_frames()
        poses = [part.pose for part in parts if part.pose is not None]
        weights = np.concatenate([part.weights for part in parts])
        return Frames(parts[0].first, weights, np.concatenate(poses) if poses else None, self.turn)

    def _finish_turn(self) -> Frames:
        self._half_sample = b""
        return self.core.finish_turn()

    def _whole_samples(self, samples: Any, at: int | None) -> Any:
        """Put together a sample whose two bytes came in two pushes."""
        if isinstance(samples, memoryview) and samples.itemsize == 1:
            samples = samples.tobytes()
        if at is not None or not isinstance(samples, (bytes, bytearray)):
            return samples
        data = self._half_sample + bytes(samples)
        whole = len(data) // 2 * 2
        self._half_sample = data[whole:]
        return data[:whole]

    def save(self) -> bytes:
        """Store all that the session knows, as the bytes of a safetensors file.

        ``Talker.restore`` continues from it bit-exactly.
        """
        network = {name: tensor.cpu().numpy() for name, tensor in tensors_of(self.state).items()}
        settings = {
            "format": 1,
            "weights": self.talker.weights_sha256,
            "rate": self.rate,
            "fps": self.fps,
            "style": self.style,
            "patience": self.patience,
            "articulation": self.articulation,
            "shapes": self.shapes,
        }
        half = {"half_sample": self._half_sample.hex()}
        return serialize(settings | {"network": network} | self.core.state() | half)

    @classmethod
    def restore(
        cls, talker: StreamModel, data: bytes, life: IdleSettings | MotionOverlay | None = None
    ) -> Session:
        """Continue a session that ``save`` stored, with the idle motion that it had.

        Args:
            talker: of the same weights.
            data: what ``save`` gave.
            life: a session with another overlay gets a new one of its kind here, which takes over
                the stored state.

        Raises:
            InputError: it is damaged, of other weights, or its overlay is missing.
        """
        tree = deserialize(data)
        if tree.get("format") != 1 or tree.get("weights") != talker.weights_sha256:
            raise InputError(
                f"the session was saved with weights {str(tree.get('weights'))[:12]}, expected"
                f" those of this talker ({talker.weights_sha256[:12]})"
            )
        with reading("the saved session"):
            if life is None and tree["life"] is not None and "settings" in tree["life"]:
                life = _idle_settings(tree["life"])
            if (tree["life"] is None) != (life is None):
                raise InputError(
                    "the session was saved with an overlay and gets none, or the other way round"
                )
            articulation = tree.get("articulation", 1.0)  # sessions of earlier versions have none
            session = cls(
                talker,
                tree["rate"],
                tree["fps"],
                life,
                tree["style"],
                tree["patience"],
                articulation,
                tree.get("shapes", "arkit"),
            )
            tensors = {name: torch.from_numpy(a) for name, a in tree["network"].items()}
            session.core.load_state(tree)
            session.core.network_state = with_tensors(session.state, tensors)
            session._half_sample = bytes.fromhex(tree.get("half_sample", ""))
        return session


def _idle_settings(state: dict[str, Any]) -> IdleSettings:
    from jambatalk.idle import IdleSettings

    return IdleSettings.from_dict(state["settings"])


def _overlay(
    life: IdleSettings | MotionOverlay | bool | str | None, names: tuple[str, ...], fps: float
) -> MotionOverlay | None:
    from jambatalk.idle import IdleMotion, IdleSettings

    if isinstance(life, MotionOverlay):
        return life
    life = IdleSettings.of(life)
    if not names and not life.off:
        raise InputError(
            "idle motion moves shapes such as eyeBlinkLeft, but this network moves vertices:"
            " leave life off"
        )
    return None if life.off else IdleMotion(life, names, fps)
