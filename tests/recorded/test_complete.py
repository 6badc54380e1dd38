"""Every recording is somebody's, and no lie is the local cluster's."""

from collections import Counter
from fnmatch import fnmatchcase

from tests.lies.expected import is_false
from tests.recorded import files
from tests.recorded.complete import LEFT_OUT, cases, entries, reasons


def test_every_recording_is_reproduced_or_played_or_left_out_for_a_reason() -> None:
    assert [one.name for one in entries() if one.by_whom == "nobody" and not one.reason] == []


def test_nobody_has_a_recording_that_is_not_there() -> None:
    there = set(files.names())
    assert [one for one in (*cases(), *reasons()) if one[1] not in there] == []
    assert [key for key in LEFT_OUT if not any(fnmatchcase(name, key) for name in there)] == []


def test_nobody_says_why_they_leave_out_what_they_have() -> None:
    assert set(cases()) & set(reasons()) == set()
    covered = [one.name for one in entries() if one.by_whom != "nobody"]
    assert [name for name in covered for key in LEFT_OUT if fnmatchcase(name, key)] == []


def test_nobody_has_one_twice() -> None:
    assert [one for one, number in Counter(cases()).items() if number > 1] == []


def test_the_false_answers_are_played_and_never_built_in() -> None:
    false = [entry for entry in entries() if is_false(entry.name)]
    assert len(false) == 27
    assert [entry.name for entry in false if entry.cluster or not entry.replay] == []
