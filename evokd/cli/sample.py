"""The task that `evokd init` writes: two files, commented, that run as they are."""

from __future__ import annotations

from pathlib import Path

from evokd.errors import InputError

TASK = """\
# A task for evokd. Run it with: evokd run task.yaml
# Paths are relative to this file. `evokd init --schema` prints everything that may stand here.
name: support-mails
kind: classification
# What the texts are; it stands in every question to the teacher.
domain: mails to the support of an online shop
# Each label with the definition that the teacher and the model card show. Say what separates a
# label from its neighbours: that is what the student will learn.
labels:
  where_is_it: asks when an order arrives, or says that it has not arrived
  send_it_back: wants to return something or to have the money back
  broken: says that something came damaged or does not work
  invoice: asks for an invoice, or says that one is wrong

data:
  seed: seed.jsonl            # one example a label can be enough; more are better
  # unlabeled: mails.jsonl    # real texts without labels: {"text": ...} a line
  # dev: dev.jsonl            # labelled texts that decide which round is kept
  # test: test.jsonl          # labelled texts for the report alone; they never reach a prompt

teacher:
  # 'demo' is the tiny built-in teacher: it knows requests to voice assistants and little else.
  # For your own task give an instruct model as a GGUF file.
  model: demo
  # model: models/qwen2.5-7b-instruct-q4_k_m.gguf
  # context: 8192

student:
  model: minilm               # or the folder of any encoder

loop:
  rounds: 6                   # rounds of feedback
  hard: 4                     # texts asked for that the student should get wrong
  easy: 2                     # and right, so that it does not forget
  cover: 40                   # texts a label before the first feedback

# budget: {tokens: 300000}    # the loop stops there, cleanly; also: minutes, examples (kept texts)
"""

SEED = """\
{"text": "I ordered two weeks ago and there is still no parcel.", "label": "where_is_it"}
{"text": "The shoes are too small, how do I return them?", "label": "send_it_back"}
{"text": "The lamp arrived with a crack in the glass.", "label": "broken"}
{"text": "Could you send me a bill with our VAT number on it?", "label": "invoice"}
"""


def write_sample(folder: Path) -> list[Path]:
    """Write task.yaml and seed.jsonl into a folder that has neither.

    Raises:
        InputError: when one of them is there already, or the folder cannot be made.
    """
    files = {folder / "task.yaml": TASK, folder / "seed.jsonl": SEED}
    for path in files:
        if path.exists():
            raise InputError(f"{path}: is there already", "take another folder, or remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
    except OSError as broken:
        raise InputError(f"{folder}: cannot be written ({broken.strerror})") from broken
    return list(files)
