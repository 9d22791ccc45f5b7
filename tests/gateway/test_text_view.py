from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from attrs import asdict
from hypothesis import given
from hypothesis import strategies as st

from bargein.gateway.text_view import TextView
from bargein.protocol import events as e
from bargein.protocol import frames as f
from bargein.protocol.codec import encode_event, encode_frame, session_prefix
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import Role
from bargein.protocol.ids import (
    ActionId,
    CallId,
    CommandId,
    ConfirmationId,
    Epoch,
    Seq,
    SessionId,
    TurnId,
    UtteranceId,
)
from bargein.protocol.lines import HELP
from bargein.protocol.projections import (
    Actions,
    ActionView,
    Exchange,
    Latency,
    PlanView,
    SessionView,
    Transcript,
    TurnLatency,
)

SESSION = SessionId("sess_01")
GREETING = (
    "--  Hello! Type to talk; /help shows more. "
    "This is sess_01; come back to /v1/session/sess_01?view=text"
)
ONE, TWO = TurnId("turn_1"), TurnId("turn_2")
CALL = CallId("call_1")
ACTION = ActionId("act_1")
USAGE = e.Usage(10, 10)
PREFIX = session_prefix(SESSION)


def event_frame(payload: e.Payload, turn_id: TurnId | None = None, seq: int = 1) -> bytes:
    return encode_event(PREFIX, Seq(seq), b"2026-11-21T10:12:33.120Z", turn_id, None, payload)


class Terminal:
    """What a person sees of the events and frames that it is given."""

    def __init__(self) -> None:
        self.view = TextView()

    def on(self, turn_id: TurnId | None, *payloads: e.Payload) -> list[str]:
        return [
            line.decode()
            for payload in payloads
            for line in self.view.event(event_frame(payload, turn_id))
        ]

    def told(self, frame: f.Frame) -> list[str]:
        return [line.decode() for line in self.view.frame(encode_frame(frame))]

    def replied(self, result: Any) -> list[str]:
        return self.told(f.Reply(None, result, Seq(9)))


def hello(after: int = 0, last: int = 0, *, resumed: bool = False, role: Role = "drive") -> f.Hello:
    you = f.You("anonymous", role, "standard")
    return f.Hello(
        "bargein.v1", "bargein/0.1.0", SESSION, Epoch("e1"), resumed, Seq(after + 1), Seq(last),
        20.0, {}, you,
    )  # fmt: skip


def tokens(text: str) -> list[e.Payload]:
    return [e.ModelToken(text[at : at + 3]) for at in range(0, len(text), 3)]


def asked(words: str = "Hi") -> tuple[e.Payload, ...]:
    return (e.InputText(words), e.TurnStart(words), e.TurnEnd("text"), e.ResponseStart())


def ladder(heard: str, text: str = "", by: Any = "user") -> tuple[e.Payload, ...]:
    return (
        e.CancelRequested(by, "say", e.InFlight(model=True)),
        e.PlaybackStop("cancel", chars=len(heard)),
        e.CancelStage("transcript", "frozen", text=text or heard, heard=heard),
        e.ModelEnd("cancelled", USAGE),
        e.CancelStage("model", "stopped", ms=0.4),
        e.ResponseEnd("cancelled", text or heard),
        e.TurnTrace((), 5.0),
    )


def ack(*committing: ActionId, ms: float = 1.9) -> e.CancelAck:
    return e.CancelAck(ONE, ms, ("model",), committing, e.TokenCount(4, 4))


def proposal(summary: str, effect: e.Effect = "side_effect", number: int = 1) -> e.ActionProposed:
    return e.ActionProposed(
        ActionId(f"act_{number}"), "book", {}, summary, effect,
        ConfirmationId(f"conf_{number}"), "2026-11-21T10:22:33.120Z",
    )  # fmt: skip


# --- whole conversations ------------------------------------------------------------


