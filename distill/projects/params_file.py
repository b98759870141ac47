"""Changing values of a params.yaml and leaving its comments and its order as they are."""

from collections.abc import Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from distill.errors import UsageError


def with_values(text: str, changes: Mapping[str, Any], *, where: str) -> str:
    """A params.yaml with other values, each named as `section.key`.

    Raises:
        UsageError: the text holds no sections of parameters.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    try:
        values = yaml.load(text)
        if not isinstance(values, dict):
            raise TypeError("it has no sections")
        for name, value in changes.items():
            section, _, key = name.partition(".")
            if values.get(section) is None:
                values[section] = {}
            if not isinstance(values[section], dict):
                raise TypeError(f"{section} is no section")
            values[section][key] = value
    except (YAMLError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(f"{where} does not contain readable parameters: {' '.join(str(error).split())}") from error
    written = StringIO()
    yaml.dump(values, written)
    return written.getvalue()
