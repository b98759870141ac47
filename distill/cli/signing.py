"""`distill model sign`, `verify` and `keygen`: who vouches for a model."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from distill.cli.console import Json, Project, answer, print_result, stderr
from distill.cli.model import project_for
from distill.cli.options import Model
from distill.errors import UsageError
from distill.words import visible


def sign(
    model: Model,
    key: Annotated[Path, typer.Option("--key", help="Private key, in PEM form.", show_default=False)],
    project: Project = None,
    as_json: Json = False,
) -> None:
    """Sign a model with a private key; the signature is written beside the file, as NAME.distill.sig."""
    from distill.registry.catalogue import sign as put
    from distill.registry.signing import is_protected, signature_of

    password = _password(f"Password of {key}") if is_protected(key) else None
    signed = put(model, key, project_for(project), password=password)
    name = str(signature_of(signed)) if isinstance(signed, Path) else signed.reference
    print_result([name], {"signed": name}, as_json=as_json)


def verify(
    model: Model,
    key: Annotated[
        Path | None, typer.Option("--key", help="Public key, in PEM form (default: the trusted key of the project).")
    ] = None,
    project: Project = None,
    as_json: Json = False,
) -> None:
    """Verify a model's signature with a public key; the exit code is 0 only if it is valid."""
    from distill.registry.catalogue import check_signature

    used = check_signature(model, project_for(project), key=key)
    print_result([f"valid (checked with {used})"], {"valid": True, "key": str(used)}, as_json=as_json)


def keygen(
    folder: Annotated[Path, typer.Argument(help="Folder for the two key files.", show_default=False)],
    protected: Annotated[
        bool, typer.Option("--password", help="Ask for a password that protects the private key.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a key pair: signing.pem, readable only by you, and signing.pub.pem for everyone."""
    from distill.registry.signing import PASSWORD_VARIABLE, make_keys

    password = os.environ.get(PASSWORD_VARIABLE) or (_password("New password", confirm=True) if protected else None)
    pair = make_keys(folder, password)
    stderr.print(f"Keep {pair.private} secret; put {pair.public.name} into the root folder of your projects.")
    values = {"private": str(pair.private), "public": str(pair.public)}
    print_result(list(values.values()), values, as_json=as_json)


def _password(question: str, *, confirm: bool = False) -> str:
    from distill.registry.signing import PASSWORD_VARIABLE

    if given := os.environ.get(PASSWORD_VARIABLE):
        return given
    # Without a terminal the answer would be echoed, or never come.
    if not sys.stdin.isatty():
        raise UsageError(f"the key needs a password and there is no terminal to ask for it: set {PASSWORD_VARIABLE}")
    ask = partial(typer.prompt, visible(question), hide_input=True, confirmation_prompt=confirm, err=True)
    return str(answer(ask, "nothing was done: no password was given"))
