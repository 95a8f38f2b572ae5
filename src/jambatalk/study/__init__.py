"""User studies: build trials from videos or motions, show them on a page, and analyze the answers
mean.

``plan`` holds what a study is, ``build`` makes its folder, ``trials`` what one rater sees,
``server`` and ``store`` run it, ``statistics`` and ``report`` read the answers.
"""

from __future__ import annotations

from jambatalk.study.build import build_study
from jambatalk.study.plan import Settings, Study, load_study
from jambatalk.study.report import report_study

__all__ = ["Settings", "Study", "build_study", "load_study", "report_study"]
