"""What every memory promises, held against each adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from bargein.memory.errors import FactRefused, FactsUnavailable
from bargein.memory.facts import (
    MOST_CHANGES,
    MOST_FACTS,
    MOST_KEY_CHARS,
    MOST_TEXT_CHARS,
    Erased,
    FactBook,
    Owner,
)
from tests.memory.facts import (
    ANN,
    ANN_AT_WORK,
    BOB,
    Opener,
    forget,
    opener,
    opener_on,
    running,
    save,
    source,
    texts,
    undo,
)


@pytest.fixture(params=["sqlite", "volatile", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    if request.param == "redis":
        return opener_on(request.getfixturevalue("redis"))
    return opener(request.param, tmp_path / "facts.sqlite3")


async def test_nothing_is_remembered_of_somebody_new(opened: Opener):
    facts = opened()
    async with running(facts):
        assert await facts.of(ANN) == ()
        assert await facts.changes(ANN) == ()
        assert await facts.outcome(ANN, "k") is None
        assert await facts.erase(ANN) == Erased(0, 0)


async def test_what_was_saved_is_there_with_its_source_when_the_memory_is_opened_again(
    opened: Opener,
):
    first = opened()
    async with running(first):
        change = await first.change(ANN, save("diet", "vegetarian", "k1"))
    again = opened()
    async with running(again):
        (fact,) = await again.of(ANN)
        assert await again.outcome(ANN, "k1") == change
    assert (fact.key, fact.text, fact.source) == ("diet", "vegetarian", source("k1"))
    assert change.after == fact
    assert change.before is None


async def test_facts_are_listed_by_key(opened: Opener):
    facts = opened()
    async with running(facts):
        for key in ("b", "a", "c"):
            await facts.change(ANN, save(key, key))
        assert [fact.key for fact in await facts.of(ANN)] == ["a", "b", "c"]


async def test_a_key_has_one_text_the_latest(opened: Opener):
    facts = opened()
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian"))
        change = await facts.change(ANN, save("diet", "vegan"))
        assert await texts(facts, ANN) == {"diet": "vegan"}
    assert change.before is not None
    assert change.before.text == "vegetarian"


async def test_the_same_key_of_an_action_changes_the_memory_once(opened: Opener):
    facts = opened()
    async with running(facts):
        first = await facts.change(ANN, save("diet", "vegetarian", "k1"))
        await facts.change(ANN, save("diet", "vegan", "k2"))
        assert await facts.change(ANN, save("diet", "vegetarian", "k1")) == first
        assert await texts(facts, ANN) == {"diet": "vegan"}


async def test_what_was_forgotten_is_gone(opened: Opener):
    facts = opened()
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian"))
        change = await facts.change(ANN, forget("diet"))
        assert await facts.of(ANN) == ()
    assert change.after is None


async def test_what_is_not_remembered_can_t_be_forgotten(opened: Opener):
    facts = opened()
    async with running(facts):
        with pytest.raises(FactRefused, match="Nothing is remembered under 'diet'"):
            await facts.change(ANN, forget("diet", "k1"))
        assert await facts.outcome(ANN, "k1") is None


# --- undoing ------------------------------------------------------------------------------------


async def test_undoing_a_save_brings_back_what_was_there(opened: Opener):
    facts = opened()
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian", "k1"))
        (before,) = await facts.of(ANN)
        await facts.change(ANN, save("diet", "vegan", "k2"))
        change = await facts.change(ANN, undo("k2"))
        assert await facts.of(ANN) == (before,)
        assert await facts.outcome(ANN, "k2:revert") == change


async def test_undoing_the_first_save_leaves_nothing(opened: Opener):
    facts = opened()
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian", "k1"))
        await facts.change(ANN, undo("k1"))
        assert await facts.of(ANN) == ()


async def test_undoing_a_forget_remembers_again(opened: Opener):
    facts = opened()
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian"))
        before = await facts.of(ANN)
        await facts.change(ANN, forget("diet", "k2"))
        await facts.change(ANN, undo("k2"))
        assert await facts.of(ANN) == before


async def test_what_has_changed_since_is_not_undone(opened: Opener):
    facts = opened()
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian", "k1"))
        await facts.change(ANN, save("diet", "vegan", "k2"))
        with pytest.raises(FactRefused, match="has changed since"):
            await facts.change(ANN, undo("k1"))
        assert await texts(facts, ANN) == {"diet": "vegan"}


async def test_a_change_that_is_not_kept_is_not_undone(opened: Opener):
    facts = opened()
    async with running(facts):
        with pytest.raises(FactRefused, match="too long ago"):
            await facts.change(ANN, undo("k1"))


async def test_somebody_else_s_change_is_not_undone(opened: Opener):
    facts = opened()
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian", "k1"))
        with pytest.raises(FactRefused, match="too long ago"):
            await facts.change(BOB, undo("k1"))
        assert await texts(facts, ANN) == {"diet": "vegetarian"}


# --- whose it is --------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [BOB, ANN_AT_WORK, Owner("ann", ""), Owner("", "ann")])
async def test_two_owners_share_nothing(opened: Opener, other: Owner):
    facts = opened()
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian", "k1"))
        assert await facts.of(other) == ()
        assert await facts.outcome(other, "k1") is None
        assert await facts.changes(other) == ()
        await facts.change(other, save("diet", "carnivore", "k1"))
        assert await facts.erase(other) == Erased(1, 1)
        assert await texts(facts, ANN) == {"diet": "vegetarian"}


async def test_no_name_of_an_owner_reaches_another(opened: Opener):
    names = ["ann", 'ann",null]', '["ann",null]', "ann%", "ann' OR 1=1 --", "ann\0", "Ann"]
    facts = opened()
    async with running(facts):
        for name in names:
            await facts.change(Owner(name), save("name", name[:3]))
        for name in names:
            (fact,) = await facts.of(Owner(name))
            assert fact.text == name[:3]


async def test_a_book_reads_and_writes_the_memory_of_its_owner(opened: Opener):
    facts = opened()
    async with running(facts):
        book = FactBook(facts, ANN)
        await book.save("diet", "vegetarian", source("k1"))
        await facts.change(BOB, save("diet", "carnivore"))
        assert [fact.text for fact in await book.facts()] == ["vegetarian"]
        assert await book.outcome("k1") is not None
        await book.undo("k1", source("k1:revert"))
        assert await book.facts() == ()
        await book.save("diet", "vegan", source("k2"))
        await book.forget("diet", source("k3"))
        assert await book.facts() == ()
        assert await texts(facts, BOB) == {"diet": "carnivore"}


# --- bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "a b", "-a", "ä", "a\n", "x" * (MOST_KEY_CHARS + 1), "a\0b"])
async def test_a_key_that_is_none_is_refused(opened: Opener, key: str):
    with pytest.raises(FactRefused, match="A key has 1 to 64"):
        save(key, "text")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no text"),
        (" \n\t ", "no text"),
        ("x" * (MOST_TEXT_CHARS + 1), "has 501 characters; 500 are the most"),
        ("half \ud800", "half a character"),
    ],
)
async def test_a_text_that_can_t_be_kept_is_refused(opened: Opener, text: str, why: str):
    with pytest.raises(FactRefused, match=why):
        save("key", text)


async def test_text_and_key_may_be_as_long_as_is_said(opened: Opener):
    facts = opened()
    key, text = "k" * MOST_KEY_CHARS, "ü" * MOST_TEXT_CHARS
    async with running(facts):
        await facts.change(ANN, save(key, text, "k1"))
        assert await texts(facts, ANN) == {key: text}


async def test_a_full_memory_takes_no_new_key_and_still_changes_and_forgets(opened: Opener):
    facts = opened()
    async with running(facts):
        for number in range(MOST_FACTS):
            await facts.change(ANN, save(f"fact_{number}", "x"))
        with pytest.raises(FactRefused, match="200 facts are remembered"):
            await facts.change(ANN, save("one_more", "x"))
        await facts.change(ANN, save("fact_0", "y"))
        await facts.change(ANN, forget("fact_1", "k1"))
        await facts.change(ANN, save("one_more", "x"))
        with pytest.raises(FactRefused, match="200 facts are remembered"):
            await facts.change(ANN, undo("k1"))
        assert len(await facts.of(ANN)) == MOST_FACTS
        await facts.change(BOB, save("diet", "carnivore"))


async def test_changes_are_kept_up_to_a_bound_and_older_ones_are_not_denied(opened: Opener):
    facts = opened()
    async with running(facts):
        for number in range(MOST_CHANGES):
            await facts.change(ANN, save("diet", str(number), f"k{number}"))
        assert await facts.outcome(ANN, "never") is None
        await facts.change(ANN, save("diet", "last", "last"))
        kept = await facts.changes(ANN)
        assert len(kept) == MOST_CHANGES
        assert kept[0].source.done_key == "k1"
        with pytest.raises(FactsUnavailable, match="older changes are not kept"):
            await facts.outcome(ANN, "k0")
        assert await facts.outcome(ANN, "k1") == kept[0]
        assert await facts.outcome(BOB, "k0") is None


# --- erasing ------------------------------------------------------------------------------------


async def test_erasing_leaves_neither_facts_nor_what_could_bring_them_back(opened: Opener):
    facts = opened()
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian", "k1"))
        await facts.change(ANN, save("home", "Delft", "k2"))
        await facts.change(ANN, forget("home", "k3"))
        assert await facts.erase(ANN) == Erased(1, 3)
        assert await facts.of(ANN) == ()
        assert await facts.changes(ANN) == ()
        with pytest.raises(FactRefused, match="erased"):
            await facts.change(ANN, undo("k3"))


async def test_erasing_one_key_leaves_the_others(opened: Opener):
    facts = opened()
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian", "k1"))
        await facts.change(ANN, save("diet", "vegan", "k2"))
        await facts.change(ANN, save("home", "Delft", "k3"))
        assert await facts.erase(ANN, "diet") == Erased(1, 2)
        assert await texts(facts, ANN) == {"home": "Delft"}
        assert [change.key for change in await facts.changes(ANN)] == ["home"]
