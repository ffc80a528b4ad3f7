"""The one place where words become part of a shell command: scripts that are written, and commands for boards."""

import shlex

from yoloslim.errors import DeployError


def quote(*words: str) -> str:
    """Words as bash reads them back, whatever is in them, with a blank between them.

    Raises:
        DeployError: a NUL character, which no command can hold.
    """
    for word in words:
        if "\0" in word:
            raise DeployError(f"{word!r} holds a NUL character, which no command can be given; use another name")
    return shlex.join(words)


def one_line(text: str) -> str:
    """A text as a comment or a name can hold it: what is no printable character as `?`."""
    return "".join(character if character.isprintable() else "?" for character in text)
