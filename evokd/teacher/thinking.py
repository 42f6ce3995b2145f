"""Models that think before they answer: see it in the template, end it, and cut it off a reply.

Where a template can switch thinking off, `chat.render` does so and nothing here is needed. The
others get a thinking part: whoever samples bounds its tokens (`thinking` tells whether a reply is
still in it), the reply is stripped of it, and for scoring it is closed before it begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from evokd.teacher import Message
from evokd.teacher.chat import render


@dataclass(frozen=True, slots=True)
class Tags:
    """What a model writes around its thoughts."""

    opening: str
    closing: str


KNOWN = (
    *(Tags(f"<{name}>", f"</{name}>") for name in ("think", "thinking", "thought", "seed:think")),
    Tags("[THINK]", "[/THINK]"),
)
CHANNEL, TURN = "<|channel|>", "<|start|>assistant"
FINAL = "<|channel|>final<|message|>"  # gpt-oss: behind it comes the answer, without an analysis
EMPTY = "\n\n"  # what Qwen puts between the tags, and behind them, where there are no thoughts


@lru_cache(maxsize=8)
def thinks(template: str) -> Tags | None:
    """Return the tags of a model that may think although it was asked not to, else None.

    That is so where the prompt ends within an opened thinking part, and where the template knows
    the tags and has no switch: then the model opens the part by itself, if it is of that kind.

    Raises:
        TeacherError: as `chat.render` does.
    """
    tags = next((t for t in KNOWN if t.opening in template or t.closing in template), None)
    if tags is None:
        return None
    off = _prompt(template, on=False)
    if opens(off, tags):
        return tags
    if tags.closing in off or off != _prompt(template, on=True):
        return None
    return tags


def opens(prompt: str, tags: Tags) -> bool:
    """Return whether a rendered prompt ends right behind the opening tag."""
    return prompt.rstrip().endswith(tags.opening)


def thinking(reply: str, tags: Tags, *, opened: bool) -> bool:
    """Return whether a reply, as far as it goes, is still in its thinking part.

    Args:
        reply: the text so far.
        tags: of the model.
        opened: the prompt `opens` the part already.
    """
    return (opened or reply.lstrip().startswith(tags.opening)) and tags.closing not in reply


def strip_thinking(reply: str, tags: Tags, *, opened: bool) -> str:
    """Return a reply without the thinking part at its beginning; one that never ends leaves "".

    Args:
        reply: the whole text.
        tags: of the model.
        opened: the prompt `opens` the part already.
    """
    if not opened and not reply.lstrip().startswith(tags.opening):
        return reply
    _, _, answer = reply.partition(tags.closing)
    return strip_thinking(answer.lstrip(), tags, opened=False)


def final_channel(prompt: str, template: str) -> str:
    """Return a prompt behind which the answer itself comes, of a model that writes in channels."""
    return prompt + FINAL if CHANNEL in template and prompt.endswith(TURN) else prompt


def was_opened(reply: str, tags: Tags) -> bool:
    """Return whether a reply ends a thinking part that its prompt, unseen, must have opened."""
    before, closing, _ = reply.partition(tags.closing)
    return bool(closing) and tags.opening not in before


def close_thinking(prompt: str, tags: Tags | None) -> str:
    """Return a prompt behind which the answer itself comes, by an empty thinking part."""
    if tags is None:
        return prompt
    start = prompt.rstrip() if opens(prompt, tags) else prompt + tags.opening
    return start + EMPTY + tags.closing + EMPTY


def _prompt(template: str, *, on: bool) -> str:
    flags = {"enable_thinking": on, "thinking": on, "thinking_budget": 512 if on else 0}
    hello = (Message("user", "hello"),)
    return render(template, hello, add_generation_prompt=True, bos="", eos="", **flags)
