"""Messages of the library, which speaks to whoever types commands, as the page says them."""

import re

_OPTION = r"--[a-z-]+"
_OPTIONS = re.compile(
    rf"^{_OPTION}:? | \({_OPTION}[^)]*\)|,? or (add|replace it with) {_OPTION}|(: give one)? with {_OPTION}"
)


def in_words_of_page(message: str, button: str = "Resume") -> str:
    """A message without the command's options, and with a button of the page in place of the same command.

    >>> in_words_of_page("kit.distill is another model: choose a name with --name, or add --force")
    'kit.distill is another model: choose a name'
    >>> in_words_of_page("--set vqvae.epochs: expected section.key=value")
    'vqvae.epochs: expected section.key=value'
    >>> in_words_of_page("nothing was changed; wait longer (--wait)")
    'nothing was changed; wait longer'
    >>> in_words_of_page("its state is saved: run the same command to resume")
    'its state is saved: press Resume'
    >>> in_words_of_page("all have ended: run the same command to resume", "Go on")
    'all have ended: press Go on'
    """
    return _OPTIONS.sub("", message).replace("run the same command to resume", f"press {button}")
