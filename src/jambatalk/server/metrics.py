"""What a live server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jambatalk.version import __version__

if TYPE_CHECKING:
    from jambatalk.streaming.jitter_buffer import PacketStats

LATENCIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class ServerMetrics:
    """Counters with a registry of their own; all calls may come from any thread."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

        self.registry = CollectorRegistry()
        common: dict[str, Any] = {"registry": self.registry, "namespace": "jambatalk"}
        self._open = Gauge("sessions_open", "Live sessions", **common)
        self._closed = Counter(
            "sessions", "Connections that ended, by reason", ["reason"], **common
        )
        self._frames = Counter("frames", "Frames that came out of the network", **common)
        self._latency = Histogram(
            "frame_latency_seconds",
            "From the last sound that a frame needed to the frame on the wire",
            buckets=LATENCIES,
            **common,
        )
        self._batch = Histogram(
            "batch_sessions", "Sessions in a batch", buckets=(1, 2, 4, 8, 16, 32, 64), **common
        )
        self._busy = Counter("network_busy_seconds", "Time in the network", **common)
        self._lost = Counter(
            "sound_lost_seconds", "Sound that never came and was concealed", **common
        )
        self._late = Counter("sound_late_seconds", "Sound that came too late", **common)
        self._jobs = Counter("jobs", "Jobs that ended, by status", ["status"], **common)
        self._jobs_held = Gauge(
            "jobs_held", "Jobs that there are now, by status", ["status"], **common
        )
        self._job_sound = Counter("jobs_sound_seconds", "Sound of jobs that are done", **common)
        Info("build", "Version", **common).info({"version": __version__})

    def session_opened(self) -> None:
        """A client was let in."""
        self._open.inc()

    def session_ended(self) -> None:
        """One that was let in is gone."""
        self._open.dec()

    def session_closed(self, reason: str) -> None:
        """A connection ended, let in or not."""
        self._closed.labels(reason).inc()

    def frames(self, count: int) -> None:
        """Frames came out of the network."""
        self._frames.inc(count)

    def latency(self, seconds: float) -> None:
        """A frame is on the wire."""
        self._latency.observe(seconds)

    def batch(self, size: int, seconds: float) -> None:
        """A batch went through the network."""
        self._batch.observe(size)
        self._busy.inc(seconds)

    def losses(self, losses: PacketStats, rate: int) -> None:
        """What a session that ended had lost."""
        self._lost.inc(losses.lost / rate)
        self._late.inc(losses.late / rate)

    def job_ended(self, status: str, seconds: float) -> None:
        """A job is done or failed; seconds of its sound."""
        self._jobs.labels(status).inc()
        self._job_sound.inc(seconds)

    def jobs_held(self, counts: Mapping[str, int]) -> None:
        """How many jobs of each status there are."""
        for status, count in counts.items():
            self._jobs_held.labels(status).set(count)

    def text(self) -> bytes:
        """The exposition format."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)
