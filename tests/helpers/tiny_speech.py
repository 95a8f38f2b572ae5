"""Tiny speech networks of transformers with random weights, saved as their owners save theirs."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers

LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefgh"]
WIDTH = 16


def save_wav2vec2_ctc(folder: Path, seed: int = 0) -> Path:
    """A wav2vec2-CTC network of the large ones' layout that hears letters at random, with
    vocab.json."""
    torch.manual_seed(seed)
    config = transformers.Wav2Vec2Config(
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=[8] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_bias=True,
        vocab_size=len(LETTERS),
        pad_token_id=0,
        mask_time_prob=0.05,
        mask_time_length=2,
        layerdrop=0.05,
    )
    network = transformers.Wav2Vec2ForCTC(config)
    with torch.no_grad():
        network.lm_head.weight *= 20  # letters change within a clip
    network.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    (folder / "vocab.json").write_text(
        json.dumps({letter: i for i, letter in enumerate(LETTERS)}), encoding="utf-8"
    )
    return folder


def save_whisper(folder: Path, seed: int = 0) -> Path:
    """A Whisper of two layers that hears two seconds at a time."""
    torch.manual_seed(seed)
    config = transformers.WhisperConfig(
        d_model=WIDTH,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        num_mel_bins=20,
        max_source_positions=100,
        vocab_size=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        begin_suppress_tokens=None,
    )
    transformers.WhisperModel(config).save_pretrained(folder)
    return folder
