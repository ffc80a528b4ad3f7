"""What no line of the source may do: reach a shell, wait for ever for a network, share a temporary name with strangers.

The exceptions are named here with their reasons, and an exception that is no longer needed fails too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = [
    path for folder in ("src", "pipeline", "flows", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))
]

PROCESSES = {
    "subprocess.run",
    "subprocess.Popen",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
}
SHELLS = {
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell"),
    *("os.execl", "os.execlp", "os.execle", "os.spawnl", "os.spawnlp", "commands.getoutput", "pty.spawn"),
}
UNSAFE = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "joblib.load", "marshal.loads", "shelve.open"),
    *("yaml.unsafe_load", "yaml.full_load", "eval", "exec", "tarfile.extractall"),
}
NETWORK = {
    *(f"requests.{name}" for name in ("get", "post", "put", "head", "delete", "request", "Session")),
    *("urllib.request.urlopen", "urlopen", "urlretrieve", "httpx.get", "httpx.post", "httpx.Client"),
    *("socket.create_connection", "socket.socket", "asyncssh.connect", "http.client.HTTPConnection"),
}
TEMPORARY = {"tempfile.mktemp", "tempfile.mkstemp", "tempfile.gettempdir", "tempfile.NamedTemporaryFile", "os.tmpnam"}

EXCEPTIONS = {
    "benchmarks/serving.py urllib.request.urlopen": "asks a server on this machine that it started itself, and says "
    "how long it waits",
    "src/yoloslim/data/packed.py marshal.loads": "rows that this process wrote itself, to a file without a name",
    "src/yoloslim/deploy/board/device.py bash": "CANN's set_env.sh is shell code of the machine's owner; all else in "
    "the line goes through `quote`",
    "src/yoloslim/deploy/ascend/cann.py bash": "as above: what that script sets is read from a shell",
    "src/yoloslim/orchestration/leases.py tempfile.gettempdir": "locks that all of one user's sweeps must share; the "
    "folder bears the user's name, and is refused if another owns it",
    "src/yoloslim/orchestration/schedule.py tempfile.NamedTemporaryFile": "Prefect reads it beside the project's "
    "files; the name is random, in the project's own folder",
}
"""`<file> <what>` -> why it may."""


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Every call: file, dotted name, node."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield str(path.relative_to(ROOT)), ast.unparse(node.func), node


def keyword(node: ast.Call, name: str) -> ast.expr | None:
    return next((each.value for each in node.keywords if each.arg == name), None)


def faults() -> Iterator[str]:
    """`<file> <what>` of everything that needs a reason."""
    for file, name, node in calls():
        shell = keyword(node, "shell")
        if name in SHELLS or (shell is not None and ast.unparse(shell) != "False"):
            yield f"{file} {name}"
        if name in PROCESSES:
            command = node.args[0] if node.args else keyword(node, "args")
            if isinstance(command, ast.Constant | ast.JoinedStr | ast.BinOp):
                yield f"{file} a command that is text"
        if name in UNSAFE or (keyword(node, "allow_pickle") and not is_false(keyword(node, "allow_pickle"))):
            yield f"{file} {name}"
        if name == "torch.load" and ast.unparse(keyword(node, "weights_only") or ast.Constant(0)) != "True":
            yield f"{file} torch.load without weights_only"
        if name in NETWORK and not has_bound(name, node):
            yield f"{file} {name}"
        if name in TEMPORARY:
            yield f"{file} {name}"


def shells() -> Iterator[str]:
    """Files with a list or tuple that begins with the name of a shell."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            first = node.elts[0] if isinstance(node, ast.List | ast.Tuple) and node.elts else None
            if isinstance(first, ast.Constant) and first.value in ("sh", "bash", "zsh", "/bin/sh", "/bin/bash"):
                yield f"{path.relative_to(ROOT)} bash"


def is_false(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def has_bound(name: str, node: ast.Call) -> bool:
    """Whether a call of the network says how long it may take."""
    names = {each.arg for each in node.keywords}
    if name == "socket.create_connection":
        return len(node.args) > 1 or "timeout" in names
    if name == "asyncssh.connect":
        return {"connect_timeout", "login_timeout", "keepalive_interval"} <= names
    return False  # requests bounds the wait for a byte, not the call: it goes through `within`


def test_nothing_reaches_a_shell_or_waits_for_ever_or_shares_a_temporary_name() -> None:
    found = {*faults(), *shells()}
    assert sorted(found - EXCEPTIONS.keys()) == []
    assert sorted(EXCEPTIONS.keys() - found) == [], "exceptions that nothing needs any more"


def test_requests_are_made_within_a_time() -> None:
    """`requests.get` is only ever handed to `within`."""
    handed = [
        (file, ast.unparse(node.args[1]))
        for file, name, node in calls()
        if name == "within" and len(node.args) > 1 and ast.unparse(node.args[1]).startswith("requests.")
    ]
    assert handed == [("src/yoloslim/data/download.py", "requests.get")]


def test_no_text_of_ours_turns_certificate_checks_off() -> None:
    for file, name, node in calls():
        assert not is_false(keyword(node, "verify")), f"{file}: {name} with verify=False"
    assert len(FILES) > 200


def test_what_programs_print_is_read_as_utf8_whatever_the_locale() -> None:
    wrong = [
        (file, node.lineno)
        for file, name, node in calls()
        if name in PROCESSES and file.startswith("src/")
        if keyword(node, "text") or keyword(node, "universal_newlines")
    ]
    assert wrong == []