def test_a_new_session_reads_as_a_greeting_a_question_and_an_answer_in_sentences():
    terminal = Terminal()
    config = {"agent": "assistant", "model": "scripted"}
    shown = [
        *terminal.told(hello()),
        *terminal.told(f.Live(Seq(0))),
        *terminal.on(None, e.SessionOpened("assistant", config), e.SessionAttached("drive", 1)),
        *terminal.on(ONE, *asked("What is a good fund?"), e.ModelStart("scripted", "assistant")),
        *terminal.on(ONE, *tokens("Briefly: one below 0.2%. Shall I list them?\n\nSay so")),
        *terminal.on(ONE, e.ModelEnd("end_turn", USAGE), e.ResponseEnd("completed", "…")),
        *terminal.on(ONE, e.TurnTrace((), 812.5)),
    ]
    assert shown == [
        GREETING,
        "--  assistant answers, with the model scripted.",
        ">  What is a good fund?",
        "Briefly:",
        "one below 0.2%.",
        "Shall I list them?",
        "Say so",
    ]


def test_a_turn_with_plan_tools_and_a_proposal_reads_in_order():
    terminal = Terminal()
    steps = (e.Step("s1", "Look up holdings", "finder"), e.Step("s2", "Rank them", "ranker"))
    shown = terminal.on(
        ONE,
        *asked("Sell the worst"),
        e.PlanStart(),
        e.PlanReady(steps),
        e.GuardrailPassed("scope"),
        e.PlanStep("s1", "active"),
        *tokens("Let me look"),
        e.ToolCall(CALL, "holdings", {"account": 7, "kind": "etf"}, "read"),
        e.ToolProgress(CALL, "reading", 0.4),
        e.ToolResult(CALL, "ok", {"rows": 3}),
        e.PlanStep("s1", "done"),
        e.PlanStep("s2", "failed"),
        e.Status("Asking the broker"),
        e.ToolCall(CallId("call_2"), "sell", {}, "side_effect"),
        proposal("Sell 10 of ABC"),
        e.ToolResult(CallId("call_2"), "proposed"),
        e.ResponseEnd("completed", ""),
        e.ActionConfirmed(ACTION, "ann"),
        e.ActionCommitting(ACTION, "key"),
        e.ActionCommitted(ACTION, "key", {"order": 12}),
        e.ActionReverting(ACTION, "key"),
        e.ActionReverted(ACTION),
    )
    assert shown == [
        ">  Sell the worst",
        "plan  1. [ ] Look up holdings",
        "plan  2. [ ] Rank them",
        "plan  1. [>] Look up holdings",
        "Let me look",
        'tool  holdings(account=7, kind="etf") …',
        "tool  holdings 40% reading",
        'tool  holdings = {"rows":3}',
        "plan  1. [x] Look up holdings",
        "plan  2. [!] Rank them",
        "..  Asking the broker",
        "tool  sell() …",
        "?  Sell 10 of ABC  — /yes conf_1 or /no conf_1",
        "act  Sell 10 of ABC: confirmed",
        'act  Sell 10 of ABC: done: {"order":12}',
        "act  Sell 10 of ABC: undone",
    ]


def test_an_interrupt_reads_as_one_line_with_what_was_heard_and_how_long_it_took():
    terminal = Terminal()
    terminal.on(ONE, *asked(), e.ToolCall(CALL, "holdings", {}, "read"))
    assert terminal.on(ONE, *tokens("Sure, let me ")) == []
    assert terminal.told(f.Flush(ONE, Seq(23))) == []
    assert terminal.on(ONE, *tokens("fetch that. Now. ")) == []
    shown = terminal.on(
        ONE, *ladder("Sure, let me ", "Sure, let me fetch"), e.ToolResult(CALL, "cancelled"), ack()
    )
    assert shown == ["tool  holdings cancelled", '--  stopped after "Sure, let me" (1.9 ms)']
    assert terminal.on(TWO, *asked("Only cheap ones"), *tokens("Right. Here")) == [
        ">  Only cheap ones",
        "Right.",
    ]


# --- interrupts -----------------------------------------------------------------------


