from __future__ import annotations

import math
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bargein.protocol.events import Object, RetrieveResult, RetrieveStart
from bargein.tools import retrieval
from bargein.tools.passages import (
    MOST_FILE_BYTES,
    MOST_PASSAGE_CHARS,
    Passage,
    documents_in,
    passages_of,
)
from bargein.tools.retrieval import Document, Found, Library, LibraryUnusable
from bargein.tools.running import Workbench
from tests.tools.notes import KeptNotes, context

FUNDS = (
    Document("Expense ratios", "The expense ratio is what a fund costs in a year.", "fees.md"),
    Document("Dividends", "A dividend is paid out of earnings. Funds may keep it.", "dividends.md"),
    Document(
        "Taxes", "Taxes are due on dividends and on gains. Ratios matter little.", "tax/us.md"
    ),
)


@pytest.fixture
def library() -> Iterator[Library]:
    made = Library.of(FUNDS)
    yield made
    made.close()


# --- passages -----------------------------------------------------------------------------------


def test_a_document_is_cut_at_its_headings():
    text = "Before.\n\n# Fees\nOne.\n\n## Yearly ##\nTwo.\n\n# Taxes\nThree.\n#nothing\n"
    assert list(passages_of(text)) == [
        Passage("", "Before."),
        Passage("Fees", "One."),
        Passage("Fees > Yearly", "Two."),
        Passage("Taxes", "Three.\n#nothing"),
    ]


@pytest.mark.parametrize(("fence", "other"), [("```", "~~~"), ("~~~", "```")])
def test_a_comment_in_code_is_no_heading(fence: str, other: str):
    text = f"# Run\n{fence}sh\n# start\n{other}\n# still code\nmake\n{fence}\n# Stop\nNow."
    assert [passage.heading for passage in passages_of(text)] == ["Run", "Stop"]


def test_short_paragraphs_are_gathered_and_long_ones_are_cut_at_sentences():
    sentence = f"{'word ' * 30}end."
    text = "\n\n".join(["Short.", "Also short.", " ".join([sentence] * 20)])
    passages = [passage.text for passage in passages_of(text)]
    assert passages[0].startswith("Short.\n\nAlso short.")
    assert all(len(passage) <= MOST_PASSAGE_CHARS for passage in passages)
    assert all(passage.endswith("end.") for passage in passages[1:])
    assert " ".join(" ".join(passages).split()) == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "end"),
    [("a" * 3000, "a"), ("a, " * 1000, "a,"), (f"{'b' * 700}. {'c ' * 900}", "c")],
)
def test_text_without_sentences_is_cut_at_words_or_anywhere(text: str, end: str):
    first, *_ = (passage.text for passage in passages_of(text))
    assert MOST_PASSAGE_CHARS // 2 <= len(first) <= MOST_PASSAGE_CHARS
    assert first.endswith((end, "."))


@given(st.text(st.sampled_from("ab.\n "), max_size=400).map(lambda text: text * 20))
def test_no_word_is_lost_or_told_twice(text: str):
    kept = "".join(passage.text for passage in passages_of(text))
    assert "".join(kept.split()) == "".join(text.split())


@given(st.text(st.sampled_from("ab .\n#`~"), max_size=400).map(lambda text: text * 20))
def test_no_passage_is_empty_or_too_long(text: str):
    assert all(0 < len(passage.text) <= MOST_PASSAGE_CHARS for passage in passages_of(text))


# --- folders ------------------------------------------------------------------------------------


