"""A registered model as MLflow runs it: rows with a seed and settings in, rows with sounds out."""

import base64
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel  # type: ignore[attr-defined]

from distill.errors import UsageError
from distill.generation.render import Generator, generate, write_sounds
from distill.generation.sampling import SamplingConfig

DEFAULTS = {"seconds": 3.0, "temperature": 1.0, "top_k": 0, "top_p": 1.0}


class ServedModel(PythonModel):
    """Makes a sound a row, the same that `distill generate` makes with that seed."""

    generator: Generator

    def load_context(self, context: Any) -> None:
        """Read the `.distill` file among the artifacts."""
        self.generator = Generator.load(Path(context.artifacts["model"]), "auto")

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """A data frame with `seed`, `sample_rate` in Hz, `seconds`, and `audio`: a WAV file as base64 text.

        Args:
            context: of no use here.
            model_input: data frame with `seed`, and `seconds`, `temperature`, `top_k`, `top_p` where they are given.
            params: of no use here.

        Raises:
            UsageError: a column is missing or unknown, or a value is out of its range.
        """
        unknown = set(model_input.columns) - {"seed", *DEFAULTS}
        if unknown or "seed" not in model_input.columns:
            raise UsageError(
                f"the columns must be seed and any of {', '.join(DEFAULTS)}, not {list(model_input.columns)}"
            )
        return pd.DataFrame([self._row(row) for _, row in model_input.iterrows()])

    def _row(self, row: pd.Series) -> dict[str, Any]:
        given = {name: row[name] for name in DEFAULTS if row.get(name) is not None and row[name] == row[name]}
        values = {**DEFAULTS, **given}
        config = SamplingConfig(
            temperature=float(values["temperature"]), top_k=int(values["top_k"]), top_p=float(values["top_p"])
        )
        (sound,) = generate(self.generator, seconds=float(values["seconds"]), seed=int(row["seed"]), config=config)
        with tempfile.TemporaryDirectory() as folder:
            (path,) = write_sounds(Path(folder), [sound], stem="sound")
            audio = base64.b64encode(path.read_bytes()).decode("ascii")
        return {
            "seed": sound.seed,
            "sample_rate": sound.sample_rate,
            "seconds": len(sound.samples) / sound.sample_rate,
            "audio": audio,
        }


set_model(ServedModel())
