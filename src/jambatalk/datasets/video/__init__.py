"""Recordings of a face become clips: tracking, decoding, an even timeline, quality."""
