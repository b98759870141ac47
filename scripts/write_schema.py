"""Write the JSON schemas of a model file's document and of a grid of codes to docs/reference/, from their models."""

from pathlib import Path

from distill.artifact import schema as model_file
from distill.codes import file as grid_file
from distill.files import write_bytes

DOCS = Path(__file__).resolve().parent.parent / "docs" / "reference"
TEXTS = {"distill-file.schema.json": model_file.schema_text, "codes.schema.json": grid_file.schema_text}

if __name__ == "__main__":
    for name, text in TEXTS.items():
        write_bytes(DOCS / name, text().encode())