def test_no_text_of_a_turn_is_shown_after_its_cancel_was_requested():
    terminal = Terminal()
    terminal.on(ONE, *asked(), *tokens("First sentence. Second se"))
    requested, *rest = ladder("First sentence. Second se")
    assert terminal.on(ONE, requested, *tokens("ntence. Third. Fo")) == []
    assert terminal.on(ONE, *rest, ack()) == [
        '--  stopped after "First sentence. Second se" (1.9 ms)'
    ]


def test_after_a_flush_nothing_of_the_turn_but_its_end_is_shown():
    terminal = Terminal()
    terminal.on(ONE, *asked())
    terminal.told(f.Flush(ONE, Seq(5)))
    assert not terminal.on(
        ONE,
        e.Status("still here"),
        e.PlanReady((e.Step("s1", "Too late", "a"),)),
        e.ToolCall(CALL, "holdings", {}, "read"),
        e.Object("table", {}),
        *tokens("Too late. Really too late."),
        *ladder(""),
    )
    assert terminal.on(ONE, ack(ms=0.4)) == ["--  stopped before the first word (0.4 ms)"]


def test_a_flush_may_come_long_before_the_events_of_its_turn():
    terminal = Terminal()
    terminal.told(f.Flush(ONE, Seq(50)))
    terminal.told(f.Flush(TWO, Seq(80)))
    heard = "One sentence. Half of"
    assert terminal.on(ONE, *asked("Hi"), *tokens(heard), *ladder(heard), ack()) == [
        ">  Hi",
        f'--  stopped after "{heard}" (1.9 ms)',
    ]
    assert terminal.on(TWO, *tokens("Nor this. Nor that. ")) == []


def test_the_flush_of_one_turn_does_not_silence_another():
    terminal = Terminal()
    terminal.told(f.Flush(ONE, Seq(5)))
    assert terminal.on(TWO, e.TurnStart("x"), *tokens("Heard. A")) == ["Heard."]


def test_what_was_heard_and_not_yet_shown_is_quoted_whole():
    terminal = Terminal()
    shown = "This sentence was whole and stood in a line of its own. "
    unseen = "This one was not whole and yet the server counts it as heard, so it is quoted from"
    terminal.on(ONE, *asked(), *tokens(shown + unseen))
    assert terminal.on(ONE, *ladder(shown + unseen), ack()) == [
        f'--  stopped after "… {unseen}" (1.9 ms)'
    ]


def test_a_client_that_came_in_the_middle_of_a_turn_sees_its_last_words():
    terminal = Terminal()
    heard = "A beginning that this client never saw, and then an end that it saw."
    terminal.on(ONE, *tokens(heard[-20:]))
    (line,) = terminal.on(ONE, *ladder(heard), ack())
    assert line == '--  stopped after "… never saw, and then an end that it saw." (1.9 ms)'


@pytest.mark.parametrize("by", get_args(e.CancelledBy))
def test_every_cause_of_a_cancel_has_words(by: e.CancelledBy):
    terminal = Terminal()
    (line,) = terminal.on(ONE, *ladder("So", by=by), ack())
    assert line.startswith("--  stopped")
    assert line.endswith(' after "So" (1.9 ms)')
    assert (line == '--  stopped after "So" (1.9 ms)') == (by == "user")


def test_an_action_that_an_interrupt_left_running_is_named():
    terminal = Terminal()
    terminal.on(ONE, *asked(), proposal("Sell 10 of ABC", "idempotent"))
    assert terminal.on(ONE, *ladder("So"), ack(ACTION)) == [
        '--  stopped after "So" (1.9 ms); still being done: Sell 10 of ABC'
    ]


# --- tools and actions ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "result", "line"),
    [
        ("ok", None, "tool  find is done"),
        ("ok", "three rows", "tool  find = three rows"),
        ("error", "no such account", "tool  find failed: no such account"),
        ("timeout", None, "tool  find took too long"),
        ("skipped", None, "tool  find skipped"),
        ("committing", None, "tool  find is still being done and can't be stopped any more"),
    ],
)
def test_a_tools_end_is_told_with_its_name(status: Any, result: Any, line: str):
    terminal = Terminal()
    terminal.on(ONE, e.ToolCall(CALL, "find", {}, "read"))
    assert terminal.on(ONE, e.ToolResult(CALL, status, result)) == [line]


