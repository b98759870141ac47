"""Signatures of model files: made and checked with real keys."""

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from command_util import Command
from distill.errors import ArtifactError, UsageError
from distill.registry.signing import (
    KEY_VARIABLE,
    PASSWORD_VARIABLE,
    KeyPair,
    read_signature,
    sign,
    signature_of,
    signature_state_of,
    verify,
    write_signature,
)
from registry_util import make_folder, model_file, signed_file


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (KEY_VARIABLE, PASSWORD_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, keys: KeyPair) -> Path:
    """A signed model, which no test changes."""
    return signed_file(tmp_path_factory.mktemp("signed") / "bells.distill", keys)


def write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> KeyPair:
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    pair = KeyPair(path.with_suffix(".pem"), path.with_suffix(".pub.pem"))
    pair.private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    pair.public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return pair


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_signature_holds_for_the_file_wherever_it_lies_and_whatever_it_is_called(
    signed: Path, keys: KeyPair, tmp_path: Path
) -> None:
    verify(signed, keys.public)
    for path in (signed, signature_of(signed)):
        shutil.copy(path, tmp_path / path.name.replace("bells", "other"))
    verify(tmp_path / "other.distill", keys.public)
    link = tmp_path / "link.distill"
    link.symlink_to(signed)
    write_signature(link, sign(link, keys.private))
    verify(link, keys.public)


def test_others_check_it_with_the_library_alone(signed: Path, keys: KeyPair) -> None:
    from model_signing.verifying import Config

    Config().use_elliptic_key_verifier(public_key=keys.public).verify(signed, signature_of(signed))


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_keys_from_elsewhere_on_the_larger_curves_sign_too(curve: ec.EllipticCurve, tmp_path: Path) -> None:
    pair = write_key(tmp_path / "key", ec.generate_private_key(curve))
    verify(signed_file(tmp_path / "bells.distill", pair), pair.public)


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256K1())])
def test_keys_of_another_kind_are_refused(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, signed: Path, tmp_path: Path
) -> None:
    pair = write_key(tmp_path / "key", key)
    with pytest.raises(UsageError, match="P-256"):
        sign(signed, pair.private)
    with pytest.raises(UsageError, match="P-256"):
        verify(signed, pair.public)


