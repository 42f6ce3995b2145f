"""Train the embedded teacher; resumable, seeds fixed.

    python -m evokd.demo.training.train --data DIR --out DIR [--steps N | --minutes M]
        [--start FOLDER] [--shape small] [--compile]

Writes tokenizer.json, checkpoint.pt (weights, optimisers, steps, seconds) and recipe.json into the
folder, and goes on from there when called again. `--start` takes weights and tokenizer of a
finished training, with fresh optimisers and, unless told otherwise, half the learning rates. Muon
for the matrices, AdamW for embeddings and norms; a short warm-up, then constant, then linear to
zero over the last part (--cool) of the steps, or of the minutes: then the training ends on time
on a machine of any load.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from evokd.demo.training.conversations import ECHOES, MAKERS, trees
from evokd.demo.training.corpus import read_rows
from evokd.demo.training.drawing import Corpus
from evokd.demo.training.model import SHAPES, TinyLlama
from evokd.demo.training.packing import EXACT, Batch, Packer, plain, train_tokenizer
from evokd.demo.training.tagged import inventories, read_tagged

WARM = 50
RECIPE = (
    "shape", "kinds", "rate", "cool", "echoes", "rows", "length", "seed", "minutes", "copying",
)  # fmt: skip
ENDLESS = 1_000_000
SAVE_EVERY = 240.0  # seconds


@dataclass(slots=True)
class Done:
    """How far a training is, over all its runs."""

    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description="Train the embedded teacher.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the public sets")
    parser.add_argument("--out", type=Path, required=True, help="folder of the training")
    parser.add_argument("--start", type=Path, help="folder of a finished training to go on from")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--minutes", type=float, help="train for so long, not for --steps")
    parser.add_argument(
        "--copying", type=int, help="first steps, which only teach to copy; 300, none with --start"
    )
    parser.add_argument("--kinds", nargs="+", choices=sorted(MAKERS), default=sorted(MAKERS))
    parser.add_argument("--rate", type=float, help="of learning; 1, or 0.5 with --start")
    parser.add_argument("--cool", type=float, default=0.4, help="last share, in which rates fall")
    parser.add_argument("--echoes", type=float, default=ECHOES, help="share that teaches to copy")
    parser.add_argument("--rows", type=int, default=8, help="rows of --length tokens in a step")
    parser.add_argument("--length", type=int, default=896)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, help="of torch; 1 is fastest on shared cores")
    parser.add_argument("--compile", action="store_true", help="compile the model (needs gcc)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.copying is None:  # a trained teacher would forget the rest meanwhile
        args.copying = 0 if args.start else 300
    if args.rate is None:
        args.rate = 0.5 if args.start else 1.0
    train(args)


def train(args: argparse.Namespace) -> None:
    """Train to the end; print loss, answers right on half B, and speed."""
    args.out.mkdir(parents=True, exist_ok=True)
    corpus, checked = read_corpora(args.data)
    tokenizer = prepare_tokenizer(args, corpus)
    torch.manual_seed(args.seed)
    model = TinyLlama(SHAPES[args.shape]).to(args.device)
    if args.start:
        model.load_state_dict(read_checkpoint(args.start)["model"])
    optimisers = make_optimisers(model, scale=args.rate)
    done = resume(model, optimisers, args.out)
    make = {k: getattr(args, k) for k in ("rows", "length", "kinds", "echoes")}
    steps = ENDLESS if args.minutes else args.steps
    batches = Packer(corpus, tokenizer, steps=steps, seed=args.seed, copying=args.copying, **make)
    probe = Packer(checked, tokenizer, steps=6, seed=args.seed + 1, **make)
    loader: DataLoader[Batch] = DataLoader(
        batches, batch_size=None, sampler=range(done.steps, steps), num_workers=1, prefetch_factor=4
    )
    compiled: nn.Module = torch.compile(model) if args.compile else model  # type: ignore[assignment]
    began, saved, first = time.monotonic() - done.seconds, time.monotonic(), done.steps
    for batch in loader:
        share = done.seconds / (60 * args.minutes) if args.minutes else done.steps / steps
        set_rates(optimisers, schedule(done.steps, share, cool=args.cool))
        loss, tokens = train_step(model, optimisers, batch, args.device, forward=compiled)
        before, done.seconds = done.seconds, time.monotonic() - began
        done.steps, done.tokens = done.steps + 1, done.tokens + tokens
        if done.steps % 10 == 0:
            speed = tokens / (done.seconds - before)
            left = f"{share:.3f} of the way, {done.steps - first} steps in this run"
            print(f"step {done.steps} loss {loss:.3f} {speed:.0f} tokens/s, {left}", flush=True)
        over = done.seconds >= 60 * args.minutes if args.minutes else done.steps == steps
        if over or time.monotonic() - saved >= SAVE_EVERY:
            print(f"step {done.steps} right on half B: {checks(model, probe, args.device)}")
            save(model, optimisers, done, args, finished=over)
            saved = time.monotonic()
        if over:
            break


def read_corpora(data: Path) -> tuple[Corpus, Corpus]:
    """Return the texts to learn from (half A) and those to check on (half B)."""
    rows, removed = read_rows(data)
    tagged, more = read_tagged(data)
    print(f"{len(rows)} rows and {len(tagged)} with entities; {removed} and {more} removed")
    return Corpus(rows, tagged), Corpus(rows, tagged, part="B")


def prepare_tokenizer(args: argparse.Namespace, corpus: Corpus) -> Path:
    """Return the tokenizer's file: the one there is, the one of --start, or a new one."""
    path: Path = args.out / "tokenizer.json"
    if args.start and not path.exists():
        shutil.copyfile(args.start / "tokenizer.json", path)
    if not path.exists():
        sample = [plain(tree) for tree in islice(trees(corpus, args.seed, args.kinds), 2500)]
        size = SHAPES[args.shape].vocabulary
        train_tokenizer(sample, size, apart=copied_words(corpus)).save(str(path))
    return path


