"""The student that tags entities: a small encoder that is fine-tuned, answers, is saved and loaded.

As `evokd.student` does for labels. Knows tokens and tags; what a tag means in the text is the
business of `serving.spans`, with which the student is served too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from evokd.answers import Span, read_spans
from evokd.errors import InputError, MissingExtra
from evokd.examples import Example
from evokd.recipe import MIN_TAGGER_STEPS, TAGGER_RATE
from evokd.settings import StudentSettings
from serving import spans
from serving.spans import Found
from serving.windows import frame, joined, windows

try:
    import torch
except ImportError as exc:
    raise MissingExtra("train", exc) from exc

from evokd.pretrained import new_tagger, saved_tagger, write_model
from evokd.training import (
    Rows,
    by_length,
    pick_device,
    plan_batches,
    train,
    use_threads,
    used_rows_only,
)
from evokd.watch import OnStep

Floats = NDArray[Any]

WHOLE = 0.95  # share of the entities in the examples that must do so
SMOOTHING = 0.02


class Tagger:
    """A model, its tokenizer and its entity types, on one device.

    Attributes:
        types: the names of the entity types; `serving.spans.tags_of` them are the model's labels.
        room: how many tokens it reads at once, special ones left out.
        before: the special tokens that stand before a text.
        behind: those that stand behind it.
    """

    def __init__(self, model: Any, tokenizer: Any, types: Sequence[str], *, threads: int) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.types = tuple(types)
        self.threads = threads
        self.room = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
        framed = tokenizer("a", return_special_tokens_mask=True)
        self.before, self.behind = frame(framed["input_ids"], framed["special_tokens_mask"])

    def encode(self, texts: Sequence[str]) -> list[Any]:
        """Return every text's whole encoding as `tokenizers` makes it, without special tokens."""
        if not texts:
            return []
        made = self.tokenizer(
            list(texts), add_special_tokens=False, truncation=False, padding=False, verbose=False
        )
        return list(made.encodings)

    def units(self, text: str, encoding: Any) -> list[spans.Unit]:
        """Return the units of a text that are tagged together."""
        whole = getattr(self.model.config, spans.WHOLE_WORDS, False)
        return spans.units(text, encoding.offsets, encoding.word_ids if whole else None)

    def predict(self, texts: Sequence[str]) -> list[list[Found]]:
        """Return the entities of every text; long ones are read in windows, to their end."""
        encodings = self.encode(texts)
        said = zip(texts, encodings, self._read(encodings), strict=True)
        return [
            spans.find_spans(rows, self.units(text, encoding), self.types)
            for text, encoding, rows in said
        ]

    def log_probabilities(self, texts: Sequence[str]) -> list[Floats]:
        """Return the log-probability of every token's tags, [tokens, tags] of every text."""
        return self._read(self.encode(texts))

    def save(self, folder: Path) -> None:
        """Write a plain Hugging Face model folder, whole or not at all; an old one is replaced."""
        write_model(folder, self.model, self.tokenizer)

    def _read(self, encodings: Sequence[Any]) -> list[Floats]:
        cut = [windows(len(encoding.ids), self.room) for encoding in encodings]
        ids = [
            [*self.before, *encoding.ids[part.start : part.stop], *self.behind]
            for encoding, parts in zip(encodings, cut, strict=True)
            for part in parts
        ]
        rows = iter(self._logits(ids))
        return [spans.log_softmax(joined(parts, [next(rows) for _ in parts])) for parts in cut]

    def _logits(self, tokens: list[list[int]]) -> list[Floats]:
        """Read windows of like length together; returns their own tokens' logits, in order."""
        made: dict[int, Floats] = {}
        pad, first = self.tokenizer.pad_token_id, len(self.before)
        self.model.eval()
        with use_threads(self.threads), torch.inference_mode():
            for batch, ids, mask in by_length(tokens, pad=pad, device=self.model.device):
                logits = self.model(input_ids=ids, attention_mask=mask).logits.float()
                for i, row in zip(batch, logits.cpu().numpy(), strict=True):
                    made[i] = row[first : len(tokens[i]) - len(self.behind)]
        return [made[i] for i in range(len(tokens))]


def load_tagger(folder: Path, *, device: str = "auto", threads: int = 0) -> Tagger:
    """Load a folder that `Tagger.save` wrote, or a token classifier with labels in that order.

    Raises:
        InputError: when the folder is missing or is no such model.
    """
    model, tokenizer = saved_tagger(folder)
    names = model.config.id2label
    types = spans.types_of([names[i] for i in range(len(names))])
    return Tagger(model.to(pick_device(device)), tokenizer, types, threads=threads)