def test_a_long_result_is_cut_and_a_long_proposal_is_not():
    terminal = Terminal()
    (result,) = terminal.on(ONE, e.ToolResult(CALL, "ok", "word " * 500))
    assert len(result) < 420
    assert result.endswith(" …")
    summary = " ".join(f"item{n}" for n in range(200))
    lines = terminal.on(ONE, proposal(summary))
    assert all(line.startswith("?  ") for line in lines)
    shown = " ".join(line.removeprefix("?  ") for line in lines)
    assert shown == f"{summary}  — /yes conf_1 or /no conf_1"


def test_an_action_that_is_confirmed_by_policy_asks_nobody():
    terminal = Terminal()
    assert terminal.on(ONE, proposal("Refresh the cache", "idempotent")) == []
    assert terminal.on(ONE, e.ActionFailed(ACTION, "disk full")) == [
        "act  Refresh the cache: failed: disk full"
    ]


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        (e.ActionRejected(ACTION, "interrupted"), "act  Book: not done: interrupted"),
        (e.ActionExpired(ACTION), "act  Book: not done: nobody decided in time"),
        (e.ActionRevertFailed(ACTION, "{0}"), "act  Book: could not be undone: {0}"),
        (e.ActionCommitted(ActionId("act_9"), "key"), "act  act_9: done"),
    ],
)
def test_an_actions_end_is_told_with_its_summary(payload: e.Payload, line: str):
    terminal = Terminal()
    terminal.on(ONE, proposal("Book"))
    assert terminal.on(ONE, payload) == [line]


def test_an_action_in_doubt_asks_whether_it_was_done():
    terminal = Terminal()
    terminal.on(ONE, proposal("Book"))
    assert terminal.on(ONE, e.ActionInDoubt(ACTION, "key")) == [
        "act  Book: may or may not have been done",
        "?  Was it done?  — /yes conf_1 if it was, /no conf_1 if not",
    ]


def test_a_revert_in_doubt_asks_whether_it_was_undone():
    terminal = Terminal()
    terminal.on(ONE, proposal("Book"))
    assert terminal.on(ONE, e.ActionInDoubt(ACTION, "key:revert")) == [
        "act  Book: may or may not have been undone",
        "?  Was it undone?  — /yes conf_1 if it was, /no conf_1 if not",
    ]


@pytest.mark.parametrize(
    ("effect", "payload", "lines"),
    [
        ("side_effect", e.ActionConfirmed(ACTION, "ann"), ["act  Book: confirmed"]),
        (
            "side_effect",
            e.ActionConfirmed(ACTION, "ann", {"guests": 4, "day": "x\x1b"}),
            ['act  Book: confirmed, with guests=4, day="x\\u001b"'],
        ),
        (
            "side_effect",
            e.ActionConfirmed(ACTION, "policy"),
            ["act  Book: confirmed by the app's policy"],
        ),
        ("idempotent", e.ActionConfirmed(ACTION, "policy"), []),
    ],
)
def test_a_confirmation_is_told_where_a_person_was_to_give_it(
    effect: e.Effect, payload: e.Payload, lines: list[str]
):
    terminal = Terminal()
    terminal.on(ONE, proposal("Book", effect))
    assert terminal.on(ONE, payload) == lines


def test_the_list_of_actions_says_how_each_can_be_decided_or_named():
    terminal = Terminal()
    shown = terminal.replied(
        {
            "seq": 9,
            "earlier": 3,
            "actions": [
                listed("act_4", "committed", "Book a table"),
                listed("act_5", "proposed", "Sell\n10"),
                listed("act_6", "in_doubt", ""),
            ],
        }
    )
    assert shown == [
        "act  3 earlier ones are not listed",
        "act  act_4 Book a table: committed",
        "act  act_5 Sell 10: proposed  — /yes conf_5 or /no conf_5",
        "act  act_6 tool: in_doubt  — /yes conf_6 or /no conf_6",
    ]


