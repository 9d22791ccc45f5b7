from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from bargein.models.client import (
    INTERRUPTED,
    Completion,
    ContextOverflow,
    Message,
    ModelError,
    ModelFailed,
    ModelOverloaded,
    ModelRefused,
    ModelRequest,
    ModelTimeout,
    ModelUnauthorized,
    ModelUnreachable,
    StreamTruncated,
    Text,
    ToolOutcome,
    Usage,
)
from bargein.models.screenplay import default_screenplay, screenplay_from
from bargein.models.scripted import QUOTE_LIMIT_CHARS, ScriptedModel
from bargein.protocol.ids import CallId
from tests.models.ears import Ears, asking


class TimedEars(Ears):
    """Ears that note when: (milliseconds, text, deltas)."""

    def __init__(self) -> None:
        super().__init__()
        self.script: list[tuple[int, str, int]] = []

    def heard(self, text: str, deltas: int) -> None:
        super().heard(text, deltas)
        self.script.append((round(trio.current_time() * 1000), text, deltas))


def playing(scenes: str) -> ScriptedModel:
    return ScriptedModel(screenplay_from(scenes))


def one_scene(steps: str) -> ScriptedModel:
    return playing(f'[[scenes]]\nname = "only"\nsteps = [{steps}]')


def conversation(*texts: str) -> ModelRequest:
    """Return a request whose messages are, in turn, the user's and the assistant's."""
    roles = ("user", "assistant")
    messages = [Message(roles[place % 2], text) for place, text in enumerate(texts)]
    return ModelRequest(None, "", tuple(messages))


async def test_a_scene_is_played_to_the_millisecond(autojump_clock: MockClock) -> None:
    model = playing(
        """
        first_token_ms = 100
        [[scenes]]
        name = "only"
        steps = [
          { say = "One two,\\n three" },
          { pause_ms = 500 },
          { say = " four five ", per_second = 10 },
        ]
        """
    )
    ears = TimedEars()
    completion = await model.stream(asking("ignored"), ears)
    assert ears.script == [
        (120, "One", 1),
        (140, " two,", 1),
        (160, "\n three", 1),
        (760, " four", 1),
        (860, " five", 1),
        (960, " ", 1),
    ]
    assert completion == Completion("end_turn", Usage(5, 6, estimated=False))
    assert ears.starts == [5]


async def test_the_first_scene_that_fits_is_played(autojump_clock: MockClock) -> None:
    model = playing(
        """
        scenes = [
          { name = "x", when = "(?i)^stop", steps = [{ say = "stopped" }] },
          { name = "y", interrupted = true, steps = [{ say = "again" }] },
          { name = "z", after_tool = true, steps = [{ say = "found {outcome}" }] },
          { name = "w", steps = [{ say = "else" }] },
        ]
        """
    )
    outcome = Message("user", (ToolOutcome(CallId("c"), "two {user}"), Text("aside")))
    cut_short = f"I was saying {INTERRUPTED}"
    for request, expected in [
        (conversation("Stop it"), "stopped"),
        (conversation("tell me", "I was", "more"), "else"),
        (conversation("tell me", cut_short, "more"), "again"),
        (conversation("tell me", cut_short, "stop"), "stopped"),
        (conversation("tell me", cut_short, "more", "whole", "and more"), "else"),
        (ModelRequest(None, "", (Message("user", "stop"), outcome)), "found two {user}"),
        (conversation(), "else"),
    ]:
        ears = Ears()
        await model.stream(request, ears)
        assert ears.text == expected


async def test_a_screenplay_without_a_fitting_scene_says_nothing(
    autojump_clock: MockClock,
) -> None:
    model = playing('scenes = [{ name = "x", when = "^never$", steps = [{ say = "x" }] }]')
    ears = Ears()
    completion = await model.stream(asking(), ears)
    assert ears.order == ["started"]
    assert completion.stop_reason == "end_turn"


async def test_the_users_words_are_said_back_but_not_a_page_of_them(
    autojump_clock: MockClock,
) -> None:
    model = one_scene('{ say = "<{user}>" }')
    ears, long_ears = Ears(), Ears()
    await model.stream(asking("line one\n line {outcome}"), ears)
    await model.stream(asking("word " * 500), long_ears)
    assert ears.text == "<line one line {outcome}>"
    assert len(long_ears.text) <= QUOTE_LIMIT_CHARS + 3
    assert long_ears.text.endswith("word…>")


