"""Attention in its three modes: against plain softmax with a mask, in chunks, at far positions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from jambatalk.models.attention import GroupedQueryAttention, LowRankRope


def _attention(
    mode: str, heads: int = 4, kv_heads: int = 2, window: int = 9
) -> GroupedQueryAttention:
    torch.manual_seed(7)
    attention = GroupedQueryAttention(
        32, heads, kv_heads, mode, window, rope_rank=4, rope_normalize=False
    )
    nn.init.normal_(
        attention.rope.up, std=0.3
    )  # the correction starts at zero; the tests want it at work
    return attention.eval()


def _plain(attention: GroupedQueryAttention, x: Tensor, hidden: Tensor, start: int = 0) -> Tensor:
    """Softmax attention with an explicit mask (True: hidden), heads written out."""
    batch, length, _ = x.shape
    h, g, d = attention.heads, attention.kv_heads, attention.d
    q = attention.q(x).view(batch, length, h, d)
    k, v = attention.kv(x).view(batch, length, 2 * g, d).chunk(2, dim=2)
    sin, cos = attention.rope.tables(torch.arange(start, start + length), torch.float32)
    outputs = []
    for head in range(h):
        shared = head * g // h
        a, b = (attention.rope.rotate(t, sin, cos) for t in (q[:, :, head], k[:, :, shared]))
        scores = (a @ b.transpose(1, 2) / math.sqrt(d)).masked_fill(hidden, -torch.inf)
        outputs.append(scores.softmax(-1) @ v[:, :, shared])
    return attention.out(torch.cat(outputs, dim=-1))


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (4, 1), (8, 2), (1, 1)])
@pytest.mark.parametrize("length", [1, 8, 9, 10, 50])
@pytest.mark.parametrize("mode", ["sliding", "causal", "full"])
def test_equals_plain_attention_with_a_mask(
    mode: str, length: int, heads: int, kv_heads: int
) -> None:
    attention = _attention(mode, heads, kv_heads)
    x = torch.randn(2, length, 32)
    behind = torch.arange(length)[:, None] - torch.arange(length)
    hidden = {
        "sliding": (behind < 0) | (behind >= 9),
        "causal": behind < 0,
        "full": behind > length,
    }[mode]
    with torch.inference_mode():
        y, _ = attention(x, attention.init_state(2))
        torch.testing.assert_close(y, _plain(attention, x, hidden), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["sliding", "causal"])
@pytest.mark.parametrize("chunks", [[1] * 40, [3, 17, 1, 1, 18], [40], [9, 9, 9, 9, 4], [39, 1]])
def test_chunks_equal_the_whole(mode: str, chunks: list[int]) -> None:
    attention = _attention(mode)
    x = torch.randn(2, 40, 32)
    with torch.inference_mode():
        whole, _ = attention(x, attention.init_state(2))
        state, parts = attention.init_state(2), []
        for piece in x.split(chunks, dim=1):
            y, state = attention(piece, state)
            parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-6)
    assert state.position.tolist() == [40, 40]
    assert state.keys.shape[2] == (8 if mode == "sliding" else 40)


def test_causal_attention_works_through_a_long_cache_in_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jambatalk.models.attention.BLOCK", 7)
    test_chunks_equal_the_whole("causal", [3, 17, 1, 1, 18])


def test_a_window_of_one_sees_only_itself() -> None:
    attention = _attention("sliding", window=1)
    x = torch.randn(1, 6, 32)
    y, _ = attention(x, attention.init_state(1))
    torch.testing.assert_close(
        y, _plain(attention, x, ~torch.eye(6, dtype=torch.bool)), rtol=1e-5, atol=1e-6
    )


def test_full_attention_refuses_a_second_piece() -> None:
    attention = _attention("full")
    _, state = attention(torch.randn(1, 5, 32), attention.init_state(1))
    with pytest.raises(ValueError, match="whole clip in one call"):
        attention(torch.randn(1, 5, 32), state)


def test_gradients_equal_those_of_plain_attention() -> None:
    attention = _attention("sliding")
    x = torch.randn(2, 25, 32)
    behind = torch.arange(25)[:, None] - torch.arange(25)
    grads = []
    for run in (
        lambda v: attention(v, attention.init_state(2))[0],
        lambda v: _plain(attention, v, (behind < 0) | (behind >= 9)),
    ):
        v = x.clone().requires_grad_()
        (run(v) * torch.arange(2 * 25 * 32).view(2, 25, 32).cos()).sum().backward()
        grads.append(v.grad)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("position", [0, 262_143, 10_000_000])
def test_angles_stay_exact_far_into_a_stream(position: int) -> None:
    """Against sines in 50 decimal digits."""
    from mpmath import mp, mpf

    mp.dps = 50
    rope = LowRankRope(16, rank=0)
    sin, cos = rope.tables(torch.tensor([position]), torch.float32)
    for i in range(8):
        angle = mpf(position) * mpf(10000) ** (-mpf(2 * i) / 16)
        assert abs(float(sin[0, i]) - float(mp.sin(angle))) < 1e-6
        assert abs(float(cos[0, i]) - float(mp.cos(angle))) < 1e-6


def test_correction_starts_at_zero_and_normalizing_keeps_rotations() -> None:
    torch.manual_seed(1)
    plain = LowRankRope(16, rank=0).tables(torch.arange(40), torch.float32)
    fresh = LowRankRope(16, rank=4).tables(torch.arange(40), torch.float32)
    torch.testing.assert_close(fresh, plain, rtol=0, atol=1e-6)
    for normalize in (True, False):
        rope = LowRankRope(16, rank=4, normalize=normalize)
        nn.init.normal_(rope.up, std=0.5)
        sin, cos = rope.tables(torch.arange(40), torch.float32)
        length = (sin.square() + cos.square()).sqrt()
        assert bool((length - 1).abs().max() < 1e-5) == normalize
