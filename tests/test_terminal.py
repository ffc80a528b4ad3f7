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
    for error in (MemoryError(), RuntimeError("could not create a primitive"), RuntimeError("std::bad_alloc")):
        assert sentence(error).startswith("no memory is left (")
    assert sentence(OSError(errno.ECHILD, "No child processes")) == ""
    assert sentence(RuntimeError("shape mismatch")) == ""
