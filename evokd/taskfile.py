"""A task file as YAML: read, changed by `--set`, and what is wrong with it in words."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from evokd.errors import InputError


class Wrong(yaml.MarkedYAMLError):
    """YAML that is read, and loses something."""


class Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, and joins halves of characters, which JSON may write."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return a mapping as it is written, each key of which is there once."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise Wrong(problem=f"{key.value} is given twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """Return a value; a text holds whole characters alone."""
        made = super().construct_scalar(node)
        try:
            return made.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise Wrong(problem="half a character", problem_mark=node.start_mark) from None


def parsed(text: str, source: str) -> Any:
    """Read YAML; InputError names its source and, where it is known, the line."""
    try:
        return yaml.load(text, Loader)
    except (
        yaml.YAMLError, ValueError, RecursionError,  # ValueError: 2024-13-32
        KeyError, AttributeError,  # !!bool soon, !!timestamp x
    ) as broken:  # fmt: skip
        where = getattr(broken, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        if isinstance(broken, Wrong):
            raise InputError(
                f"{source}{line}: {broken.problem}", "give it once, as a whole"
            ) from None
        hint = "a value with a colon and a blank in it goes in quotes; `evokd init` writes a sample"
        raise InputError(f"{source}{line}: not YAML", hint) from broken


def apply(given: dict[str, Any], change: str) -> None:
    """Set one dotted key; whether key and value fit is for the validation to say."""
    name, equals, value = change.partition("=")
    *groups, last = name.strip().split(".")
    if not equals or not last:
        raise InputError(f"--set {change}: not KEY=VALUE", "for example: --set loop.rounds=3")
    for group in groups:
        if not isinstance(given.setdefault(group, {}), dict):
            raise InputError(f"--set {change}: {group} is no group of settings")
        given = given[group]
    given[last] = parsed(value, f"--set {change}")


def explained(source: str, invalid: ValidationError, model: type[BaseModel]) -> InputError:
    """Turn pydantic's first complaint into one line, which begins with its source, and a hint.

    Args:
        model: what was to be made, whose keys are told.
    """
    # A misspelt key is also a missing one; the spelling is what helps.
    first = min(invalid.errors(), key=lambda error: error["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"] if part != "[key]")
    if first["type"] == "extra_forbidden":
        known = ", ".join(_fields(model, first["loc"][:-1]))
        return InputError(f"{source}: unknown key {where}", f"known keys here: {known}")
    if first["type"] == "missing":
        return InputError(f"{source}: {where} is missing", "see `evokd init` for a sample")
    if first["type"] in ("dict_type", "model_type"):
        inside = "each label: its definition" if where == "labels" else "its settings"
        return InputError(f"{source}: {where}: not a group", f"write {inside}, one a line below it")
    # What is wrong with several fields together is no field's.
    parts = [source, where, first["msg"].removeprefix("Value error, ")]
    return InputError(": ".join(filter(None, parts)), "see `evokd init --schema` for what fits")


def _fields(model: type[BaseModel], where: tuple[int | str, ...]) -> list[str]:
    for part in where:
        inner = model.model_fields[str(part)].annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return list(model.model_fields)
