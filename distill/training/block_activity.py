"""How strongly the blocks of a network respond, measured while it computes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

_BLOCK = re.compile(r"(?:(\w+)\.)?blocks\.(\d+)")


@contextmanager
def measure_activity(model: nn.Module, *, on: bool) -> Iterator[dict[str, Tensor]]:
    """If it is on: forward passes leave the mean absolute activation of each block of the network, a scalar each.

    Blocks are called by their part and number, as `encoder.0`, those without a part `prior.0`.
    """
    found: dict[str, Tensor] = {}
    hooks = []
    for name, module in model.named_modules() if on else ():
        if match := _BLOCK.fullmatch(name):
            label = f"{match[1] or 'prior'}.{match[2]}"

            def hook(_module: nn.Module, _inputs: Any, output: Tensor, label: str = label) -> None:
                found[label] = output.detach().float().abs().mean()

            hooks.append(module.register_forward_hook(hook))
    try:
        yield found
    finally:
        for each in hooks:
            each.remove()
