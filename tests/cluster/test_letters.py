"""Letters come back as they were written, and nothing that comes can do any harm."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.cluster.letters import (
    TO_OWNER,
    Advanced,
    Attach,
    Counted,
    Detach,
    End,
    Followed,
    Gone,
    GuestId,
    Leave,
    Letter,
    LetterRefused,
    Lost,
    Present,
    Sent,
    Show,
    Taken,
    ToFollower,
    Watch,
    Welcome,
    body_of,
    command_in,
    decode_letter,
    encode_letter,
    kind_of,
)
from bargein.protocol.codec import decode_command
from bargein.protocol.ids import ConfirmationId, Epoch, NodeId, Seq, SessionId, TurnId
from tests.cluster.town import town, until

SESSION = SessionId("sess_1")
GUEST = GuestId("7")
LETTERS: tuple[Letter, ...] = (
    Watch(SESSION),
    Leave(SESSION),
    Attach(SESSION, GUEST, "watch", "ann", Seq(3)),
    Attach(SESSION, GUEST, "drive", "ann", Seq(3), "gold"),
    Sent(GUEST, 1, b'{"type":"ping"}', b"\x00\xff", Seq(4)),
    Taken({GUEST: Seq(9)}),
    Detach(GUEST, Seq(4)),
    Present((Followed(SESSION, Seq(8), {GUEST: 2}),)),
    Advanced(
        SESSION,
        Epoch("e"),
        Seq(9),
        (b'{"seq":9}',),
        TurnId("turn_1"),
        ((ConfirmationId("conf_1"), "Book it?"),),
    ),
    Gone(SESSION, "corrupt"),
    Welcome(GUEST),
    Show(GUEST, 2, b"{}", Seq(1), first=True),
    End(GUEST, 3, 4000, "bye", Seq(1)),
    Counted({GUEST: 5}),
    Lost(GUEST),
)

COMMANDS = (
    '{"type":"say","text":"hé","id":"a","when_busy":"rollback","heard":{"chars":3}}',
    '{"type":"interrupt","reason":"x","queue":"drop","turn_id":"turn_1"}',
    '{"type":"confirm","confirmation_id":"c","args":{"a":null,"b":[1,2.5,"z"]}}',
    '{"type":"configure","budgets":{"turn_ms":5},"on_disconnect":"grace"}',
    '{"type":"playback.progress","turn_id":"turn_1","chars":4}',
    '{"type":"projection","name":"plan"}',
    '{"type":"close"}',
)


def test_there_is_a_letter_of_each_kind() -> None:
    assert {type(letter) for letter in LETTERS} == {*TO_OWNER, *get_args(ToFollower)}


@pytest.mark.parametrize("letter", LETTERS, ids=kind_of)
def test_a_letter_comes_back_as_it_was_written(letter: Letter) -> None:
    assert decode_letter(encode_letter(letter)) == letter


@pytest.mark.parametrize("text", COMMANDS)
def test_a_command_comes_back_as_it_was_sent(text: str) -> None:
    command, _ = decode_command(text)
    assert command_in(body_of(command)) == command


@pytest.mark.parametrize("body", [b"", b"[]", b'{"type":"no"}', b'{"type":"say"}', b"\xff"])
def test_what_is_no_command_is_refused(body: bytes) -> None:
    with pytest.raises(LetterRefused):
        command_in(body)


def _read(message: bytes) -> Letter | str:
    try:
        return decode_letter(message)
    except LetterRefused as refused:
        return refused.reason


@given(st.binary(max_size=200))
def test_any_bytes_are_a_letter_or_refused(message: bytes) -> None:
    assert _read(message)


@given(st.sampled_from(LETTERS), st.data())
def test_a_letter_with_a_changed_byte_is_a_letter_or_refused(
    letter: Letter, data: st.DataObject
) -> None:
    message = bytearray(encode_letter(letter))
    place = data.draw(st.integers(0, len(message) - 1))
    message[place] = data.draw(st.integers(0, 255))
    assert _read(bytes(message))


def test_a_kind_of_a_newer_version_is_refused_by_its_name() -> None:
    with pytest.raises(LetterRefused, match="'telegram'"):
        decode_letter(msgspec.msgpack.encode(("telegram", {})))


async def test_a_server_takes_any_letter_from_anybody_and_goes_on() -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        stranger = NodeId("stranger")
        t.houses[stranger] = a
        assert a.wires.receive is not None
        for letter in LETTERS:
            a.wires.receive(stranger, encode_letter(letter))
        for message in (b"", b"\xc1", encode_letter(Watch(SESSION))[:-1]):
            a.wires.receive(b.me, message)
        reply = await caller.ask("configure", on_disconnect="cancel")
        assert reply["type"] == "reply"
        assert caller.viewer.closed is None


async def test_a_command_that_cannot_be_read_costs_its_guest_the_connection() -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        assert a.wires.receive is not None
        a.wires.receive(b.me, encode_letter(Sent(GuestId("1"), 1, b"{", b"", Seq(1))))
        assert (await caller.viewer.until_closed())[0] == 4003
        await caller.leave()
        await until(lambda: t.carried > 0)
        back = await b.attend(session_id)
        assert (await back.ask("configure", on_disconnect="cancel"))["type"] == "reply"


def test_an_attach_of_an_earlier_version_is_read_and_says_no_tier():
    body = {"session_id": SESSION, "guest": GUEST, "role": "drive", "principal": "ann"}
    letter = decode_letter(msgspec.msgpack.encode(("attach", {**body, "taken_seq": 3})))
    assert letter == Attach(SESSION, GUEST, "drive", "ann", Seq(3), "")
