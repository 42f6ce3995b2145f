"""The nano student: a vector a token, their mean, and a small head. Microseconds a text.

Made as model2vec makes its static models: every token of the vocabulary is put through the
student's encoder alone, the vectors are cut to their main directions and weighted by how rare the
token is. Head and vectors are then trained to answer as the student does. It sees no word order:
a student that does not beat it has not earned its size.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoModel

from evokd.errors import InputError
from evokd.training import cross_entropy, each_by_itself, fast_bf16
from evokd.watch import OnStep
from export.nano_onnx import write_nano_onnx
from export.quantize import Target, isa, ladder
from export.student import climb, report_on, version_of
from serving import layout
from serving.layout import Manifest, StudentFiles, write_manifest

AT_ONCE = 512  # tokens of the vocabulary that go through the encoder in a batch
READ = 6000  # tokens from the vocabulary's beginning that go through it at all
COPIED = (layout.TOKENIZER, "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True, slots=True)
class NanoShape:
    """How large it is and how it is trained.

    Attributes:
        size: numbers in a token's vector.
        hidden: units of the hidden layer.
        drop: share of a text's tokens that a training step leaves out, so that no word is the
            only sign of a label.
    """

    size: int = 128
    hidden: int = 128
    epochs: int = 30
    batch: int = 32
    learning_rate: float = 3e-3
    drop: float = 0.2


def make_nano(
    student: Path,
    out: Path,
    *,
    texts: Sequence[str],
    probabilities: NDArray[Any],
    shape: NanoShape = NanoShape(),
    target: Target = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Manifest:
    """Distil a sealed student into a nano student in the folder `out`, which is replaced.

    Args:
        texts: what to learn from; never test texts.
        probabilities: what the student says of them, [texts, labels].
        target: the instruction set that INT8 is made for; "auto" is this machine's.
        on_step: called with the steps done and all of them.

    Raises:
        InputError: when the student finds entities: without the order of words there are none.
    """
    manifest = layout.read_manifest(student)
    if manifest.kind == "ner":
        raise InputError(f"{student}: finds entities", "a nano student is for labels of texts")
    files = StudentFiles(student)
    tokenizer = _tokenizer(files.tokenizer, manifest.max_length)
    ids = _ids(tokenizer, texts)
    table = token_vectors(student, tokenizer, size=shape.size, used=set().union(*ids))
    net = _Net(torch.from_numpy(table), shape, labels=len(manifest.labels), seed=seed)
    several = manifest.kind == "multilabel"
    _train(net, ids, probabilities, several=several, shape=shape, seed=seed, on_step=on_step)
    aside = out.with_name(f".{out.name}.aside")
    _lay_out(aside, student, net, labels=list(manifest.labels))
    gate = _quantised(StudentFiles(aside), manifest, texts, target)
    made = replace(
        manifest,
        name=f"{manifest.name}-nano",
        serve=gate["served"],
        base_model=f"static vectors of {manifest.base_model}",
        scores={},
        gate=gate,
        training={**manifest.training, "distilled from": manifest.name},
    )
    sealed = write_manifest(aside, made)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(aside, out)
    return sealed


def _lay_out(folder: Path, student: Path, net: _Net, *, labels: list[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "onnx").mkdir(parents=True)
    for name in COPIED:
        if (student / name).is_file():
            shutil.copyfile(student / name, folder / name)
    config = {"model_type": "evokd-nano", "id2label": dict(enumerate(labels))}
    (folder / layout.CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_nano_onnx(folder / layout.ONNX, net.arrays())


def _quantised(
    files: StudentFiles, manifest: Manifest, texts: Sequence[str], target: Target
) -> dict[str, Any]:
    """Make the INT8 file of the first rung that answers as full precision; return the report."""
    fp32 = version_of(files, files.onnx, manifest, texts)
    set_ = isa() if target == "auto" else target
    tried = climb(
        files, ladder(set_), manifest, texts=texts, gold=fp32.given, torch=fp32.rows, fp32=fp32
    )
    report = asdict(report_on(files, set_, 0.0, tried, forced=False))
    plain: dict[str, Any] = json.loads(json.dumps(report))
    return plain


def token_vectors(
    student: Path, tokenizer: Tokenizer, *, size: int, used: Collection[int] = ()
) -> NDArray[np.float32]:
    """Return a vector of every token, [vocabulary, size], rare tokens longer than common ones.

    The first tokens of the vocabulary and those in `used` are put through the encoder; those of
    the rest are guessed from their word vectors by the linear map that fits the others best. A
    token's place in the vocabulary stands for its rank by frequency (Zipf's law), as it does in
    WordPiece vocabularies.
    """
    model = AutoModel.from_pretrained(
        student, local_files_only=True, trust_remote_code=False
    ).eval()
    words = model.get_input_embeddings().weight.detach().double()
    count = len(words)
    read = sorted({*range(min(READ, count)), *used})
    seen = _encoded(model, read, frame=tokenizer.encode("").ids)
    plain = torch.cat([words, torch.ones(count, 1, dtype=torch.float64)], dim=1)
    vectors = plain @ torch.linalg.lstsq(plain[read], seen, driver="gelsd").solution
    vectors[read] = seen
    vectors -= vectors.mean(dim=0)
    _, _, directions = torch.linalg.svd(vectors.T @ vectors)
    cut = vectors @ directions[: min(size, vectors.shape[1])].T
    cut /= cut.norm(dim=1).mean()
    rarity = torch.log(torch.arange(1, count + 1, dtype=torch.float64) + 1)
    weighted: NDArray[np.float32] = (cut * (rarity / rarity.mean())[:, None]).float().numpy()
    return weighted


def _encoded(model: Any, tokens: list[int], *, frame: list[int]) -> torch.Tensor:
    """Return the mean output of each token alone between the special ones, [tokens, hidden]."""
    rows = []
    bf16 = fast_bf16(model.device)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        for start in range(0, len(tokens), AT_ONCE):
            part = torch.tensor(tokens[start : start + AT_ONCE])[:, None]
            around = torch.tensor([frame]).repeat(len(part), 1)
            ids = torch.cat([around[:, :1], part, around[:, 1:]], dim=1)
            hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            rows.append(hidden.double().mean(dim=1))
    return torch.cat(rows).clone()


class _Net(torch.nn.Module):
    """Mean of vectors, one hidden layer, logits. Only tokens that are seen are trained."""

    def __init__(self, table: torch.Tensor, shape: NanoShape, *, labels: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        tokens, size = table.shape
        self.table = torch.nn.Embedding(tokens, size, sparse=True, _weight=table)
        self.hidden = torch.nn.Linear(size, shape.hidden)
        self.head = torch.nn.Linear(shape.hidden, labels)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return logits [texts, labels] of token ids and their mask, both [texts, length]."""
        mean = (self.table(ids) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        logits: torch.Tensor = self.head(torch.relu(self.hidden(mean)))
        return logits

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return its weights: table, and (weight [in, out], bias) of both layers."""
        return {
            "table": self.table.weight.detach().numpy(),
            "hidden": self.hidden.weight.detach().T.contiguous().numpy(),
            "hidden_bias": self.hidden.bias.detach().numpy(),
            "head": self.head.weight.detach().T.contiguous().numpy(),
            "head_bias": self.head.bias.detach().numpy(),
        }


def _train(
    net: _Net,
    ids: list[list[int]],
    probabilities: NDArray[Any],
    *,
    several: bool,
    shape: NanoShape,
    seed: int,
    on_step: OnStep | None,
) -> None:
    losses = each_by_itself if several else cross_entropy
    goals = torch.from_numpy(np.asarray(probabilities, dtype=np.float32))
    rest = [*net.hidden.parameters(), *net.head.parameters()]
    optimisers: tuple[Any, ...] = (
        torch.optim.SparseAdam(net.table.parameters(), lr=shape.learning_rate),
        torch.optim.AdamW(rest, lr=shape.learning_rate, weight_decay=0.01),
    )
    chance = np.random.default_rng(seed)
    per_epoch = -(-len(ids) // shape.batch)
    total = per_epoch * shape.epochs
    for step in range(total):
        if step % per_epoch == 0:
            order = chance.permutation(len(ids))
        part = order[(step % per_epoch) * shape.batch :][: shape.batch]
        tokens, mask = _padded([ids[i] for i in part])
        kept = mask * torch.from_numpy((chance.random(mask.shape) >= shape.drop).astype(np.float32))
        logits = net(tokens, torch.where(kept.sum(1, keepdim=True) > 0, kept, mask))
        loss: Any = losses(logits, goals[torch.from_numpy(part)]).mean()
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] = shape.learning_rate * (1 - step / total)
            optimiser.step()
        if on_step:
            on_step(step + 1, total)


def _padded(rows: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    length = max(map(len, rows))
    tokens = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1.0] * len(row) + [0.0] * (length - len(row)) for row in rows])
    return tokens, mask


def _tokenizer(path: Path, max_length: int) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def _ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
