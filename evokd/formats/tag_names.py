"""Tags that are numbers, as Hugging Face's `datasets` exports them, and the names they stand for.

The rows hold numbers alone, so the names come from a file beside them: a list of names, or the
features of the data set, as `save_to_disk` and `DatasetInfo.write_to_directory` write them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeGuard

from evokd.errors import InputError
from evokd.formats import entities

LIST = "labels.json"
FEATURES = ("dataset_info.json", "dataset_infos.json")
HINT = f'put their names beside it: {LIST}, such as ["O", "B-PER"], or the export\'s {FEATURES[0]}'
Rows = Iterable[tuple[int, dict[str, object]]]


def named(path: Path, rows: Rows) -> list[tuple[int, dict[str, object]]]:
    """Return a file's rows with names in place of numbers.

    Raises:
        InputError: where a number has no name.
    """
    made = []
    of_field: dict[str, list[str]] = {}
    for line, record in rows:
        field = entities.field_of(record)
        given = record.get(field or "")
        if field and isinstance(given, list) and any(type(tag) is int for tag in given):
            where = f'{path}, line {line}: "{field}" holds'
            if field not in of_field:
                of_field[field] = _names(path.parent, field, where)
            tags = [_name(tag, of_field[field], where) for tag in given]
            made.append((line, record | {field: tags}))
        else:
            made.append((line, record))
    return made


def _name(tag: object, names: list[str], where: str) -> object:
    if type(tag) is not int:
        return tag
    if not 0 <= tag < len(names):
        raise InputError(f"{where} {tag}, but the {len(names)} names are those of 0 on", HINT)
    return names[tag]


def _names(folder: Path, field: str, where: str) -> list[str]:
    """Return the names of a field's numbers, from the first file that tells them."""
    for file in (folder / LIST, *(folder / name for name in FEATURES)):
        if not file.is_file():
            continue
        try:
            told = json.loads(file.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as broken:
            raise InputError(f"{file}: not JSON", HINT) from broken
        lists = [told] if file.name == LIST else _told(_told([told], field), "names")
        found = {tuple(names) for names in lists if _are_names(names)}
        if len(found) > 1:
            raise InputError(f'{file}: has several lists of names for "{field}"', HINT)
        if found:
            return list(found.pop())
    raise InputError(f"{where} numbers", HINT)


def _told(values: Iterable[object], key: str) -> Iterator[object]:
    """Yield what stands under a key, however deep."""
    for value in values:
        if isinstance(value, dict):
            if key in value:
                yield value[key]
            yield from _told(value.values(), key)
        elif isinstance(value, list):
            yield from _told(value, key)


def _are_names(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
