"""`cityforge key`: who may train, approve and administer, by signature."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli import key_token
from cityforge.cli.surroundings import Json, open_project, show, show_json

if TYPE_CHECKING:
    from cityforge.settings import Settings
    from cityforge.trust.chain import TrustedKey
    from cityforge.trust.entries import Entry
    from cityforge.trust.journal import Journal
    from cityforge.trust.keys import Signer

app = typer.Typer(help="Keys: who may train, approve, administer.", no_args_is_help=True)
app.add_typer(key_token.app, name="token")

Roles = Annotated[
    list[str] | None,
    typer.Option("--role", help="train, approve or admin; may be given several times."),
]
By = Annotated[str, typer.Option("--by", help="The admin; by default CITYFORGE_USER or the login.")]

Person = Annotated[
    str, typer.Argument(metavar="[NAME]", help="By default CITYFORGE_USER or the login.")
]


@app.command("new")
def new(
    context: typer.Context,
    name: Person = "",
    role: Roles = None,
    by: By = "",
    as_json: Json = False,
) -> None:
    """Make a key pair. The first of a site may do everything; others are admitted by an admin."""
    project, settings = open_project(context)
    from cityforge.trust.journal import act, open_journal, root_of
    from cityforge.trust.keys import PUBLIC, has_key, new_key, open_key

    journal, person = open_journal(project, settings), name or _person(settings)
    roles = _roles(role)
    if not journal.head_number():
        # Who has a key from another site goes on with it.
        signer = (
            open_key(settings, person) if has_key(settings, person) else new_key(settings, person)
        )
        act(journal, settings, signer, "key.trust", signer.key_id, root_of(signer))
        said = "the first of this site: trusted to train, approve and administer"
    elif roles:
        admin = _admin(journal, settings, by)
        signer = new_key(settings, person)
        _trust(journal, settings, admin, person, signer.public, roles)
        said = f"trusted to {' and '.join(roles)}"
    else:
        signer = new_key(settings, person)
        said = "not trusted yet: an admin runs cityforge key trust FILE --role ROLE"
    public = signer.path.with_name(f"{person}{PUBLIC}")
    if as_json:
        show_json({"key_id": signer.key_id, "name": person, "public": str(public), "state": said})
        return
    typer.echo(f"key {signer.key_id} of {person}: {said}\nthe public half  {public}")
    if not settings.key_passphrase.get_secret_value():
        typer.echo("the private half is not encrypted: set CITYFORGE_KEY_PASSPHRASE before")


@app.command()
def trust(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The public half: NAME.pub.pem.")],
    role: Roles = None,
    name: Annotated[str, typer.Option(help="Whose it is; by default as the file is named.")] = "",
    by: By = "",
    as_json: Json = False,
) -> None:
    """Trust a person's key to train, approve or administer; an admin's act."""
    project, settings = open_project(context)
    from cityforge.errors import InputError
    from cityforge.trust.journal import open_journal
    from cityforge.trust.keys import PUBLIC

    roles = _roles(role)
    if not roles:
        raise InputError("a role", found="none", do="name one: --role train, approve or admin")
    person = name or file.name.removesuffix(PUBLIC)
    if not name and not file.name.endswith(PUBLIC):
        raise InputError(f"a file NAME{PUBLIC}", found=f"'{file.name}'", do="say --name")
    public = _public(file)
    journal = open_journal(project, settings)
    entry = _trust(journal, settings, _admin(journal, settings, by), person, public, roles)
    if as_json:
        show_json(entry.body)
        return
    typer.echo(f"key {entry.about} of {person} is trusted to {' and '.join(roles)}")


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the keys of this site."""
    project, settings = open_project(context)
    from cityforge.trust.journal import open_journal

    journal = open_journal(project, settings)
    chain = journal.chain()
    since = {each.number: each.at[:10] for each in journal.entries(acts=("key.trust",))}
    rows = [_row(key, since[key.since]) for key in chain.keys.values()]
    show(rows, as_json, "no key yet: cityforge key new")


