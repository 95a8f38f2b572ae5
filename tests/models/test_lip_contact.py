"""Lips that meet where a bilabial is spoken, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import jambatalk
from jambatalk.face.head import default_head
from jambatalk.models.config import LipClosureConfig
from jambatalk.models.speech_to_motion import LipClosureHead, SpeechToMotion
from jambatalk.text.phones import BILABIALS, PHONES
from small_network import SMALL

THREE = LipClosureConfig(phones=3, bilabials=[1], low=0.2, high=0.6)


def _contact() -> LipClosureHead:
    """Reads phone i where feature i is large; lips meet at 0.1."""
    contact = LipClosureHead(3, 2, THREE)
    torch.nn.init.eye_(contact.read.weight)
    torch.nn.init.zeros_(contact.read.bias)
    contact.closed.fill_(0.1)
    return contact


def test_sure_of_a_bilabial_is_closed_and_sure_of_another_phone_is_untouched() -> None:
    motion = torch.tensor([[[0.8, 0.5], [0.8, 0.5], [0.8, 0.5]]])
    features = torch.tensor([[[9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]]])
    closed = _contact()(features, motion)
    torch.testing.assert_close(closed[0, 1], torch.tensor([0.1, 0.1]))
    torch.testing.assert_close(closed[0, [0, 2]], motion[0, [0, 2]])


def test_in_between_the_lips_are_on_their_way() -> None:
    motion = torch.ones(1, 1, 2)
    # A probability of 0.4 is half way between low and high.
    logit = float(torch.log(torch.tensor(0.4 / 0.3)))
    closed = _contact()(torch.tensor([[[0.0, logit, 0.0]]]), motion)
    assert float(closed[0, 0, 0].detach()) == pytest.approx(0.55, abs=1e-3)


def test_training_sees_the_motion_before_it_is_closed() -> None:
    model = SpeechToMotion(replace(SMALL, contact=replace(THREE, low=0.0, high=0.01))).eval()
    torch.nn.init.normal_(model.head.weight)
    assert model.contact is not None
    model.contact.closed.fill_(0.3)
    x = torch.randn(1, 5, SMALL.decoder.width)
    assert not torch.equal(model.decode_motion(x), model.motion_head(x))
    torch.testing.assert_close(model.decode_motion(x), torch.full((1, 5, 52), 0.3))


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="low < high"):
        LipClosureConfig(phones=3, bilabials=[1], low=0.5, high=0.5)
    with pytest.raises(ValueError, match="indices below 3"):
        LipClosureConfig(phones=3, bilabials=[3])


def test_the_shipped_network_closes_lips_and_reads_the_phones_of_today() -> None:
    model = jambatalk.load().model
    assert isinstance(model, SpeechToMotion)
    assert model.contact is not None
    assert model.config.contact.phones == len(PHONES)
    assert [PHONES[i] for i in model.config.contact.bilabials] == list(BILABIALS)
    assert default_head().lip_gap(model.contact.closed.numpy()[None])[0] < 0.001
