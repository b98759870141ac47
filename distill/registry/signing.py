"""Signatures of model files: made with a private key and checked with a public one, offline."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from distill.artifact.model_file import read_model
from distill.errors import ArtifactError, UsageError
from distill.files import require_absent, storage_errors, write_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from model_signing.hashing import Config

SUFFIX = ".sig"
PRIVATE_KEY, PUBLIC_KEY = "signing.pem", "signing.pub.pem"
KEY_VARIABLE, PASSWORD_VARIABLE = "DISTILL_SIGNING_KEY", "DISTILL_SIGNING_PASSWORD"
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


@dataclass(frozen=True)
class KeyPair:
    """The files of a new key pair."""

    private: Path
    public: Path


@dataclass(frozen=True)
class SignatureState:
    """The state of a model's signature.

    Where a project trusts a key, the state is `valid`, `missing` or `wrong`, or `unchecked` if the key cannot be used.
    Where it trusts none, it is `unchecked` or, without a signature, `none`.
    """

    state: Literal["valid", "missing", "wrong", "unchecked", "none"]
    why: str = ""

    @property
    def words(self) -> str:
        """State and reason."""
        return f"{self.state} ({self.why})" if self.why else self.state


def signature_of(model: Path) -> Path:
    """Where the signature of a model file lies: beside it."""
    return model.with_name(model.name + SUFFIX)


def read_signature(model: Path) -> bytes | None:
    """The signature beside a model file, unchecked; None where there is none.

    Raises:
        StorageError: it is there and cannot be read.
    """
    path = signature_of(model)
    if not path.is_file():
        return None
    with storage_errors(path, "read"):
        return path.read_bytes()


def write_signature(model: Path, signature: bytes | None) -> None:
    """Put a signature beside a model file in place of the one that is there; None leaves the model without one.

    Raises:
        StorageError: it cannot be written or removed.
    """
    path = signature_of(model)
    if signature is not None:
        write_bytes(path, signature)
    else:
        with storage_errors(path, "remove"):
            path.unlink(missing_ok=True)


def make_keys(folder: Path, password: str | None = None) -> KeyPair:
    """Make a key pair on the curve P-256; only its owner can read the private key.

    Args:
        folder: where `signing.pem` and `signing.pub.pem` are written; it is made if it is not there.
        password: protects the private key.

    Raises:
        UsageError: model-signing is not installed.
        StorageError: a file exists or cannot be written.
    """
    pair = KeyPair(folder / PRIVATE_KEY, folder / PUBLIC_KEY)
    for path in (pair.private, pair.public):
        require_absent(path, "choose another folder")
    with _library():
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    key = ec.generate_private_key(ec.SECP256R1())
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        protection = serialization.BestAvailableEncryption(password.encode())
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, protection)
    with storage_errors(pair.private, "write"):
        folder.mkdir(parents=True, exist_ok=True)
        # Readable by its owner alone from the first moment, and never another key's place.
        descriptor = os.open(pair.private, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with storage_errors(pair.private, "write"), os.fdopen(descriptor, "wb") as handle:
            handle.write(secret)
        write_bytes(pair.public, _pem_of(key.public_key()))
    except BaseException:
        with suppress(OSError):
            pair.private.unlink()
        raise
    return pair


def is_protected(key: Path) -> bool:
    """Whether a private key needs a password.

    Raises:
        UsageError: there is no such file.
        StorageError: it cannot be read.
    """
    return b"ENCRYPTED" in _read_key(key)


def sign(model: Path, key: Path, password: str | None = None) -> bytes:
    """A signature of a model file, which is checked whole before; nothing is written.

    Args:
        model: the file.
        key: private elliptic-curve key as PEM.
        password: of the key; of no effect where it has none.

    Raises:
        ArtifactError: the model file cannot be used.
        UsageError: the key cannot be used, or model-signing is not installed.
        StorageError: a file cannot be read.
    """
    known = password.encode() if password and is_protected(key) else None
    _check_private(key, known)
    read_model(model)
    with _library():
        from model_signing.signing import Config
    with tempfile.TemporaryDirectory(prefix="distill-sign-") as temporary, storage_errors(model, "sign"):
        written = Path(temporary) / "signature"
        config = Config().set_hashing_config(_hashing())
        # The annotation says str, but the key is opened with bytes.
        config = config.use_elliptic_key_signer(private_key=key, password=known)  # type: ignore[arg-type]
        config.sign(model, written)
        return written.read_bytes()


def verify(model: Path, key: Path, *, called: str | None = None) -> None:
    """Check that the signature beside a model file was made for this file and with the key that belongs to this one.

    Args:
        model: the file.
        key: public elliptic-curve key as PEM.
        called: what errors call the model; by default its path.

    Raises:
        ArtifactError: the signature is missing, damaged, of another key or another file; the message says which.
        UsageError: the key cannot be used, or model-signing is not installed.
        StorageError: a file cannot be read.
    """
    public, called = _public(key), called or str(model)
    if not model.is_file():
        raise ArtifactError(f"there is no model file {model}")
    path, signature = signature_of(model), read_signature(model)
    if signature is None:
        raise ArtifactError(f"{called} is not signed: sign it with distill model sign")
    damaged = f"the signature of {called} is damaged, or {path.name} is not a model signature: sign it again"
    try:
        hint = json.loads(signature)["verificationMaterial"]["publicKey"]["hint"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ArtifactError(damaged) from error
    if hint != hashlib.sha256(_pem_of(public)).hexdigest():
        raise ArtifactError(f"the signature of {called} was made with another key than the one that {key} belongs to")
    with _library():
        from model_signing.verifying import Config
    config = Config().set_hashing_config(_hashing()).use_elliptic_key_verifier(public_key=key)
    with storage_errors(model, "read"):
        try:
            config.verify(model, path)
        except OSError:
            raise
        except Exception as error:
            if str(error).startswith("Signature mismatch"):
                raise ArtifactError(
                    f"the signature of {called} does not fit: the file was changed, or the signature is another file's"
                ) from error
            # A file from elsewhere may hold anything, and the library lets whatever it stumbles on pass.
            raise ArtifactError(damaged) from error


def trusted_key(project: Path) -> Path | None:
    """The public key whose signatures a project trusts: the environment's, else the project's; None if neither is set.

    The file need not be usable; using it raises.
    """
    if named := os.environ.get(KEY_VARIABLE):
        return Path(named)
    path = project / PUBLIC_KEY
    # A link that leads nowhere is a key that is missing, not the wish to check nothing.
    return path if os.path.lexists(path) else None


def signature_state_of(model: Path, project: Path, *, called: str | None = None) -> SignatureState:
    """The state of the signature beside a model file, which errors call `called`.

    Raises:
        StorageError: a file cannot be read.
    """
    signed, key = signature_of(model).is_file(), trusted_key(project)
    if key is None:
        return SignatureState("unchecked", "no key is trusted here") if signed else SignatureState("none")
    if not signed:
        return SignatureState("missing")
    try:
        verify(model, key, called=called)
    except UsageError as error:
        return SignatureState("unchecked", str(error))
    except ArtifactError as error:
        return SignatureState("wrong", str(error))
    return SignatureState("valid", f"checked with {key}")


@contextmanager
def _library() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UsageError("signatures need model-signing: pip install 'distill-audio[sign]'") from error


def _hashing() -> "Config":
    from model_signing.hashing import Config

    # DVC may keep a model as a link into its cache.
    return Config().set_ignored_paths(paths=[], ignore_git_paths=False).set_allow_symlinks(True)


def _read_key(path: Path) -> bytes:
    if not path.is_file():
        raise UsageError(f"there is no key file {path}: distill model keygen makes a key pair")
    with storage_errors(path, "read"):
        return path.read_bytes()


def _check_private(path: Path, password: bytes | None) -> None:
    data = _read_key(path)
    with _library():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    if b"PRIVATE KEY" not in data:
        what = "a public key" if b"PUBLIC KEY" in data else "no key in PEM form"
        raise UsageError(f"{path} is {what}: signing needs the private key, such as {PRIVATE_KEY}")
    if b"ENCRYPTED" in data and password is None:
        raise UsageError(f"{path} is protected by a password: set {PASSWORD_VARIABLE}")
    try:
        key = load_pem_private_key(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        why = "the password is wrong, or the key is damaged" if password else "it is damaged or of an unknown kind"
        raise UsageError(f"{path} cannot be used as a private key: {why}") from error
    _check_kind(path, key.public_key())


def _public(path: Path) -> "EllipticCurvePublicKey":
    data = _read_key(path)
    with _library():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    if b"PRIVATE KEY" in data:
        raise UsageError(f"{path} is a private key: verifying needs the public key, such as {PUBLIC_KEY}")
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is not a public key in PEM form: make one with distill model keygen") from error
    return _check_kind(path, key)


def _check_kind(path: Path, key: object) -> "EllipticCurvePublicKey":
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise UsageError(f"{path} is not an elliptic-curve key on {', '.join(CURVES.values())}: make one with keygen")
    return key


def _pem_of(key: "EllipticCurvePublicKey") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