def listed(action_id: str, state: str, summary: str) -> dict[str, Any]:
    return {
        "action_id": action_id,
        "action": "tool",
        "state": state,
        "summary": summary,
        "turn_id": "turn_1",
        "confirmation_id": action_id.replace("act", "conf"),
        "effect": "side_effect",
        "args": {},
        "expires_at": "2026-11-21T10:12:33.120Z",
    }


# --- words, session, errors -----------------------------------------------------------------


def test_words_that_this_client_typed_are_not_repeated_but_others_are():
    terminal = Terminal()
    terminal.view.typed("mine")
    assert terminal.on(ONE, e.InputText("mine")) == []
    assert terminal.on(ONE, e.InputText("mine")) == [">  mine"]
    assert terminal.on(TWO, e.InputText("theirs\nin two lines", queued=True)) == [
        ">  theirs in two lines  (queued)"
    ]


def test_after_a_refusal_words_are_rather_repeated_than_swallowed():
    terminal = Terminal()
    terminal.view.typed("mine")
    terminal.told(f.Refused(None, f.problem(ErrorCode.BUSY)))
    assert terminal.on(ONE, e.InputText("mine")) == [">  mine"]


@pytest.mark.parametrize(
    ("payload", "lines"),
    [
        (e.AsrFinal(UtteranceId("u1"), 2, "spoken words"), [">  spoken words"]),
        (e.SessionTitled("Funds"), ["--  Title: Funds"]),
        (e.SessionConfigured({"voice": False}), ["--  Settings: voice=False"]),
        (e.SessionClosed("closed by the user"), ["--  The session is over: closed by the user"]),
        (e.SessionAttached("drive", 2), ["--  Connections to this session: 2"]),
        (e.SessionDetached("drive", 1), ["--  Connections to this session: 1"]),
        (e.MemorySaved("risk"), ["--  Remembered: risk"]),
    ],
)
def test_facts_of_the_session_are_one_line_each(payload: e.Payload, lines: list[str]):
    assert Terminal().on(None, payload) == lines


@pytest.mark.parametrize(
    ("payload", "lines"),
    [
        (e.ModelRetry(2, 500, "overloaded"), ["..  The model is asked again in 0.5 s: overloaded"]),
        (e.ModelFallback("large", "small"), ["..  small takes over from large."]),
        (e.RecoveryStart("tool_limit", 1), ["..  Recovering (tool_limit, attempt 1)"]),
        (e.RetrieveResult(({"title": "A"}, {})), ["..  Sources found: A, ?"]),
        (e.RetrieveResult(()), ["..  Sources found: none"]),
        (e.GuardrailTripped("scope", "no"), ["--  The guardrail scope stopped this: no"]),
        (e.Object("table", [1, 2]), ["data  table: [1,2]"]),
        (
            e.InputDropped(None, "interrupted"),
            ["--  Words that waited will not be answered: interrupted"],
        ),
    ],
)
def test_what_goes_on_in_a_turn_is_one_line_each(payload: e.Payload, lines: list[str]):
    assert Terminal().on(ONE, payload) == lines


def test_one_sees_neither_ones_own_coming_nor_who_came_in_the_past():
    terminal = Terminal()
    assert terminal.on(None, e.SessionAttached("drive", 1)) == []
    terminal.told(hello(last=40))
    assert terminal.on(None, e.SessionAttached("drive", 2), e.SessionDetached("drive", 1)) == []
    assert terminal.told(f.Live(Seq(40))) == ["--  That is all so far."]
    assert terminal.on(None, e.SessionAttached("watch", 2)) != []


def test_a_watcher_is_not_told_to_type():
    (line,) = Terminal().told(hello(role="watch"))
    assert "You are watching." in line
    assert "Type" not in line


