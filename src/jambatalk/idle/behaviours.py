"""The parts of idle motion (blinks, gaze, head motion, brows, breath) and their random numbers."""

from __future__ import annotations

import math

from jambatalk.idle.prosody import TICK, Prosody, StateDict

# What a part of life remembers, as numbers by name.


MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    """64 bits -> 64 bits that look unrelated."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def stream_key(seed: int, stream: int) -> int:
    """The key of one of a seed's streams."""
    return mix((mix((seed + GOLDEN) & MASK) + (stream + 1) * GOLDEN) & MASK)


def draw(key: int, index: int) -> float:
    """Number ``index`` of a stream, uniform in [0, 1)."""
    return (mix((key + (index + 1) * GOLDEN) & MASK) >> 11) * 2.0**-53


class CounterRNG(StateDict):
    """One stream's numbers, one after another."""

    remembered = ("count",)

    def __init__(self, seed: int, stream: int) -> None:
        self.key = stream_key(seed, stream)
        self.count = 0

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Uniform in [low, high)."""
        self.count += 1
        return low + (high - low) * draw(self.key, self.count - 1)

    def log_normal(self, median: float, spread: float) -> float:
        """Log-normal: ``spread`` is the standard deviation of its logarithm."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.uniform()))
        return median * math.exp(spread * radius * math.cos(2.0 * math.pi * self.uniform()))


# Smooth ways from one value to another.


