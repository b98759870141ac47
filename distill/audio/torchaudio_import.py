"""The one place where torchaudio is imported, so that it also works beside a torch without CUDA."""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def import_torchaudio() -> ModuleType:
    """Import torchaudio, without its compiled extension where that cannot be loaded.

    The published wheels link the extension to CUDA, so that the import fails beside a CPU-only torch; nothing used here
    needs the extension. An installation that works is left alone.

    Raises:
        ModuleNotFoundError: torchaudio is not installed.
    """
    try:
        return importlib.import_module("torchaudio")
    except (OSError, RuntimeError):
        for name in [name for name in list(sys.modules) if name == "torchaudio" or name.startswith("torchaudio.")]:
            del sys.modules[name]
    sys.modules["torchaudio._extension"] = _unavailable_extension()
    return importlib.import_module("torchaudio")


def _unavailable_extension() -> ModuleType:
    """What torchaudio's own modules ask of `torchaudio._extension`, saying that nothing compiled is there."""
    module = ModuleType("torchaudio._extension", "Stands in for an extension that cannot be loaded.")

    def load_nothing(_name: str) -> bool:
        return False

    def refuse(function: Callable[..., Any]) -> Callable[..., Any]:
        def refused(*_arguments: Any, **_options: Any) -> Any:
            raise RuntimeError(
                f"{function.__name__} needs torchaudio's compiled extension, which cannot be loaded here"
            )

        return refused

    module.__dict__.update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        _load_lib=load_nothing,
        _check_cuda_version=lambda: None,
        fail_if_no_align=refuse,
    )
    return module
