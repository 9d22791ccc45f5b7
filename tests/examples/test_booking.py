"""The restaurant's host against a real server: what stands in the book, and when."""

from __future__ import annotations

from pathlib import Path

from tests.examples.restaurant import (
    AT_NINE,
    FOR_FOUR,
    FOR_TEN,
    FOR_TWO,
    WHAT,
    evening,
    is_end,
    no,
    of_action,
    outcome,
    proposed,
    proposed_in_full,
    refusal,
    speaking,
    states,
    yes,
)

# --- yes, no, and nothing at all ------------------------------------------------------


async def test_nothing_is_in_the_book_before_the_yes_and_the_booking_after(tmp_path: Path) -> None:
    async with evening(tmp_path) as (there, client):
        proposal = await proposed_in_full(client, FOR_TWO)
        assert proposal.payload["summary"] == "Book a table for 2, tonight at 20:00"
        assert proposal.payload["args"] == {"guests": 2, "day": "tonight", "time": "20:00"}
        assert there.booked == []

        answer = await yes(client, proposal)
        assert answer["result"]["action_id"] == proposal.payload["action_id"]
        committed = await outcome(client, proposal, "action.committed")
        assert there.booked == [(2, "20:00")]
        assert committed.payload["result"].startswith("table 1 on ")
        assert of_action(client, proposal) == ["proposed", "confirmed", "committing", "committed"]
        assert await states(client) == ["committed"]


async def test_the_host_speaks_on_for_two_seconds_and_a_yes_does_not_disturb_it(
    tmp_path: Path,
) -> None:
    async with evening(tmp_path, brisk=False) as (there, client):
        proposal = await proposed(client, FOR_TWO)
        await speaking(client, proposal)
        await yes(client, proposal)
        committed = await outcome(client, proposal, "action.committed")
        assert there.booked == [(2, "20:00")]
        end = await client.until("response.end", turn_id=proposal.turn_id)
        assert end.payload["status"] == "completed"
        assert end.payload["text"].endswith("you may change your mind.")
        assert committed.seq < end.seq
        assert end.at_s - proposal.at_s > 2
        tokens = [e for e in client.events if e.type == "model.token" and e.seq > committed.seq]
        assert len(tokens) > 5


async def test_edited_arguments_are_what_is_booked(tmp_path: Path) -> None:
    async with evening(tmp_path) as (there, client):
        proposal = await proposed(client, FOR_TWO)
        code, param = refusal(await yes(client, proposal, args={"guests": 40, "day": "tonight"}))
        assert code == "invalid_command"
        assert param is not None
        assert param.startswith("args")
        assert await states(client) == ["proposed"]

        edited = {"guests": 4, "day": "tomorrow", "time": "19:30"}
        await yes(client, proposal, args=edited)
        await outcome(client, proposal, "action.committed")
        confirmed = await outcome(client, proposal, "action.confirmed")
        assert confirmed.payload["args"] == edited
        assert there.booked == [(4, "19:30")]


async def test_a_no_is_final_and_books_nothing(tmp_path: Path) -> None:
    async with evening(tmp_path) as (there, client):
        proposal = await proposed(client, FOR_TWO)
        await no(client, proposal)
        await outcome(client, proposal, "action.rejected")
        assert refusal(await yes(client, proposal))[0] == "stale"
        assert of_action(client, proposal) == ["proposed", "rejected"]
        assert there.booked == []


async def test_a_second_yes_is_answered_as_the_first_and_books_nothing_more(
    tmp_path: Path,
) -> None:
    async with evening(tmp_path) as (there, client):
        proposal = await proposed(client, FOR_TWO)
        first = await yes(client, proposal)
        await outcome(client, proposal, "action.committed")
        second = await yes(client, proposal)
        assert second["result"]["action_id"] == first["result"]["action_id"]
        assert there.booked == [(2, "20:00")]


async def test_a_proposal_that_nobody_decides_expires_and_a_late_yes_books_nothing(
    tmp_path: Path,
) -> None:
    async with evening(tmp_path, BARGEIN_CONFIRM_S="0.5") as (there, client):
        proposal = await proposed(client, FOR_TWO)
        await outcome(client, proposal, "action.expired")
        assert refusal(await yes(client, proposal))[0] == "expired"
        assert of_action(client, proposal) == ["proposed", "expired"]
        assert there.booked == []


# --- interrupts -----------------------------------------------------------------------


