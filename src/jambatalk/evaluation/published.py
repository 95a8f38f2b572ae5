"""Numbers that papers print, each with the protocol it was measured under, so that none is set beside another's.

All are second-hand: taken from later papers' tables, not measured here. Where a paper does not say its unit or mask, neither
does its protocol here, and its numbers then agree with nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jambatalk.data.raw import METRES, OWN_UNIT
from jambatalk.evaluation.evaluate import Scored

SECOND_HAND = "second-hand"
UNKNOWN = ""


@dataclass(frozen=True)
class Protocol:
    """What has to agree before numbers may stand side by side.

    corpus: the kind of a prepared corpus. scheme, split: of its splits. unit: of its positions. mask: the name of the lips and
    upper-face masks (``Regions.source``), or their hash. table: whose table it is. UNKNOWN agrees with nothing.
    """

    corpus: str
    scheme: str
    split: str
    unit: str
    mask: str
    table: str
    source: str = SECOND_HAND

    def agrees(self, scored: Scored) -> bool:
        """Whether a row of ours was measured under this protocol."""
        theirs = (self.corpus, self.scheme, self.split, self.unit)
        ours = (scored.corpus, scored.scheme, scored.split, scored.unit)
        known = all(theirs) and bool(self.mask)
        return known and theirs == ours and self.mask in (scored.mask, scored.region_hash)


@dataclass(frozen=True)
class Published:
    """One number of one system under one protocol; value in the unit of ``metric``'s name."""

    system: str
    metric: str
    value: float
    protocol: Protocol


# In the unit of the files of the FaceFormer layout, which CodeTalker's script reads (LVE printed x 1e-4, FDD x 1e-5), on the
# masks that lie beside that script.
BIWI_TEST_A = Protocol(
    "faceformer-layout", "codetalker", "test_a", OWN_UNIT, "CodeTalker's BIWI masks", "the CodeTalker family's"
)
# LVE printed x 1e-5 m²; which sentences and which mask is not told.
VOCASET = Protocol("vocaset", UNKNOWN, "test", METRES, UNKNOWN, "UniTalker's")
# LVE and MVE without a unit or mask.
SCANTALK_VOCASET = Protocol("vocaset", UNKNOWN, "test", UNKNOWN, UNKNOWN, "ScanTalk's")
SCANTALK_BIWI6 = Protocol("biwi6", "scantalk", "test", UNKNOWN, UNKNOWN, "ScanTalk's")


def _rows(protocol: Protocol, metrics: Sequence[tuple[str, float]], **systems: Sequence[float | None]) -> list[Published]:
    """metrics: (name, what the printed values are multiplied by)."""
    return [
        Published(system.replace("_", "-"), metric, value * scale, protocol)
        for system, values in systems.items()
        for (metric, scale), value in zip(metrics, values, strict=True)
        if value is not None
    ]


PUBLISHED: tuple[Published, ...] = (
    *_rows(
        BIWI_TEST_A, (("LVE_own2", 1e-4), ("FDD_own2", 1e-5)),
        FaceFormer=(5.3077, 4.6408), CodeTalker=(4.7914, 4.1170), SelfTalk=(4.2485, None), FaceDiffuser=(4.2985, None),
        UniTalker_L=(3.8587, None), StreamingTalker=(4.2504, 3.6690),
    ),
    *_rows(
        VOCASET, (("LVE_m2", 1e-5),),
        FaceFormer=(1.1696,), CodeTalker=(1.1182,), SelfTalk=(0.9626,), FaceDiffuser=(0.9684,), UniTalker_B=(0.8136,),
    ),
    *_rows(
        SCANTALK_VOCASET, (("LVE", 1.0), ("MVE", 1.0)),
        ScanTalk=(3.012, 0.861), CodeTalker=(3.549, 0.888), FaceDiffuser=(4.350, 0.901), SelfTalk=(5.618, 0.918),
    ),
    *_rows(
        SCANTALK_BIWI6, (("LVE", 1.0), ("MVE", 1.0)),
        ScanTalk=(4.651, 2.148), CodeTalker=(5.190, 2.641), FaceDiffuser=(4.022, 2.128), SelfTalk=(3.628, 2.062),
    ),
)  # fmt: skip


def published_beside(scored: Scored, numbers: Sequence[Published] = PUBLISHED) -> list[Published]:
    """Those numbers that may stand beside ours: corpus, scheme, split, unit and mask agree, and we print the same metric."""
    return [one for one in numbers if one.metric in scored.totals and one.protocol.agrees(scored)]