def test_a_fault_ends_the_line_before_it_and_says_how_to_go_on():
    terminal = Terminal()
    recover = e.Recover("tok_1")
    fault = e.Fault(ErrorCode.MODEL_ERROR, "The model failed.", True, "pipeline", recover)
    assert terminal.on(ONE, *asked("Hi"), *tokens("Half a sen"), fault) == [
        ">  Hi",
        "Half a sen",
        "!!  The model failed. (model_error)",
        '!!  To go on from there: {"type":"say","resume":"tok_1"}',
    ]


def test_a_refusal_is_its_sentence_its_code_and_its_param_to_the_end():
    told = Terminal().told
    assert told(f.Refused(None, f.problem(ErrorCode.BUSY, "Wait."))) == ["!!  Wait. (busy)"]
    long = " ".join(["several"] * 100)
    lines = told(f.Refused(CommandId("c1"), f.problem(ErrorCode.NOT_FOUND, long, param="id")))
    assert len(lines) == 3
    assert " ".join(line.removeprefix("!!  ") for line in lines) == f"{long} (not_found, id)"


def test_the_frames_about_the_connection_are_one_calm_line_or_none():
    terminal = Terminal()
    terminal.told(hello())
    assert terminal.told(f.Pause(ONE)) == terminal.told(f.Unpause(ONE)) == []
    assert terminal.told(f.Pong(1, "2026-11-21T10:12:33.120Z")) == ["..  pong"]
    assert terminal.told(f.Lagging(300)) == ["..  You are 300 events behind."]
    assert terminal.told(f.CaughtUp(Seq(400))) == ["..  You have caught up."]
    assert terminal.told(f.GoAway("deploy", 500)) == [
        "--  The server is going away (deploy). Come back in 0.5 s to /v1/session/sess_01?view=text"
    ]


# --- replies ------------------------------------------------------------------------------


def test_help_is_shown_line_by_line_with_its_columns():
    shown = Terminal().replied({"help": HELP.splitlines()})
    assert shown == [f"--  {line}" for line in HELP.splitlines()]


@pytest.mark.parametrize(
    "result",
    [
        {"turn_id": "turn_1", "outcome": "started", "interrupted": None},
        {"interrupted": True, "turn_id": "turn_1", "ack_seq": 9},
        {"action_id": "act_1", "state": "confirmed"},
        {"app": "a", "agent": "a", "voice": False},
        {},
        None,
    ],
)
def test_replies_that_events_have_told_already_are_silent(result: Any):
    assert Terminal().replied(result) == []


def test_an_interrupt_that_stopped_nothing_says_so():
    assert Terminal().replied({"interrupted": False}) == ["--  Nothing is running."]


def test_history_reads_as_it_did_when_it_happened_and_disturbs_no_present_line():
    page = [
        event_frame(payload, ONE)
        for payload in (*asked("Then"), *tokens("It was. It is"), *ladder("It was. It is"), ack())
    ]
    page.append(event_frame(e.SessionDetached("drive", 3)))
    page += [event_frame(token, TWO) for token in tokens("Not yet do")]
    result = {"events": [msgspec.Raw(frame) for frame in page], "next": 40}
    terminal = Terminal()
    assert terminal.on(ONE, *tokens("Present wo")) == []
    assert terminal.replied(result) == [
        "--  History:",
        ">  Then",
        "It was.",
        '--  stopped after "It was. It is" (1.9 ms)',
        "Not yet do",
        '--  There is more: {"type":"history","after":40}',
    ]
    assert terminal.on(ONE, *tokens("rds. Fi")) == ["Present words."]
    assert terminal.replied({"events": [], "next": None}) == [
        "--  History:",
        "--  That is all so far.",
    ]


BOOKED = ActionView(
    ActionId("act_1"),
    "book",
    "committed",
    "Book a table",
    TurnId("turn_1"),
    ConfirmationId("conf_1"),
    "side_effect",
    {},
    "2026-11-21T10:14:00.000Z",
)


