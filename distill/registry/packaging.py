"""A model file as MLflow keeps it: the file, the code that makes sounds of it, what that needs; nothing pickled."""

import shutil
import warnings
from importlib.metadata import version
from pathlib import Path

import distill
from distill.artifact.manifest import Manifest
from distill.artifact.model_file import EXTENSION
from distill.files import write_json
from distill.registry.signing import read_signature, write_signature

# Beside the file, so that a list need not fetch the weights from a server.
MANIFEST = "manifest.json"
MANIFEST_SCHEMA = 1
# What makes sounds: these packages and modules of distill import nothing else of it.
CODE = (
    *("__init__.py", "arithmetic.py", "configs.py", "errors.py", "files.py", "instructions.py"),
    *("params.py", "validation.py", "words.py"),
    *("artifact", "audio", "codec", "dataset", "generation", "live", "locks.py", "models", "training"),
    *(f"workers/{name}.py" for name in ("__init__", "choice", "place", "processes")),
    *("registry/__init__.py", "registry/served.py"),
)
# And these packages are all that they need beside MLflow, in the versions that are installed here.
NEEDED = (
    *("numpy", "pandas", "platformdirs", "psutil", "pydantic", "pyyaml", "safetensors", "scipy", "soundfile", "soxr"),
    *("torch", "torchaudio", "vector-quantize-pytorch"),
)
# Where MLflow puts the file.
ARTIFACTS = "artifacts"


def package(model: Path, manifest: Manifest, folder: Path, *, run_id: str, model_id: str | None) -> None:
    """Make a folder that MLflow loads and serves.

    Args:
        model: the `.distill` file, which is copied with the signature beside it.
        manifest: what it says of itself.
        folder: the folder to make.
        run_id: the run that made it.
        model_id: what MLflow knows it by; None: as a model of a run.
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
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"model": str(named)},
            # The sounds of a seed are those of `distill generate` on the same kind of device.
            model_config={"device": "cpu"},
            mlflow_model=Model(run_id=run_id, model_id=model_id),
            signature=ModelSignature(Schema(inputs), Schema(outputs)),
            input_example=pd.DataFrame([{"seed": 0, "seconds": 1.0, "temperature": 1.0, "top_k": 0, "top_p": 1.0}]),
            # The model makes the same sounds where distill is not installed, or in another version.
            code_paths=[str(_code(folder.parent))],
            # Named, so that MLflow does not run the model in order to find them.
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in NEEDED],
            metadata={"digest": manifest.tensor_digest, "lineage": manifest.lineage.id},
        )
    if (signature := read_signature(model)) is not None:
        write_signature(folder / ARTIFACTS / named.name, signature)
    write_json(folder / MANIFEST, {"schema": MANIFEST_SCHEMA, "manifest": manifest.document()})


def _code(folder: Path) -> Path:
    """A copy of what makes sounds, as a package."""
    package, copy = Path(distill.__file__).parent, folder / "distill"
    for name in CODE:
        source, target = package / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    return copy
