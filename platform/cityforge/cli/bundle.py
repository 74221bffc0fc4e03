"""`cityforge bundle`: approved versions for sites without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cityforge.cli.serving import Chosen
from cityforge.cli.surroundings import AlgorithmName, Json, open_project, progress, show_json

app = typer.Typer(
    help="One archive of an approved version, for a site without a network.", no_args_is_help=True
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A bundle: NAME.cityforge.tar.")]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        help="Id or file (NAME.pub.pem) of a key you know: the site's first one, the approver's "
        "or the builder's. Without it the keys in the bundle are believed.",
    ),
]


@app.command()
def build(
    context: typer.Context,
    algorithm: AlgorithmName,
    version: Chosen = None,
    out: Annotated[
        Path | None, typer.Option(help="The archive; by default below .cityforge/bundles.")
    ] = None,
    wheels: Annotated[
        bool, typer.Option("--wheels/--no-wheels", help="Every locked wheel for this platform.")
    ] = True,
    pictures: Annotated[
        int,
        typer.Option(min=0, max=64, help="Frames of the test split with their answers; 0: drawn."),
    ] = 8,
    by: Annotated[
        str, typer.Option("--by", help="Who signs; by default CITYFORGE_USER or the login.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Write the bundle of an approved version, signed."""
    project, settings = open_project(context)
    from cityforge.registry.bundle import Wanted, build_bundle
    from cityforge.registry.site import Site

    project.algorithm(algorithm)
    site = Site(project, settings)
    wanted = Wanted(out, wheels, pictures, by)
    if wheels:
        with progress("wheels", "distributions") as advance:
            built = build_bundle(site, algorithm, version, wanted, advance)
    else:
        built = build_bundle(site, algorithm, version, wanted, lambda done, whole: None)
    if as_json:
        show_json({
            "path": str(built.path), "sha256": built.sha256, "size": built.size,
            "files": len(built.manifest.files), "pictures": built.pictures,
            "why_drawn": built.why_drawn, "wheels": built.manifest.wheels,
            "builder": built.manifest.builder.name, "key": built.manifest.builder.key_id,
        })  # fmt: skip
        return
    typer.echo(f"{built.path}\n{built.size / 1e6:.1f} MB, sha256 {built.sha256}")
    typer.echo(f"signed by {built.manifest.builder.name}, key {built.manifest.builder.key_id}")
    if built.why_drawn:
        typer.echo(f"its {built.pictures} pictures are drawn: {built.why_drawn}", err=True)
    if not wheels:
        typer.echo("no wheels: it runs where cityforge is installed, or with a network", err=True)


@app.command()
def verify(file: File, key: Key = "", as_json: Json = False) -> None:
    """Hold a bundle against its signatures, and answer its pictures again."""
    from cityforge.endpoint.bundle_checks import lines_of
    from cityforge.endpoint.bundle_checks import verify as verify_bundle

    verified = verify_bundle(file, key)
    if as_json:
        show_json(verified.told())
        return
    typer.echo("\n".join(lines_of(verified)))


@app.command()
def run(
    file: File,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    folder: Annotated[
        Path | None, typer.Option(help="Where it is unpacked; by default here, named as FILE is.")
    ] = None,
    hosts: Annotated[
        str,
        typer.Option(
            envvar="CITYFORGE_HOSTS",
            help="Names, by commas, that callers know this machine by.",
        ),
    ] = "",
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            envvar="CITYFORGE_TLS_CERT",
            resolve_path=True,
            help="Certificate (PEM): answer over TLS.",
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(envvar="CITYFORGE_TLS_KEY", resolve_path=True, help="Its private key (PEM)."),
    ] = None,
    key: Key = "",
) -> None:
    """Verify a bundle, unpack it and serve it; needs no project and no network.

    Tokens, answers and feedback are kept in FOLDER/state, which no start empties; camera cards
    are read from FOLDER/cameras. CITYFORGE_FEEDBACK and so on name other places.
    """
    from cityforge.endpoint.bundled import Where, folder_for
    from cityforge.endpoint.bundled import run as run_bundle

    where = Where(host, port, hosts, tls_cert, tls_key)
    run_bundle(
        file, folder or folder_for(file), where, key, lambda line: typer.echo(line, err=True)
    )
