"""The mixture of experts: every token kept, grouped computation right, gates continuous."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from jambatalk.models.moe import MixtureOfExperts


@pytest.mark.parametrize("gate", ["softmax", "continuous"])
@pytest.mark.parametrize(("experts", "top_k"), [(2, 2), (4, 2), (5, 1), (3, 3)])
def test_equals_a_token_by_token_computation(gate: str, experts: int, top_k: int) -> None:
    torch.manual_seed(experts)
    moe = MixtureOfExperts(12, 20, experts, top_k, gate)
    torch.nn.init.normal_(moe.up_bias)
    torch.nn.init.normal_(moe.down_bias)
    x = torch.randn(2, 7, 12)
    y, stats = moe(x)
    for b in range(2):
        for t in range(7):
            p = moe.router(x[b, t]).softmax(-1)
            order = p.argsort(descending=True)
            chosen = order[:top_k]
            if gate == "softmax":
                gates = p[chosen] / p[chosen].sum()
            else:
                gates = p[chosen] - (p[order[top_k]] if top_k < experts else 0)
            wanted = sum(
                w * (F.gelu(x[b, t] @ moe.up[e] + moe.up_bias[e]) @ moe.down[e] + moe.down_bias[e])
                for w, e in zip(gates, chosen)
            )
            torch.testing.assert_close(y[b, t], wanted, rtol=1e-4, atol=1e-5)
    assert float(stats.use.sum()) == pytest.approx(1.0)


def test_continuous_gate_has_no_jump_where_the_choice_changes() -> None:
    torch.manual_seed(1)
    a, b = torch.randn(2, 8)
    line = torch.linspace(0, 1, 20001)[:, None] * (b - a) * 4 + a - (b - a) * 1.5

    def largest_step(gate: str) -> float:
        torch.manual_seed(2)
        moe = MixtureOfExperts(8, 16, experts=4, top_k=2, gate=gate)
        with torch.no_grad():
            moe.router.weight.mul_(4)
            return float(moe(line[None])[0].diff(dim=1).abs().max())

    assert largest_step("continuous") < 0.1 * largest_step("softmax")


def test_balance_is_one_when_even_and_grows_when_not() -> None:
    moe = MixtureOfExperts(4, 8, experts=4, top_k=2)
    x = torch.randn(1, 4000, 4)
    with torch.no_grad():
        even = float(moe(x)[1].balance)
        moe.router.weight.zero_()
        moe.router.weight[0, 0] = 50.0
        uneven = float(moe(x.abs())[1].balance)
    assert even == pytest.approx(1.0, abs=0.35)
    assert uneven > 1.5


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="top_k 3"):
        MixtureOfExperts(4, 8, experts=2, top_k=3)
    with pytest.raises(ValueError, match="'hard'"):
        MixtureOfExperts(4, 8, experts=2, top_k=1, gate="hard")
