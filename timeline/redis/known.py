"""What this process knows of the sessions it writes, besides what Redis says."""

from __future__ import annotations

import secrets
from typing import Final

from attrs import define, evolve, field, frozen

from bargein.protocol.ids import NodeId, Seq, SessionId

MOST_KNOWN: Final = 20_000
"""Sessions remembered that this process does not own; it never forgets one that it does."""


@frozen
class Grant:
    """By which the appends of one owner are known.

    Attributes:
        fence: Higher with each owner.
        token: Drawn with the fence; a failover may give a fence twice, and no token. Empty for
            who opened the session.
        replaced: The token before it, as long as nothing was appended with this one: where that
            is found again, a failover has lost the claim and nothing else. Else None.
    """

    fence: int
    token: str
    replaced: str | None = None

    @property
    def text(self) -> str:
        """Fence and token, as scripts compare them."""
        return f"{self.fence} {self.token}"


def new_token(me: NodeId) -> str:
    """Draw a token, in which stands who drew it."""
    return f"{me} {secrets.token_hex(8)}"


def drawn_by(token: str) -> NodeId:
    """Return who drew a token; an empty name for that of who opened the session."""
    return NodeId(token.rpartition(" ")[0])


OPENER: Final = Grant(0, "")
"""What a session begins with."""

UNKNOWN: Final = ""
"""Some life of Redis."""


@frozen
class Acknowledged:
    """How far Redis has acknowledged a session to this process.

    Attributes:
        seq: The last event.
        grant: Under which it was, as text. It says nothing of what came under another.
        open_in: In which life of Redis others could begin to append; `UNKNOWN` if nobody can say,
            None as long as the session is ours.
    """

    seq: Seq
    grant: str
    open_in: str | None

    def is_all(self, history: str) -> bool:
        """Say whether that is all, where Redis, in the life *history*, has the same grant still.

        In any other life than that in which others could begin to append, it may have lost who did,
        and all that they appended.
        """
        return self.open_in is None or (self.open_in == history and history != UNKNOWN)


@define(eq=False)
class Known:
    """Remembers how far sessions were acknowledged, their grants, and how they are listed.

    Lives as long as its store.
    """

    _acknowledged: dict[SessionId, Acknowledged] = field(
        factory=dict[SessionId, Acknowledged], init=False
    )
    _owned: dict[SessionId, Grant] = field(factory=dict[SessionId, Grant], init=False)
    _let_in: dict[SessionId, Grant] = field(factory=dict[SessionId, Grant], init=False)
    _marked: dict[SessionId, bool] = field(factory=dict[SessionId, bool], init=False)

    def acknowledged(self, session_id: SessionId, grant: Grant) -> Acknowledged | None:
        """Return how far Redis has acknowledged a session under *grant*, if it has."""
        found = self._acknowledged.get(session_id)
        return found if found is not None and found.grant == grant.text else None

    def is_all_known(self, session_id: SessionId, history: str) -> bool:
        """Say whether nobody else can have appended, where Redis has the grant still."""
        found = self.acknowledged(session_id, self.grant(session_id))
        return found is not None and found.is_all(history)

    def note(self, session_id: SessionId, last: Seq) -> None:
        """Note that Redis has everything up to *last*, and nothing was lost before."""
        owned = self._owned.get(session_id)
        grant = owned or self._let_in.get(session_id)
        if grant is None:
            return  # another has taken it
        before = self.acknowledged(session_id, grant)
        open_in = UNKNOWN if before is None else before.open_in
        last = last if before is None else max(last, before.seq)  # answers may pass each other
        known = Acknowledged(last, grant.text, open_in if owned is None else None)
        self._acknowledged[session_id] = known

    def stored(self, session_id: SessionId, last: Seq) -> None:
        """Note that Redis has acknowledged an append up to *last*."""
        self.note(session_id, last)
        owned = self._owned.get(session_id)
        if owned is not None and owned.replaced is not None:
            self._owned[session_id] = evolve(owned, replaced=None)

    def doubt(self, session_id: SessionId, history: str) -> None:
        """Note that others may append to a session, since Redis lives the life *history*."""
        found = self._acknowledged.get(session_id)
        if found is not None:
            is_first = found.open_in in {None, history}
            self._acknowledged[session_id] = evolve(found, open_in=history if is_first else UNKNOWN)

    def doubt_all(self) -> None:
        """Note that others may have claimed what was ours."""
        for session_id in self._acknowledged:
            self.doubt(session_id, UNKNOWN)

    def replace(self, session_id: SessionId, grant: Grant) -> None:
        """Note a grant that has replaced the one that is known: nobody had it between them."""
        found = self.acknowledged(session_id, self.grant(session_id))
        self.let_in(session_id, grant)
        if found is not None:
            self._acknowledged[session_id] = evolve(found, grant=grant.text)

    def grant(self, session_id: SessionId) -> Grant:
        """Return with what the session was opened."""
        return self._owned.get(session_id) or self._let_in.get(session_id) or OPENER

    def held(self, session_id: SessionId) -> Grant | None:
        """Return with what the session is ours; None for any other."""
        return self._owned.get(session_id)

    def let_in(self, session_id: SessionId, grant: Grant) -> None:
        """Note with what the session is opened; nothing changes whose it is."""
        if grant.fence != self.grant(session_id).fence:
            self.unmark(session_id)  # another owner may have taken it off the list
        if session_id in self._owned:
            self._owned[session_id] = grant
            return
        self._let_in.pop(session_id, None)
        self._let_in[session_id] = grant
        if len(self._let_in) > MOST_KNOWN:
            oldest = next(iter(self._let_in))
            del self._let_in[oldest]
            self._acknowledged.pop(oldest, None)

    @property
    def owned(self) -> tuple[SessionId, ...]:
        """The sessions that this process owns."""
        return tuple(self._owned)

    def own(self, session_id: SessionId, grant: Grant) -> None:
        """Note that the session is this process's own."""
        self.let_in(session_id, grant)
        self._let_in.pop(session_id, None)
        self._owned[session_id] = grant

    def disown(self, session_id: SessionId) -> None:
        """Note that it is not: what is still under way may be stored, but others may append."""
        grant = self._owned.pop(session_id, None)
        if grant is not None:
            self.let_in(session_id, grant)

    def is_marked(self, session_id: SessionId) -> bool:
        """Say whether the session is listed as one that may be unsettled."""
        return self._marked.get(session_id, False)

    def may_be_marked(self, session_id: SessionId) -> bool:
        """Say whether it is, or may be because another process has listed it."""
        return session_id in self._marked

    def mark(self, session_id: SessionId) -> None:
        """Note that it is listed so; forgetting it only makes it be listed again."""
        self._note_mark(session_id, surely=True)

    def suspect(self, session_id: SessionId) -> None:
        """Note that another process may have listed it so."""
        if session_id not in self._marked:
            self._note_mark(session_id, surely=False)

    def unmark(self, session_id: SessionId) -> None:
        """Note that it is not listed so any more."""
        self._marked.pop(session_id, None)

    def forget(self, session_id: SessionId) -> None:
        """Forget a session that is not there any more, or that another has taken."""
        for held in (self._acknowledged, self._owned, self._let_in, self._marked):
            held.pop(session_id, None)

    def distrust(self) -> None:
        """Forget how sessions are listed: Redis may have lost that."""
        self._marked.clear()

    def _note_mark(self, session_id: SessionId, *, surely: bool) -> None:
        self._marked[session_id] = surely
        if len(self._marked) > MOST_KNOWN:
            del self._marked[next(iter(self._marked))]