def test_the_text_files_of_a_folder_are_its_documents(tmp_path: Path):
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "b.md").write_text("\n# Fees\nText.", "utf-8")
    (folder / "sub" / "a.TXT").write_bytes(b"\xef\xbb\xbfplain \xff")
    (folder / "c.markdown").write_text("", "utf-8")
    (folder / "code.py").write_text("x", "utf-8")
    (folder / ".git" / "x.md").write_text("x", "utf-8")
    (folder / "dir.md").mkdir()
    with (folder / "long.md").open("wb") as long:
        long.truncate(MOST_FILE_BYTES + 1)
    (tmp_path / "secret.md").write_text("secret", "utf-8")
    (folder / "out.md").symlink_to(tmp_path / "secret.md")
    with capture_logs() as logs:
        found = list(documents_in(folder))
    assert found == [
        Document("Fees", "\n# Fees\nText.", "b.md"),
        Document("c", "", "c.markdown"),
        Document("a", "plain \ufffd", "sub/a.TXT"),
    ]
    assert [entry["file"] for entry in logs] == ["long.md", "out.md"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        Library.of_folder(tmp_path / "none")


def test_a_folder_becomes_a_library(tmp_path: Path):
    (tmp_path / "fees.md").write_text("# Fees\n\n## Yearly\nThe expense ratio.", "utf-8")
    (found,) = Library.of_folder(tmp_path).search("expense")
    assert (found.title, found.heading, found.source) == ("Fees", "Fees > Yearly", "fees.md")


# --- search -------------------------------------------------------------------------------------


def test_the_passage_that_fits_best_comes_first(library: Library):
    found = library.search("expense ratio of a year")
    assert found[0].title == "Expense ratios"
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    assert len(found) > 1
    assert "expense ratio" in found[0].snippet


def test_a_word_in_a_title_weighs_more_than_one_in_the_text(library: Library):
    assert library.search("dividends")[0].title == "Dividends"


def test_a_snippet_is_around_the_words():
    text = f"{'before ' * 60}needle {'after ' * 60}"
    (found,) = Library.of([Document("Hay", text, "hay.txt")]).search("needle")
    assert "needle" in found.snippet
    assert len(found.snippet) < len(found.text) / 2
    assert found.snippet.startswith("…")


def test_words_are_found_in_other_forms_cases_and_accents():
    library = Library.of([Document("Rés", "He was TRADING in Zürich.", "x")])
    for query in ("trade", "Trades", "zurich", "res"):
        assert len(library.search(query)) == 1, query


def test_no_more_than_asked_for_is_found(library: Library):
    assert len(library.search("a fund dividend ratio taxes", 2)) == 2


@pytest.mark.parametrize("limit", [0, 21, -1])
def test_a_limit_out_of_range_is_refused(library: Library, limit: int):
    with pytest.raises(ValueError, match="from 1 to 20"):
        library.search("fund", limit)


@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        '"',
        '"fund',
        "fund*",
        "title:fund",
        "NEAR(fund year, 5)",
        "fund AND",
        "OR NOT NEAR",
        "(fund",
        "fund -year",
        "^fund",
        "{title text}: fund",
        "'; DROP TABLE passages; --",
        "\0fund",
        "\ud800 fund",
        "_",
        "💥",
        "fund " * 5000,
        "x" * 100_000,
    ],
)
def test_no_text_is_bad_syntax(library: Library, query: str):
    found = library.search(query)
    assert bool(found) == ("fund" in query)


@given(st.text(st.characters() | st.sampled_from('"*:^(){}-+ \0')))
def test_no_text_at_all_is_bad_syntax(query: str):
    assert isinstance(_SHARED.search(query), tuple)


_SHARED = Library.of(FUNDS)


def test_texts_with_odd_characters_are_kept():
    library = Library.of([Document("a\0b", "needle \ud800\0 hay", "s\ud800")])
    (found,) = library.search("needle")
    assert (found.title, found.text, found.source) == ("a b", "needle ?  hay", "s?")


def test_an_empty_library_finds_nothing():
    assert Library.of([]).search("fund") == ()


# --- files --------------------------------------------------------------------------------------