async def test_a_tool_is_called_with_the_users_words(autojump_clock: MockClock) -> None:
    model = one_scene(
        '{ say = "Looking." }, { call = "search", args = { q = "{user}", n = [1, "{user}"] } }, '
        '{ call = "clock" }'
    )
    ears = Ears()
    completion = await model.stream(asking("etfs"), ears)
    assert ears.order == ["started", "heard", "tool_called", "tool_called"]
    first, second = ears.calls
    assert (first.tool, first.args) == ("search", {"q": "etfs", "n": [1, "etfs"]})
    assert (second.tool, second.args) == ("clock", {})
    assert first.call_id != second.call_id
    assert completion.stop_reason == "tool_use"


async def test_calls_of_other_agents_steps_and_words_have_other_ids(
    autojump_clock: MockClock,
) -> None:
    model = one_scene('{ call = "clock" }')
    again = Message("assistant", "x"), Message("user", "hi")
    requests = [
        asking(),
        asking("what now?"),
        ModelRequest(None, "Another agent.", asking().messages),
        ModelRequest(None, "Be brief.", (*asking().messages, *again)),
    ]
    ids: list[str] = []
    for request in (*requests, *requests):
        ears = Ears()
        await model.stream(request, ears)
        ids += [call.call_id for call in ears.calls]
    assert len(set(ids)) == len(requests)
    assert ids[:4] == ids[4:]


async def test_agents_that_share_a_model_are_told_apart_by_their_instructions(
    autojump_clock: MockClock,
) -> None:
    model = playing(
        """
        [[scenes]]
        name = "planner"
        system = "^You plan"
        when = "funds"
        steps = [{ say = '{"steps": []}' }]

        [[scenes]]
        name = "writer"
        system = "(?s)^You write.*Result: (?P<result>[^\\n]*)"
        steps = [{ say = "<{result}> {nobody}" }]
        """
    )
    said: list[str] = []
    for system, words in [
        ("You plan.", "my funds"),
        ("You plan.", "hello"),
        ("You write.\nResult: {user} 3\nand more", "my funds"),
    ]:
        ears = Ears()
        await model.stream(ModelRequest(None, system, (Message("user", words),)), ears)
        said.append(ears.text)
    assert said == ['{"steps": []}', "", "<{user} 3> {nobody}"]


async def test_what_a_pattern_found_fills_the_arguments_of_a_call(
    autojump_clock: MockClock,
) -> None:
    model = playing(
        """
        [[scenes]]
        name = "only"
        when = "below (?P<limit>[0-9.]+)(?P<unit>%?)"
        steps = [{ call = "funds", args = { below = "{limit:number}", as = "{limit}{unit}" } },
                 { call = "odd", args = { unit = "{unit:number}", none = "{x:number}" } }]
        """
    )
    ears = Ears()
    await model.stream(asking("those below 0.25%"), ears)
    assert [call.args for call in ears.calls] == [
        {"below": 0.25, "as": "0.25%"},
        {"unit": "{unit:number}", "none": "{x:number}"},
    ]


@pytest.mark.parametrize(
    ("said", "number"), [("two", 2), ("Twelve", 12), ("7", 7), ("2.5", 2.5), ("a few", None)]
)
async def test_a_number_may_be_a_word_and_a_whole_one_stays_whole(
    autojump_clock: MockClock, said: str, number: float | None
) -> None:
    model = playing(
        """
        [[scenes]]
        name = "only"
        when = "for (?P<guests>.+)"
        steps = [{ call = "book", args = { guests = "{guests:number}" } }]
        """
    )
    ears = Ears()
    await model.stream(asking(f"a table for {said}"), ears)
    (call,) = ears.calls
    expected = "{guests:number}" if number is None else number
    assert call.args == {"guests": expected}
    assert type(call.args["guests"]) is type(expected)


async def test_a_scene_can_ask_for_what_was_told_before_and_the_last_of_it_counts(
    autojump_clock: MockClock,
) -> None:
    model = playing(
        """
        [[scenes]]
        name = "known"
        when = "(?i)what"
        history = "done: (?P<done>[a-z]+)"
        steps = [{ say = "That was {done}." }]

        [[scenes]]
        name = "told by a tool"
        after_tool = true
        history = "done: (?P<done>[a-z]+)"
        steps = [{ say = "That was {done}." }]

        [[scenes]]
        name = "unknown"
        steps = [{ say = "Nothing." }]
        """
    )
    outcome = Message("user", (ToolOutcome(CallId("c"), "done: three"),))
    for request, expected in [
        (conversation("done: one", "Good.", "done: two", "Good.", "What?"), "That was two."),
        (conversation("done: one\n\nAnd what?"), "That was one."),
        (conversation("done: one", "Good.", "Then?"), "Nothing."),
        (conversation("Hello", "Good.", "What?"), "Nothing."),
        (ModelRequest(None, "", (Message("user", "What?"), outcome)), "That was three."),
    ]:
        ears = Ears()
        await model.stream(request, ears)
        assert ears.text == expected


