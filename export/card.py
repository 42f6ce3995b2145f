"""The model card (README.md) of a student, from its manifest alone. Needs no network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from evokd.answers import KindName
from evokd.writable import write_whole
from serving import layout
from serving.layout import Manifest, StudentFiles

PIPELINES: dict[KindName, str] = {
    "classification": "text-classification",
    "multilabel": "text-classification",
    "ner": "token-classification",
}
"""Kind of task -> what the hub and transformers call it."""
WORK: dict[KindName, str] = {
    "classification": "A small text classifier for",
    "multilabel": "A small student that says which labels apply to",
    "ner": "A small student that finds entities in",
}
AGREES: dict[KindName, str] = {
    "classification": "the share of texts with the same label",
    "multilabel": "what both give of all that they give (Dice)",
    "ner": "the share of tokens with the same tag",
}
TYPES = {"accuracy": "accuracy", "macro_f1": "f1"}
"""Measures that the hub's leaderboards know: ours -> theirs."""


def write_card(root: Path, manifest: Manifest) -> Path:
    """Write the student's README.md; return its path."""
    target = StudentFiles(root).card
    write_whole(target, card(manifest))
    return target


def card(manifest: Manifest) -> str:
    """Return the card: front matter for the hub, then what a reader should know."""
    parts = [
        *("---", *_front_matter(manifest), "---", ""),
        *(f"# {manifest.name}", "", *_introduction(manifest), ""),
        *("## Labels", "", *_labels(manifest), ""),
        *_scores(manifest),
        *("## How it was made", "", *_origin(manifest), ""),
        *("## Quantisation", "", *_gate(manifest), ""),
        *("## Use", "", *_use(manifest), ""),
    ]
    return "\n".join(parts)


def _front_matter(manifest: Manifest) -> Iterator[str]:
    task = PIPELINES[manifest.kind]
    yield f"pipeline_tag: {task}"
    yield "library_name: transformers"
    yield f"base_model: {_yaml(manifest.base_model)}"
    yield f"tags: [{task}, onnx, evokd, knowledge-distillation, synthetic-data]"
    results = [(name, values) for name, values in manifest.scores.items() if TYPES.keys() & values]
    if not results:
        return
    yield "model-index:"
    yield f"- name: {_yaml(manifest.name)}"
    yield "  results:"
    for name, values in results:
        yield f"  - task: {{type: {task}}}"
        yield f"    dataset: {{name: {_yaml(name)}, type: {_yaml(manifest.name)}}}"
        yield "    metrics:"
        for measure, kind in TYPES.items():
            if measure in values:
                yield f"    - {{type: {kind}, name: {measure}, value: {values[measure]:.4f}}}"


def _introduction(manifest: Manifest) -> Iterator[str]:
    yield f"{WORK[manifest.kind]} {_line(manifest.domain)}, distilled with evokd from"
    yield f"`{_line(manifest.teacher)}`. It reads {manifest.max_length} tokens of a text at once."


def _labels(manifest: Manifest) -> Iterator[str]:
    if manifest.kind != "multilabel":
        head = "type" if manifest.kind == "ner" else "label"
        yield from _table((head, "meaning"), manifest.labels.items())
        if manifest.reject:
            yield ""
            yield f"A text whose best score before the temperature is below {manifest.reject:.3f}"
            yield "is given no label; in the scores its likeliest label counts."
        return
    from_ = {name: manifest.thresholds.get(name, 0.5) for name in manifest.labels}
    rows = ((name, f"{from_[name]:.3f}", about) for name, about in manifest.labels.items())
    yield from _table(("label", "applies from", "meaning"), rows)


def _scores(manifest: Manifest) -> Iterator[str]:
    if not manifest.scores:
        return
    yield from ("## Scores", "")
    rows = (
        (name, measure, f"{value:g}")
        for name, values in manifest.scores.items()
        for measure, value in values.items()
    )
    yield from _table(("texts", "measure", "value"), rows)
    yield ""


def _origin(manifest: Manifest) -> Iterator[str]:
    facts: dict[str, Any] = {
        "teacher": manifest.teacher,
        "base model": manifest.base_model,
        **manifest.training,
    }
    share = facts.pop("synthetic_share", None)
    if share is not None:
        facts["share of synthetic training texts"] = f"{share:.1%}"
    yield from _table(("fact", "value"), facts.items())


def _gate(manifest: Manifest) -> Iterator[str]:
    gate: Mapping[str, Any] = manifest.gate
    tried = gate.get("tried", ())
    if gate.get("forced"):
        yield "**INT8 is served although the gate refused it**, because its maker forced it."
        yield "It answers some texts otherwise than the model that was trained."
    elif manifest.serve == layout.INT8:
        yield f"INT8 (dynamic, per channel, embeddings included) is served: `{layout.INT8}`."
    else:
        yield f"No INT8 file passed the gate: full precision is served, `{layout.ONNX}`."
    if not tried:
        return
    yield f"Probabilities of ONNX and torch differ by at most {gate['parity_max_diff']:.1e}."
    yield f"Rungs were chosen for `{gate['isa']}`; the comparison is with full precision."
    yield f"Agreement is {AGREES[manifest.kind]}."
    yield ""
    heads = ("rung", "texts", "agreement", "macro F1 fp32", "macro F1 INT8", "passed", "why not")
    yield from _table(heads, (_attempt(attempt) for attempt in tried))


def _attempt(attempt: Mapping[str, Any]) -> tuple[object, ...]:
    gate = attempt["gate"]
    return (
        attempt["rung"],
        gate["texts"],
        f"{gate['agreement']:.2%}",
        f"{gate['macro_f1_fp32']:.4f}",
        f"{gate['macro_f1_int8']:.4f}",
        "yes" if gate["passed"] else "no",
        "; ".join(gate["reasons"]) or "-",
    )


def _use(manifest: Manifest) -> Iterator[str]:
    options = {"multilabel": ", top_k=None", "ner": ', aggregation_strategy="simple"'}
    task, more = PIPELINES[manifest.kind], options.get(manifest.kind, "")
    yield "```python"
    yield "from transformers import pipeline"
    yield f'answer = pipeline("{task}", "path/to/this/folder"{more})'
    yield "```"
    yield ""
    yield f"With ONNX Runtime: `evokd serve path/to/this/folder` answers with `{manifest.serve}`."
    if manifest.temperature != 1:
        yield f"The service divides the logits by {manifest.temperature:.3f}; `pipeline` does not."


def _table(heads: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " --- |" * len(heads)
    for row in rows:
        yield "| " + " | ".join(_line(str(cell)).replace("|", "\\|") for cell in row) + " |"


def _line(text: str) -> str:
    return " ".join(text.split())


def _yaml(text: str) -> str:
    """Quote for YAML, of which a JSON string is one."""
    return json.dumps(_line(text), ensure_ascii=False)
