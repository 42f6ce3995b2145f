"""Other wordings of the seed examples: AugGPT (arXiv 2302.13007), also EvoKD's +Init."""

from __future__ import annotations

from collections import Counter

from evokd import prompts, replies
from evokd.answers import names_in
from evokd.arms.cover import COVER_TEXTS, MOST
from evokd.arms.view import Proposal, Proposed, View
from evokd.teacher import Generate, grammar


def paraphrased(view: View) -> Proposed:
    """Say every planned seed example in other ways. Its label is theirs, never checked.

    Entities move in another wording: of a NER task the teacher labels the paraphrases.
    """
    asked = paraphrase_requests(view)  # a seed is said again as a whole, or not at all
    kind = view.task.kind
    with view.writing(labelled=kind == "ner"):
        said = view.ask("paraphrase", lambda _: asked, "saying the seeds in other ways")
    texts: list[Proposal] = []
    rejects: Counter[str] = Counter()
    for (_, answer), (key, _, reply) in zip(view.plan.get("paraphrases", ()), said, strict=True):
        parsed = replies.parse_list(reply, MOST)
        rejects.update(replies.refusals(parsed))
        source = next(iter(names_in(answer, kind)), "")
        label = None if kind == "ner" else answer
        texts += [Proposal(text, "paraphrase", key, source, label) for _, text in parsed.texts]
    return Proposed(tuple(texts), rejects=dict(rejects))


def paraphrase_requests(view: View) -> list[Generate]:
    """Return a request for every planned (text, answer); the same one twice gets two seeds."""
    task, shape = view.task, grammar.texts(MOST)
    return [
        view.sampling(
            prompts.ask_paraphrases(
                task.domain, task.labels, text, count=COVER_TEXTS, kind=task.kind
            ),
            "paraphrase", n, grammar=shape,
        )
        for n, (text, _) in enumerate(view.plan.get("paraphrases", ()))
    ]  # fmt: skip