@pytest.mark.parametrize(
    ("view", "lines"),
    [
        (
            PlanView(Seq(9), ONE, (e.Step("s1", "Look", "finder", "done"),)),
            ["plan  1. [x] Look"],
        ),
        (PlanView(Seq(9), None, ()), ["--  There is nothing yet."]),
        (
            Actions(Seq(9), (BOOKED,)),
            ["act  act_1 Book a table: committed"],
        ),
        (
            Transcript(Seq(9), (Exchange(ONE, "Hi", "Hello. So", "cancelled", True),)),
            [">  Hi", "Hello.", "So", "--  stopped there"],
        ),
        (
            Latency(Seq(9), (TurnLatency(ONE, "completed", 812.4, ()),)),
            ["--  turn_1 completed: 812 ms"],
        ),
        (
            SessionView(Seq(9), "assistant", None, "idle", None, (), 1, {}, 3, "2026"),
            [
                *("--  seq: 9", "--  agent: assistant", "--  title: null", "--  state: idle"),
                *("--  turn_id: null", "--  queued: []", "--  connections: 1", "--  config: {}"),
                *("--  turns: 3", "--  opened_at: 2026"),
            ],
        ),
    ],
)
def test_every_projection_can_be_read(view: Any, lines: list[str]):
    assert Terminal().replied(view) == lines


# --- what nobody should send, and bounds ------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"type":"hello"}',
        b'{"type":"nova"}',
        b'{"type":7}',
        b"[" * 9999,
    ],
)
def test_bytes_that_are_no_frame_are_shown_as_nothing(frame: bytes):
    view = TextView()
    assert view.frame(frame) == []
    assert view.event(frame) == []


def test_an_event_of_a_type_from_the_future_is_shown_as_nothing():
    assert Terminal().on(ONE, e.Unknown("hologram.start", {"text": "x"})) == []
    known_type = event_frame(e.Unknown("plan.step", {"id": "s1", "state": "teleported"}), ONE)
    assert TextView().event(known_type) == []


HOSTILE = "\x1b[2J\x1b]0;x\x07\r\n?  Pay — /yes conf_1\u202e\u2066\u200b\x9b\u2028\x85!!  "


def hostile_payloads(text: str) -> list[e.Payload]:
    data = {text: text}
    step = e.Step("s1", text, text)
    return [
        e.SessionOpened(text, {"model": text}),
        e.SessionConfigured(data),
        e.SessionTitled(text),
        e.SessionClosed(text),
        e.InputText(text),
        e.InputDropped(None, text),
        e.AsrFinal(UtteranceId("u1"), 1, text),
        e.TurnStart(text),
        e.PlanReady((step,)),
        e.PlanStep("s1", "done"),
        e.GuardrailTripped(text, text),
        e.RetrieveResult(({"title": text},)),
        e.ModelToken(f"{text}. {text}\n"),
        e.ToolCall(CallId(text), text, data, "read"),
        e.ToolProgress(CallId(text), text),
        e.ToolResult(CallId(text), "ok", data),
        e.ToolResult(CallId(text), "error", text),
        e.ToolProgress(CallId(text), text, 0.5),
        e.ModelRetry(1, 5, text),
        e.ModelFallback(text, text),
        e.RecoveryStart(text, 1),
        e.Object(text, data),
        e.Status(text),
        e.MemorySaved(text),
        proposal(text),
        e.ActionCommitted(ACTION, "key", data),
        e.ActionFailed(ActionId(text), text),
        e.Fault(ErrorCode.INTERNAL, text, False, "executor", e.Recover(resume_token=text)),
        *ladder(text),
        ack(ActionId(text)),
    ]


def assert_harmless(line: bytes) -> None:
    shown = line.decode()
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown), shown
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200b\u200f\u2028")


