"""The input loop: takes commands in order, and sees that each is answered once."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any, Final, assert_never

import trio
from attrs import define, field

from bargein.actors.allowance import Allowance
from bargein.actors.answers import Answer, Answers
from bargein.actors.asides import answer_aside, answer_page
from bargein.actors.attendance import DEFAULT, Attendance
from bargein.actors.audience import Client
from bargein.actors.budgets import given_in
from bargein.actors.clock import Clock
from bargein.actors.listening import Listening
from bargein.actors.mailbox import Address, Mailbox
from bargein.actors.messages import (
    CloseAsked,
    DecisionAsked,
    InputMessage,
    Joined,
    LedgerMessage,
    Left,
    OutputMessage,
    PlannerMessage,
    Played,
    Received,
    Record,
    RevertAsked,
    StopAsked,
    UserSaid,
)
from bargein.actors.outcomes import done_before
from bargein.actors.playback import note_report, playback_event, takes_reports
from bargein.actors.speaking import Speaking, SpeechCommand
from bargein.actors.turn import ResponseSlot
from bargein.actors.utterances import waiting_words
from bargein.agents.app import Apps
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import (
    ASKS,
    Ack,
    Authenticate,
    Close,
    Configure,
    Confirm,
    History,
    Interrupt,
    Ping,
    Project,
    Reject,
    ReportPlayback,
    Revert,
    ReviseFinal,
    RevisePartial,
    Say,
    SendAudio,
    StartPlayback,
    StartSpeech,
    StopPlayback,
)
from bargein.protocol.events import SessionConfigured
from bargein.protocol.frames import problem
from bargein.protocol.ids import Seq
from bargein.protocol.projections import project
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline

MAILBOX: Final = 64

RENEWED: Final = (History, Project, Authenticate)
"""Sent again, these are answered anew: they change nothing of the session, and what was right to
answer to one connection may be wrong, or large, for another."""

GROWING: Final = (
    Configure,
    StartPlayback,
    ReportPlayback,
    StartSpeech,
    SendAudio,
    RevisePartial,
    ReviseFinal,
)
"""Beside words, these put something onto the timeline each time that they are sent."""


@define(eq=False)
class Input:
    """Answers what it can itself, and hands the rest to the planner."""

    _mailbox: Mailbox[InputMessage]
    _planner: Address[PlannerMessage]
    _ledger: Address[LedgerMessage]
    _output: Address[OutputMessage]
    _attendance: Attendance
    _answers: Answers
    _slot: ResponseSlot
    _state: SessionState
    _timeline: Timeline
    _apps: Apps
    _clock: Clock
    _allowance: Allowance
    _speaking: Speaking | None = field(default=None, init=False)
    _listening: Listening | None = field(default=None, init=False)

    @cached_property
    def _pages(self) -> trio.CapacityLimiter:
        # Made when somebody asks for a page: it takes half a KiB of each session.
        return trio.CapacityLimiter(2)

    async def run(self) -> None:
        """Run until the address is closed."""
        with self._mailbox:
            async with trio.open_nursery() as tasks:
                self._attendance.begin(tasks)
                if waiting_words(self._state):
                    self._listen().take_up(tasks)
                self._mailbox.when_idle(partial(self._hear_now, tasks))
                while batch := await self._mailbox.take():
                    for message in batch:
                        self._hear(message, tasks)
                tasks.cancel_scope.cancel(reason="the session leaves memory")
        self._planner.close()

    def _hear_now(self, tasks: trio.Nursery, message: InputMessage, told: bool) -> bool:  # noqa: FBT001
        if told:
            self._hear(message, tasks)
        return told

    def _hear(self, message: InputMessage, tasks: trio.Nursery) -> None:
        match message:
            case Joined(client):
                self._attendance.joined(client, tasks)
            case Left(client):
                self._attendance.left(client, tasks)
            case Received():
                self._receive(message, tasks)
            case Played(command):
                self._report(command, Answer(None, False, b"", []), tasks)  # noqa: FBT003
            case _:
                assert_never(message)

    def _receive(self, received: Received, tasks: trio.Nursery) -> None:
        command = received.command
        command_id = command.id
        asked = isinstance(command, ASKS)
        first = self._answers.find(command_id)
        if first is None:
            first = self._answer_before_restart(received)
        if first is not None and first.digest != received.digest:
            refusal = Answer(command_id, asked, received.digest, [received.client])
            refusal.refuse(problem(ErrorCode.DUPLICATE, param="id"))
        elif first is not None and not isinstance(command, RENEWED):
            first.also_to(received.client)
        else:
            answer = self._answers.begin(
                command_id,
                received.digest,
                received.client,
                asked=asked,
                kept=not isinstance(command, RENEWED),
            )
            self._obey(received, answer, tasks)

    def _answer_before_restart(self, received: Received) -> Answer | None:
        done = done_before(self._state, received.command)
        if done is None:
            return None
        if done.result is None:  # not remembered: the right body may come yet
            return Answer(received.command.id, True, b"", [])  # noqa: FBT003
        answer = self._answers.begin(received.command.id, received.digest)
        answer.reply(done.result, done.at_seq)
        return answer

    def _obey(self, received: Received, answer: Answer, tasks: trio.Nursery) -> None:
        command, client = received.command, received.client
        if isinstance(command, GROWING):
            refusal = self._allowance.refusal_to_grow()
            if refusal is not None:
                answer.refuse(refusal)
                return
        match command:
            case Say():
                said = UserSaid(command, answer, received.ladder, received.received_s)
                if not self._planner.offer(said):
                    answer.refuse(problem(ErrorCode.OVERLOADED))
            case Interrupt():
                self._interrupt(StopAsked(command, answer, received.ladder))
            case StartPlayback() | ReportPlayback() | StopPlayback():
                self._report(command, answer, tasks)
            case Configure():
                self._configure(command, answer)
            case Project():
                answer.reply(project(self._state, command.name), self._state.seq)
            case History():
                tasks.start_soon(self._page, command, answer)
            case Ping() | Ack() | Authenticate():
                answer_aside(command, answer, client, self._timeline, self._clock)
            case Confirm() | Reject() | Revert():
                self._ask_ledger(command, answer, client.principal)
            case Close():
                if not self._planner.offer(CloseAsked(answer)):
                    answer.refuse(problem(ErrorCode.OVERLOADED))
            case _:
                self._hear_speech(command, answer, client, tasks)

    def _listen(self) -> Speaking:
        if self._speaking is None:  # nobody speaks in most sessions
            places = self._planner, self._output, self._slot, self._state
            self._speaking = Speaking(*places, self._apps.current.voice, self._clock)
        return self._speaking

    def _hear_speech(
        self, command: SpeechCommand, answer: Answer, client: Client, tasks: trio.Nursery
    ) -> None:
        voice = self._apps.current.voice
        if self._listening is None and voice.listens:
            places = voice, self._output, self._clock, tasks
            self._listening = Listening(self._listen(), *places)
        if self._listening is not None:
            self._listening.obey(command, answer, client)
        else:
            self._listen().obey(command, answer, client, tasks)

    def _ask_ledger(
        self, command: Confirm | Reject | Revert, answer: Answer, principal: str
    ) -> None:
        asked: LedgerMessage = (
            RevertAsked(command, answer, principal)
            if isinstance(command, Revert)
            else DecisionAsked(command, answer, principal)
        )
        if not self._ledger.offer(asked):
            answer.refuse(problem(ErrorCode.OVERLOADED))

    def _interrupt(self, asked: StopAsked) -> None:
        # The turn is stopped already; only the answer can wait for the planner.
        if self._planner.offer(asked):
            return
        # What was pre-empted would go on: that it does not has to be said, and was not.
        if asked.ladder is not None and asked.ladder.by != "preempted":
            asked.ladder.answer(asked.answer)
        else:
            asked.answer.refuse(problem(ErrorCode.OVERLOADED))

    def _report(
        self,
        command: StartPlayback | ReportPlayback | StopPlayback,
        answer: Answer,
        tasks: trio.Nursery,
    ) -> None:
        turn_id = command.turn_id
        if not takes_reports(self._state, self._slot, turn_id):
            answer.refuse(problem(ErrorCode.STALE, param="turn_id"))
            return

        def written(seq: Seq) -> None:
            answer.reply({}, seq)
            if self._speaking is not None:
                self._speaking.playback_moved(tasks)

        record = Record(turn_id, (lambda state: playback_event(state, command),), written)
        if self._output.offer(record):
            note_report(self._slot, self._clock, command)
        else:
            answer.refuse(problem(ErrorCode.OVERLOADED))

    def _configure(self, command: Configure, answer: Answer) -> None:
        if command.agent is not None and self._apps.current.agent(command.agent) is None:
            known = ", ".join(agent.name for agent in self._apps.current.agents)
            message = f"There is no such agent; there are: {known}."
            answer.refuse(problem(ErrorCode.INVALID_COMMAND, message, param="agent"))
            return
        asked = {
            "agent": command.agent,
            "voice": command.voice,
            "on_disconnect": command.on_disconnect,
            "budgets": None if command.budgets is None else given_in(command.budgets),
        }
        changes = {key: value for key, value in asked.items() if value is not None}
        settings: dict[str, Any] = {}

        def configured(state: SessionState) -> SessionConfigured:
            settings.update({"on_disconnect": DEFAULT, "voice": False, **state.config, **changes})
            return SessionConfigured(dict(settings))

        record = Record(None, (configured,), lambda seq: answer.reply(settings, seq))
        if not self._output.offer(record):
            answer.refuse(problem(ErrorCode.OVERLOADED))

    async def _page(self, command: History, answer: Answer) -> None:
        async with self._pages:
            await answer_page(command, answer, self._timeline)
