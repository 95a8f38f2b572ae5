"""Frames to engines, as they come: one file per protocol, and ``open_link`` that knows them all."""

from jambatalk.live.links.link import Link
from jambatalk.live.links.registry import KINDS, open_link

__all__ = ["KINDS", "Link", "open_link"]
