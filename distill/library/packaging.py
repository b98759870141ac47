"""A model file as MLflow keeps it: code around the file, signature, example, requirements; nothing pickled."""

import shutil
import warnings
from pathlib import Path

from distill import __version__
from distill.artifact.manifest import Manifest
from distill.artifact.model_file import EXTENSION
from distill.files import write_json
from distill.library.signing import read_signature, write_signature

# Beside the file, so that a list need not fetch the weights from a server.
MANIFEST = "manifest.json"
MANIFEST_SCHEMA = 1
# Where MLflow puts the file.
ARTIFACTS = "artifacts"


def package(model: Path, manifest: Manifest, folder: Path, *, run_id: str, place: str) -> None:
    """Make a folder that MLflow loads and serves.

    Args:
        model: the `.distill` file, which is copied with the signature beside it.
        manifest: what it says of itself.
        folder: the folder to make.
        run_id: the run whose artifacts it will be among.
        place: its path among them.
    """
    # The name of the file in the registry is the model's, whatever it was called here.
    named = folder.parent / f"{manifest.metadata.name}{EXTENSION}"
    shutil.copyfile(model, named)
    with warnings.catch_warnings():
        # MLflow uses what other packages will remove.
        warnings.simplefilter("ignore")
        import mlflow.pyfunc
        import pandas as pd
        from mlflow.models import Model, ModelSignature
        from mlflow.types import ColSpec, DataType, Schema, TensorSpec

        inputs: list[ColSpec | TensorSpec] = [
            ColSpec(DataType.long, "seed"),
            ColSpec(DataType.double, "seconds", required=False),
            ColSpec(DataType.double, "temperature", required=False),
            ColSpec(DataType.long, "top_k", required=False),
            ColSpec(DataType.double, "top_p", required=False),
        ]
        if manifest.prior_config is not None and (conditions := manifest.prior_config.conditions) is not None:
            inputs += [ColSpec(DataType.string, "label", required=False)] if conditions.labels else []
            inputs += [ColSpec(DataType.double, name, required=False) for name in conditions.knobs]
        if manifest.space_config is not None:
            inputs.append(ColSpec(DataType.long, "channels", required=False))
            inputs.append(ColSpec(DataType.double, "width", required=False))
        outputs: list[ColSpec | TensorSpec] = [
            ColSpec(DataType.long, "seed"),
            ColSpec(DataType.long, "sample_rate"),
            ColSpec(DataType.double, "seconds"),
            ColSpec(DataType.string, "audio"),
        ]
        torch = manifest.lineage.environment.torch.partition("+")[0]
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"model": str(named)},
            # The sounds of a seed are those of `distill generate` on the same kind of device.
            model_config={"device": "cpu"},
            mlflow_model=Model(artifact_path=place, run_id=run_id),
            signature=ModelSignature(Schema(inputs), Schema(outputs)),
            input_example=pd.DataFrame([{"seed": 0, "seconds": 1.0, "temperature": 1.0, "top_k": 0, "top_p": 1.0}]),
            # Named, so that MLflow does not run the model in order to find them.
            pip_requirements=[f"distill=={__version__}", f"torch=={torch}"],
            metadata={"digest": manifest.tensor_digest, "lineage": manifest.lineage.id},
        )
    if (signature := read_signature(model)) is not None:
        write_signature(folder / ARTIFACTS / named.name, signature)
    write_json(folder / MANIFEST, {"schema": MANIFEST_SCHEMA, "manifest": manifest.document()})