def test_a_library_in_a_file_is_there_again_and_private(tmp_path: Path):
    path = tmp_path / "kb ?#%.sqlite3"
    Library.of(FUNDS, path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Library.at(path)
    assert [each.title for each in again.search("expense")] == ["Expense ratios"]
    again.close()


def test_a_library_that_is_built_again_replaces_the_old_one_at_once(tmp_path: Path):
    path = tmp_path / "kb.sqlite3"
    Library.of(FUNDS, path).close()
    reader = Library.at(path)

    def documents() -> Iterator[Document]:
        yield Document("New", "New text", "new")
        # The other one still sees all of the old while the new is being written.
        assert len(reader.search("expense")) == 1

    Library.of(documents(), path).close()
    assert reader.search("expense") == ()
    assert len(reader.search("new")) == 1
    reader.close()


def test_a_build_that_fails_leaves_the_old_library(tmp_path: Path):
    path = tmp_path / "kb.sqlite3"
    Library.of(FUNDS, path).close()

    def documents() -> Iterator[Document]:
        yield Document("New", "New text", "new")
        raise RuntimeError("the source is gone")

    with pytest.raises(RuntimeError):
        Library.of(documents(), path)
    assert len(Library.at(path).search("expense")) == 1


def test_a_database_of_something_else_is_left_alone(tmp_path: Path):
    path = tmp_path / "other.sqlite3"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE passages (x)")
    other.commit()
    other.close()
    with pytest.raises(LibraryUnusable, match="database of something else") as refused:
        Library.of(FUNDS, path)
    assert refused.value.path == path
    with pytest.raises(LibraryUnusable, match="database of something else"):
        Library.at(path)


@pytest.mark.parametrize("content", [b"no database at all, and long enough to be looked at" * 99])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    for build in (lambda: Library.of(FUNDS, path), lambda: Library.at(path)):
        with pytest.raises(LibraryUnusable, match="not a database"):
            build()
    assert path.read_bytes() == content


def test_a_library_that_was_never_built_can_t_be_opened(tmp_path: Path):
    with pytest.raises(LibraryUnusable, match="unable to open"):
        Library.at(tmp_path / "none.sqlite3")
    with pytest.raises(LibraryUnusable, match=r"Is a directory|unable to open"):
        Library.of(FUNDS, tmp_path)


def test_a_closed_library_says_so():
    library = Library.of(FUNDS)
    library.close()
    with pytest.raises(
        LibraryUnusable, match="in memory can't be used: Cannot operate on a closed"
    ):
        library.search("fund")


def test_a_search_that_takes_too_long_is_interrupted(monkeypatch: pytest.MonkeyPatch):
    library = Library.of(Document(str(n), "fund " * 200, "x") for n in range(300))
    monkeypatch.setattr(retrieval, "SEARCH_LIMIT_S", 0.000_001)
    with pytest.raises(LibraryUnusable, match="interrupted"):
        library.search("fund")
    monkeypatch.setattr(retrieval, "SEARCH_LIMIT_S", 5.0)
    assert len(library.search("fund")) == 5


def test_a_search_does_not_wait_for_ever_behind_another(monkeypatch: pytest.MonkeyPatch):
    library = Library.of(FUNDS)
    monkeypatch.setattr(retrieval, "SEARCH_LIMIT_S", 0.01)
    with library._turn, pytest.raises(LibraryUnusable, match="other searches take too long"):  # pyright: ignore[reportPrivateUsage]
        library.search("fund")


# --- the tool -----------------------------------------------------------------------------------


async def test_the_tool_numbers_passages_and_notes_its_sources(library: Library):
    made, notes = library.tool("handbook", "Search the handbook."), KeptNotes()
    assert (made.name, made.description) == ("handbook", "Search the handbook.")
    assert (made.effect, made.in_thread) == ("read", True)
    output = await Workbench().run(made, {"query": "expense ratio", "limit": 2}, context(notes))
    assert output.status == "ok"
    assert output.text == (
        "[1] Expense ratios (fees.md)\nThe expense ratio is what a fund costs in a year.\n\n"
        "[2] Taxes (tax/us.md)\nTaxes are due on dividends and on gains. Ratios matter little."
    )
    start, result, citations = notes.noted
    assert start == RetrieveStart("expense ratio")
    assert isinstance(result, RetrieveResult)
    assert [source["source"] for source in result.sources] == ["fees.md", "tax/us.md"]
    assert isinstance(citations, Object)
    assert citations.kind == "citations"
    assert citations.data[0] == {
        "n": 1,
        "title": "Expense ratios",
        "heading": "",
        "source": "fees.md",
        "snippet": "The expense ratio is what a fund costs in a year.",
    }


async def test_the_tool_says_where_in_a_document_a_passage_is():
    library = Library.of(
        [
            Document("Fees", "# Fees\n## Yearly\nThe expense ratio.", "a.md"),
            Document("Costs", "# Other\nAn expense.", "b.md"),
        ]
    )
    output = await Workbench().run(library.tool("kb", ""), {"query": "expense"}, context())
    assert "] Fees > Yearly (a.md)\n" in output.text
    assert "] Costs > Other (b.md)\n" in output.text


async def test_the_tool_says_when_it_finds_nothing(library: Library):
    notes = KeptNotes()
    output = await Workbench().run(library.tool("kb", ""), {"query": "zebra"}, context(notes))
    assert (output.status, output.text) == (
        "ok",
        "No passage has any of these words; try others.",
    )
    assert notes.noted == [RetrieveStart("zebra"), RetrieveResult(())]


@pytest.mark.parametrize(
    "args", [{}, {"query": ""}, {"query": "a" * 1001}, {"query": "a", "limit": 99}]
)
async def test_the_tool_refuses_what_makes_no_sense(library: Library, args: dict[str, Any]):
    assert (await Workbench().run(library.tool("kb", ""), args, context())).status == "error"


async def test_a_library_that_fails_is_a_failed_call_and_each_start_has_its_result():
    library, notes = Library.of(FUNDS), KeptNotes()
    library.close()
    with capture_logs() as logs:
        output = await Workbench().run(library.tool("kb", ""), {"query": "fund"}, context(notes))
    assert output.status == "error"
    assert output.text == "The documents can't be searched now; try again later."
    assert notes.noted == [RetrieveStart("fund"), RetrieveResult(())]
    assert logs[0]["event"] == "library.search_failed"


async def test_a_search_never_blocks_the_loop(library: Library):
    made, bench = library.tool("kb", ""), Workbench()
    outputs: list[str] = []

    async def call() -> None:
        outputs.append((await bench.run(made, {"query": "fund"}, context())).status)

    held: threading.Lock = library._turn  # pyright: ignore[reportPrivateUsage]
    held.acquire()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        for _ in range(100):  # the loop turns while the search waits in its thread
            await trio.lowlevel.checkpoint()
        assert outputs == []
        held.release()
    assert outputs == ["ok"]


async def test_many_threads_may_search_at_once(library: Library):
    found: list[tuple[Found, ...]] = []

    async def look() -> None:
        found.append(await trio.to_thread.run_sync(library.search, "fund"))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(look)
    assert len(found) == 20
    assert len(set(found)) == 1
    assert all(math.isfinite(each.score) for each in found[0])
