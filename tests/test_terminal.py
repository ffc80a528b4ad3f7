import errno
import subprocess
import sys

from yoloslim.terminal import sentence

CODE = "from yoloslim.terminal import write_anything; write_anything(); print('ä – \\ud800')"


def test_what_a_terminal_cannot_show_does_not_end_a_command() -> None:
    for encoding, said in (("utf-8", "ä – \\ud800\n".encode()), ("ascii", b"\\xe4 \\u2013 \\ud800\n")):
        done = subprocess.run([sys.executable, "-c", CODE], env={"PYTHONIOENCODING": encoding}, capture_output=True)
        assert (done.returncode, done.stdout) == (0, said), done.stderr


def test_what_the_machine_is_at_fault_for_is_a_sentence_and_a_mistake_of_ours_is_none() -> None:
    too_long = OSError(errno.ENAMETOOLONG, "File name too long", "x" * 500)
    assert sentence(too_long).endswith("...: File name too long; check the name")
    nowhere = FileNotFoundError(errno.ENOENT, "No such file or directory", "/proc/x")
    assert sentence(nowhere) == "/proc/x: No such file or directory; check the name"
    no_room = OSError(errno.ENOMEM, "Cannot allocate memory")
    for error in (MemoryError(), no_room, RuntimeError("could not create a primitive"), RuntimeError("std::bad_alloc")):
        assert sentence(error).startswith("no memory is left (")
    assert sentence(OSError(errno.ECHILD, "No child processes")) == ""
    assert sentence(RuntimeError("shape mismatch")) == ""
    long = sentence(RuntimeError(f"can't allocate memory: {'you tried ' * 20}30720000000 bytes"))
    assert " ...); end other programs" in long


def test_whatever_fails_where_memory_is_scarce_is_put_down_to_that() -> None:
    program = """
import resource
from pathlib import Path
from yoloslim.errors import memory_is_scarce
from yoloslim.terminal import sentence
failed = ImportError("cannot import name 'x' from 'torch._dynamo.utils'")
print(repr(sentence(failed)), memory_is_scarce())
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20),) * 2)
print(sentence(failed), memory_is_scarce(), memory_is_scarce(16))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "'' False",
        "no memory is left (cannot import name 'x' from 'torch._dynamo.utils'); end other programs, or take smaller "
        "images or batches True False",
    ]


def test_threads_that_may_not_start_are_not_put_down_to_memory() -> None:
    assert sentence(RuntimeError("can't start new thread")).endswith(
        "end other programs, raise `ulimit -u`, or set fewer threads and workers"
    )
