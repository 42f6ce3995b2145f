"""From a checkpoint to the GGUF that ships: written with the gguf package, quantised by llama.cpp.

python -m evokd.demo.training.to_gguf --out DIR [--type q8_0]
"""

from __future__ import annotations

import argparse
import ctypes
import json
from pathlib import Path

import gguf
import llama_cpp
import torch
from tokenizers import Tokenizer

from evokd import prompts
from evokd.demo.training.model import SHAPES, Shape
from evokd.demo.training.packing import SPECIAL

NAME = "evokd-demo-teacher"
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% endif %}"
)


def main() -> None:
    """Write teacher-f16.gguf and teacher.gguf into the training's folder."""
    parser = argparse.ArgumentParser(description="Write the trained teacher as GGUF.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the training")
    parser.add_argument("--type", choices=["q8_0", "f16"], default="q8_0")
    args = parser.parse_args()
    recipe = json.loads((args.out / "recipe.json").read_text())
    shape = SHAPES[recipe["shape"]]
    name = NAME if "classification" in recipe.get("kinds", ["classification"]) else f"{NAME}-slots"
    state = torch.load(args.out / "checkpoint.pt", map_location="cpu", weights_only=True)["model"]
    exact, small = args.out / "teacher-f16.gguf", args.out / "teacher.gguf"
    write(exact, shape, state, Tokenizer.from_file(str(args.out / "tokenizer.json")), name=name)
    if args.type == "q8_0":
        quantise(exact, small)
    else:
        small.write_bytes(exact.read_bytes())
    print(f"{small}: {small.stat().st_size / 1e6:.1f} MB")


def write(
    path: Path,
    shape: Shape,
    state: dict[str, torch.Tensor],
    tokenizer: Tokenizer,
    *,
    name: str = NAME,
) -> None:
    """Write weights, vocabulary and chat template as a GGUF in half precision."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name(name)
    writer.add_license("apache-2.0")
    writer.add_description(f"Embedded teacher of evokd, for prompts of version {prompts.VERSION}")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(shape.base)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_vocabulary(writer, tokenizer, shape.vocabulary)
    for name, tensor in tensors(shape, state).items():
        kind = torch.float32 if tensor.ndim == 1 else torch.float16
        writer.add_tensor(name, tensor.to(kind).contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, tokenizer: Tokenizer, size: int) -> None:
    model = json.loads(tokenizer.to_str())["model"]
    tokens: list[str] = [f"<|unused{i}|>" for i in range(size)]
    for token, number in model["vocab"].items():
        tokens[number] = token
    for token in SPECIAL:
        tokens[tokenizer.token_to_id(token)] = token
    kinds = [
        gguf.TokenType.CONTROL if token in SPECIAL
        else gguf.TokenType.UNUSED if token.startswith("<|unused")
        else gguf.TokenType.NORMAL
        for token in tokens
    ]  # fmt: skip
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    end, turn = tokenizer.token_to_id("<|endoftext|>"), tokenizer.token_to_id("<|im_end|>")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(turn)
    writer.add_eot_token_id(turn)
    writer.add_pad_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def tensors(shape: Shape, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights under llama.cpp's names; the output is tied to the embedding."""
    named = {
        "token_embd.weight": state["embedding.weight"],
        "output_norm.weight": state["norm.weight"],
    }
    for i in range(shape.layers):
        old, new = f"blocks.{i}", f"blk.{i}"
        q, k, v = state[f"{old}.qkv.weight"].chunk(3)
        gate, up = state[f"{old}.gate_up.weight"].chunk(2)
        named |= {
            f"{new}.attn_norm.weight": state[f"{old}.attn_norm.weight"],
            f"{new}.attn_q.weight": q,
            f"{new}.attn_k.weight": k,
            f"{new}.attn_v.weight": v,
            f"{new}.attn_output.weight": state[f"{old}.out.weight"],
            f"{new}.ffn_norm.weight": state[f"{old}.ffn_norm.weight"],
            f"{new}.ffn_gate.weight": gate,
            f"{new}.ffn_up.weight": up,
            f"{new}.ffn_down.weight": state[f"{old}.down.weight"],
        }
    return named


def quantise(source: Path, target: Path) -> None:
    """Quantise to Q8_0 with llama.cpp's own quantiser."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0
    code = llama_cpp.llama_model_quantize(
        str(source).encode(), str(target).encode(), ctypes.byref(params)
    )
    if code:
        raise RuntimeError(f"llama.cpp could not quantise {source} (code {code})")


if __name__ == "__main__":
    main()
