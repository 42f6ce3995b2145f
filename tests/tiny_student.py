"""A tiny BERT that has really learned to sort texts, saved as a Hugging Face folder."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from export.quantize import Rung
from export.student import ExportOptions, ExportReport, StudentMeta, export_student

LABELS = {
    "play_music": "asks to hear something",
    "set_alarm": "asks to be woken",
    "get_weather": "asks about the weather",
    "book_table": "asks for a table",
}
WORDS = {
    "play_music": ["play", "song", "album", "band", "music", "hear", "tune", "radio"],
    "set_alarm": ["wake", "alarm", "morning", "clock", "early", "six", "snooze", "bed"],
    "get_weather": ["rain", "sun", "cloud", "storm", "wind", "forecast", "snow", "umbrella"],
    "book_table": ["table", "dinner", "lunch", "seat", "restaurant", "waiter", "food", "menu"],
}
FILLER = sorted({"please", "can", "you", "the", "a", "my", "for", "me", "to", "now", "some", "of"})
MAX_LENGTH = 32


def make_texts(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Return texts and their labels: two words of the label among filler."""
    rng = random.Random(seed)
    texts, labels = [], []
    for index in range(count):
        label = list(LABELS)[index % len(LABELS)]
        words = rng.sample(WORDS[label], 2) + rng.choices(FILLER, k=rng.randint(0, 8))
        rng.shuffle(words)
        texts.append(" ".join(words))
        labels.append(label)
    return texts, labels


def save_tiny_student(root: Path) -> Path:
    """Train the tiny BERT for a second and save it with its tokenizer."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = tiny_tokenizer()
    names = list(LABELS)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    model = BertForSequenceClassification(config)
    _train(model, tokenizer)
    model.save_pretrained(root)
    tokenizer.save_pretrained(root)
    return root


def torch_probabilities(root: Path, texts: list[str]) -> NDArray[np.float32]:
    """Return what the saved model says under torch, in one padded batch."""
    tokenizer = AutoTokenizer.from_pretrained(root)
    model = AutoModelForSequenceClassification.from_pretrained(root).eval()
    batch = tokenizer(
        texts, truncation=True, max_length=MAX_LENGTH, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        probabilities: NDArray[np.float32] = model(**batch).logits.softmax(-1).numpy()
    return probabilities


def meta() -> StudentMeta:
    """Return what export is told of the tiny student."""
    return StudentMeta(
        name="tiny",
        domain="requests to a voice assistant",
        labels=LABELS,
        max_length=MAX_LENGTH,
        base_model="test/tiny-bert",
        teacher="a list of words",
        scores={"dev": {"accuracy": 0.975, "macro_f1": 0.97, "texts": 40}},
        training={"synthetic_share": 1.0, "seed": 0},
    )


def export_tiny(
    root: Path, *, rungs: tuple[Rung, ...] | None = None, force: bool = False, half: bool = False
) -> ExportReport:
    """Export the folder with 200 texts for the gate."""
    texts, labels = make_texts(200, seed=7)
    return export_student(
        root,
        texts=texts,
        answers=labels,
        torch_probabilities=torch_probabilities(root, texts),
        meta=meta(),
        options=ExportOptions(rungs=rungs, force=force, half=half),
    )


def tiny_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    """Return a WordPiece tokenizer of the words that the texts are made of."""
    words = sorted({*FILLER, *(word for group in WORDS.values() for word in group)})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *(f"##{c}" for c in "abcdes")]
    raw = Tokenizer(
        models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=MAX_LENGTH,
        **options,
    )


def _train(model: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast) -> None:
    texts, labels = make_texts(256, seed=1)
    batch = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=True)
    gold = torch.tensor([list(LABELS).index(label) for label in labels])
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for start in range(0, 256 * 15, 32):
        part = slice(start % 256, start % 256 + 32)
        loss = model(**{name: rows[part] for name, rows in batch.items()}, labels=gold[part]).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.eval()
