"""Write a tiny GGUF chat model with random weights: two layers, bytes and "th" as tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

from evokd.teacher.chat import CHATML

SPECIAL = ["<s>", "<|im_start|>", "<|im_end|>"]
WIDTH, HEADS, LAYERS, HIDDEN = 32, 2, 2, 64


def write_gguf(
    path: Path,
    *,
    template: str = CHATML,
    add_bos: bool = False,
    context: int = 1024,
    seed: int = 0,
    marks: tuple[str, ...] = (),
) -> Path:
    """Write the model and return the path; the same arguments give the same file.

    `marks` are control tokens besides the usual ones.
    """
    special = [*SPECIAL, *marks]
    tokens = [*special, *_byte_tokens(), "th"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    kinds = [gguf.TokenType.CONTROL] * len(special) + [gguf.TokenType.NORMAL] * 257
    writer.add_token_types(kinds)
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(add_bos)
    if template:
        writer.add_chat_template(template)
    for name, array in _weights(len(tokens), np.random.default_rng(seed)).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _byte_tokens() -> list[str]:
    """Return the letter that byte-level BPE writes for each byte, in the order of the bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in plain]
    letters = {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(hidden)}
    return [letters[b] for b in range(256)]


def _weights(vocab: int, rng: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
    def draw(*shape: int) -> np.ndarray[Any, Any]:
        return (rng.standard_normal(shape) * 2 / np.sqrt(shape[-1])).astype(np.float32)

    ones = np.ones(WIDTH, np.float32)
    weights = {"token_embd.weight": draw(vocab, WIDTH), "output_norm.weight": ones}
    weights["output.weight"] = draw(vocab, WIDTH)
    for i in range(LAYERS):
        block = {f"attn_{x}": draw(WIDTH, WIDTH) for x in ("q", "k", "v", "output")}
        block |= {"attn_norm": ones, "ffn_norm": ones, "ffn_down": draw(WIDTH, HIDDEN)}
        block |= {"ffn_gate": draw(HIDDEN, WIDTH), "ffn_up": draw(HIDDEN, WIDTH)}
        weights |= {f"blk.{i}.{name}.weight": array for name, array in block.items()}
    return weights
