"""One list of models over files and registry, and what the commands do with either."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from database_util import put_database
from distill.cli.main import app
from distill.errors import DataError, DistillError, StorageError, UsageError
from distill.projects.models import default_file
from distill.registry import catalogue
from distill.registry.promotion import promote
from distill.registry.registration import register
from distill.registry.registry import find_version, resolve, versions
from registry_util import make_folder, model_file

# MLflow uses what SQLAlchemy will remove.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a registered model that also is a file, and a file that is not registered."""
    root = put_database(make_folder(tmp_path_factory.mktemp("catalogue") / "project"))
    register(model_file(root / "models" / "bells.distill"), root)
    model_file(
        root / "runs" / "one" / "models" / "rain.distill", weights=5, distance=2.0, verdict="warn", dataset="rain"
    )
    return root


@contextmanager
def little_room(most: int) -> Iterator[None]:
    """No file may grow beyond so many bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def command(project: Path, *words: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["model", *words, "--project", str(project)], input=answer)


def told(project: Path, *words: str) -> Any:
    done = command(project, *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_list_shows_a_model_once_with_all_places(project: Path) -> None:
    listed = told(project, "list")
    assert [each["name"] for each in listed["models"]] == ["bells", "rain"]
    bells, rain = listed["models"]
    assert bells["files"] == [str(project / "models" / "bells.distill")]
    assert (bells["registered"], bells["aliases"]) == (["bells/1"], ["candidate"])
    assert (rain["registered"], rain["verdict"]) == ([], "warn")
    shown = command(project, "list").stdout
    assert "models/bells.distill" in shown
    assert "bells/1 @candidate" in shown


def test_a_model_that_is_being_written_is_none(project: Path) -> None:
    before = told(project, "list")
    half = project / "models" / ".bells.distill.0123456789abcdef.tmp.distill"
    half.write_bytes((project / "models" / "bells.distill").read_bytes()[:1000])
    try:
        assert told(project, "list") == before
        assert default_file(project).name == "bells.distill"
    finally:
        half.unlink()


def test_the_list_is_sorted_and_filtered(project: Path) -> None:
    assert [each["name"] for each in told(project, "list", "--sort", "distance")["models"]] == ["rain", "bells"]
    assert [each["name"] for each in told(project, "list", "--verdict", "warn")["models"]] == ["rain"]
    assert [each["name"] for each in told(project, "list", "--dataset", "rain")["models"]] == ["rain"]
    assert [each["registered"] for each in told(project, "list", "--files-only")["models"]] == [[], []]
    entries, _ = catalogue.catalogue(project, registry=False)
    for wrong in ({"sort": "color"}, {"verdict": "good"}):
        with pytest.raises(UsageError, match="choose one of"):
            catalogue.select(entries, **wrong)


def test_a_search_finds_all_words_wherever_they_stand(project: Path) -> None:
    assert [each["name"] for each in told(project, "search", "METAL", "GLÖCKCHEN")["models"]] == ["bells"]
    assert [each["name"] for each in told(project, "search", "candidate")["models"]] == ["bells"]
    assert told(project, "search", "metal", "wood")["models"] == []
    assert "No models." in command(project, "search", "wood").stdout


def test_other_folders_are_listed_too_and_a_missing_one_is_named(project: Path, tmp_path: Path) -> None:
    model_file(tmp_path / "more.distill", weights=9)
    listed = told(project, "list", "--files-only", "--folder", str(tmp_path), "--folder", str(project / "models"))
    assert [len(each["files"]) for each in listed["models"]] == [1, 1, 1]
    with pytest.raises(UsageError, match="is no folder"):
        catalogue.catalogue(project, registry=False, folders=[tmp_path / "nowhere"])


def test_the_same_weights_with_another_verdict_are_listed_apart(project: Path, tmp_path: Path) -> None:
    model_file(tmp_path / "bells.distill", verdict="fail", lineage="c")
    entries, _ = catalogue.catalogue(project, registry=False, folders=[tmp_path])
    (failed,) = catalogue.select(entries, verdict="fail")
    assert failed.files == [tmp_path / "bells.distill"]


def test_a_damaged_file_is_named_and_the_others_are_listed(project: Path) -> None:
    broken = project / "models" / "broken.distill"
    broken.write_bytes(b"nothing")
    try:
        entries, unreadable = catalogue.catalogue(project, registry=False)
    finally:
        broken.unlink()
    assert [each.place for each in unreadable] == [str(broken)]
    assert len(entries) == 2


def test_text_of_a_model_is_shown_as_it_is(tmp_path: Path) -> None:
    project = make_folder(tmp_path / "project")
    path = model_file(project / "models" / "odd.distill", description="[bold]loud[/x]", dataset="[red]")
    assert "[bold]loud[/x]" in command(project, "info", str(path)).stdout
    assert "[red] (5)" in command(project, "list", "--files-only").stdout


def test_info_tells_of_files_and_versions_and_joins_the_run(project: Path) -> None:
    file = told(project, "info", str(project / "models" / "bells.distill"))
    version = told(project, "info", "bells@candidate")
    assert version["registered"]["reference"] == "bells/1"
    (run,) = version["runs"]
    assert run["started_by"] == "import"
    assert {key: value for key, value in version.items() if key not in ("registered", "runs")} == file
    assert told(project, "info", str(project / "models" / "bells.distill"), "--run")["runs"] == version["runs"]


def test_info_of_a_file_loads_neither_torch_nor_mlflow(project: Path) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from distill.cli.main import app; "
        "done = CliRunner().invoke(app, ['model', 'info', sys.argv[1]]); assert done.exit_code == 0, done.output; "
        "assert not {'torch', 'mlflow', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(project / "models" / "bells.distill")], check=True)


def test_comparing_shows_what_differs_and_nothing_else(project: Path, tmp_path: Path) -> None:
    other = str(model_file(tmp_path / "other.distill", distance=3.0, weights=1, data="cd"))
    rows = told(project, "compare", "bells/1", other)
    assert rows["held_out_distance_db"] == {"bells/1": 4.0, other: 3.0}
    assert {"name", "digest", "data_digest"} < set(rows)
    assert not {"levels", "verdict", "codebook_size", "level_0.utilization"} & set(rows)
    assert "No differences" in command(project, "compare", "bells/1", "bells").stdout
    with pytest.raises(UsageError, match="two models"):
        catalogue.compare([other], project)


def test_export_and_import_keep_the_bytes_and_overwrite_nothing(project: Path, tmp_path: Path) -> None:
    out = catalogue.export("bells/1", tmp_path / "out.distill", project)
    assert out.read_bytes() == resolve("bells/1", project).read_bytes()
    assert catalogue.export("bells", tmp_path, project) == tmp_path / "bells.distill"
    with pytest.raises(StorageError, match="--force"):
        catalogue.export("bells/1", out, project)
    other = model_file(tmp_path / "bells.distill", weights=3)
    with pytest.raises(StorageError, match="another model"):
        catalogue.import_file(other, project)
    taken = catalogue.import_file(other, project, name="more-bells")
    assert taken.read_bytes() == other.read_bytes()
    assert catalogue.import_file(other, project, name="more-bells") == taken
    taken.unlink()
    for name in ("../up", ".hidden", "a/b", "a\0b", "/tmp/x"):
        with pytest.raises(UsageError, match="cannot be a model's name"):
            catalogue.import_file(other, project, name=name)
    damaged = tmp_path / "damaged.distill"
    shutil.copy(other, damaged)
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(DistillError):
        catalogue.import_file(damaged, project, name="damaged")
    assert not (project / "models" / "damaged.distill").exists()


def test_what_cannot_be_written_is_one_line_and_leaves_nothing(project: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        catalogue.export("bells/1", tmp_path / "file" / "out.distill", project)
    model = project / "models" / "bells.distill"
    with little_room(model.stat().st_size // 2), pytest.raises(StorageError, match="cannot write"):
        catalogue.export(str(model), tmp_path / "out.distill", project)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_deleting_takes_one_version_and_never_the_champion(project: Path, tmp_path: Path) -> None:
    version = register(model_file(tmp_path / "gone.distill"), project)
    promote(version.reference, project)
    with pytest.raises(UsageError, match="champion"):
        catalogue.delete("gone/1", project)
    with pytest.raises(UsageError, match="one version"):
        catalogue.delete("gone", project)
    assert catalogue.delete("gone/1", project, force=True) == "gone/1"
    assert versions(project, "gone") == []
    path = model_file(tmp_path / "file.distill")
    catalogue.delete(str(path), project)
    assert not path.exists()
    (tmp_path / "text.distill").write_text("my diary")
    with pytest.raises(DistillError):
        catalogue.delete(str(tmp_path / "text.distill"), project)
    assert (tmp_path / "text.distill").exists()


def test_deleting_asks_what_exists_and_takes_silence_for_no(project: Path, tmp_path: Path) -> None:
    path = model_file(tmp_path / "asked.distill")
    for answer in ("n\n", ""):
        done = command(project, "delete", str(path), answer=answer)
        assert isinstance(done.exception, UsageError)
        assert "nothing was deleted" in str(done.exception)
    assert isinstance(command(project, "delete", "no-such/1", answer="y\n").exception, DataError)
    done = command(project, "delete", str(path), answer="y\n")
    assert done.stdout.endswith(f"deleted {path}\n")
    assert not path.exists()


def test_the_way_of_a_model_by_commands(project: Path, tmp_path: Path) -> None:
    path = model_file(tmp_path / "way.distill", weights=7)
    assert told(project, "register", str(path))["created"]
    assert "already registered" in command(project, "register", str(path)).stdout
    assert told(project, "promote", "way@candidate")["aliases"] == ["candidate", "champion"]
    out = tmp_path / "out.distill"
    assert told(project, "export", "way@champion", "-o", str(out)) == {"path": str(out)}
    taken = told(project, "import", str(out), "--name", "taken")["path"]
    assert find_version("way", project).digest in {each["digest"] for each in told(project, "list")["models"]}
    assert told(project, "delete", "way/1", "--yes", "--force") == {"deleted": "way/1"}
    assert told(project, "delete", taken, "--yes") == {"deleted": taken}


def test_a_model_of_a_run_is_known_by_its_file_in_models(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "project")
    first = model_file(root / "models" / "bells.distill")
    second = root / "runs" / "kit-1" / "models" / "bells.distill"
    second.parent.mkdir(parents=True)
    second.write_bytes(first.read_bytes())
    ((entry,), unreadable) = catalogue.catalogue(root, registry=False)
    assert entry.files == [first, second]
    assert unreadable == []
