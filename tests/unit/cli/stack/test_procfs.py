import os

from cli.stack import procfs


def test_the_own_process_is_known() -> None:
    found = procfs.stat(os.getpid())
    assert found is not None
    assert (found.pid, found.session, found.ended) == (os.getpid(), os.getsid(0), False)
    assert os.getpid() in [member.pid for member in procfs.session_members(os.getsid(0))]


def test_a_process_that_is_not_there_is_none() -> None:
    assert procfs.stat(2**22 + 1) is None