async def test_an_interrupt_before_the_yes_takes_the_proposal_back(tmp_path: Path) -> None:
    async with evening(tmp_path, brisk=False) as (there, client):
        proposal = await proposed(client, FOR_TWO)
        await speaking(client, proposal)
        stopped = (await client.ask("interrupt"))["result"]
        assert stopped["interrupted"] is True
        rejected = await outcome(client, proposal, "action.rejected")
        requested = await client.until("cancel.requested")
        ack = await client.until("cancel.ack")
        assert rejected.payload["reason"] == "interrupted"
        assert requested.payload["in_flight"]["actions"] == [proposal.payload["action_id"]]
        assert requested.seq < rejected.seq < ack.seq
        assert refusal(await yes(client, proposal))[0] == "stale"
        assert there.booked == []


async def test_an_interrupt_in_mid_commit_lets_it_finish_and_says_so(tmp_path: Path) -> None:
    async with evening(tmp_path, brisk=False) as (there, client):
        proposal = await proposed(client, FOR_TEN)
        action_id = proposal.payload["action_id"]
        await speaking(client, proposal)
        await yes(client, proposal)
        await outcome(client, proposal, "action.committing")
        stopped = (await client.ask("interrupt"))["result"]
        assert stopped["still_committing"] == [action_id]
        assert there.booked == []
        ack = await client.until("cancel.ack")
        assert ack.payload["still_committing"] == [action_id]
        committed = await outcome(client, proposal, "action.committed")
        assert committed.seq > ack.seq
        assert there.booked == [(10, "20:00")]


async def test_words_after_the_turn_leave_its_proposal_open(tmp_path: Path) -> None:
    async with evening(tmp_path) as (there, client):
        proposal = await proposed_in_full(client, FOR_TWO)
        await client.converse("Yes, please")
        assert there.booked == []
        await yes(client, proposal)
        await outcome(client, proposal, "action.committed")
        assert there.booked == [(2, "20:00")]


# --- failure and doubt ------------------------------------------------------------------


async def test_a_full_house_fails_the_action_and_says_why(tmp_path: Path) -> None:
    async with evening(tmp_path) as (there, client):
        proposal = await proposed_in_full(client, AT_NINE)
        await yes(client, proposal)
        failed = await outcome(client, proposal, "action.failed")
        assert "fully booked at 21:00: the wine club" in failed.payload["error"]
        assert refusal(await client.ask("revert", action_id=proposal.payload["action_id"])) == (
            "stale",
            "action_id",
        )
        turn_id = await client.converse(WHAT)
        assert "wine club" in client.answer_of(turn_id)
        assert there.booked == []


async def test_one_table_is_not_given_away_twice(tmp_path: Path) -> None:
    async with evening(tmp_path) as (there, client):
        first = await proposed_in_full(client, FOR_TEN)
        second = await proposed_in_full(client, FOR_TEN)
        await yes(client, first)
        await yes(client, second)
        ends = [
            await client.until(is_end, action_id=a.payload["action_id"]) for a in (first, second)
        ]
        failed, committed = sorted(ends, key=lambda end: end.type == "action.committed")
        assert (failed.type, committed.type) == ("action.failed", "action.committed")
        assert failed.payload["error"].endswith("no table for 10 is free.")
        assert there.booked == [(10, "20:00")]


async def test_where_the_book_can_not_be_read_a_person_settles_the_doubt(tmp_path: Path) -> None:
    async with evening(tmp_path) as (there, client):
        await client.converse("What is free tonight?")
        proposal = await proposed_in_full(client, FOR_TWO)
        async with there.locked():
            await yes(client, proposal)
            await outcome(client, proposal, "action.in_doubt")
            assert await states(client) == ["in_doubt"]
            await no(client, proposal)
            await outcome(client, proposal, "action.failed")
        assert await states(client) == ["failed"]
        assert there.booked == []


async def test_a_server_killed_while_the_kitchen_is_asked_finds_out_that_nothing_was_booked(
    tmp_path: Path,
) -> None:
    async with evening(tmp_path) as (there, client):
        proposal = await proposed_in_full(client, FOR_TEN)
        await yes(client, proposal)
        await outcome(client, proposal, "action.committing")
        await there.server.kill()
        await there.server.start()
        back = await there.server.back(client)
        failed = await outcome(back, proposal, "action.failed")
        assert failed.payload["error"] == "It is not in the book."
        assert of_action(back, proposal)[-2:] == ["in_doubt", "failed"]
        assert there.booked == []


