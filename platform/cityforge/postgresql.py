"""Addresses of PostgreSQL: the keys they may carry, and TLS as libpq names it."""

from __future__ import annotations

import ssl
from typing import Any

from cityforge.errors import InputError

MODES = ("disable", "require", "verify-ca", "verify-full")
TLS_KEYS = ("sslmode", "sslrootcert")
# What the driver pg8000 takes in an address.
DRIVER_KEYS = ("application_name", "host", "password", "unix_sock", "user")


def with_tls(url: str, where: str) -> tuple[str, dict[str, Any]]:
    """The address without its keys of TLS, and what the driver is told of TLS in their place.

    The keys mean what they mean to libpq (PostgreSQL's manual, "SSL Support"): `require`
    encrypts and trusts any certificate; `verify-ca` trusts those that `sslrootcert` (a file in
    PEM) or the machine vouches for; `verify-full` asks for the server's name in it, too.
    `require` with a `sslrootcert` is `verify-ca`. Without `sslmode` the connection is encrypted
    where the server can.

    Args:
        where: the setting that the address is from.

    Raises:
        InputError: another key or mode, or no certificate in the file.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise InputError(
            "an address of PostgreSQL", found="one that cannot be read", where=where,
            do="write signs such as @ : / in its user and password as %40 %3A %2F",
        ) from error  # fmt: skip
    query = parsed.query
    _refuse_other_keys(query, where)
    mode, root = str(query.get("sslmode", "")), str(query.get("sslrootcert", ""))
    if not (mode or root):
        return url, {}
    if mode not in MODES:
        raise InputError(
            f"sslmode {', '.join(MODES)}", found=f"'{mode}'" if mode else "sslrootcert alone",
            where=where,
        )  # fmt: skip
    bare = parsed.difference_update_query(TLS_KEYS).render_as_string(hide_password=False)
    return bare, {"ssl_context": _context(mode, root, where)}


def _refuse_other_keys(query: Any, where: str) -> None:
    known = (*TLS_KEYS, *DRIVER_KEYS)
    for key, value in query.items():
        if key not in known or not isinstance(value, str):
            raise InputError(
                f"of {', '.join(known)} each at most once", where=where,
                found=f"'{key}'" if key not in known else f"'{key}' twice",
                do="take it out of the address",
            )  # fmt: skip


def _context(mode: str, root: str, where: str) -> ssl.SSLContext | bool:
    if mode == "disable":
        return False
    try:
        context = ssl.create_default_context(cafile=root or None)
    except OSError as error:  # ssl.SSLError is one
        raise InputError(
            "a file of certificates in PEM", found=error.strerror or str(error),
            where=f"{where}, sslrootcert={root}",
        ) from error  # fmt: skip
    context.check_hostname = mode == "verify-full"
    if mode == "require" and not root:
        context.verify_mode = ssl.CERT_NONE
    return context