def minimum_jerk(x: float) -> float:
    """0..1 -> 0..1, at rest at both ends (Flash and Hogan 1985); speed at most 1.875, acceleration
    at most 5.774."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    return x * x * x * (10.0 + x * (6.0 * x - 15.0))


BLINK_SPREAD = 0.55  # of the intervals' logarithm
MEDIAN = 2.85  # seconds between blinks at rest, doubles aside
# times as fast does the time to the next blink run while speaking; pauses bring on some more
SPEAKING = 1.45
CLOSE, OPEN = (0.07, 0.10), (0.15, 0.20)  # seconds
CLOSED = 0.04  # seconds: one frame at 25 frames a second, so that one always shows the closed eye
DOUBLE = 0.06  # of the blinks come in pairs
RIPE = 0.3  # share of the interval after which a pause can bring on the blink
AT_PAUSE = 0.65  # chance that it does


# Blinks. Rates are those of Bentivoglio et al., Analysis of blink rate patterns in normal subjects
# (Movement Disorders, 1997): a median of 17 a minute at rest and 26 in conversation; intervals are
# skewed to the right, here log-normal. Blinks gather at the breaks of speech (Nakano and Kitazawa,
# Experimental Brain Research, 2010), so a pause brings on a blink that would have come soon. Lids
# close in 70 to 100 ms and open in 150 to 200 ms, down about twice as fast as up (VanderWerf et
# al., Journal of Neurophysiology, 2003).


class Blinks(StateDict):
    """One blink after another; ``at`` says how far the lids are closed."""

    remembered = ("draws", "wait", "start", "close", "open", "twice")

    def __init__(self, strength: float, seed: int) -> None:
        self.strength = strength
        self.draws = CounterRNG(seed, 0)
        self.wait = self.draws.uniform(0.3, 1.0) * MEDIAN  # of time at rest, until the next blink
        self.start, self.close, self.open = -10.0, CLOSE[0], OPEN[0]
        self.twice = False

    def tick(self, time: float, sound: Prosody) -> None:
        """Up to ``time`` seconds, given the prosody of ``sound``."""
        if time < self.start + self.close + CLOSED + self.open:
            return
        self.wait -= TICK * self.strength * (SPEAKING if sound.speaking else 1.0)
        brought = (
            sound.paused
            and self.wait < (1.0 - RIPE) * MEDIAN
            and self.draws.uniform() < AT_PAUSE * min(self.strength, 1.0)
        )
        if self.wait <= 0.0 or brought:
            self._blink(time)

    def _blink(self, time: float) -> None:
        draws = self.draws
        self.start, self.close, self.open = time, draws.uniform(*CLOSE), draws.uniform(*OPEN)
        # A second blink follows as soon as the eyes are open, but no third.
        self.twice = not self.twice and draws.uniform() < DOUBLE
        pair = draws.uniform(0.05, 0.25) * self.strength
        interval = draws.log_normal(MEDIAN, BLINK_SPREAD)
        self.wait = pair if self.twice else interval

    def at(self, time: float) -> float:
        """How far the lids are closed, 0..1."""
        x = time - self.start
        if x <= self.close:
            return minimum_jerk(x / self.close)
        return 1.0 - minimum_jerk((x - self.close - CLOSED) / self.open)


# Gaze: where the eyes look, in small jumps that stay with the viewer most of the time.
#
# Between two eyes and a mouth of the viewer lie a degree or two at a conversation's distance; the
# eyes jump among them. At the start of an utterance a speaker tends to look away for a moment
# (Kendon, Some functions of gaze-direction in social interaction, Acta Psychologica, 1967). A jump
# of A degrees lasts about 21 + 2.2 A ms (Carpenter, Movements of the Eyes, 1988). Eyes turn against
# the head, so that the viewer stays looked at while it moves (the vestibulo-ocular reflex).


FIXATION = (
    0.8,
    0.5,
)  # seconds, median and spread of the logarithm, of one look at a spot of the viewer
AWAY = (0.75, 0.3)  # and past the viewer
AT_START = 0.65  # chance to look away as an utterance begins
THINKING = 0.05  # chance per look to do so while speaking
WIDE = (5.0, 10.0)  # degrees to a side when looking away
TALL = (-4.0, 4.0)  # and up
SPOT = (1.2, 1.5, 0.6)  # degrees to a side, down and up, of the spots on the viewer


class Gaze(StateDict):
    """The eyes' direction in degrees, to the face's own left and up."""

    remembered = ("draws", "x0", "y0", "x1", "y1", "start", "lasts", "until", "away")

    def __init__(self, strength: float, seed: int) -> None:
        self.strength = strength
        self.draws = CounterRNG(seed, 1)
        self.x0 = self.y0 = self.x1 = self.y1 = 0.0
        self.start, self.lasts = -1.0, 0.021
        self.until = self.draws.uniform(0.3, 1.0)
        self.away = False

    def tick(self, time: float, sound: Prosody) -> None:
        """Up to ``time`` seconds, given the prosody of ``sound``."""
        if time < self.start + self.lasts:
            return
        begins = sound.started and not self.away and self.draws.uniform() < AT_START
        if begins or (
            time >= self.until
            and not self.away
            and sound.speaking
            and self.draws.uniform() < THINKING
        ):
            side = 1.0 if self.draws.uniform() < 0.5 else -1.0
            self.away = True
            self._jump(time, side * self.draws.uniform(*WIDE), self.draws.uniform(*TALL), AWAY)
        elif time >= self.until:
            self.away = False
            self._jump(
                time,
                self.draws.uniform(-SPOT[0], SPOT[0]),
                self.draws.uniform(-SPOT[1], SPOT[2]),
                FIXATION,
            )

    def _jump(self, time: float, x: float, y: float, stay: tuple[float, float]) -> None:
        self.x0, self.y0, self.x1, self.y1 = self.x1, self.y1, x, y
        self.start, self.lasts = time, 0.021 + 0.0022 * math.hypot(x - self.x0, y - self.y0)
        self.until = time + min(self.draws.log_normal(*stay), 4.0)

    def at(self, time: float) -> tuple[float, float]:
        """Degrees to the left and up, in space."""
        share = minimum_jerk((time - self.start) / self.lasts)
        return (
            self.strength * (self.x0 + share * (self.x1 - self.x0)),
            self.strength * (self.y0 + share * (self.y1 - self.y0)),
        )


# Head motion: a slow drift, and nods on stressed syllables.
#
# Heads move with the voice: more in speech than in silence, and with quick movements on stressed
# syllables (Hadar et al., Head movement correlates of juncture and stress at sentence level,
# Language and Speech, 1983; Munhall et al., Visual prosody and speech intelligibility,
# Psychological Science, 2004). The drift is a cubic B-spline through seeded random values, the nods
# are minimum-jerk ways down and back, so angle, speed and acceleration are bounded by construction.


DRIFT = tuple(math.radians(angle) for angle in (2.0, 4.0, 2.0))  # at most, in pitch, yaw, roll
STEP = (1.3, 1.7, 2.1)  # seconds from one of the drift's values to the next
CALM = 0.55  # of the drift while silent
SETTLE = 0.6  # seconds: time constant from calm to speaking and back
NOD = math.radians(3.5)  # at most
DOWN, UP = 0.24, 0.42  # seconds of a nod
TURN = 0.3  # of a nod at most that goes to a side and into a tilt
STRESSED = 0.35  # prominence from which a syllable can bring a nod
OFTEN = 0.75  # chance that it does
REST = (0.1, 0.9)  # seconds after a nod before the next

LARGEST = math.radians(8.0)
FASTEST = math.radians(45.0)
QUICKEST = math.radians(450.0)
"""Bounds of angle, speed (per second) and acceleration (per second squared) of each axis at
strength 1."""


class Head(StateDict):
    """The head's pose in radians (pitch, yaw, roll)."""

    remembered = ("draws", "voice", "rate", "start", "size", "side", "tilt", "free")

    def __init__(self, strength: float, seed: int) -> None:
        self.strength = strength
        self.draws = CounterRNG(seed, 2)
        self.keys = tuple(stream_key(seed, 3 + axis) for axis in range(3))
        self.voice = self.rate = (
            0.0  # how much speech there was of late, 0..1, and its change per second
        )
        self.start, self.size, self.side, self.tilt, self.free = -10.0, 0.0, 0.0, 0.0, 0.0

    def tick(self, time: float, sound: Prosody) -> None:
        """Up to ``time`` seconds, given the prosody of ``sound``."""
        # Critically damped towards 1 in speech and 0 in silence.
        pull = (1.0 if sound.speaking else 0.0) - self.voice
        self.rate += TICK * (pull / (SETTLE * SETTLE) - 2.0 * self.rate / SETTLE)
        self.voice += TICK * self.rate
        if sound.stress > STRESSED and time >= self.free and self.draws.uniform() < OFTEN:
            draws = self.draws
            self.start, self.size = (
                time,
                NOD * min(0.3 + 0.5 * sound.stress, 1.0) * draws.uniform(0.6, 1.0),
            )
            self.side, self.tilt = draws.uniform(-TURN, TURN), draws.uniform(-TURN, TURN)
            self.free = time + DOWN + UP + draws.uniform(*REST)

    def at(self, time: float) -> tuple[float, float, float]:
        """Pitch, yaw and roll in radians."""
        gain = CALM + (1.0 - CALM) * self.voice
        pitch, yaw, roll = (gain * DRIFT[axis] * self._drift(axis, time) for axis in range(3))
        x = time - self.start
        nod = self.size * (
            minimum_jerk(x / DOWN) if x < DOWN else 1.0 - minimum_jerk((x - DOWN) / UP)
        )
        return (
            self.strength * (pitch + nod),
            self.strength * (yaw + self.side * nod),
            self.strength * (roll + self.tilt * nod),
        )

    def _drift(self, axis: int, time: float) -> float:
        """-1..1: uniform cubic B-spline, whose speed is at most 2 / STEP and whose acceleration is
        at most 4 / STEP**2."""
        position = time / STEP[axis]
        index = int(position)
        x = position - index
        a, b, c, d = (2.0 * draw(self.keys[axis], index + k) - 1.0 for k in range(4))
        y = 1.0 - x
        return (
            y**3 * a + (3 * x**3 - 6 * x**2 + 4) * b + (3 * y**3 - 6 * y**2 + 4) * c + x**3 * d
        ) / 6.0


