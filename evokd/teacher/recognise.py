"""Find out which server answers, which model it has, and what it can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from evokd.errors import TeacherError
from evokd.teacher import Message
from evokd.teacher.address import EXAMPLE
from evokd.teacher.dialect import (
    Dialect,
    Server,
    bytes_after,
    force_body,
    logprobs_of,
    reply_body,
)
from evokd.teacher.token_questions import prompt_question
from evokd.teacher.wire import Refused, Wire

HELLO = (Message("user", "Hello"),)
TOPS = (20, 5)  # likeliest tokens that are asked for: the most that OpenAI gives, or many others
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
    props = await wire.probe(f"{root}/props")
    if found := props.get("build_info"):
        if type(slots := props.get("total_slots")) is int:
            await wire.places.at_most(slots)  # more would wait in its queue
        meta = _fields(card.get("meta"))
        size = " ".join(str(meta[k]) for k in ("n_params", "size") if k in meta)
        return await _settled(wire, "llama-server", model, f"{found} {size}")
    vllm = card.get("owned_by", "vllm") == "vllm"  # others have a /version too
    if vllm and (found := (await wire.probe(f"{root}/version")).get("version")):
        return await _settled(wire, "vllm", model, f"{found} {card.get('root') or ''}")
    about = _fields((await wire.probe(f"{root}/openapi.json")).get("info"))
    if "llama.cpp Python" in str(about.get("title")):
        await wire.places.at_most(1)  # it answers one after the other
        return await _settled(wire, "llama-cpp-python", model, str(about.get("version")))
    return await _by_chat(wire, Dialect("openai", model, "", "answer"))


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
    least = Dialect(server, model, build.strip(), "answer")
    if server == "llama-cpp-python":
        body = force_body(least, HELLO, ("Hello",), top=1)
        answer = await wire.probe(f"{wire.address.base}/chat/completions", body)
        return replace(least, way="texts") if logprobs_of(answer) else least
    told = await wire.probe(*prompt_question(wire.address, least, HELLO))
    if told.get("tokens" if server == "vllm" else "prompt"):
        return replace(least, way="tokens")
    return await _by_chat(wire, least)


async def _by_chat(wire: Wire, least: Dialect) -> Dialect:
    """Try out whether a chat answer tells the likeliest tokens, and how many.

    Raises:
        TeacherError: when it does not answer at all: a key is missing, or too much is asked.
    """
    for top in TOPS:
        dialect = replace(least, way="reply", top=top)
        body = reply_body(dialect, HELLO, ("Hello",))
        try:
            answer = await wire.ask(f"{wire.address.base}/chat/completions", body)
        except Refused:  # so many, or any
            continue
        places = bytes_after(answer)
        return dialect if any(len(likeliest) > 1 for _, likeliest in places) else least
    return least


def _fields(told: object) -> dict[str, Any]:
    return told if isinstance(told, dict) else {}