def fit(
    examples: Sequence[Example],
    types: Sequence[str],
    settings: StudentSettings,
    *,
    epochs: int,
    seed: int,
    start: Tagger | None = None,
    on_step: OnStep | None = None,
) -> Tagger:
    """Fine-tune from the pretrained weights and return the student.

    The same arguments and the same number of CPU threads give the same weights.

    Args:
        examples: at least one, each labelled with an answer of `evokd.answers.write_spans`; an
            example given twice counts twice.
        types: the task's entity types.
        epochs: passes over the examples; more when they would be under MIN_TAGGER_STEPS steps.
        start: a student of the same types to go on from, which is changed, instead of the
            pretrained weights.
        on_step: called as (steps done, steps in all) after every step.

    Raises:
        InputError: when there are no examples with a token to learn from, an entity's type is
            not one of the types, or the pretrained weights are not found.
        IntegrityError: when a preset's weights are not the published ones.
    """
    device = pick_device(settings.device)
    generators = [device] if device.type == "cuda" else []
    with use_threads(settings.threads), torch.random.fork_rng(devices=generators):
        torch.manual_seed(seed)
        tagger = start or untrained(types, settings)
        model, pad = tagger.model, tagger.tokenizer.pad_token_id
        lessons = _lessons(tagger, examples, new=start is None)
        lengths = list(map(len, lessons.tokens))
        batches = plan_batches(
            lengths,
            settings.batch_size,
            epochs=epochs,
            seed=seed,
            steps=0 if start else MIN_TAGGER_STEPS,
        )
        with used_rows_only(model, lessons.tokens, pad=pad) as renumbered:
            rows = Rows(renumbered, lessons.goals, torch.ones(len(renumbered)))
            train(
                model, rows, batches, pad=pad, learning_rate=TAGGER_RATE * settings.learning_rate,
                on_step=on_step, losses=token_losses,
            )  # fmt: skip
    return tagger


def token_losses(logits: torch.Tensor, goals: torch.Tensor) -> torch.Tensor:
    """Return each text's loss, so that their mean is the mean over the tokens of the batch.

    Args:
        logits: [texts, tokens, tags].
        goals: the tags' numbers, [texts, any number of tokens]; IGNORED where none is to learn.
    """
    texts, tokens, tags = logits.shape
    told = torch.full((texts, tokens), spans.IGNORED, device=logits.device)
    shared = min(tokens, goals.shape[1])
    told[:, :shared] = goals[:, :shared]
    losses = torch.nn.functional.cross_entropy(
        logits.reshape(-1, tags), told.reshape(-1), reduction="none",
        ignore_index=spans.IGNORED, label_smoothing=SMOOTHING,
    )  # fmt: skip
    share = texts / (told != spans.IGNORED).sum().clamp(min=1)
    return losses.reshape(texts, tokens).sum(-1) * share


def untrained(types: Sequence[str], settings: StudentSettings) -> Tagger:
    """Return the pretrained encoder under a new random head (torch's generator is used)."""
    model, tokenizer = new_tagger(spans.tags_of(types), settings)
    model.to(pick_device(settings.device))
    return Tagger(model, tokenizer, types, threads=settings.threads)


@dataclass(frozen=True, slots=True)
class _Lessons:
    """The windows of the examples: their tokens, special ones included, and their tags, padded."""

    tokens: list[list[int]]
    goals: torch.Tensor


def _lessons(tagger: Tagger, examples: Sequence[Example], *, new: bool) -> _Lessons:
    """Return what is trained on; a new student learns here whether its entities are whole words.

    Every token is learnt once, in the window that answers for it.
    """
    encodings = tagger.encode([example.text for example in examples])
    answers = [read_spans(example.label) for example in examples]
    if new:
        setattr(tagger.model.config, spans.WHOLE_WORDS, _whole_words(examples, encodings, answers))
    tokens, goals = [], []
    for example, encoding, answer in zip(examples, encodings, answers, strict=True):
        parts = tagger.units(example.text, encoding)
        tags = spans.write_tags(parts, answer, tagger.types, tokens=len(encoding.ids))
        for part in windows(len(tags), tagger.room):
            tokens.append([*tagger.before, *encoding.ids[part.start : part.stop], *tagger.behind])
            silent = [spans.IGNORED] * (len(tagger.before) + part.first - part.start)
            goals.append(torch.tensor(silent + tags[part.first : part.last]))
    if not tokens:
        raise InputError("there are no examples to train on", "give at least one example")
    padded = torch.nn.utils.rnn.pad_sequence(goals, batch_first=True, padding_value=spans.IGNORED)
    return _Lessons(tokens, padded)


def _whole_words(
    examples: Sequence[Example], encodings: Sequence[Any], answers: Sequence[Sequence[Span]]
) -> bool:
    """Return whether nearly all entities begin and end where the tokenizer's words do."""
    whole = total = 0
    for example, encoding, answer in zip(examples, encodings, answers, strict=True):
        words = spans.units(example.text, encoding.offsets, encoding.word_ids)
        starts, ends = {word.start for word in words}, {word.end for word in words}
        whole += sum(span.start in starts and span.end in ends for span in answer)
        total += len(answer)
    return total > 0 and whole >= WHOLE * total
