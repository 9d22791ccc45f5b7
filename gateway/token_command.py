"""`bargein token`: a token for development."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bargein.gateway.auth.authority import AuthUnusable
from bargein.gateway.auth.minting import mint
from bargein.gateway.flags import BAD_CONFIGURATION, fail, settings_of, with_settings
from bargein.gateway.service import secret_of


@click.command("token")
@click.argument("principal")
@click.option("--tenant", help="Whose principal that is.")
@click.option("--tier", help="Which quotas hold.")
@click.option("--role", type=click.Choice(["watch", "drive", "operator"]), help="By default drive.")
@click.option("--ttl-s", type=click.IntRange(1), default=3600, help="How long it is good.")
@with_settings
def token_command(
    principal: str,
    tenant: str | None,
    tier: str | None,
    role: str | None,
    ttl_s: int,
    config: Path | None,
    **flags: Any,
) -> None:
    """Print a token for PRINCIPAL, signed with the configured secret: for development.

    Without any auth configured it is signed with a new secret, and what to configure is printed.
    """
    auth = settings_of(config, flags).auth
    try:
        secret = secret_of(auth)
    except AuthUnusable as error:
        fail(str(error), BAD_CONFIGURATION)
    if secret is None and auth.on:
        fail("tokens are signed elsewhere; auth.secret would let this do it", BAD_CONFIGURATION)
    claims = {"tenant": tenant, "tier": tier, "role": role}
    minted = mint(secret, principal, ttl_s, **claims, iss=auth.issuer, aud=auth.audience)
    click.echo(minted.token)
    if minted.new_secret is not None:
        click.echo(
            "It is signed with a new secret. Start the server with that:\n"
            f"  export BARGEIN_AUTH_SECRET={minted.new_secret}",
            err=True,
        )
