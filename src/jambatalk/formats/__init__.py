"""Motions as files: one module for each format; jambatalk.motion holds their registry."""
