"""`cityforge key token`: who may call this site's endpoints."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.surroundings import Json, open_project, show, show_json

if TYPE_CHECKING:
    from cityforge.endpoint.token_file import Token

app = typer.Typer(help="Tokens of those who may call an endpoint.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Whose token it is, as logs show it.")]


@app.command()
def new(
    context: typer.Context,
    name: Name,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="predict, feedback or admin; may be given several times."),
    ] = None,
    rate: Annotated[float, typer.Option(help="Requests a second.")] = 20.0,
    burst: Annotated[int, typer.Option(help="Requests at once.")] = 40,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is in force.")] = 365,
    as_json: Json = False,
) -> None:
    """Make a token. It is shown this once; only its hash is kept."""
    from cityforge.endpoint.token_file import SCOPES, new_token
    from cityforge.errors import InputError

    if not scope:
        known = ", ".join(SCOPES)
        raise InputError("a scope", found="none", do=f"name one: --scope, of {known}")
    token, secret = new_token(_path(context), name, scope, rate=rate, burst=burst, days=days)
    if as_json:
        show_json({"token": secret, **_row(token)})
        return
    typer.echo(secret)
    said = f"of {token.name} for {' and '.join(token.scopes)}, until {token.expires:%Y-%m-%d}"
    typer.echo(f"{said}: it is not shown again", err=True)


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List those who have a token; never the tokens."""
    from cityforge.endpoint.token_file import read_tokens

    rows = [_row(each) for each in read_tokens(_path(context))]
    show(rows, as_json, "no token yet: cityforge key token new NAME --scope predict")


@app.command()
def revoke(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Take a token back; endpoints that run stop taking it within a second."""
    from cityforge.endpoint.token_file import revoke_token

    token = revoke_token(_path(context), name)
    if as_json:
        show_json(_row(token))
        return
    typer.echo(f"the token of {token.name} is taken back")


def _path(context: typer.Context) -> Path:
    from cityforge.endpoint.token_file import PLACE

    project, _ = open_project(context)
    return project.work / PLACE


def _row(token: Token) -> dict[str, Any]:
    return {
        "name": token.name,
        "scopes": list(token.scopes),
        "rate": token.rate,
        "burst": token.burst,
        "created": f"{token.created:%Y-%m-%d}",
        "expires": f"{token.expires:%Y-%m-%d}",
        "state": "expired" if token.expires <= datetime.now(UTC) else "in force",
    }
