"""Speech to motion or video as jobs, which outlive the server that took them."""

from jambatalk.live.jobs.job import Job, JobOptions
from jambatalk.live.jobs.runner import Runner
from jambatalk.live.jobs.store import Full, JobStore

__all__ = ["Full", "Job", "JobOptions", "JobStore", "Runner"]
