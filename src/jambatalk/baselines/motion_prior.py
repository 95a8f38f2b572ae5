"""CodeTalker's first stage: motion as codes out of a small book, and back (a VQ-VAE over time).

Xing et al., "CodeTalker: Speech-Driven 3D Facial Animation with Discrete Motion Prior", CVPR
2023, arXiv 2301.02379, section 3.1. A transformer turns each frame into h features, one for each
component of the face; each is replaced by the nearest code of one book, and another transformer
turns the codes into motion.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.baselines.base import mean_square
from jambatalk.baselines.biased_attention import BiasedStack, PeriodicEncoding


class Codebook(nn.Module):
    """N vectors; each feature is replaced by the nearest.

    renew_after: a code that was nearest to no feature for so many training batches moves onto a
    random feature of the next one, from torch's generator; the first batch places all of them so.
    0: codes start within 1 / N of zero and only gradients move them.
    """

    idle: Tensor

    def __init__(self, codes: int, width: int, renew_after: int) -> None:
        super().__init__()
        self.renew_after = renew_after
        self.codes = nn.Parameter(torch.empty(codes, width).uniform_(-1.0 / codes, 1.0 / codes))
        self.register_buffer(
            "idle", torch.full((codes,), renew_after)
        )  # training batches since a code was nearest

    def nearest(self, features: Tensor) -> Tensor:
        """Find the nearest codes by Euclidean distance: (..., width) features -> (...) indices."""
        # In full precision even where products are in bfloat16, which has too few digits to tell
        # near codes apart.
        with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
            codes = self.codes
            return (codes.square().sum(1) - 2 * features.to(codes.dtype) @ codes.T).argmin(dim=-1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(..., width) features -> (their codes, the same with the gradient passed straight through
        to the features).

        Both hold exactly rows of the book.
        """
        codes = self.codes[self.nearest(features)]
        return codes, codes.detach() + (features - features.detach())

    @torch.no_grad()
    def renew(self, features: Tensor) -> None:
        """Move codes that were idle for too long onto some of this batch's features (..., width),
        and count again.
        """
        if not self.renew_after:
            return
        features = features.reshape(-1, self.codes.shape[1]).to(self.codes.dtype)
        stale = (self.idle >= self.renew_after).nonzero().flatten()
        self.codes[stale] = features[
            torch.randint(len(features), (len(stale),), device=features.device)
        ]
        self.idle += 1
        self.idle[stale] = 0
        self.idle[self.nearest(features).unique()] = 0


class MotionPrior(nn.Module):
    """Motion (B, T, outputs) -> features (B, T, components, code_width) -> codes -> motion.

    The encoder sees what comes before and after, the decoder what came before alone: that
    way a walk frame by frame decodes each frame once, and what was decoded stays.
    """

    def __init__(
        self,
        outputs: int,
        width: int,
        layers: int,
        heads: int,
        inner: int,
        period: int,
        dropout: float,
        components: int,
        codes: int,
        code_width: int,
        renew_after: int,
    ) -> None:
        super().__init__()
        self.components = components
        self.place = PeriodicEncoding(width, period)
        self.motion_in = nn.Linear(outputs, width)
        self.encoder = BiasedStack(
            layers, width, heads, inner, period, dropout, cross=False, causal=False
        )
        self.to_features = nn.Linear(width, components * code_width)
        self.book = Codebook(codes, code_width, renew_after)
        self.from_codes = nn.Linear(components * code_width, width)
        self.decoder = BiasedStack(layers, width, heads, inner, period, dropout, cross=False)
        self.motion_out = nn.Linear(width, outputs)

    def features(self, motion: Tensor) -> Tensor:
        """(B, T, outputs) -> (B, T, components, code_width), not yet codes."""
        x = self.encoder.whole(self.motion_in(motion) + self.place(0, motion.shape[1]))
        return self.to_features(x).unflatten(2, (self.components, -1))  # type: ignore[no-any-return]

    def decode(self, codes: Tensor) -> Tensor:
        """(B, T, components, code_width) -> (B, T, outputs)."""
        x = self.from_codes(codes.flatten(2)) + self.place(0, codes.shape[1])
        return self.motion_out(self.decoder.whole(x))  # type: ignore[no-any-return]

    def rebuilt(self, motion: Tensor) -> Tensor:
        """Motion through the codes and back, (B, T, outputs)."""
        return self.decode(self.book(self.features(motion))[0])

    def loss(self, motion: Tensor) -> dict[str, Tensor]:
        """What the first stage minimises, each () and without weights: the absolute error of the
        rebuilt motion, how far the codes are from the features, and (``commitment``) the
        features from the codes.
        """
        features = self.features(motion)
        if self.training:
            self.book.renew(features.detach())
        codes, through = self.book(features)
        return {
            "reconstruction": F.l1_loss(self.decode(through), motion),
            "codebook": mean_square(codes, features.detach()),
            "commitment": mean_square(features, codes.detach()),
        }
