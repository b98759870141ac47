"""What MLflow loads from the registry and serves over HTTP: the sounds that `distill generate` makes."""

import base64
import io
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from asking_util import write_askable
from database_util import put_database
from distill.cli.main import app
from distill.registry.promotion import promote
from distill.registry.registration import register
from distill.tracking.address import set_up_mlflow, tracking_address
from page_util import answers, free_port, wait
from registry_util import make_folder, model_file

# MLflow uses what SQLAlchemy will remove.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a champion."""
    root = put_database(make_folder(tmp_path_factory.mktemp("served") / "project"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        register(model_file(root / "models" / "bells.distill"), root)
        promote("bells", root)
    return root


@pytest.fixture(scope="module")
def askable(project: Path) -> Any:
    """A registered model that can be asked for labels and knobs."""
    set_up_mlflow()
    import mlflow.pyfunc

    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        register(write_askable(project / "models" / "kit.distill"), project)
    mlflow.set_tracking_uri(tracking_address(project))
    yield mlflow.pyfunc.load_model("models:/kit/1")
    mlflow.set_tracking_uri(before)


def test_a_row_may_ask_for_a_label_and_a_knob(askable: Any) -> None:
    names = [column.name for column in askable.metadata.signature.inputs]
    assert names[-5:] == ["label", "bright", "length", "noisy", "pitch"]
    plain = {"seed": 3, "seconds": 0.4}
    made = predict(askable, plain, {**plain, "label": "kick", "bright": 0.9}, {**plain, "label": "hat", "bright": 0.1})
    assert len({*made["audio"]}) == 3
    assert predict(askable, {**plain, "label": "kick", "bright": 0.9})["audio"][0] == made["audio"][1]
    with pytest.raises(Exception, match="the model's labels: hat, kick"):
        predict(askable, {**plain, "label": "tom"})
    with pytest.raises(Exception, match=r"row 1: bright"):
        predict(askable, {**plain, "bright": 2.0})


@pytest.fixture(scope="module")
def champion(project: Path) -> Any:
    set_up_mlflow()
    import mlflow.pyfunc

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking_address(project))
    yield mlflow.pyfunc.load_model("models:/bells@champion")
    mlflow.set_tracking_uri(before)


def predict(champion: Any, *rows: dict[str, Any]) -> Any:
    import pandas as pd

    return champion.predict(pd.DataFrame(rows))


def wav_of(audio: str) -> bytes:
    return base64.b64decode(audio)


def test_a_row_is_the_file_that_generate_writes_with_the_seed(champion: Any, project: Path, tmp_path: Path) -> None:
    made = predict(champion, {"seed": 3, "seconds": 0.7, "temperature": 0.8, "top_k": 5, "top_p": 0.9})
    assert list(made.columns) == ["seed", "sample_rate", "seconds", "audio"]
    model = project / "models" / "bells.distill"
    options = ["--seed", "3", "-d", "0.7", "--temperature", "0.8", "--top-k", "5", "--top-p", "0.9"]
    options += ["--chain", "--as-made"]
    done = CliRunner().invoke(app, ["generate", str(model), *options, "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    (path,) = tmp_path.glob("*.wav")
    assert wav_of(made["audio"][0]) == path.read_bytes()
    samples, rate = soundfile.read(io.BytesIO(wav_of(made["audio"][0])))
    assert (rate, len(samples)) == (48_000, 33_600) == (made["sample_rate"][0], round(made["seconds"][0] * 48_000))
    assert np.all(np.isfinite(samples))


def test_rows_together_are_the_rows_alone(champion: Any) -> None:
    rows = [
        {"seed": 5, "seconds": 0.5, "temperature": 1.0},
        {"seed": 6, "seconds": 0.5, "temperature": 1.0},
        {"seed": 7, "seconds": 0.4, "temperature": 1.0},
        {"seed": 3, "seconds": 0.4, "temperature": 0.5},
        {"seed": 5, "seconds": 0.5, "temperature": 1.0},
    ]
    together = predict(champion, *rows)
    assert list(together["seed"]) == [row["seed"] for row in rows]
    assert list(together["audio"]) == [predict(champion, row)["audio"][0] for row in rows]
    assert len(set(together["audio"])) == 4


def test_what_a_row_does_not_say_is_as_in_generate(champion: Any) -> None:
    rows = predict(champion, {"seed": 1, "seconds": 0.5, "temperature": 0.5}, {"seed": 2, "seconds": 0.5})
    assert rows["audio"][1] == predict(champion, {"seed": 2, "seconds": 0.5})["audio"][0]
    assert predict(champion, {"seed": 2})["seconds"][0] == 3.0


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"seed": -1}, "row 2: the seed must lie between"),
        ({"seed": 1, "seconds": 1e9}, "row 2: the duration must be above 0"),
        ({"seed": 1, "temperature": -1.0}, "row 2: the temperature must lie between 0 and 10"),
        ({"seed": 1, "top_p": 2.0}, "row 2: top-p must be above 0"),
    ],
)
def test_a_value_out_of_range_names_its_row(champion: Any, row: dict[str, Any], said: str) -> None:
    from mlflow.exceptions import MlflowException

    usual = {"seed": 1, "seconds": 0.1, "temperature": 1.0, "top_p": 1.0}
    with pytest.raises(MlflowException, match=said):
        predict(champion, usual, {**usual, **row})


def test_the_signature_names_what_goes_in_and_what_comes_out(champion: Any) -> None:
    from mlflow.exceptions import MlflowException

    signature = champion.metadata.signature
    assert signature.inputs.input_names() == ["seed", "seconds", "temperature", "top_k", "top_p"]
    assert signature.outputs.input_names() == ["seed", "sample_rate", "seconds", "audio"]
    assert list(champion.input_example.columns) == signature.inputs.input_names()
    with pytest.raises(MlflowException, match="missing inputs"):
        predict(champion, {"seconds": 1.0})


@contextmanager
def served(project: Path) -> Iterator[str]:
    """`mlflow models serve` on the champion."""
    port = free_port()
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": tracking_address(project),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/bells@champion"]
    server = subprocess.Popen(
        [*command, "--env-manager", "local", "--port", str(port), "--host", "127.0.0.1"], env=environment
    )
    try:
        wait(lambda: answers(f"http://127.0.0.1:{port}/ping"))
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        server.terminate()
        server.wait()


def ask(address: str, *rows: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps({"dataframe_records": rows}).encode()
    request = urllib.request.Request(address, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return dict(json.loads(answer.read()))


def test_the_same_over_http(champion: Any, project: Path) -> None:
    with served(project) as address:
        answer = ask(address, {"seed": 3, "seconds": 1})
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(address, {"seed": 3, "seconds": -1})
    assert answer["predictions"][0]["audio"] == predict(champion, {"seed": 3, "seconds": 1.0})["audio"][0]
    assert refused.value.code == 400
    assert "row 1: the duration must be above 0" in json.loads(refused.value.read())["message"]
    refused.value.close()
