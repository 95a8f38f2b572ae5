"""Faces: the default head, its shapes and regions, and carrying motion from one face to another."""
