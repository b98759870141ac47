"""Signatures in the registry: carried with the files of versions, and demanded of champions."""

import shutil
from pathlib import Path

import pytest

from database_util import put_database
from distill.errors import DistillError
from distill.registry import catalogue
from distill.registry.promotion import Refused, promote
from distill.registry.registration import register
from distill.registry.registry import find_version, resolve
from distill.registry.signing import KEY_VARIABLE, KeyPair, read_signature, sign, signature_of, verify, write_signature
from registry_util import make_folder, mlflow_server, model_file, signed_file

# MLflow uses what SQLAlchemy will remove.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, keys: KeyPair) -> Path:
    """A signed model, which no test changes."""
    return signed_file(tmp_path_factory.mktemp("signed") / "bells.distill", keys)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, keys: KeyPair) -> Path:
    """A project that trusts the key."""
    root = put_database(make_folder(tmp_path_factory.mktemp("signing") / "project"))
    shutil.copy(keys.public, root)
    return root


def test_only_a_signed_version_becomes_champion(
    project: Path, keys: KeyPair, others: KeyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model_file(tmp_path / "gate.distill")
    register(path, project)
    for force in (False, True):
        with pytest.raises(Refused, match="gate/1 is not promoted: gate/1 is not signed"):
            promote("gate", project, force=force)
    catalogue.sign("gate/1", others.private, project)
    with pytest.raises(Refused, match="another key"):
        promote("gate", project, force=True)
    assert find_version("gate", project).aliases == ("candidate",)
    catalogue.sign("gate/1", keys.private, project)
    assert promote("gate", project).aliases == ("candidate", "champion")
    # The environment's key counts before the project's, also one that cannot be used.
    for key, said in ((others.public, "another key"), (tmp_path / "nowhere.pem", "no key file")):
        monkeypatch.setenv(KEY_VARIABLE, str(key))
        with pytest.raises(DistillError, match=said):
            promote("gate", project, force=True)


def test_a_signature_of_another_version_makes_no_champion(project: Path, keys: KeyPair, tmp_path: Path) -> None:
    signed_file(tmp_path / "swap.distill", keys)
    register(tmp_path / "swap.distill", project)
    second = register(model_file(tmp_path / "swap.distill", weights=1), project)
    # The file was replaced, the signature beside it is the first one's.
    with pytest.raises(Refused, match="does not fit"):
        promote(second.reference, project, force=True)
    assert promote("swap/1", project).version == 1


def test_the_registry_takes_signatures_in_and_gives_them_out(
    project: Path, keys: KeyPair, others: KeyPair, tmp_path: Path
) -> None:
    path = signed_file(tmp_path / "way.distill", keys)
    version = register(path, project)
    assert read_signature(resolve("way/1", project)) == read_signature(path)
    out = catalogue.export("way/1", tmp_path / "out.distill", project)
    verify(out, keys.public)
    taken = catalogue.import_file(out, project, name="taken")
    verify(taken, keys.public)
    # Of the same file a newer signature counts.
    write_signature(path, sign(path, others.private))
    assert not register(path, project).created
    assert read_signature(resolve("way/1", project)) == read_signature(path)
    assert catalogue.check_signature("way/1", project, key=others.public) == others.public
    catalogue.import_file(path, project, name="taken")
    verify(taken, others.public)
    folder = resolve("way/1", project).parent
    assert catalogue.delete(version.reference, project) == "way/1"
    assert not folder.exists()
    catalogue.delete(str(taken), project)
    assert not taken.exists()
    assert not signature_of(taken).exists()


def test_the_signature_of_another_file_with_the_same_weights_is_left_out(
    project: Path, keys: KeyPair, tmp_path: Path
) -> None:
    register(signed_file(tmp_path / "same.distill", keys), project)
    kept = read_signature(resolve("same/1", project))
    other = model_file(tmp_path / "other" / "same.distill", description="the same weights, other bytes")
    write_signature(other, sign(other, keys.private))
    assert not register(other, project).created
    assert read_signature(resolve("same/1", project)) == kept


def test_a_copy_has_the_signature_of_its_source_or_none(project: Path, signed: Path, tmp_path: Path) -> None:
    bare = model_file(tmp_path / "bare.distill", weights=1)
    target = catalogue.export(str(signed), tmp_path / "target.distill", project)
    assert read_signature(target) == read_signature(signed)
    catalogue.export(str(bare), target, project, force=True)
    assert read_signature(target) is None
    # One that waits for its file is nobody's to remove.
    alone = tmp_path / "alone.distill"
    write_signature(alone, b"from a friend")
    catalogue.export(str(bare), alone, project)
    assert read_signature(alone) == b"from a friend"


@pytest.mark.slow
def test_a_server_keeps_signatures_as_files_do(
    project: Path, keys: KeyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model_file(tmp_path / "away.distill")
    fetched = project / ".distill" / "registry"
    with mlflow_server(tmp_path) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
        register(path, project)
        with pytest.raises(Refused, match="is not signed"):
            promote("away", project)
        # Somebody else signs what was fetched here before.
        colleague = make_folder(tmp_path / "colleague")
        catalogue.sign("away/1", keys.private, colleague)
        assert promote("away", project).aliases == ("candidate", "champion")
        verify(catalogue.export("away/1", tmp_path / "out.distill", project), keys.public)
        catalogue.delete("away/1", project, force=True)
        assert not list(fetched.iterdir())
        assert not list((tmp_path / "kept").rglob("*.sig"))
        register(signed_file(path, keys), project)
        assert promote("away", project).aliases == ("candidate", "champion")
