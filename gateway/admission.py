"""Who may come in: the one place that looks at tokens, for every way in."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from math import ceil
from typing import Final

import structlog
from attrs import define, evolve
from prometheus_client import Counter

from bargein.gateway.auth.attempts import Attempts
from bargein.gateway.auth.authority import Authority
from bargein.gateway.auth.identity import Credential, Denial
from bargein.gateway.auth.stays import Stay
from bargein.gateway.auth.tokens import TokenRefused
from bargein.gateway.auth.trail import Trail
from bargein.gateway.handshake import CHALLENGE, TOKEN_PREFIX, Upgrade
from bargein.gateway.request_head import Refusal
from bargein.protocol.codes import CloseCode, ErrorCode
from bargein.protocol.frames import Problem, problem

_NO_TOKEN: Final = Refusal(
    HTTPStatus.UNAUTHORIZED,
    "This server wants a token: send it as Authorization: Bearer, or offer the subprotocol "
    f"{TOKEN_PREFIX}<token> beside yours.",
    CHALLENGE,
)
_BAD_TOKEN: Final = Refusal(HTTPStatus.UNAUTHORIZED, ErrorCode.UNAUTHORIZED.sentence, CHALLENGE)
_TWO_TOKENS: Final = Refusal(
    HTTPStatus.BAD_REQUEST, "Send one token: in a header or as a subprotocol, and not both."
)
_WATCHES_ONLY: Final = "This token may only watch: connect with role=watch."
_ONE_PRINCIPAL: Final = "This server takes no tokens; everybody here is the same principal."
_ANOTHER: Final = "This token is another principal's; open a connection of its own with it."

_REFUSED: Final = Counter("bargein_auth_refused", "Tokens that were no good, by cause.", ["cause"])

_log = structlog.get_logger()


@define(eq=False)
class Doorkeeper:
    """Say who may come in, and as whom.  Lives as long as the process.

    Args:
        authority: Says whose a token is; None where no auth is configured, and everybody who
            reaches the port is the same principal.
        attempts: Counts bad tokens.
        on_this_machine: Says whether an address is.
        trail: Is told who came in and who did not; None where everybody may.
    """

    _authority: Authority | None
    _attempts: Attempts
    _on_this_machine: Callable[[str], bool]
    _trail: Trail | None = None

    async def admit(self, upgrade: Upgrade) -> Upgrade | Refusal:
        """Answer an upgrade request: with who asks, or with a refusal.

        A browser can't see a refusal.  What a token that it offered as a subprotocol is refused
        for is noted as a `Denial`, and said after the upgrade.
        """
        if self._authority is None:
            return evolve(upgrade, caller=Credential())
        if (refusal := self._shut_out(upgrade.address)) is not None:
            return refusal
        bearer = bearer_in(upgrade.authorization)
        if bearer is not None and upgrade.token is not None:
            return _TWO_TOKENS
        token = upgrade.token if bearer is None else bearer
        if token is None:
            return _NO_TOKEN
        seen = bearer is not None
        try:
            caller = self._check(self._authority, token, upgrade.address)
        except TokenRefused:
            denial = Denial(CloseCode.UNAUTHORIZED, "the token is no good")
            return _BAD_TOKEN if seen else evolve(upgrade, caller=denial)
        if caller.role == "watch" and upgrade.role == "drive" and upgrade.role_named:
            if seen:
                return Refusal(HTTPStatus.FORBIDDEN, _WATCHES_ONLY)
            trouble = problem(ErrorCode.FORBIDDEN, _WATCHES_ONLY, param="role")
            denial = Denial(CloseCode.UNAUTHORIZED, "this token may only watch", trouble)
            return evolve(upgrade, caller=denial)
        self._note("auth.admitted", upgrade.address, caller, upgrade.session_id)
        role = caller.role if not upgrade.role_named else upgrade.role
        return evolve(upgrade, caller=caller, role=role)

    def admit_reader(
        self,
        address: str,
        authorization: str | None,
        passed_on: bool,  # noqa: FBT001 - the edge's callback, called in one place
    ) -> Refusal | None:
        """Say why somebody may not read figures; None if they may.

        What a proxy has passed on is of no one on this machine, even if nobody has named that proxy
        as one, and it runs here.
        """
        if self._authority is None or (self._on_this_machine(address) and not passed_on):
            return None
        caller = self.caller_of(address, authorization)
        return caller if isinstance(caller, Refusal) else None

    def caller_of(self, address: str, authorization: str | None) -> Credential | Refusal:
        """Say who asks for what is a principal's own; a watcher may read as much as others."""
        if self._authority is None:
            return Credential()
        if (refusal := self._shut_out(address)) is not None:
            return refusal
        token = bearer_in(authorization)
        if token is None:
            return _NO_TOKEN
        try:
            return self._check(self._authority, token, address)
        except TokenRefused:
            return _BAD_TOKEN

    def renew(self, stay: Stay, upgrade: Upgrade, token: str) -> Problem | None:
        """Let a connection stay for as long as a fresh token says; return why not.

        The token has to be the same principal's, and allow what the connection does.
        """
        if self._authority is None:
            return problem(ErrorCode.UNAUTHORIZED, _ONE_PRINCIPAL)
        if wait_s := self._attempts.wait_s(upgrade.address):
            message = f"Too many bad tokens; try again in {ceil(wait_s)} s."
            return problem(ErrorCode.RATE_LIMITED, message)
        try:
            fresh = self._check(self._authority, token, upgrade.address)
        except TokenRefused:
            return problem(ErrorCode.UNAUTHORIZED, param="token")
        if fresh.identity.owner != stay.credential.identity.owner:
            return problem(ErrorCode.UNAUTHORIZED, _ANOTHER, param="token")
        if fresh.role == "watch" and upgrade.role == "drive":
            return problem(ErrorCode.FORBIDDEN, _WATCHES_ONLY, param="token")
        stay.credential = fresh
        self._note("auth.renewed", upgrade.address, fresh)
        return None

    def _check(self, authority: Authority, token: str, address: str) -> Credential:
        try:
            return authority.check(token)
        except TokenRefused as refused:
            _REFUSED.labels(refused.cause).inc()
            _log.warning("auth.refused", cause=refused.cause, address=address)
            self._note("auth.refused", address, subject=refused.cause)
            if self._attempts.failed(address):
                _log.warning("auth.shut_out", address=address)
                self._note("auth.shut_out", address)
            raise

    def _note(
        self,
        act: str,
        address: str,
        caller: Credential | None = None,
        session_id: str | None = None,
        subject: str | None = None,
    ) -> None:
        if self._trail is not None:
            self._trail.note(
                act, caller, session_id=session_id, subject=subject, by=address or None
            )

    def _shut_out(self, address: str) -> Refusal | None:
        wait_s = self._attempts.wait_s(address)
        if not wait_s:
            return None
        _REFUSED.labels("shut_out").inc()
        sentence = "Too many bad tokens came from your address; come back later with a good one."
        after = (("Retry-After", str(ceil(wait_s))),)
        return Refusal(HTTPStatus.TOO_MANY_REQUESTS, sentence, after)


def bearer_in(authorization: str | None) -> str | None:
    """Return the token in an Authorization header, None where it is of another kind."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
