"""The stack: patterns, pieces of long clips, router statistics, gradients, precision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from jambatalk.models import jamba
from jambatalk.models.block import LAYERS, make_layer
from jambatalk.models.config import DecoderConfig
from jambatalk.models.jamba import JambaDecoder
from jambatalk.models.moe import RouterStats

SMALL = DecoderConfig(
    pattern="M E T E", width=32, mlp_hidden=48, heads=4, kv_heads=2, window=9, expert_hidden=24
)


def _decoder(config: DecoderConfig) -> JambaDecoder:
    torch.manual_seed(2)
    return JambaDecoder(config).eval()


@pytest.mark.parametrize("pattern", ["T", "M", "E", "T T M", "E E E T M M T", "m M e E T"])
def test_any_pattern_works(pattern: str) -> None:
    decoder = _decoder(replace(SMALL, pattern=pattern))
    x = torch.randn(1, 12, 32, requires_grad=True)
    y, state, router = decoder(x, decoder.init_state(1))
    y.square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert len(state) == len(pattern.split())
    assert len(router) == sum(letter in "eE" for letter in pattern.split())


@pytest.mark.parametrize("attention", ["sliding", "causal", "full"])
def test_long_clips_in_pieces_equal_one_pass(
    attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = _decoder(replace(SMALL, attention=attention))
    x = torch.randn(2, 50, 32)
    whole, _, router = decoder(x, decoder.init_state(2))
    monkeypatch.setattr(jamba, "PIECE", 7)
    with torch.no_grad():
        pieces, state, joined = decoder(x, decoder.init_state(2))
    torch.testing.assert_close(pieces, whole, rtol=1e-5, atol=2e-6)
    for a, b in zip(joined, router, strict=True):
        torch.testing.assert_close(a.use, b.use)
        torch.testing.assert_close(a.balance, b.balance)
        torch.testing.assert_close(a.z, b.z)
    if attention != "full":
        more = torch.randn(2, 5, 32)
        with torch.no_grad():
            on, _, _ = decoder(more, state)
            at_once, _, _ = decoder(torch.cat([x, more], dim=1), decoder.init_state(2))
        torch.testing.assert_close(on, at_once[:, 50:], rtol=1e-5, atol=2e-6)


def test_pieces_leave_the_input_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jamba, "PIECE", 7)
    for attention in ("sliding", "full"):
        decoder = _decoder(replace(SMALL, attention=attention))
        x = torch.randn(1, 20, 32)
        kept = x.clone()
        with torch.no_grad():
            decoder(x, decoder.init_state(1))
        assert torch.equal(x, kept)


def test_tied_letters_share_their_weights() -> None:
    own, tied = (
        _decoder(replace(SMALL, pattern="M E M E")),
        _decoder(replace(SMALL, pattern="M E M E", tied=True)),
    )
    count = [sum(p.numel() for p in d.layers.parameters()) for d in (own, tied)]
    assert count[0] == 2 * count[1]
    assert len(tied.state_dict()) < len(own.state_dict())


def test_router_figures() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 0.0]])
    stats = RouterStats(logits, torch.tensor([0, 1, 0, 0]))
    torch.testing.assert_close(stats.use, torch.tensor([0.75, 0.25]))
    p = float(torch.tensor(2.0).sigmoid())
    mean = torch.tensor([(3 * p + 1 - p) / 4, (p + 3 * (1 - p)) / 4])
    torch.testing.assert_close(stats.balance, 2 * (torch.tensor([0.75, 0.25]) * mean).sum())
    torch.testing.assert_close(stats.z, torch.tensor(2.0).exp().add(1).log().square())


def test_balance_loss_evens_out_the_experts() -> None:
    """Its gradient moves the router towards the experts that are used least."""
    torch.manual_seed(3)
    decoder = _decoder(replace(SMALL, pattern="E", experts=4, top_k=1, dropout=0.0))
    with torch.no_grad():
        decoder.layers[0].feed.router.weight[0].add_(0.3)
    x = torch.randn(4, 60, 32).abs()
    optimizer = torch.optim.Adam(decoder.layers[0].feed.router.parameters(), lr=0.02)
    before = after = decoder(x, decoder.init_state(4))[2][0].use.max()
    for _ in range(60):
        stats = decoder(x, decoder.init_state(4))[2][0]
        optimizer.zero_grad()
        stats.balance.backward()
        optimizer.step()
        after = stats.use.max()
    assert before > 0.5
    assert after < 0.4


def test_half_precision_stays_close() -> None:
    decoder = _decoder(SMALL)
    x = torch.randn(1, 30, 32)
    with torch.inference_mode():
        wanted, _, _ = decoder(x, decoder.init_state(1))
        decoder.to(torch.bfloat16)
        got, _, _ = decoder(x.bfloat16(), decoder.init_state(1))
    assert got.dtype == torch.bfloat16
    assert float((got.float() - wanted).abs().mean() / wanted.abs().mean()) < 0.03


def test_layer_types_state_their_causality() -> None:
    full = replace(SMALL, attention="full")
    assert {code: make_layer(kind, full).causal for code, kind in LAYERS.items()} == {
        "M": True,
        "E": True,
        "T": False,
        "D": True,
        "G": False,
        "F": True,
        "X": True,
        "m": True,
        "e": True,
        "t": False,
    }
    assert not _decoder(full).causal
    assert _decoder(SMALL).causal


def test_dense_twins_have_the_experts_sizes() -> None:
    """D is as large as what a frame goes through in E, but for the router; with ``dense_hidden`` as
    all experts together.
    """

    def parameters(**changes: object) -> int:
        return sum(
            p.numel() for p in JambaDecoder(replace(SMALL, experts=4, **changes)).parameters()
        )  # type: ignore[arg-type]

    router, width, biases = 4 * SMALL.width, SMALL.width, SMALL.width
    dense, moe = parameters(pattern="D"), parameters(pattern="E")
    expert = 2 * width * SMALL.expert_hidden + SMALL.expert_hidden + biases
    assert dense - (moe - router - 4 * expert) == SMALL.top_k * expert - biases * (SMALL.top_k - 1)
    assert (
        moe - router - parameters(pattern="D", dense_hidden=4 * SMALL.expert_hidden) == 3 * biases
    )


def test_attention_without_positions_knows_no_order() -> None:
    """Without RoPE the order of earlier frames does not change the last frame; with it, it does."""
    torch.manual_seed(1)
    x = torch.randn(1, 6, 32)
    mixed = x[:, [3, 0, 4, 2, 1, 5]]
    for rope in (False, True):
        decoder = _decoder(replace(SMALL, pattern="T", rope=rope, window=9))
        a, b = (decoder(sound, decoder.init_state(1))[0][:, -1] for sound in (x, mixed))
        assert torch.allclose(a, b, atol=1e-5) is not rope
