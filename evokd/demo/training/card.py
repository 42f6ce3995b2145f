"""Ship a trained teacher: its GGUF goes into the package, with a card and its texts' hashes.

    python -m evokd.demo.training.card --data DIR --out DIR [--name demo-slots]

Refuses a teacher that is no better than the shipped one on half B (agreement on seen labels, or
strict F1 of entities), unless --force is given.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from array import array
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from evokd import prompts
from evokd.demo import TEACHERS
from evokd.demo.training.corpus import TRAINED, held_out, plain, read_rows, resource
from evokd.demo.training.model import SHAPES, TinyLlama
from evokd.demo.training.tagged import read_tagged


def main() -> None:
    """Copy, measure, describe."""
    parser = argparse.ArgumentParser(description="Ship the trained teacher in the package.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the training")
    parser.add_argument("--name", choices=sorted(TEACHERS), default="demo", help="which to replace")
    parser.add_argument("--force", action="store_true", help="ship it although it is no better")
    args = parser.parse_args()
    package = TEACHERS[args.name]
    record = describe(args.out)
    shipped = package / "teacher.json"
    if shipped.exists() and not args.force:
        old = json.loads(shipped.read_text())
        if merit(record) <= merit(old):
            sys.exit(f"not shipped: {merit(record):.3f} is no better than {merit(old):.3f}")
    (package / "teacher_texts.bin").write_bytes(hashes(taught_texts(args.data, record["kinds"])))
    shutil.copyfile(args.out / "teacher.gguf", package / "teacher.gguf")
    (package / "teacher.md").write_text(card(record), encoding="utf-8")
    shipped.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"shipped {package / 'teacher.gguf'}")


def merit(record: dict[str, Any]) -> float:
    """Return the figure by which teachers are compared."""
    fitness = record["fitness"]
    if "classification" in record.get("kinds", ["classification"]):
        return float(fitness["groups"]["seen labels"]["label_agreement"])
    return float(fitness["entities"]["snips"]["entity_f1"])


def taught_texts(data: Path, kinds: Sequence[str]) -> list[str]:
    """Return the texts that a teacher of these kinds may have learned from."""
    rows, _ = read_rows(data)
    if "ner" not in kinds:
        return [r.text for r in rows if r.half == "A" and is_taught(r.source, r.label)]
    tagged, _ = read_tagged(data)  # and the echoes are of any text
    texts = [(row.text, row.half) for row in rows] + [(row.text, row.half) for row in tagged]
    return [text for text, half in texts if half == "A"]


def is_taught(source: str, label: str) -> bool:
    """Say whether the teacher was trained on texts of this label."""
    names = list(resource("definitions.json").get(source, {}).get("labels", {}))  # type: ignore[attr-defined]
    return source in TRAINED and label not in held_out(source, names)


def hashes(texts: Iterable[str]) -> bytes:
    """Return the sorted 4-byte hashes of the plain texts, little-endian."""
    digests = {
        int.from_bytes(hashlib.blake2b(plain(t).encode(), digest_size=4).digest(), "little")
        for t in texts
    }
    packed = array("I", sorted(digests))
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def describe(out: Path) -> dict[str, Any]:
    """Return everything that the card says."""
    recipe = json.loads((out / "recipe.json").read_text())
    shape = SHAPES[recipe["shape"]]
    model = out / "teacher.gguf"
    return {
        "prompt_version": prompts.VERSION,
        "kinds": recipe.get("kinds", ["classification"]),
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "bytes": model.stat().st_size,
        "quantisation": "Q8_0",
        "parameters": sum(p.numel() for p in TinyLlama(shape).parameters()),
        "shape": {name: getattr(shape, name) for name in shape.__dataclass_fields__},
        "recipe": recipe,
        "fitness": json.loads((out / "fitness.json").read_text()),
    }


def card(record: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    source = resources.files("evokd.demo.training").joinpath("card.md.j2").read_text("utf-8")
    page = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters["table"] = _table
    return page.from_string(source).render(history=_history(record["recipe"]), **record) + "\n"


def _history(recipe: dict[str, Any]) -> str:
    """Return how the weights came about, the first training first."""
    steps, rows, length = recipe["done"], recipe["rows"], recipe["length"]
    tokens = recipe.get("tokens", steps * rows * length) / 1e6
    line = f"- {steps:,} steps of {rows} x {length} tokens ({tokens:.1f} M), seed {recipe['seed']}"
    if "start" not in recipe:
        return f"{line}, from nothing.{_remark(recipe)}"
    before, rate = _history(recipe["start"]), recipe.get("rate", 0.5)
    return (
        f"{before}\n{line}, going on from there at {rate} of the learning rates.{_remark(recipe)}"
    )


def _remark(recipe: dict[str, Any]) -> str:
    return f" {recipe['remark']}" if "remark" in recipe else ""


def _table(columns: dict[str, dict[str, float]], title: str) -> str:
    """Return name -> measure -> value as a table, a row a measure."""
    rows = [f"| {title} | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for measure in next(iter(columns.values())):
        cells = [_shown(column[measure]) for column in columns.values()]
        rows.append(f"| {measure.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value > 1 or isinstance(value, int) else f"{value:.3f}"


if __name__ == "__main__":
    main()
