"""Smooth ways from one value to another."""

from __future__ import annotations


def minimum_jerk(x: float) -> float:
    """0..1 -> 0..1, at rest at both ends (Flash and Hogan 1985); speed at most 1.875, acceleration at most 5.774."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    return x * x * x * (10.0 + x * (6.0 * x - 15.0))
