"""Draw the packages of distill and what they import, from the imports themselves.

`docs/images/packages.svg` has the layers from top to bottom. An arc leads from a package down to one that it imports;
where a package is also reached through another one, the direct arc is left out (the transitive reduction).
"""

import tomllib
from itertools import pairwise
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "packages.svg"
ROW, LEFT, WIDTH, SPREAD = 26, 16, 130, 11


def layers() -> list[list[str]]:
    """The packages and modules of each layer, as they are declared and checked."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    declared = next(each["layers"] for each in contracts if each["id"] == "layers")
    return [["flows"], *([name.strip("() ") for name in layer.split("|")] for layer in declared)]


def arcs(names: list[str]) -> list[tuple[str, str]]:
    """Pairs of a package and one that it imports, without those that follow from others."""
    graph = grimp.build_graph("distill", "flows", cache_dir=None)
    module = {name: name if name == "flows" else f"distill.{name}" for name in names}
    known = {path: name for name, path in module.items()}
    direct: dict[str, set[str]] = {name: set() for name in names}
    for importer in graph.modules:
        source = known.get(".".join(importer.split(".")[: 1 if importer.startswith("flows") else 2]))
        for imported in graph.find_modules_directly_imported_by(importer):
            target = known.get(".".join(imported.split(".")[: 1 if imported.startswith("flows") else 2]))
            if source and target and source != target:
                direct[source].add(target)
    reached: dict[str, set[str]] = {}
    for name in reversed(names):
        reached[name] = direct[name].union(*(reached[each] for each in direct[name]))
    return [
        (name, target)
        for name in names
        for target in sorted(direct[name], key=names.index)
        if not any(target in reached[other] for other in direct[name] - {target})
    ]


def picture() -> str:
    """The drawing as SVG."""
    rows = layers()
    names = [name for row in rows for name in row]
    middle = {name: ROW * (index + 0.5) + 8 for index, name in enumerate(names)}
    height = ROW * len(names) + 16
    drawn = arcs(names)
    longest = max(names.index(target) - names.index(source) for source, target in drawn)
    width = LEFT + WIDTH + SPREAD * longest // 2 + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13">',
        "<title>The packages of distill and what they import</title>",
        "<style>rect{fill:#eef2f7;stroke:#8a99ad}text{fill:#1f2937}path{fill:none;stroke:#5b7fb5;stroke-opacity:.7}"
        "line{stroke:#c3ccd8}marker path{fill:#5b7fb5;stroke:none}"
        "@media(prefers-color-scheme:dark){rect{fill:#1f2937;stroke:#5b6b80}text{fill:#e5e7eb}line{stroke:#374151}}"
        "</style>",
        '<defs><marker id="head" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 6 3 0 6Z"/></marker></defs>',
    ]
    for upper, _ in pairwise(rows):
        y = middle[upper[-1]] + ROW / 2
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:g}" y2="{y:g}"/>')
    for name in names:
        parts.append(f'<rect x="{LEFT}" y="{middle[name] - 10:g}" width="{WIDTH}" height="20" rx="4"/>')
        parts.append(f'<text x="{LEFT + 8}" y="{middle[name] + 4.5:g}">{name}</text>')
    edge = LEFT + WIDTH
    for source, target in drawn:
        begin, end = middle[source] + 3, middle[target] - 3
        out = edge + 14 + SPREAD * (names.index(target) - names.index(source)) * 0.66
        parts.append(
            f'<path d="M{edge} {begin:g}C{out:g} {begin:g} {out:g} {end:g} {edge} {end:g}" marker-end="url(#head)"/>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
