"""From mesh to picture, and from pictures and speech to video: a small CPU renderer that needs no
OpenGL.
"""

from __future__ import annotations

from jambatalk.render.camera import Camera, frame_face
from jambatalk.render.image import contact_sheet, save_png
from jambatalk.render.renderer import Renderer
from jambatalk.render.video import write_video

__all__ = ["Camera", "Renderer", "contact_sheet", "frame_face", "save_png", "write_video"]