def copied_words(corpus: Corpus) -> set[str]:
    """Return the words with which entities begin, but those that seldom do, and types' words."""
    first, words = Counter[str](), Counter[str]()
    for row in corpus.tagged:
        words.update(row.text.split())
        first.update(piece.split()[0] for piece, label in row.pieces if label)
    named = {part for types in inventories().values() for t in types for n in t.names
             for part in n.split("_")}  # fmt: skip
    return named | {word for word, count in first.items() if count > 0.05 * words[word]}


def make_optimisers(model: nn.Module, *, scale: float = 1.0) -> list[torch.optim.Optimizer]:
    """Return Muon for the blocks' matrices and AdamW for everything else."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and n.startswith("blocks")]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or not n.startswith("blocks")]
    return [
        torch.optim.Muon(matrices, lr=0.02 * scale, momentum=0.95, weight_decay=0.02),
        torch.optim.AdamW(others, lr=3e-3 * scale, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def schedule(step: int, share: float, *, cool: float = 0.4) -> float:
    """Return the factor of the learning rates: warm-up, constant, linear to zero.

    Args:
        step: counted from 0.
        share: of the training that is done, from 0 to 1.
        cool: the last share of the training, in which they fall.
    """
    return min(1.0, (step + 1) / WARM, max(0.0, (1 - share) / cool))


def set_rates(optimisers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set every learning rate to its peak times the factor."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group.setdefault("peak", group["lr"])
            group["lr"] = group["peak"] * factor


def hidden_and_mask(
    forward: nn.Module, batch: Batch, device: str
) -> tuple[torch.Tensor, torch.Tensor, Batch]:
    """Return the hidden states of the learned positions, where they are, and the moved batch."""
    moved = Batch(*(getattr(batch, f).to(device) for f in Batch.__dataclass_fields__))
    with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
        hidden = forward(moved.tokens, moved.positions, moved.mask)
    learned = moved.weight > 0
    return hidden[learned], learned, moved


def train_step(
    model: TinyLlama,
    optimisers: list[torch.optim.Optimizer],
    batch: Batch,
    device: str,
    *,
    forward: nn.Module | None = None,
) -> tuple[float, int]:
    """Take one step; returns the mean loss of what the teacher says, and the tokens read.

    Args:
        forward: the model itself, compiled.
    """
    model.train()
    hidden, learned, moved = hidden_and_mask(model if forward is None else forward, batch, device)
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


def checks(model: TinyLlama, probe: Packer, device: str) -> str:
    """Return the share of right answers on the probe by the kind of question."""
    found: dict[str, list[bool]] = {name: [] for name, *_ in EXACT}
    for i in range(len(probe)):
        for name, right in answers_right(model, probe[i], device):
            found[name].append(right)
    return ", ".join(f"{k} {sum(v) / len(v):.3f} of {len(v)}" for k, v in found.items() if v)


@torch.no_grad()
def answers_right(model: TinyLlama, batch: Batch, device: str) -> list[tuple[str, bool]]:
    """Say of every exact answer what was asked, and whether its every token is the likeliest."""
    model.eval()
    hidden, learned, moved = hidden_and_mask(model, batch, device)
    hit = model.logits(hidden.float()).argmax(-1) == moved.target[learned]
    numbers = moved.answer[learned]
    row = torch.nonzero(learned)[:, 0]
    keys, inverse = torch.unique((row * 10_000 + numbers)[numbers > 0], return_inverse=True)
    wrong = torch.zeros(len(keys), device=hit.device)
    wrong.index_add_(0, inverse, (~hit[numbers > 0]).float())
    return [(EXACT[k % 4][0], w == 0) for k, w in zip(keys.tolist(), wrong.tolist(), strict=True)]


def save(
    model: nn.Module,
    optimisers: list[torch.optim.Optimizer],
    done: Done,
    args: argparse.Namespace,
    *,
    finished: bool,
) -> None:
    """Write the checkpoint aside, then rename it; the recipe tells how it came about."""
    part = args.out / "checkpoint.pt.part"
    states = [o.state_dict() for o in optimisers]
    torch.save({**asdict(done), "model": model.state_dict(), "optimisers": states}, part)
    os.replace(part, args.out / "checkpoint.pt")
    recipe = {name: getattr(args, name) for name in RECIPE}
    recipe |= {
        "done": done.steps,
        "tokens": done.tokens,
        "seconds": round(done.seconds),
        "finished": finished,
    }
    if args.start:
        recipe["start"] = json.loads((args.start / "recipe.json").read_text())
    (args.out / "recipe.json").write_text(json.dumps(recipe, indent=2) + "\n")


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Return what `save` wrote."""
    state: dict[str, Any] = torch.load(
        folder / "checkpoint.pt", map_location="cpu", weights_only=True
    )
    return state


def resume(model: nn.Module, optimisers: list[torch.optim.Optimizer], folder: Path) -> Done:
    """Load a checkpoint when there is one; returns how far it is."""
    if not (folder / "checkpoint.pt").exists():
        return Done()
    state = read_checkpoint(folder)
    model.load_state_dict(state["model"])
    for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(saved)
    return Done(state["steps"], state["tokens"], state["seconds"])


if __name__ == "__main__":
    main()
