"""What the header of a GGUF file says, and the memory that follows from it. Runs no C."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evokd.errors import MissingExtra, TeacherError

try:
    import gguf
except ImportError as missing:
    raise MissingExtra("teacher", missing) from missing

from evokd.teacher.modelfile import AGAIN, parts

BATCH = 512  # tokens that go through the model at once
HALF = 2  # bytes of a number in the memory of the context
FULL = 4  # bytes of a logit


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a model before it is loaded.

    Attributes:
        context: tokens that it was trained on.
        licence: as the file names it; empty when it does not.
        bytes: of the file, all parts together.
        cell: bytes that a token of context takes; an upper bound for models that forget some.
        work: bytes that a batch takes on its way, roughly.
    """

    name: str
    architecture: str
    parameters: int
    context: int
    quantisation: str
    licence: str
    template: bool
    bytes: int
    cell: int
    work: int

    def facts(self) -> dict[str, Any]:
        """Return it all by name."""
        return asdict(self)


def read_header(path: Path) -> Header:
    """Read the header of a model file, or of the first of its parts.

    Raises:
        TeacherError: when it is not what a GGUF header must be.
    """
    files = [Path(part) for part in parts(str(path))]
    try:
        readers = [gguf.GGUFReader(file) for file in files]
        return _header(path, readers, size=sum(file.stat().st_size for file in files))
    except (ValueError, KeyError, IndexError, TypeError) as broken:
        raise TeacherError(f"{path}: its header cannot be read: {broken}", AGAIN) from broken


def _header(path: Path, readers: list[Any], *, size: int) -> Header:
    def read(key: str, otherwise: Any = None) -> Any:
        field = readers[0].get_field(key)
        return otherwise if field is None else field.contents()

    kind = read("general.architecture", "unknown")
    tensors = [tensor for reader in readers for tensor in reader.tensors]
    words = readers[0].get_field("tokenizer.ggml.tokens")
    vocabulary = len(words.data) if words else 0
    width = read(f"{kind}.embedding_length", 0)
    return Header(
        name=read("general.name", path.stem),
        architecture=kind,
        parameters=sum(int(tensor.n_elements) for tensor in tensors),
        context=read(f"{kind}.context_length", 0),
        quantisation=_quantisation(read("general.file_type"), tensors),
        licence=read("general.license", ""),
        template=bool(read("tokenizer.chat_template", "")),
        bytes=size,
        cell=_cell(lambda key, otherwise=None: read(f"{kind}.{key}", otherwise), width),
        work=BATCH * FULL * (vocabulary * 3 // 2 + 32 * width),  # logits, and what layers hold
    )


def _cell(read: Any, width: int) -> int:
    """Return the bytes of a token's keys and values over all layers."""
    heads = read("attention.head_count", 0)
    groups = read("attention.head_count_kv", heads)
    most = max(heads) if isinstance(heads, list) else heads
    share = width // most if most else 0
    length = read("attention.key_length", share) + read("attention.value_length", share)
    total = sum(groups) if isinstance(groups, list) else groups * read("block_count", 0)
    return int(HALF * length * total)


def _quantisation(kind: int | None, tensors: list[Any]) -> str:
    names = {int(member): member.name for member in gguf.LlamaFileType}
    if kind in names:
        return str(names[kind].split("_", 1)[-1])
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.tensor_type.name] += int(tensor.n_bytes)
    return sizes.most_common(1)[0][0] if sizes else "unknown"
