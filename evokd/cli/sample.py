"""The task that `evokd init` writes: two files, commented. That of labels runs as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evokd.answers import KindName
from evokd.errors import InputError
from evokd.writable import check_folder

MODEL = "models/qwen2.5-7b-instruct-q4_k_m.gguf"
TEACHER = f"""\
  # 'demo' is the tiny built-in teacher: it knows requests to voice assistants and little else.
  # For your own task give an instruct model as a GGUF file.
  model: demo
  # model: {MODEL}
"""
GIVEN = f"""\
  # An instruct model as a GGUF file; the tiny built-in ones were not made for this task.
  model: {MODEL}
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """What differs between the samples of the kinds: the beginning of task.yaml, and the seeds."""

    task: str
    seed: str
    teacher: str = TEACHER


OPENING = """\
# A task for evokd. Run it with: evokd run task.yaml
# Paths are relative to this file. `evokd init --schema` prints everything that may stand here.
"""

SAMPLES = {
    "classification": Sample(
        """\
name: support-mails
kind: classification          # one label a text; also: multilabel, ner (evokd init --kind ...)
# What the texts are; it stands in every question to the teacher.
domain: mails to the support of an online shop
# Each label with the definition that the teacher and the model card show. Say what separates a
# label from its neighbours: that is what the student will learn.
labels:
  where_is_it: asks when an order arrives, or says that it has not arrived
  send_it_back: wants to return something or to have the money back
  broken: says that something came damaged or does not work
  invoice: asks for an invoice, or says that one is wrong
""",
        """\
{"text": "I ordered two weeks ago and there is still no parcel.", "label": "where_is_it"}
{"text": "The shoes are too small, how do I return them?", "label": "send_it_back"}
{"text": "The lamp arrived with a crack in the glass.", "label": "broken"}
{"text": "Could you send me a bill with our VAT number on it?", "label": "invoice"}
""",
    ),
    "multilabel": Sample(
        """\
name: shop-reviews
kind: multilabel              # any number of labels a text, also none
# What the texts are; it stands in every question to the teacher.
domain: reviews of an online shop
# Each label with the definition that the teacher and the model card show. A label applies or not,
# whatever the others do: say from when on.
labels:
  delivery: says something about how fast or in what state the parcel came
  price: says something about what it costs or whether it is worth it
  quality: says something about how good or durable the thing itself is
  service: says something about the people of the shop
""",
        """\
{"text": "Came after two days, well packed, and cheaper than elsewhere.", "labels": ["delivery", "price"]}
{"text": "The zip broke in the first week.", "labels": ["quality"]}
{"text": "They answered my mail within the hour, very kind.", "labels": ["service"]}
{"text": "I bought this for my sister.", "labels": []}
""",
        GIVEN,
    ),
    "ner": Sample(
        """\
name: order-details
kind: ner                     # entities in a text: where they stand, and of which type
# What the texts are; it stands in every question to the teacher.
domain: mails to the support of an online shop
# Each type with the definition that the teacher and the model card show. Say what is part of an
# entity and what is not.
labels:
  product: what was bought, without the words "my" or "the"
  order_number: the number of an order, without the word "order"
  date: a day or a time, such as last Friday or 3 May
""",
        # Code points, `end` exclusive. An empty list says that there is none.
        """\
{"text": "My lamp from order 4711 came broken on 3 May.", "entities": [{"start": 3, "end": 7, "label": "product"}, {"start": 19, "end": 23, "label": "order_number"}, {"start": 39, "end": 44, "label": "date"}]}
{"text": "Where is the coat that I ordered last Friday?", "entities": [{"start": 13, "end": 17, "label": "product"}, {"start": 33, "end": 44, "label": "date"}]}
{"text": "Thank you, that was quick.", "entities": []}
""",
        GIVEN,
    ),
}

REST = """\

data:
  seed: seed.jsonl            # one example a label can be enough; more are better
  # unlabeled: mails.jsonl    # real texts without labels, {"text": ...} a line, for the teacher to label
  # dev: dev.jsonl            # labelled texts that decide which rounds count
  # test: test.jsonl          # labelled texts for the report alone; they never reach a prompt

teacher:
{teacher}  # context: 8192             # tokens for the prompts and replies of all conversations together

student:
  model: minilm               # or the folder of an encoder, its weights as *.safetensors; or a hub id

loop:
  rounds: 6                   # rounds of feedback
  hard: 4                     # texts a conversation (at most 8 a round) that the student should get wrong
  easy: 2                     # and right, so that it does not forget; also a conversation
  cover: 40                   # texts a label before the first feedback

# budget: {tokens: 300000}    # the loop stops there, cleanly; also: minutes, examples (kept texts)
"""


def write_sample(folder: Path, kind: KindName = "classification") -> list[Path]:
    """Write task.yaml and seed.jsonl into a folder that has neither.

    Raises:
        InputError: when one of them is there already, or the folder cannot be made.
    """
    sample = SAMPLES[kind]
    task = OPENING + sample.task + REST.replace("{teacher}", sample.teacher)
    files = {folder / "task.yaml": task, folder / "seed.jsonl": sample.seed}
    for path in files:
        if path.exists():
            raise InputError(f"{path}: is there already", "take another folder, or remove it")
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return list(files)
