"""Speech to motion or video as jobs, which outlive the server that took them."""

from __future__ import annotations

from jambatalk.server.jobs.runner import Runner
from jambatalk.server.jobs.store import Full, Job, JobOptions, JobStore

__all__ = ["Full", "Job", "JobOptions", "JobStore", "Runner"]
