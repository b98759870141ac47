"""Write docs/distill-file.schema.json, the JSON schema of a model file's document, from the manifest's models."""

from pathlib import Path

from distill.artifact.schema import schema_text
from distill.files import write_bytes

TARGET = Path(__file__).resolve().parent.parent / "docs" / "distill-file.schema.json"

if __name__ == "__main__":
    write_bytes(TARGET, schema_text().encode())
