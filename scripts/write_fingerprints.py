"""Write down what each stage's code looks like, beside its version.

`distill/stages/fingerprints.json` holds, by stage, the version of its code and a digest of every module that the stage
imports. A test fails when either is another than the recorded one: either the change alters what the stage
writes, then its version in `distill/stages/versions.py` and dvc.yaml goes up, or it does not. In both cases this script
writes the new digests.
"""

import ast
import hashlib
import importlib.util
from pathlib import Path

import grimp

from distill.files import write_json
from distill.stages.versions import CODE_VERSIONS

FINGERPRINTS = Path(__file__).parents[1] / "distill" / "stages" / "fingerprints.json"
SCHEMA = 1


def fingerprints() -> dict[str, dict[str, object]]:
    """Version and digest of the code of each stage, as it is now."""
    graph = grimp.build_graph("distill", cache_dir=None)
    found: dict[str, dict[str, object]] = {}
    for stage, version in CODE_VERSIONS.items():
        module = f"distill.stages.{stage}"
        modules = sorted({"distill", module, *graph.find_upstream_modules(module)} - {"distill.stages.versions"})
        digest = hashlib.sha256()
        for name in modules:
            digest.update(f"{name}\n{_code(name)}\n".encode())
        found[stage] = {"version": version, "digest": digest.hexdigest()}
    return found


def _code(module: str) -> str:
    """The module's syntax tree without docstrings, comments and the package's version."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:]
    tree.body = [node for node in tree.body if not _sets_version(node)]
    return _dump(tree)


def _dump(node: object) -> str:
    """A syntax tree as text that is the same in all versions of Python: `ast.dump` shows what is empty in some only."""
    if isinstance(node, list):
        return f"[{', '.join(map(_dump, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [f"{name}={_dump(value)}" for name, value in ast.iter_fields(node) if value not in (None, [])]
    return f"{type(node).__name__}({', '.join(fields)})"


def _sets_version(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"


if __name__ == "__main__":
    write_json(FINGERPRINTS, {"schema": SCHEMA, "stages": fingerprints()})