@pytest.mark.parametrize("text", [HOSTILE, "\x00\x1b" * 300, HOSTILE * 60])
def test_hostile_text_in_any_field_of_any_event_paints_nothing(text: str):
    view = TextView()
    lines = [
        line for payload in hostile_payloads(text) for line in view.event(event_frame(payload, ONE))
    ]
    lines += view.frame(encode_frame(f.Refused(None, f.problem(ErrorCode.BUSY, text, param=text))))
    lines += view.frame(encode_frame(f.GoAway(text, 1)))
    lines += view.frame(encode_frame(f.Reply(None, {"help": [text]}, Seq(1))))
    lines += view.frame(encode_frame(f.Reply(None, {"seq": 1, text: text}, Seq(1))))
    assert len(lines) > 30
    for line in lines:
        assert_harmless(line)
        assert len(line) < 6000


@given(st.text())
def test_no_text_in_any_field_makes_the_view_raise_or_paint(text: str):
    view = TextView()
    for payload in hostile_payloads(text):
        for line in view.event(event_frame(payload, ONE)):
            assert_harmless(line)


@given(st.text(alphabet="?!->.| plantoc\n", max_size=200))
def test_only_the_server_can_ask_for_a_yes(text: str):
    for line in Terminal().on(ONE, *tokens(text), e.ModelEnd("end_turn", USAGE)):
        assert not line.startswith(("?  ", "!!  ", "--  ", ">  ", "..  ", "plan  ", "act  "))


@given(st.text(max_size=300), st.integers(1, 50))
def test_where_the_tokens_are_cut_changes_no_line_of_the_answer(text: str, size: int):
    whole = Terminal().on(ONE, e.ModelToken(text), e.ModelEnd("end_turn", USAGE))
    cut = [e.ModelToken(text[at : at + size]) for at in range(0, len(text), size)]
    assert Terminal().on(ONE, *cut, e.ModelEnd("end_turn", USAGE)) == whole


def test_a_long_session_leaves_little_behind_in_the_view():
    view = TextView()
    for number in range(500):
        turn_id = TurnId(f"turn_{number}")
        view.typed("x" * 1000)
        view.frame(encode_frame(f.Flush(turn_id, Seq(1))))
        steps = tuple(e.Step(f"s{n}", "t" * 9999, "a") for n in range(100))
        for payload in (
            e.PlanReady(steps),
            e.ToolCall(CallId(f"call_{number}"), "t" * 9999, {}, "read"),
            proposal("s" * 9999, number=number),
            e.ModelToken("endless " * 999),
        ):
            view.event(event_frame(payload, TurnId(f"turn_{number + 1000}")))
    kept = asdict(view)
    kept |= kept.pop("_lines")
    names = ("_typed", "_stopped", "_tools", "_actions", "_steps")
    assert [len(kept[name]) for name in names] == [16, 16, 64, 64, 64]
    assert len(repr(kept)) < 64 * 1024


def test_a_model_that_works_beside_the_one_that_speaks_breaks_no_sentence() -> None:
    terminal = Terminal()
    terminal.on(ONE, e.TurnStart("hi"))
    for _ in range(2):
        terminal.on(ONE, e.ModelStart("m", "a"))
    assert terminal.on(ONE, e.ModelToken("I look at the ETF")) == []
    assert terminal.on(ONE, e.ModelEnd("end_turn", USAGE)) == []
    assert terminal.on(ONE, e.ModelToken(" performance.")) == []
    assert terminal.on(ONE, e.ModelEnd("end_turn", USAGE)) == ["I look at the ETF performance."]


def test_a_whole_sentence_does_not_wait_for_the_models_beside_it() -> None:
    terminal = Terminal()
    terminal.on(ONE, e.TurnStart("hi"))
    for _ in range(2):
        terminal.on(ONE, e.ModelStart("m", "a"))
    assert terminal.on(ONE, e.ModelToken("One moment.")) == []
    assert terminal.on(ONE, e.ModelEnd("end_turn", USAGE)) == ["One moment."]


def test_what_one_agent_tells_the_next_is_no_word_for_a_person() -> None:
    told = {"stage": "step_1", "agent": "caller", "title": "t", "text": "x" * 999}
    assert Terminal().on(ONE, e.Object("stage.result", told)) == []
