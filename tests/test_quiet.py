import logging

from yoloslim.quiet import TALKATIVE, hush


def test_packages_that_tell_of_every_step_tell_of_warnings_alone() -> None:
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.NOTSET)
    hush()
    assert [logging.getLogger(name).getEffectiveLevel() for name in ("asyncssh", "lightning_fabric")] == [30, 30]