async def test_a_stop_reason_can_be_given(autojump_clock: MockClock) -> None:
    completion = await one_scene('{ say = "x" }, { stop = "refusal" }').stream(asking(), Ears())
    assert completion.stop_reason == "refusal"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded", ModelOverloaded),
        ("failed", ModelFailed),
        ("unreachable", ModelUnreachable),
        ("timeout", ModelTimeout),
        ("cut", StreamTruncated),
        ("unauthorized", ModelUnauthorized),
        ("refused", ModelRefused),
        ("too_long", ContextOverflow),
    ],
)
async def test_each_kind_of_failure_can_be_played(
    kind: str, expected: type[ModelError], autojump_clock: MockClock
) -> None:
    with pytest.raises(expected) as caught:
        await one_scene(f'{{ error = "{kind}" }}').stream(asking(), Ears())
    assert not caught.value.began
    assert caught.value.usage is None


async def test_a_failure_in_mid_stream_keeps_what_was_said(autojump_clock: MockClock) -> None:
    ears = Ears()
    model = one_scene('{ say = "a b" }, { error = "overloaded", retry_after_s = 3 }')
    with pytest.raises(ModelOverloaded) as caught:
        await model.stream(asking(), ears)
    assert caught.value.began
    assert caught.value.retry_after_s == 3.0
    assert caught.value.usage == Usage(3, 2, estimated=True)
    assert ears.text == "a b"


async def test_a_timeout_names_its_phase(autojump_clock: MockClock) -> None:
    with pytest.raises(ModelTimeout) as caught:
        await one_scene('{ error = "timeout", phase = "gap" }').stream(asking(), Ears())
    assert caught.value.phase == "gap"


async def test_tokens_that_are_due_while_the_listener_has_no_room_come_joined(
    autojump_clock: MockClock,
) -> None:
    ears = TimedEars()
    ears.stuck, ears.stuck_after = trio.Event(), 2
    model = one_scene('{ say = "a b c d e f" }')
    async with trio.open_nursery() as nursery:
        nursery.start_soon(model.stream, asking(), ears)
        await ears.waiting.wait()
        await trio.sleep_until(0.105)
        ears.stuck.set()
    assert ears.script == [(20, "a", 1), (40, " b", 1), (105, " c d e", 3), (120, " f", 1)]


async def test_a_cancel_ends_the_scene_at_once(autojump_clock: MockClock) -> None:
    ears = Ears()
    with trio.move_on_after(0.05):
        await one_scene('{ say = "a b c d e f" }').stream(asking(), ears)
    assert ears.text == "a b"
    assert trio.current_time() == pytest.approx(0.05)


# --- the default screenplay ---


async def test_the_default_answer_is_long_enough_to_be_interrupted(
    autojump_clock: MockClock,
) -> None:
    ears = Ears()
    model = ScriptedModel(default_screenplay())
    assert model.name == "scripted"
    await model.stream(asking("List the top-performing ETFs in my portfolio."), ears)
    assert 20 <= trio.current_time() <= 40
    assert ears.deltas > 300
    assert "top-performing ETFs" in ears.text


@pytest.mark.parametrize(
    ("texts", "opening", "most_s"),
    [
        (("hello",), "Hello!", 2),
        (("Hi there!",), "Hello!", 2),
        (("stop",), "Of course.", 1),
        (("Wait, no.",), "Of course.", 1),
        (("really?",), "Briefly:", 1),
        (("thanks!",), "You're welcome.", 1),
        (("who are you?",), "A script", 2),
        (("tell me", f"People {INTERRUPTED}", "no, the bonds"), "Right, leaving that.", 6),
        (("tell me", f"People {INTERRUPTED}", "And the bonds?"), "Right, leaving that.", 6),
        (("tell me", f"People {INTERRUPTED}", "go on"), "Gladly.", 6),
        (("tell me", f"People {INTERRUPTED}", "stop!"), "Of course.", 1),
    ],
)
async def test_the_default_screenplay_reacts_to_how_it_is_spoken_to(
    texts: tuple[str, ...], opening: str, most_s: float, autojump_clock: MockClock
) -> None:
    ears = Ears()
    await ScriptedModel(default_screenplay()).stream(conversation(*texts), ears)
    assert ears.text.startswith(opening)
    assert trio.current_time() <= most_s
    assert "{" not in ears.text
