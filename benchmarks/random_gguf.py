"""Llama-shaped GGUFs with random weights: real sizes for measuring speed, and nothing to say.

    python -m benchmarks.random_gguf --out FILE [--size 0.4B] [--kind Q4_K_M] [--vocab 32000]
                                     [--json FILE] [--quick]

Time does not depend on what the weights are, so random ones stand for a model that nobody has to
download. The tokenizer works: its tokens are those of the embedded teacher, then filler words up
to `--vocab`. Weights are made and written a tensor at a time, then quantised by llama.cpp.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np

from evokd.cpus import usable_cpus
from evokd.demo.training.to_gguf import TEMPLATE
from evokd.teacher.modelfile import find_model

KINDS = {
    "Q4_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
}
LETTERS = "etaoinshrdlucmfwypvbgkqjxz"
LOGITS = 3.0  # their spread, as wide as that of trained models: it decides what sampling costs


@dataclass(frozen=True, slots=True)
class Size:
    """The shape of a model; heads have 64 numbers each."""

    width: int
    layers: int
    hidden: int
    kv_heads: int
    context: int = 8192

    @property
    def heads(self) -> int:
        """Attention heads."""
        return self.width // 64


SIZES = {
    "0.4B": Size(width=1024, layers=24, hidden=4096, kv_heads=8),
    "1B": Size(width=2048, layers=16, hidden=8192, kv_heads=8),
    "quick": Size(width=256, layers=2, hidden=512, kv_heads=2),
}


def tensors(size: Size, vocab: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Give each tensor's name and shape, in the file's order; output and embedding are one."""
    yield "token_embd.weight", (vocab, size.width)
    yield "output_norm.weight", (size.width,)
    kv = size.kv_heads * 64
    for block in range(size.layers):
        shapes: dict[str, tuple[int, ...]] = {
            "attn_norm": (size.width,),
            "attn_q": (size.width, size.width),
            "attn_k": (kv, size.width),
            "attn_v": (kv, size.width),
            "attn_output": (size.width, size.width),
            "ffn_norm": (size.width,),
            "ffn_gate": (size.hidden, size.width),
            "ffn_up": (size.hidden, size.width),
            "ffn_down": (size.width, size.hidden),
        }
        yield from ((f"blk.{block}.{name}.weight", shape) for name, shape in shapes.items())


def make(target: Path, size: Size, *, kind: str, vocab: int, seed: int = 0) -> int:
    """Write a quantised model with random weights; return how many weights it has."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        exact, small = Path(folder) / "f16.gguf", Path(folder) / "small.gguf"
        count = _write_f16(exact, size, vocab=vocab, seed=seed)
        params = llama_cpp.llama_model_quantize_default_params()
        params.ftype, params.nthread = KINDS[kind], usable_cpus()
        code = llama_cpp.llama_model_quantize(
            str(exact).encode(), str(small).encode(), ctypes.byref(params)
        )
        if code:
            raise RuntimeError(f"llama.cpp could not quantise {exact} (code {code})")
        os.replace(small, target)
    return count


def _write_f16(path: Path, size: Size, *, vocab: int, seed: int) -> int:
    writer = gguf.GGUFWriter(str(path), "llama")
    _add_header(writer, size, vocab=vocab)
    _add_tokenizer(writer, vocab, seed=seed)
    shapes = dict(tensors(size, vocab))
    for name, shape in shapes.items():
        dtype = np.dtype(np.float32 if len(shape) == 1 else np.float16)
        writer.add_tensor_info(name, shape, dtype, int(np.prod(shape)) * dtype.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    chance = np.random.default_rng(seed)
    for shape in shapes.values():
        if len(shape) == 1:
            writer.write_tensor_data(np.ones(shape, np.float32))
            continue
        numbers = chance.standard_normal(shape, np.float32)
        numbers *= (LOGITS if shape[0] == vocab else 1.0) / np.sqrt(shape[1])
        writer.write_tensor_data(numbers.astype(np.float16))
    writer.close()
    return sum(int(np.prod(shape)) for shape in shapes.values())


def _add_header(writer: gguf.GGUFWriter, size: Size, *, vocab: int) -> None:
    writer.add_name("random")
    writer.add_context_length(size.context)
    writer.add_embedding_length(size.width)
    writer.add_block_count(size.layers)
    writer.add_feed_forward_length(size.hidden)
    writer.add_head_count(size.heads)
    writer.add_head_count_kv(size.kv_heads)
    writer.add_rope_dimension_count(64)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocab)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def _add_tokenizer(writer: gguf.GGUFWriter, vocab: int, *, seed: int) -> None:
    """Add the embedded teacher's tokenizer, filled up with words that no text is cut into."""
    fields = gguf.GGUFReader(find_model("demo")).fields
    tokens: list[str] = fields["tokenizer.ggml.tokens"].contents()
    kinds: list[int] = fields["tokenizer.ggml.token_type"].contents()
    if vocab < len(tokens):
        raise SystemExit(f"--vocab must be at least {len(tokens)}")
    kinds += [int(gguf.TokenType.NORMAL)] * (vocab - len(tokens))
    tokens += _filler(vocab - len(tokens), known=set(tokens), chance=random.Random(seed))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(fields["tokenizer.ggml.merges"].contents())
    writer.add_bos_token_id(fields["tokenizer.ggml.bos_token_id"].contents())
    writer.add_eos_token_id(fields["tokenizer.ggml.eos_token_id"].contents())
    writer.add_eot_token_id(fields["tokenizer.ggml.eot_token_id"].contents())
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def _filler(count: int, *, known: set[str], chance: random.Random) -> list[str]:
    """Return new words, most of them with the mark that stands for a space before."""
    found: dict[str, None] = {}
    while len(found) < count:
        word = "".join(chance.choices(LETTERS, k=chance.randint(3, 9)))
        token = word if chance.random() < 0.3 else "Ġ" + word
        if token not in known:
            found[token] = None
    return list(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the model, and how it was made as JSON."""
    parser = argparse.ArgumentParser(description="Make a GGUF with random weights.")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--size", choices=[s for s in SIZES if s != "quick"], default="0.4B")
    parser.add_argument("--kind", choices=[*KINDS], default="Q4_K_M")
    parser.add_argument("--vocab", type=int, default=32000, help="tokens (default 32000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was made here")
    parser.add_argument("--quick", action="store_true", help="a very small model; a smoke test")
    asked = parser.parse_args(arguments)
    name = "quick" if asked.quick else asked.size
    silence = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(silence, None)
    start = time.perf_counter()
    count = make(asked.out, SIZES[name], kind=asked.kind, vocab=asked.vocab)
    record: dict[str, Any] = {
        "size": name,
        "kind": asked.kind,
        "vocab": asked.vocab,
        "weights": count,
        "bytes": asked.out.stat().st_size,
        "seconds": time.perf_counter() - start,
    }
    print(f"{asked.out}: {count / 1e9:.2f} B weights, {record['bytes'] / 1e6:.0f} MB")
    if asked.json:
        asked.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
