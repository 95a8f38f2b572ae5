"""Faces: the default head, its shapes and regions, fitting and deforming."""
