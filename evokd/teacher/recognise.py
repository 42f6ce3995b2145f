"""Find out which server answers, which model it has, and what it can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evokd.errors import TeacherError
from evokd.teacher import Message
from evokd.teacher.dialect import Dialect, Server, force_body, logprobs_of
from evokd.teacher.token_questions import prompt_question
from evokd.teacher.wire import EXAMPLE, Wire

LOADING = 9  # attempts, over a minute: llama-server answers 503 while it loads a model


async def recognise(wire: Wire, named: str) -> Dialect:
    """Find out who answers, and with which model.

    Raises:
        TeacherError: when nobody does, or the model to ask is unclear.
    """
    cards = await _cards(wire)
    card = _chosen(cards, named, wire.address.base)
    model = str(card["id"])
    root = wire.address.root
    if found := (await wire.probe(f"{root}/props")).get("build_info"):
        meta = card.get("meta") or {}
        size = " ".join(str(meta[k]) for k in ("n_params", "size") if k in meta)
        return await _settled(wire, "llama-server", model, f"{found} {size}")
    vllm = card.get("owned_by", "vllm") == "vllm"  # others have a /version too
    if vllm and (found := (await wire.probe(f"{root}/version")).get("version")):
        return await _settled(wire, "vllm", model, f"{found} {card.get('root') or ''}")
    about = (await wire.probe(f"{root}/openapi.json")).get("info", {})
    if "llama.cpp Python" in str(about.get("title")):
        return await _settled(wire, "llama-cpp-python", model, str(about.get("version")))
    return Dialect("openai", model, "", "answer")


async def _cards(wire: Wire) -> list[dict[str, Any]]:
    answer = await wire.ask(f"{wire.address.base}/models", attempts=LOADING)
    cards = answer.get("data")
    if not isinstance(cards, list):
        raise TeacherError(f"{wire.address.base}/models lists no models", EXAMPLE)
    return [card for card in cards if isinstance(card, dict) and "id" in card]


def _chosen(cards: Sequence[dict[str, Any]], named: str, base: str) -> dict[str, Any]:
    names = [str(card["id"]) for card in cards]
    if named in names:
        return cards[names.index(named)]
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    if named or not names:
        raise TeacherError(f"{base} has no model {named}".strip(), f"it has: {shown or 'none'}")
    if len(names) > 1:
        raise TeacherError(f"{base} has {len(names)} models: {shown}", f"name one: {base}#MODEL")
    return cards[0]


async def _settled(wire: Wire, server: Server, model: str, build: str) -> Dialect:
    """Try out the best way of scoring that the server may have switched off."""
    best = Dialect(server, model, build.strip(), "texts" if "python" in server else "tokens")
    hello = (Message("user", "Hello"),)
    found: object
    if best.way == "texts":
        body = force_body(best, hello, ("Hello",), top=1)
        found = logprobs_of(await wire.probe(f"{wire.address.base}/chat/completions", body))
    elif server == "vllm":
        found = (await wire.probe(*prompt_question(wire.address, best, hello))).get("tokens")
    else:
        found = (await wire.probe(*prompt_question(wire.address, best, hello))).get("prompt")
    return best if found else Dialect(server, model, best.build, "answer")
