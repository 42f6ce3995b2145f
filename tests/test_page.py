"""The page: one file that asks nobody else, and works in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from running import Running, serving

from serving import layout
from serving.predictor import open_predictor
from serving.routes import PAGE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
NEEDED = ("text", "form", "chips", "error", "result", "bars", "stages", "curl", "copy", "facts")


class Tags(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_page_asks_nobody_else(page: str) -> None:
    for tag, attributes in Tags(page).seen:
        assert tag not in ("iframe", "img", "object", "embed")
        for name in ("src", "href", "action"):
            address = attributes.get(name) or ""
            assert not re.match(r"(?!data:)[a-z]+:|//", address), (tag, address)
    assert "@import" not in page
    assert not re.search(r"\burl\(", page)
    assert "https://" not in page


def test_the_page_can_be_used_without_seeing_or_pointing(page: str) -> None:
    tags = Tags(page).seen
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(NEEDED) <= set(ids)
    assert {label["for"] for tag, label in tags if tag == "label"} == {"text"}
    assert dict(tags)["html"]["lang"] == "en"
    assert [a for _, a in tags if a.get("role") == "alert"]
    assert [a for _, a in tags if a.get("aria-live") == "polite"]
    assert not [tag for tag, a in tags if (a.get("tabindex") or "0") > "0"]
    assert "outline: none" not in page
    assert "prefers-color-scheme: dark" in page


def test_texts_are_never_read_as_markup(page: str) -> None:
    assert "innerHTML" not in page
    assert "insertAdjacentHTML" not in page
    assert "document.write" not in page


@pytest.fixture(scope="module")
def server(tiny_sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tiny_sealed, tmp_path_factory.mktemp("page")) as server:
        yield server


def dom(url: str, home: Path) -> str:
    """Return the page as a browser shows it once its requests are answered."""
    assert CHROMIUM
    return subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu"),
            *("--disable-background-networking", f"--user-data-dir={home}"),
            *("--virtual-time-budget=5000", "--dump-dom", url),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def part(page: str, name: str) -> str:
    """Return what a browser shows in the element of an id, up to its first closing tag."""
    found = re.search(rf'id="{name}"[^>]*>(.*?)</(?:p|pre|ul|h1|dl)>', page, re.DOTALL)
    assert found, name
    return found[1]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
def test_it_shows_labels_times_and_the_command(server: Running, tmp_path: Path) -> None:
    text = "play a song, don't <b>wait</b> 🎵"
    shown = dom(f"{server.url}/?text={quote(text)}", tmp_path)
    assert part(shown, "title") == "tiny"
    assert part(shown, "verdict") == "It says play_music."
    bars = part(shown, "bars")
    assert bars.count("<li") == 4
    assert bars.index("play_music") < bars.index("set_alarm")
    assert "asks to hear something" in bars
    for stage in ("wait", "tokenize", "model"):
        assert re.search(rf"{stage} \d+\.\d\d ms", shown)
    assert f"curl {server.url}/predict" in part(shown, "curl")
    assert "don'\\''t" in part(shown, "curl")
    assert "<b>wait" not in shown, "a text is shown and not obeyed"
    assert part(shown, "error") == ""


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
def test_an_answer_that_is_withheld_marks_no_label(tiny_sealed: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_sealed, tmp_path / "student"))
    layout.write_manifest(copy, replace(layout.read_manifest(copy), reject=0.999999))
    with serving(copy, tmp_path) as server:
        shown = dom(f"{server.url}/?text=the+of", tmp_path / "home")
    assert part(shown, "verdict").startswith("It gives no label")
    assert 'class="best"' not in part(shown, "bars")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
def test_it_says_what_is_wrong(server: Running, tmp_path: Path) -> None:
    shown = dom(f"{server.url}/?text={'a' * 10_001}", tmp_path)
    assert "400: text: String should have at most 10000 characters" in part(shown, "error")
    assert re.search(r'<section[^>]*id="result"[^>]*hidden', shown)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
def test_it_marks_entities_where_they_stand(tagger_sealed: Path, tmp_path: Path) -> None:
    text = "🎵👨‍👩‍👧 please rain <b>now</b> song"
    (said,) = open_predictor(tagger_sealed).predict([text])
    with serving(tagger_sealed, tmp_path) as server:
        shown = dom(f"{server.url}/?text={quote(text)}", tmp_path / "home")
    assert re.search(r'id="said"[^>]*>Entities<', shown)
    marked = re.search(r'id="marked"[^>]*>(.*?)</div>', shown, re.DOTALL)
    assert marked
    found = re.findall(r"<mark[^>]*>(.*?)<small>(.*?)</small></mark>", marked[1])
    assert [(unescape(words), label) for words, label in found] == [
        (one.text, one.label) for one in said.entities
    ]
    plain = unescape(re.sub(r"<small>.*?</small>|</?mark[^>]*>", "", marked[1]))
    assert plain == text, "the text is shown as it was written"
    assert part(shown, "verdict") == f"It finds {len(found)} entities."
    assert re.search(r'id="types"[^>]*>.*?music.*?sky.*?</div>', shown, re.DOTALL)
    assert "Find entities" in shown


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
def test_it_shows_which_labels_apply(labeller_sealed: Path, tmp_path: Path) -> None:
    with serving(labeller_sealed, tmp_path) as server:
        shown = dom(f"{server.url}/?text=play+rain+now", tmp_path / "one")
        none = dom(f"{server.url}/?text=please+now", tmp_path / "two")
    assert re.fullmatch(r"It says (music, sky|sky, music)\.", part(shown, "verdict"))
    bars = part(shown, "bars")
    assert bars.count('class="best"') == 2
    assert bars.count("<li") == 3
    assert bars.count("applies from") == 3
    assert part(none, "verdict") == "It says that no label applies."
