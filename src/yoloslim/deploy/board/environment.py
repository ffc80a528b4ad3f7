"""Shell lines that bring a maker's environment: the script that a person named, or the first of CANN's usual places."""

from collections.abc import Sequence

from yoloslim.deploy.quoting import quote

SET_ENV = (
    "/usr/local/Ascend/ascend-toolkit/set_env.sh",
    "$HOME/Ascend/ascend-toolkit/set_env.sh",
    "/usr/local/Ascend/nnrt/set_env.sh",
    "$HOME/Ascend/nnrt/set_env.sh",
    "/usr/local/Ascend/cann/set_env.sh",
)
"""Where CANN's installers put the script that sets the environment; a board has the runtime (nnrt) only."""


def source_set_env(indent: str = "", scripts: Sequence[str] = SET_ENV) -> str:
    """Shell lines that source the first of these scripts that is there; `$HOME` in it is the reader's."""
    candidates = " ".join(f'"{candidate}"' for candidate in scripts)
    lines = (f"for env in {candidates}; do", '    if [ -f "$env" ]; then source "$env"; break; fi', "done")
    return "\n".join(indent + line for line in lines)


def source_named(script: str) -> str:
    """A shell line that sources a script that a person named, or ends with a sentence if it is not there."""
    missing = f"{script} is missing: ascend.set_env"
    return f"if [ ! -f {quote(script)} ]; then {quote('echo', missing)} >&2; exit 1; fi; source -- {quote(script)}"