async def test_a_server_killed_after_the_proposal_still_takes_the_yes(tmp_path: Path) -> None:
    async with evening(tmp_path) as (there, client):
        proposal = await proposed_in_full(client, FOR_TWO)
        await there.server.kill()
        await there.server.start()
        back = await there.server.back(client)
        await yes(back, proposal)
        await outcome(back, proposal, "action.committed")
        assert there.booked == [(2, "20:00")]


# --- undoing ------------------------------------------------------------------------------


async def test_a_booking_is_undone_once_and_its_table_is_free_again(tmp_path: Path) -> None:
    async with evening(tmp_path) as (there, client):
        proposal = await proposed_in_full(client, FOR_TWO)
        action_id = proposal.payload["action_id"]
        assert refusal(await client.ask("revert", action_id=action_id))[0] == "stale"
        assert refusal(await client.ask("revert", action_id="act_99"))[0] == "not_found"
        await yes(client, proposal)
        await outcome(client, proposal, "action.committed")

        first = await client.ask("revert", action_id=action_id)
        reverted = await outcome(client, proposal, "action.reverted")
        assert reverted.payload["result"].endswith("is free again")
        second = await client.ask("revert", action_id=action_id)
        assert first["result"]["action_id"] == second["result"]["action_id"] == action_id
        assert of_action(client, proposal)[3:] == ["committed", "reverting", "reverted"]
        assert there.booked == []
        assert await states(client) == ["reverted"]

        again = await proposed_in_full(client, FOR_TWO)
        await yes(client, again)
        committed = await outcome(client, again, "action.committed")
        assert committed.payload["result"].startswith("table 1 on ")


# --- tools that ask nobody ----------------------------------------------------------------


async def test_a_wish_is_noted_at_once_and_can_not_be_undone(tmp_path: Path) -> None:
    async with evening(tmp_path) as (there, client):
        turn_id = await client.converse("Remember that we like the window")
        assert client.answer_of(turn_id) == "Gladly. I have noted: like the window."
        assert there.rows("SELECT wish FROM wishes") == [("like the window",)]
        proposal = await client.until("action.proposed")
        assert of_action(client, proposal) == ["proposed", "confirmed", "committing", "committed"]
        confirmed = await outcome(client, proposal, "action.confirmed")
        assert confirmed.payload["by"] == "policy"
        answer = await client.ask("revert", action_id=proposal.payload["action_id"])
        assert refusal(answer)[0] == "invalid_command"


async def test_what_is_free_is_read_from_the_book(tmp_path: Path) -> None:
    async with evening(tmp_path) as (_, client):
        proposal = await proposed_in_full(client, FOR_TWO)
        await yes(client, proposal)
        await outcome(client, proposal, "action.committed")
        turn_id = await client.converse("What is free tonight?")
        assert "table 1" not in client.answer_of(turn_id)
        assert "table 2 with 2 seats" in client.answer_of(turn_id)
        assert await states(client) == ["committed"]


# --- what the model knows, and what a person types -------------------------------------------


async def test_the_next_answer_knows_what_became_of_the_proposal(tmp_path: Path) -> None:
    async with evening(tmp_path) as (_, client):
        nothing = await client.converse(WHAT)
        assert client.answer_of(nothing).startswith("Nothing")
        proposal = await proposed_in_full(client, FOR_TWO)
        still_nothing = await client.converse(WHAT)
        assert client.answer_of(still_nothing).startswith("Nothing")
        await yes(client, proposal)
        committed = await outcome(client, proposal, "action.committed")
        told = await client.converse(WHAT)
        assert committed.payload["result"] in client.answer_of(told)


async def test_a_yes_without_an_id_takes_the_only_proposal_and_else_lists_them(
    tmp_path: Path,
) -> None:
    async with evening(tmp_path) as (there, client):
        first = await proposed_in_full(client, FOR_TWO)
        second = await proposed_in_full(client, FOR_FOUR)
        person = await there.server.attach(client.session_id, strict=False)
        await person.send_text("/yes")
        message = (await person.until("error", since=len(client.events)))["error"]["message"]
        for proposal in (first, second):
            assert f"/yes {proposal.payload['confirmation_id']}" in message
            assert proposal.payload["summary"] in message
        await person.send_text(f"/no {first.payload['confirmation_id']}")
        await outcome(client, first, "action.rejected")
        await person.send_text("/yes")
        await outcome(client, second, "action.committed")
        assert there.booked == [(4, "19:00")]
