"""Who has lost access before their token has ended."""

from __future__ import annotations

from attrs import field, frozen

from bargein.gateway.auth.identity import Credential


@frozen
class Revocations:
    """The principals and tokens that are good for nothing any more.

    The file has one a line, `sub alice` or `jti 7f3a…`; what follows a `#` at the start of a line,
    and empty lines, are skipped.

    Attributes:
        principals: Of every tenant.
        token_ids: `jti` of tokens.
        unread: Numbers of the lines that say neither.
    """

    principals: frozenset[str] = field(factory=frozenset[str])
    token_ids: frozenset[str] = field(factory=frozenset[str])
    unread: tuple[int, ...] = ()

    def holds(self, credential: Credential) -> bool:
        """Say whether a credential was revoked."""
        return (
            credential.identity.principal in self.principals
            or credential.token_id in self.token_ids
        )


def read_revocations(text: str) -> Revocations:
    """Read the file; what can't be read is noted, since the rest must hold all the same."""
    principals: set[str] = set()
    token_ids: set[str] = set()
    unread: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        word, _, name = line.strip().partition(" ")
        if not word or word.startswith("#"):
            continue
        match word, name.strip():
            case "sub", str(principal) if principal:
                principals.add(principal)
            case "jti", str(token_id) if token_id:
                token_ids.add(token_id)
            case _:
                unread.append(number)
    return Revocations(frozenset(principals), frozenset(token_ids), tuple(unread))
