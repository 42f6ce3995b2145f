"""Train the embedded teacher from scratch; resumable, seeds fixed.

    python -m evokd.demo.training.train --data DIR --out DIR [--shape small] [--steps 2000]

Writes tokenizer.json and checkpoint.pt (weights, optimisers, step) into the folder, and goes on
from there when called again. Muon for the matrices, AdamW for embeddings and norms; a short
warm-up, then constant, then linear to zero over the last 40 % of the steps.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from itertools import islice
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from evokd.demo.training.conversations import Corpus, trees
from evokd.demo.training.corpus import read_rows
from evokd.demo.training.model import SHAPES, TinyLlama
from evokd.demo.training.packing import Batch, Packer, plain, train_tokenizer


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description="Train the embedded teacher from scratch.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the public sets")
    parser.add_argument("--out", type=Path, required=True, help="folder of the training")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=8, help="rows of --length tokens in a step")
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    train(parser.parse_args())


def train(args: argparse.Namespace) -> None:
    """Train until `args.steps`; print loss, answers right on half B, and speed."""
    args.out.mkdir(parents=True, exist_ok=True)
    rows, removed = read_rows(args.data)
    corpus, checked = Corpus(rows), Corpus(rows, part="B")
    tokenizer = args.out / "tokenizer.json"
    if not tokenizer.exists():
        sample = islice(trees(corpus, args.seed), 3000)
        train_tokenizer(map(plain, sample), SHAPES[args.shape].vocabulary).save(str(tokenizer))
    print(
        f"{len(rows)} rows, {removed} removed for resembling a dev, test or demo text", flush=True
    )
    torch.manual_seed(args.seed)
    model = TinyLlama(SHAPES[args.shape]).to(args.device)
    optimisers = make_optimisers(model)
    start = resume(model, optimisers, args.out / "checkpoint.pt")
    make = {"rows": args.rows, "length": args.length}
    batches = Packer(corpus, tokenizer, steps=args.steps, seed=args.seed, **make)
    probe = Packer(checked, tokenizer, steps=4, seed=args.seed + 1, **make)
    loader: DataLoader[Batch] = DataLoader(
        batches, batch_size=None, sampler=range(start, args.steps), num_workers=1, prefetch_factor=4
    )
    began, seen = time.monotonic(), 0
    for step, batch in enumerate(loader, start=start):
        set_rates(optimisers, schedule(step, args.steps))
        loss, tokens = train_step(model, optimisers, batch, args.device)
        seen += tokens
        done = step + 1
        if done % 20 == 0:
            speed = seen / (time.monotonic() - began)
            print(f"step {done} loss {loss:.3f} {speed:.0f} tokens/s", flush=True)
        if done % 200 == 0 or done == args.steps:
            right = [answers_right(model, probe[i], args.device) for i in range(len(probe))]
            print(f"step {done} answers right on half B {sum(right) / len(right):.3f}", flush=True)
            save(model, optimisers, done, args)


def make_optimisers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Return Muon for the blocks' matrices and AdamW for everything else."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and n.startswith("blocks")]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or not n.startswith("blocks")]
    return [
        torch.optim.Muon(matrices, lr=0.02, momentum=0.95, weight_decay=0.02),
        torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def schedule(step: int, steps: int) -> float:
    """Return the factor of the learning rates: warm-up, constant, linear to zero."""
    return min(1.0, (step + 1) / 50, max(0.0, (steps - step) / (0.4 * steps)))


def set_rates(optimisers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set every learning rate to its peak times the factor."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group.setdefault("peak", group["lr"])
            group["lr"] = group["peak"] * factor


def hidden_and_mask(
    model: TinyLlama, batch: Batch, device: str
) -> tuple[torch.Tensor, torch.Tensor, Batch]:
    """Return the hidden states of the learned positions, and where they are."""
    moved = Batch(*(getattr(batch, f).to(device) for f in Batch.__dataclass_fields__))
    with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
        hidden = model(moved.tokens, moved.positions, moved.mask)
    learned = moved.weight > 0
    return hidden[learned], learned, moved


def train_step(
    model: TinyLlama, optimisers: list[torch.optim.Optimizer], batch: Batch, device: str
) -> tuple[float, int]:
    """Take one step; returns the mean loss of what the teacher says, and the tokens read."""
    model.train()
    hidden, learned, moved = hidden_and_mask(model, batch, device)
    with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
        logits = model.logits(hidden)
    losses = F.cross_entropy(logits.float(), moved.target[learned], reduction="none")
    weight = moved.weight[learned]
    (losses * weight).sum().div(weight.sum()).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    said = weight >= 1
    return float(losses.detach()[said].mean()), batch.tokens.numel()


@torch.no_grad()
def answers_right(model: TinyLlama, batch: Batch, device: str) -> float:
    """Return the share of label answers whose every token is the most likely one."""
    model.eval()
    hidden, learned, moved = hidden_and_mask(model, batch, device)
    hit = model.logits(hidden.float()).argmax(-1) == moved.target[learned]
    numbers = moved.answer[learned]
    row = torch.nonzero(learned)[:, 0]
    keys = (row * 10_000 + numbers)[numbers > 0]
    _, inverse = torch.unique(keys, return_inverse=True)
    wrong = torch.zeros(int(inverse.max()) + 1, device=hit.device)
    wrong.index_add_(0, inverse, (~hit[numbers > 0]).float())
    return float((wrong == 0).float().mean())


def save(
    model: nn.Module, optimisers: list[torch.optim.Optimizer], step: int, args: argparse.Namespace
) -> None:
    """Write the checkpoint aside, then rename it."""
    part = args.out / "checkpoint.pt.part"
    states = [o.state_dict() for o in optimisers]
    torch.save({"step": step, "model": model.state_dict(), "optimisers": states}, part)
    os.replace(part, args.out / "checkpoint.pt")
    recipe = {k: v for k, v in vars(args).items() if k not in ("data", "out", "device")}
    (args.out / "recipe.json").write_text(json.dumps({**recipe, "done": step}, indent=2) + "\n")


def resume(model: nn.Module, optimisers: list[torch.optim.Optimizer], path: Path) -> int:
    """Load a checkpoint when there is one; returns the step to go on from."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(saved)
    return int(state["step"])


if __name__ == "__main__":
    main()