# Brows: they rise on some of the syllables that the voice accents, and as a question ends.
#
# Seven of ten rises of the brows go with a rise of the voice, but most rises of the voice have none
# (Cave et al., About the relationship between eyebrow movements and F0 variations, ICSLP 1996);
# they mark accents, begin close to them, and are most frequent in questions and at the start of a
# piece of talk (Flecha-Garcia, Eyebrow raises in dialogue and their relation to discourse
# structure, utterance function and pitch accents in English, Speech Communication, 2010). Faces
# are not even: one side moves a little more (Skinner and Mullen, Facial asymmetry in emotional
# expression, British Journal of Clinical Psychology, 1991).


ACCENTED = 0.8  # prominence from which a syllable can bring a rise
SEMITONES = 5.0  # over the usual height that count as much as a prominence of 1
SELDOM = 0.45  # chance that it does
RISES = (0.12, 0.34)  # of the brows' shapes, for a syllable just accented and for the strongest
ASKING = (0.28, 0.42)  # and at the end of a question
LIFTED, LOWERED = 0.14, 0.32  # seconds of the ways up and down
STAY, STAY_ASKING = (0.06, 0.22), (0.3, 0.6)  # seconds between them
PAUSE_OF_BROWS = (0.7, 2.2)  # seconds after a rise before the next
UNEVEN = 0.07  # by which one side moves more than the mean, at most


