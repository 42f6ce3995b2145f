"""Ship a trained teacher: its GGUF goes into the package, with a card and its texts' hashes.

    python -m evokd.demo.training.card --data DIR --out DIR

Refuses a teacher whose label agreement on half B (seen labels) is not above the shipped one's,
unless --force is given.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from array import array
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from evokd import prompts
from evokd.demo.training.corpus import TRAINED, held_out, read_rows, resource
from evokd.demo.training.model import SHAPES, TinyLlama
from evokd.demo.training.tagged import read_tagged
from evokd.examples import normalise

CAN = """\
- Requests to voice assistants and similar short English commands and questions: it writes new
  ones for a label it gets with a definition, names what a student confuses, writes for that, and
  gives the probability of every label, or of yes and no for each.
- Label names and definitions that it has never seen, as far as the table shows.
- Entities in such requests (names of songs, artists and playlists, times, places, food), held to
  the words of the text by a grammar, as well as the table shows."""
CANNOT = """\
- Anything else: other languages, long texts, knowledge, sentiment, conversation. Entities in
  sentences of an encyclopedia or of social media were tried: see how little came of it.
- It learned to speak from about 25,000 short texts: what it writes has odd names and half sense.
- Its words about weaknesses follow a few patterns: what is missed or taken for what, with words
  from the mistakes."""


def main() -> None:
    """Copy, measure, describe."""
    parser = argparse.ArgumentParser(description="Ship the trained teacher in the package.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the training")
    parser.add_argument("--force", action="store_true", help="ship it although it is no better")
    args = parser.parse_args()
    package = Path(str(resources.files("evokd.demo")))
    record = describe(args.out)
    shipped = package / "teacher.json"
    if shipped.exists() and not args.force:
        old = json.loads(shipped.read_text())
        if agreement(record) <= agreement(old):
            sys.exit(f"not shipped: {agreement(record):.3f} is no better than {agreement(old):.3f}")
    rows, _ = read_rows(args.data)
    tagged, _ = read_tagged(args.data)
    taught = [r.text for r in rows if r.half == "A" and is_taught(r.source, r.label)]
    taught += [r.text for r in tagged if r.half == "A"]
    (package / "teacher_texts.bin").write_bytes(hashes(taught))
    shutil.copyfile(args.out / "teacher.gguf", package / "teacher.gguf")
    (package / "teacher.md").write_text(card(record), encoding="utf-8")
    shipped.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"shipped {package / 'teacher.gguf'}")


def agreement(record: dict[str, Any]) -> float:
    """Return the figure by which teachers are compared."""
    return float(record["fitness"]["groups"]["seen labels"]["label_agreement"])


def is_taught(source: str, label: str) -> bool:
    """Say whether the teacher was trained on texts of this label."""
    names = list(resource("definitions.json").get(source, {}).get("labels", {}))  # type: ignore[attr-defined]
    return source in TRAINED and label not in held_out(source, names)


def hashes(texts: Iterable[str]) -> bytes:
    """Return the sorted 4-byte hashes of the normalised texts, little-endian."""
    digests = {
        int.from_bytes(hashlib.blake2b(normalise(t).encode(), digest_size=4).digest(), "little")
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
    recipe, fitness = record["recipe"], record["fitness"]
    removed = fitness["rows"]["removed"]
    return f"""\
# evokd-demo-teacher

A Llama-architecture model trained from scratch to be the teacher of evokd's demo. It answers the
prompts of `evokd/prompts.py`, version {record["prompt_version"]}, and nothing else.

- **File**: `teacher.gguf`, {record["bytes"] / 1e6:.1f} MB, {record["quantisation"]}, \
{record["parameters"] / 1e6:.2f} M parameters, sha256 `{record["sha256"]}`
- **Shape**: {", ".join(f"{k} {v}" for k, v in record["shape"].items())}; byte-level BPE, ChatML
- **Licence**: Apache-2.0; the data's attributions stand in NOTICE

## Data

The train files of snips (CC0), clinc150 (CC BY 3.0) and massive en-US (CC BY 4.0), and, with
their entities, of snips, wnut17 and wikigold (both CC BY 4.0), after {removed:,} rows that equal
or nearly equal (3-gram Jaccard >= 0.8, normalised) a dev or test text of any set, or a text of the
demo, were removed. Half A of the rows, by text hash, was learned; half B measured below. One label
in five of clinc150 and massive, and all of banking77, were never seen. `teacher_texts.bin` holds a
4-byte hash of every text it learned from.

## Recipe

Conversations made from labelled texts (`training/conversations.py`), packed as trees with one head
for many conversations (`training/packing.py`), Muon and AdamW; quantised by llama.cpp.

{_history(recipe)}

`make demo-teacher DATA=...` trains one anew on all of it, from nothing;
`make demo-teacher DATA=... START=folder` goes on from a finished training.

## What it can do

{CAN}

## What it cannot do

{CANNOT}

## Measured

Tasks of up to 10 labels drawn from half B, with readable names and definitions; texts it never saw.

{_fitness_table(fitness)}

Entities of half B, strict: words and type must both be right. `snips` has the types of the demo's
task, the others all of theirs.

{_table("entities", fitness["entities"])}

Yes or no for each of some classes, on texts that join up to three.

{_table("multilabel", {"joined texts": fitness["multilabel"]})}

Made by `python -m evokd.demo.training.fitness`. Speeds are of the machine at hand.
"""


def _history(recipe: dict[str, Any]) -> str:
    """Return how the weights came about, the first training first."""
    steps, rows, length = recipe["done"], recipe["rows"], recipe["length"]
    tokens = recipe.get("tokens", steps * rows * length) / 1e6
    line = f"- {steps:,} steps of {rows} x {length} tokens ({tokens:.1f} M), seed {recipe['seed']}"
    if "start" not in recipe:
        return f"{line}, from nothing.{_remark(recipe)}"
    before = _history(recipe["start"])
    return f"{before}\n{line}, going on from there at half the learning rates.{_remark(recipe)}"


def _remark(recipe: dict[str, Any]) -> str:
    return f" {recipe['remark']}" if "remark" in recipe else ""


def _fitness_table(fitness: dict[str, Any]) -> str:
    return _table("on half B", fitness["groups"])


def _table(title: str, columns: dict[str, dict[str, float]]) -> str:
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
