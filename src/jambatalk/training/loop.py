"""The training loop: steps, validation, checkpoints, exact resume."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jambatalk.checkpoint import load_weights, save_weights
from jambatalk.data.clip import Clip
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.files import replacing
from jambatalk.nn.mel import NormState
from jambatalk.nn.model import SpeechToMotion
from jambatalk.training.bank import VoiceBank
from jambatalk.training.batches import BatchMaker
from jambatalk.training.config import TrainConfig
from jambatalk.training.losses import MotionLoss

Report = Callable[[int, dict[str, float]], None]


class Trainer:
    """Trains one network; ``run_dir`` gets log.jsonl, last.pt (to resume) and best.safetensors (to use)."""

    def __init__(
        self, config: TrainConfig, face: Face, train: Sequence[Clip], val: Sequence[Clip], run_dir: Path,
        device: str = "cpu", progress: Callable[[int, int], None] | None = None,
    ) -> None:  # fmt: skip
        if config.model.outputs != len(face.names):
            raise InputError(f"model.outputs is {config.model.outputs}, but the face has {len(face.names)} shapes")
        if config.model.encoder.kind != "streaming":
            raise InputError(
                f"model.encoder is of kind {config.model.encoder.kind!r}, expected 'streaming': the one that trains here"
            )
        if not train or not val:
            raise InputError(f"{len(train)} training and {len(val)} validation clips found, expected at least one of each")
        self.config, self.face, self.val, self.run_dir, self.device = config, face, val, run_dir, device
        torch.manual_seed(config.seed)
        self.model = SpeechToMotion(config.model).to(device)
        bank = VoiceBank(train, config.model, config.voices, config.variants, config.seed, progress)
        self.model.norm.start.copy_(bank.mean_mel())
        mean, spread = bank.weight_statistics()
        self.model.output_mean.copy_(mean)
        self.model.output_scale.copy_(spread)
        self.batches = BatchMaker(bank, config)
        self.loss = MotionLoss(face, config.loss).to(device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        decayed = [p for p in self.model.parameters() if p.ndim >= 2]
        others = [p for p in self.model.parameters() if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)
        self.step = 0
        self.best = -math.inf

    @property
    def last_path(self) -> Path:
        return self.run_dir / "last.pt"

    def resume(self) -> bool:
        """Take up the run in ``run_dir`` where it stopped; False when there is none."""
        if not self.last_path.exists():
            return False
        try:
            saved = torch.load(self.last_path, weights_only=True, map_location=self.device)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise InputError(f"{self.last_path} is damaged ({type(error).__name__}); delete it to start afresh") from error
        if saved["config"] != json.dumps(asdict(self.config)):
            raise InputError(f"{self.last_path} was made with other settings; choose another run folder or the same settings")
        self.model.load_state_dict(saved["model"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.best = saved["step"], saved["best"]
        return True

    def start_from(self, path: Path) -> None:
        """Begin with trained weights instead of random ones. InputError when they are of another network."""
        model, names, _ = load_weights(path, self.device)
        if model.config != self.config.model or names != self.face.names:
            raise InputError(f"{path} is another network than the settings describe: same model settings and face expected")
        self.model.load_state_dict(model.state_dict())
        self.average.load_state_dict(model.state_dict())

    def run(self, report: Report | None = None) -> dict[str, float]:
        """Train to the last step; the result is the last validation."""
        c = self.config
        self.run_dir.mkdir(parents=True, exist_ok=True)
        result: dict[str, float] = {}
        with ThreadPoolExecutor(1) as pool:
            upcoming = pool.submit(self.batches.batch, self.step)
            while self.step < c.steps:
                batch = upcoming.result()
                if self.step + 1 < c.steps:
                    upcoming = pool.submit(self.batches.batch, self.step + 1)
                started = time.perf_counter()
                terms = self._step(batch)
                self.step += 1
                terms["seconds"] = time.perf_counter() - started
                if self.step % c.validate_every == 0 or self.step == c.steps:
                    result = self.validate()
                    terms |= result
                    if result["val_opening"] > self.best:
                        self.best = result["val_opening"]
                        self.export(self.run_dir / "best.safetensors")
                self._log(terms)
                if report is not None:
                    report(self.step, terms)
                if self.step % c.save_every == 0 or self.step == c.steps:
                    self.save()
        self.export(self.run_dir / "final.safetensors")
        return result

    def _rate(self) -> float:
        """Linear warm-up, then a cosine down to a twentieth."""
        c = self.config
        if self.step < c.warmup:
            return c.learning_rate * (self.step + 1) / c.warmup
        done = (self.step - c.warmup) / max(c.steps - c.warmup, 1)
        return c.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))

    def _step(self, batch: Any) -> dict[str, float]:
        c = self.config
        # Seeded by the step, so that dropout after a resume is what it would have been.
        torch.manual_seed(c.seed * 1_000_003 + self.step)
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        mel, true = batch.mel.to(self.device), batch.weights.to(self.device)
        state = self.model.init_state(len(mel), batch.position.to(self.device))
        generator = torch.Generator().manual_seed(c.seed * 1_000_003 + self.step)
        # Some sequences begin a stream; for the others the running mean has already heard the voice.
        _, heard = self.model.norm(mel, state.norm)
        known = (torch.rand(len(mel), 1, generator=generator) < c.known_voice).to(self.device)
        start = NormState(torch.where(known, heard.mean, state.norm.mean), torch.where(known, heard.level, state.norm.level))
        normal, _ = self.model.norm(mel, start)
        normal = self.batches.effects.masked(normal.cpu(), generator).to(self.device)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=c.bfloat16):
            predicted, _, _, router = self.model.decode(normal, state)
        predicted = predicted.float()
        delay = c.model.delay
        total, terms = self.loss(predicted[:, delay:], true[:, : true.shape[1] - delay], router)
        if not torch.isfinite(total):
            raise RuntimeError(f"the loss is {float(total)} at step {self.step}: lower learning_rate (now {c.learning_rate})")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), c.clip_norm)
        self.optimizer.step()
        # A young average follows quickly; later it smooths over 1 / (1 - ema) steps.
        decay = min(c.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        values = {name: float(value.detach()) for name, value in terms.items()}
        if router:
            # The share of its layer's frames that the least used expert of any layer gets; 1 / experts is even, 0 is a dead one.
            values["least_expert_use"] = float(torch.stack([stats.use.min() for stats in router]).min())
        return {"loss": float(total.detach()), **values, "grad_norm": float(norm), "learning_rate": self._rate()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """On the validation clips, whole and unaugmented: mean correlation of the inner-lip gap, and its error in mm."""
        config = self.config.model
        correlations, errors = [], []
        for clip in self.val:
            frames = min(len(clip.samples) // config.hop, len(clip.weights))
            # The delay is paid with silence after the end, as a session's flush does.
            padded = np.zeros((frames + config.delay) * config.hop, np.float32)
            padded[: frames * config.hop] = clip.samples[: frames * config.hop]
            sound = torch.from_numpy(padded)[None].to(self.device)
            y, _ = self.average(sound, self.average.init_state())
            gap = self.face.lip_gap(y[0, config.delay :].clamp(0, 1).cpu().numpy()) * 1000.0
            true = self.face.lip_gap(clip.weights[:frames]) * 1000.0
            errors.append(float(np.sqrt(np.mean((gap - true) ** 2))))
            if gap.std() > 1e-6 and true.std() > 1e-6:
                correlations.append(float(np.corrcoef(gap, true)[0, 1]))
        return {"val_opening": float(np.mean(correlations)) if correlations else 0.0, "val_gap_mm": float(np.mean(errors))}

    def save(self) -> None:
        """Write all that an exact resume needs."""
        saved = {
            "config": json.dumps(asdict(self.config)), "model": self.model.state_dict(), "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(), "step": self.step, "best": self.best,
        }  # fmt: skip
        with replacing(self.last_path) as temporary:
            torch.save(saved, temporary)

    def export(self, path: Path, half: bool = False) -> None:
        """Write the averaged weights for use."""
        notes = {"steps": self.step, "train": asdict(self.config), "torch": torch.__version__}
        save_weights(path, self.average, self.face.names, notes, half)

    def _log(self, values: dict[str, float]) -> None:
        with open(self.run_dir / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": self.step, **{k: float(f"{v:.6g}") for k, v in values.items()}}) + "\n")