def test_what_is_changed_by_a_bit_anywhere_is_not_the_signed_file(signed: Path, keys: KeyPair, tmp_path: Path) -> None:
    changed = tmp_path / signed.name
    write_signature(changed, read_signature(signed))
    for place in (0, len(signed.read_bytes()) // 2, -1):
        data = bytearray(signed.read_bytes())
        data[place] ^= 1
        changed.write_bytes(data)
        with pytest.raises(ArtifactError, match="does not fit"):
            verify(changed, keys.public)


@given(place=st.floats(0, 1, exclude_max=True), new=st.binary(max_size=3), cut=st.integers(0, 40))
def test_a_damaged_signature_lets_no_other_file_pass(
    place: float, new: bytes, cut: int, signed: Path, keys: KeyPair, tmp_path_factory: pytest.TempPathFactory
) -> None:
    good = signature_of(signed).read_bytes()
    start = int(place * len(good))
    model = tmp_path_factory.getbasetemp() / "small.distill"
    model.write_bytes(b"not what was signed")
    signature_of(model).write_bytes(good[:start] + new + good[start + cut :])
    with pytest.raises(ArtifactError) as failed:
        verify(model, keys.public)
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(
    "signature",
    ["", "{}", "[]", "null", "[" * 100_000, '{"verificationMaterial": {"publicKey": {"hint": null}}}', "\0", "hint"],
    ids=range(8),
)
def test_what_is_no_signature_is_named(signature: str, signed: Path, keys: KeyPair, tmp_path: Path) -> None:
    model = Path(shutil.copy(signed, tmp_path))
    signature_of(model).write_text(signature)
    with pytest.raises(ArtifactError, match=r"sign it again|another key"):
        verify(model, keys.public)


def test_a_signature_with_the_right_name_of_the_key_and_nothing_else_is_damaged(
    signed: Path, keys: KeyPair, others: KeyPair, tmp_path: Path
) -> None:
    model = Path(shutil.copy(signed, tmp_path))
    good = json.loads(read_signature(signed) or b"")
    forged = json.loads(sign(model, others.private))
    for wrong in ({**forged, "verificationMaterial": good["verificationMaterial"]}, {**good, "dsseEnvelope": None}):
        signature_of(model).write_text(json.dumps(wrong))
        with pytest.raises(ArtifactError, match="sign it again"):
            verify(model, keys.public)


def test_the_private_key_is_its_owners_alone_and_no_key_is_replaced(distill: Command, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "keys"
    private, public = distill("model", "keygen", str(folder)).paths
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert b"PRIVATE" not in public.read_bytes()
    before = contents(folder)
    assert "exists: choose another folder" in distill("model", "keygen", str(folder), code=1).err
    private.unlink()
    assert "exists: choose another folder" in distill("model", "keygen", str(folder), code=1).err
    assert contents(folder) == {public.name: before[public.name]}


def test_where_a_key_cannot_be_written_nothing_is_left(distill: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "cannot write" in distill("model", "keygen", str(tmp_path / "file"), code=1).err
    assert contents(tmp_path) == {"file": b"in the way"}


def test_a_password_protects_a_key(distill: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_file(tmp_path / "bells.distill")
    assert PASSWORD_VARIABLE in distill("model", "keygen", str(tmp_path), "--password", code=2).err
    monkeypatch.setenv(PASSWORD_VARIABLE, "möhre")
    private, public = distill("model", "keygen", str(tmp_path)).paths
    assert b"ENCRYPTED" in private.read_bytes()
    distill("model", "sign", str(model), "--key", str(private))
    distill("model", "verify", str(model), "--key", str(public))
    before = contents(tmp_path)
    monkeypatch.setenv(PASSWORD_VARIABLE, "carrot")
    assert "password is wrong" in distill("model", "sign", str(model), "--key", str(private), code=2).err
    monkeypatch.delenv(PASSWORD_VARIABLE)
    assert PASSWORD_VARIABLE in distill("model", "sign", str(model), "--key", str(private), code=2).err
    assert contents(tmp_path) == before


def test_a_password_hinders_no_key_that_has_none(signed: Path, keys: KeyPair) -> None:
    assert sign(signed, keys.private, "carrot")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("sign bells.distill --key public.pem", 2, "is a public key"),
        ("sign bells.distill --key nowhere.pem", 2, "there is no key file nowhere.pem"),
        ("sign bells.distill --key bells.distill", 2, "is no key in PEM form"),
        ("sign bells.distill --key torn.pem", 2, "cannot be used as a private key"),
        ("sign nowhere.distill --key signing.pem", 1, "nowhere.distill does not exist"),
        ("sign text.distill --key signing.pem", 1, "text.distill"),
        ("sign nowhere/1 --key signing.pem", 1, "no registered model"),
        ("verify bells.distill --key signing.pem", 2, "is a private key"),
        ("verify bells.distill --key nowhere.pem", 2, "there is no key file nowhere.pem"),
        ("verify bells.distill --key text.distill", 2, "is not a public key in PEM form"),
        ("verify bells.distill --key other.pub.pem", 1, "was made with another key"),
        ("verify bells.distill", 2, "name the public key with --key"),
        ("verify nowhere.distill --key public.pem", 1, "there is no model file nowhere.distill"),
        ("verify bare.distill --key public.pem", 1, "bare.distill is not signed"),
        ("verify taken.distill --key public.pem", 1, "signature is another file's"),
        ("verify damaged.distill --key public.pem", 1, "is damaged"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    words: str,
    code: int,
    said: str,
    distill: Command,
    signed: Path,
    keys: KeyPair,
    others: KeyPair,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(make_folder(tmp_path / "project"))
    for path in (signed, signature_of(signed), keys.private):
        shutil.copy(path, path.name)
    shutil.copy(keys.public, "public.pem")
    shutil.copy(others.public, "other.pub.pem")
    Path("torn.pem").write_bytes(keys.private.read_bytes()[:-60])
    Path("text.distill").write_text("my diary")
    model_file(Path("bare.distill"), weights=1)
    shutil.copy("bare.distill", "taken.distill")
    shutil.copy(signature_of(signed), "taken.distill.sig")
    shutil.copy(signed, "damaged.distill")
    Path("damaged.distill.sig").write_bytes(signature_of(signed).read_bytes()[:-9])
    before = contents(Path())
    ended = distill("model", *words.split(), code=code)
    assert said in ended.err
    assert len(ended.complaints) == 1
    assert ended.out == ""
    assert contents(Path()) == before


def test_info_tells_how_a_signature_stands(
    distill: Command, signed: Path, keys: KeyPair, others: KeyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> str:
        return str(json.loads(distill("model", "info", "bells.distill", "--json").out)["signature"]["state"])

    monkeypatch.chdir(make_folder(tmp_path / "project"))
    shutil.copy(signed, "bells.distill")
    assert told() == "none"
    shutil.copy(keys.public, ".")
    assert told() == "missing"
    shutil.copy(signature_of(signed), ".")
    assert told() == "valid"
    assert "signature valid (checked with" in " ".join(distill("model", "info", "bells.distill").out.split())
    monkeypatch.setenv(KEY_VARIABLE, str(others.public))
    assert told() == "wrong"
    assert "another key" in signature_state_of(Path("bells.distill"), Path()).why
    monkeypatch.setenv(KEY_VARIABLE, "nowhere.pem")
    assert told() == "unchecked"
    monkeypatch.delenv(KEY_VARIABLE)
    Path(keys.public.name).unlink()
    assert told() == "unchecked"
    # The project's key is lost, which is not the same as none.
    Path(keys.public.name).symlink_to("nowhere.pem")
    assert "there is no key file" in signature_state_of(Path("bells.distill"), Path()).why


def test_without_the_library_a_line_names_what_to_install(
    signed: Path, keys: KeyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("model_signing", "model_signing.signing", "model_signing.verifying"):
        monkeypatch.setitem(sys.modules, name, None)
    for act in (lambda: sign(signed, keys.private), lambda: verify(signed, keys.public)):
        with pytest.raises(UsageError, match=r"pip install 'distill-audio\[sign\]'"):
            act()
    monkeypatch.setenv(KEY_VARIABLE, str(keys.public))
    assert signature_state_of(signed, tmp_path).state == "unchecked"


SCRIPT = """
import sys
from distill.cli.main import main

contacts = []
sys.addaudithook(lambda event, values: contacts.append(values) if event in CONTACTS else None)
CONTACTS = {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}
for words in sys.argv[1:]:
    sys.argv = ["distill", *words.split()]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, words
assert not contacts, contacts
print(*({"model_signing", "cryptography", "sigstore"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("commands", "loads"),
    [
        (["--help", "model info bells.distill"], False),
        (["model sign bells.distill --key signing.pem", "model verify bells.distill --key public.pem"], True),
    ],
)
def test_nothing_is_contacted_and_the_library_is_loaded_by_who_uses_it(
    commands: list[str], loads: bool, keys: KeyPair, tmp_path: Path
) -> None:
    model_file(tmp_path / "bells.distill")
    shutil.copy(keys.private, tmp_path)
    shutil.copy(keys.public, tmp_path / "public.pem")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *commands],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert ("model_signing" in done.stderr) is loads
    assert bool(done.stderr.strip()) is loads
