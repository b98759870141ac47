"""The JSON schema of a model file's document, for readers in other languages."""

import json
from typing import Any

from distill.artifact.manifest import Manifest


def schema_text() -> str:
    """The schema as a JSON text; keys that it does not name are allowed, as later minor versions add some."""
    schema = _open(Manifest.model_json_schema(mode="validation"))
    digest = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    schema["title"] = "Document of a .distill model file"
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"]["tensor_digest"] = {**digest, "description": "Digest of the weights."}
    schema["properties"]["document_digest"] = {**digest, "description": "Digest of the document without this key."}
    # Written files always have every key whose value cannot be null.
    optional = {name for name, field in Manifest.model_fields.items() if field.default is None}
    schema["required"] = [name for name in schema["properties"] if name not in optional]
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _open(value: Any) -> Any:
    """The same schema with further keys allowed, and without defaults, as a written file leaves nothing to them."""
    if isinstance(value, dict):
        dropped = {"default"} | ({"additionalProperties"} if value.get("additionalProperties") is False else set())
        return {key: _open(item) for key, item in value.items() if key not in dropped}
    if isinstance(value, list):
        return [_open(item) for item in value]
    return value
