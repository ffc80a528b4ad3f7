import subprocess
import sys

CODE = "from yoloslim.terminal import write_anything; write_anything(); print('ä – \\ud800')"


def test_what_a_terminal_cannot_show_does_not_end_a_command() -> None:
    for encoding, said in (("utf-8", "ä – \\ud800\n".encode()), ("ascii", b"\\xe4 \\u2013 \\ud800\n")):
        done = subprocess.run([sys.executable, "-c", CODE], env={"PYTHONIOENCODING": encoding}, capture_output=True)
        assert (done.returncode, done.stdout) == (0, said), done.stderr