@app.command()
def revoke(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="Its id, or the name of its only owner.")],
    reason: Annotated[str, typer.Option(help="Why; it stays on record.")],
    compromised: Annotated[
        bool,
        typer.Option("--compromised", help="What it signed before is not believed either."),
    ] = False,
    by: By = "",
    as_json: Json = False,
) -> None:
    """Take back the trust in a key: it cannot act any more."""
    project, settings = open_project(context)
    from cityforge.errors import InputError
    from cityforge.trust.journal import act, open_journal
    from cityforge.trust.keys import has_key, open_key

    if not reason.strip():
        raise InputError("a reason that stays on record", found="none")
    journal = open_journal(project, settings)
    found = _find(journal, key)
    body = {"key_id": found.key_id, "reason": reason, "compromised": compromised}
    person = by or _person(settings)
    own = has_key(settings, person) and open_key(settings, person).key_id == found.key_id
    signer = open_key(settings, person) if own else _admin(journal, settings, by)
    act(journal, settings, signer, "key.revoke", found.key_id, body)
    stood = [each for each in journal.entries(acts=("register", "approve"))
             if each.key == found.key_id and compromised]  # fmt: skip
    versions = sorted({(each.about, int(each.body["version"])) for each in stood})
    if as_json:
        show_json({**body, "versions": [{"algorithm": a, "version": v} for a, v in versions]})
        return
    typer.echo(f"key {found.key_id} of {found.name} is revoked")
    for algorithm, version in versions:
        typer.echo(f"- {algorithm} version {version} rests on it and is not served any more")


@app.command("show")
def show_one(
    context: typer.Context,
    name: Person = "",
    as_json: Json = False,
) -> None:
    """Show a person's key on this machine, and what it is trusted with."""
    project, settings = open_project(context)
    from cityforge.cli.footage import show_facts
    from cityforge.trust.journal import open_journal
    from cityforge.trust.keys import PUBLIC, open_key

    signer = open_key(settings, name or _person(settings))
    known = open_journal(project, settings).chain().keys.get(signer.key_id)
    facts = {
        "key_id": signer.key_id,
        "name": signer.name,
        "public": str(signer.path.with_name(f"{signer.name}{PUBLIC}")),
        "roles": list(known.roles) if known else [],
        "state": _state(known) if known else "not trusted",
    }
    if as_json:
        show_json(facts)
        return
    show_facts(facts)


def _person(settings: Settings) -> str:
    from cityforge.cli.model import login

    return settings.user or login()


def _roles(asked: list[str] | None) -> list[str]:
    from cityforge.errors import NameUnknown
    from cityforge.trust.entries import ROLES

    for each in asked or ():
        if each not in ROLES:
            raise NameUnknown("a role", each, ROLES)
    return [each for each in ROLES if each in (asked or ())]


def _admin(journal: Journal, settings: Settings, by: str) -> Signer:
    """The key of who acts, before anything is made for the act.

    Raises:
        TrustError: it is no admin's; or the journal is not as it was written.
    """
    from cityforge.errors import TrustError
    from cityforge.trust.keys import open_key

    signer = open_key(settings, by or _person(settings))
    why = journal.chain().bar(signer.key_id, "key.trust")
    if why:
        raise TrustError(
            "an admin's key", found=why, where=str(signer.path),
            do="cityforge key list shows who is admin; name one with --by",
        )  # fmt: skip
    return signer


def _trust(
    journal: Journal, settings: Settings, admin: Signer, name: str, public: str, roles: list[str]
) -> Entry:
    from cityforge.trust.journal import act
    from cityforge.trust.keys import key_id_of

    key_id = key_id_of(public)
    body = {"key_id": key_id, "name": name, "public": public, "roles": roles}
    return act(journal, settings, admin, "key.trust", key_id, body)


def _public(file: Path) -> str:
    from cityforge.errors import InputError

    try:
        text = file.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise InputError("a public key (PEM)", found=found, where=str(file)) from error
    if "PRIVATE KEY" in text:
        raise InputError(
            "the public half of a key", found="the private one", where=str(file),
            do="it must not leave its owner: make a new key, and send its .pub.pem",
        )  # fmt: skip
    return text


def _find(journal: Journal, text: str) -> TrustedKey:
    """The key with an id, or the one key in force that a person has."""
    from cityforge.errors import InputError, NameUnknown

    keys = journal.chain().keys
    owned = [each for each in keys.values() if each.name == text and each.revoked is None]
    if text in keys:
        return keys[text]
    if len(owned) > 1:
        ids = ", ".join(each.key_id for each in owned)
        raise InputError("one key", found=f"{len(owned)} of '{text}'", do=f"name its id: {ids}")
    if not owned:
        raise NameUnknown("a key", text, [*keys, *(each.name for each in keys.values())])
    return owned[0]


def _row(key: TrustedKey, since: str) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "roles": list(key.roles),
        "since": since,
        "state": _state(key),
    }


def _state(key: TrustedKey) -> str:
    if key.revoked is None:
        return "trusted"
    return "compromised" if key.compromised else "revoked"
