"""Texts with entities, drawn by hypothesis: emoji, combining marks, odd white space and all."""

from __future__ import annotations

from hypothesis import strategies as st

from evokd.answers import Span, write_spans
from evokd.examples import Example

TYPES = ["city", "day"]
ODD = ["é", "e\u0301", "👩‍👧", "🇩🇪", "月", "نص", "\u200f"]
letters = st.sampled_from([*"aZ9_-.#'\"\\ \n\u00a0\u2028\x85", *ODD])
texts = st.one_of(st.text(min_size=1), st.lists(letters, min_size=1).map("".join)).map(str.strip)


@st.composite
def tagged_texts(draw: st.DrawFn) -> Example:
    """Return a text with entities that are neither empty nor over each other."""
    text = draw(texts.filter(bool))
    edges = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    spans = []
    for start, end in zip(edges[::2], edges[1::2], strict=False):
        if text[start:end] == text[start:end].strip():
            spans.append(Span(start, end, draw(st.sampled_from(TYPES))))
    return Example(text, write_spans(spans))