class Brows(StateDict):
    """How far the brows are raised."""

    remembered = ("draws", "start", "size", "origin", "stay", "free")

    def __init__(self, strength: float, seed: int) -> None:
        self.strength = strength
        self.draws = CounterRNG(seed, 7)
        side = 2.0 * draw(stream_key(seed, 8), 0) - 1.0
        self.left, self.right = 1.0 + UNEVEN * side, 1.0 - UNEVEN * side
        self.start, self.size, self.origin, self.stay, self.free = -10.0, 0.0, 0.0, 0.0, 0.0

    def tick(self, time: float, sound: Prosody) -> None:
        """Up to ``time`` seconds, given the prosody of ``sound``."""
        if sound.question:
            self._rise(time, self.draws.uniform(*ASKING), STAY_ASKING)
            return
        prominence = sound.stress + max(sound.accent, 0.0) / SEMITONES
        if (
            sound.stress > 0.0
            and prominence > ACCENTED
            and time >= self.free
            and self.draws.uniform() < SELDOM * min(self.strength, 1.0)
        ):
            share = min((prominence - ACCENTED) / (2.0 - ACCENTED), 1.0)
            size = RISES[0] + share * (RISES[1] - RISES[0])
            self._rise(time, size * self.draws.uniform(0.75, 1.0), STAY)

    def _rise(self, time: float, size: float, stay: tuple[float, float]) -> None:
        # From wherever they are: a question may end while they are still up.
        self.origin = self._height(time)
        self.start, self.size, self.stay = time, size, self.draws.uniform(*stay)
        self.free = time + LIFTED + self.stay + LOWERED + self.draws.uniform(*PAUSE_OF_BROWS)

    def _height(self, time: float) -> float:
        x = time - self.start
        if x < LIFTED:
            return self.origin + (self.size - self.origin) * minimum_jerk(x / LIFTED)
        return self.size * (1.0 - minimum_jerk((x - LIFTED - self.stay) / LOWERED))

    def at(self, time: float) -> float:
        """How far the brows are raised, 0..1."""
        return min(self.strength * self._height(time), 1.0)


# Breath: a slow cycle that shows in the head and the brows, and takes its inhalations at pauses of
# speech.
#
# At rest people breathe 12 to 18 times a minute, in for about two fifths of the cycle; who speaks
# breathes in quickly in a pause and lets the air go over the next phrase (Hixon, Goldman, Mead,
# Kinematics of the chest wall during speech production, Journal of Speech and Hearing Research,
# 1973). Lips are left alone: an open mouth between words would be read as speech.


IN, OUT = 1.6, 2.5  # seconds, median, at rest
QUICK_IN, SLOW_OUT = 0.6, 5.0  # and in speech, where a pause ends the way out sooner
BREATH_SPREAD = 0.15  # of their logarithms
ENOUGH = 1.5  # seconds of breathing out before a pause brings the next breath
SOFT = 0.12  # seconds: time constant that rounds the turns
LIFT = math.radians(0.45)  # of the head at most
BROW = 0.06  # of browInnerUp at most


class Breath(StateDict):
    """The air in the lungs, 0..1."""

    remembered = ("draws", "inward", "start", "lasts", "origin", "air", "rate", "before")

    def __init__(self, strength: float, seed: int) -> None:
        self.strength = strength
        self.draws = CounterRNG(seed, 6)
        self.inward = False
        self.start, self.lasts, self.origin = 0.0, self.draws.uniform(0.3, 1.0) * OUT, 0.5
        self.air, self.rate = 0.5, 0.0
        self.before = 0.5  # the air a tick ago

    def tick(self, time: float, sound: Prosody) -> None:
        """Up to ``time`` seconds, given the prosody of ``sound``."""
        share = (time - self.start) / self.lasts
        goal = self.origin + ((1.0 if self.inward else 0.0) - self.origin) * minimum_jerk(share)
        early = sound.paused and not self.inward and time > self.start + ENOUGH
        if share >= 1.0 or early:
            self.inward = not self.inward
            if self.inward:
                median = QUICK_IN if early or sound.speaking else IN
            else:
                median = SLOW_OUT if sound.speaking else OUT
            self.start, self.lasts, self.origin = (
                time,
                self.draws.log_normal(median, BREATH_SPREAD),
                goal,
            )
        # Critically damped after the goal: a breath that is cut short turns without a jolt.
        self.before = self.air
        self.rate += TICK * ((goal - self.air) / (SOFT * SOFT) - 2.0 * self.rate / SOFT)
        self.air += TICK * self.rate

    def at(self, share: float) -> float:
        """The air between the last two ticks, times the strength; ``share`` 0..1 is how far after
        the last one it is."""
        return self.strength * (self.before + share * (self.air - self.before))
