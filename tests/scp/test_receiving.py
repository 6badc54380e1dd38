"""An upload's conversation: any split, any garbage, lies, and no acknowledgement too early."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.scp import ScpCommand
from gateway.scp_place import Place
from gateway.scp_receive import Receiving
from gateway.scp_records import Outbox

from .pods import Upload

Tree = dict[bytes, "bytes | Tree"]
names = st.binary(min_size=1, max_size=150).filter(
    lambda name: name not in {b".", b".."} and not set(name) & set(b"/\n\0")
)
contents = st.one_of(st.binary(max_size=600), st.sampled_from([65536, 300_001]).map(bytes))
trees: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(names, contents, max_size=3),
    lambda inner: st.dictionaries(names, st.one_of(contents, inner), max_size=3),
    max_leaves=4,
)
sizes = st.lists(st.integers(0, 1500), max_size=30)


def spelled(tree: Tree, *, times: bool) -> bytes:
    """Spell what scp's client sends."""
    said = b""
    for name, what in tree.items():
        said += b"T1000000000 0 1000000001 0\n" if times else b""
        if isinstance(what, bytes):
            said += b"C0644 %d %s\n%s\0" % (len(what), name, what)
        else:
            said += b"D0755 0 %s\n%sE\n" % (name, spelled(what, times=times))
    return said


def flat(tree: Tree, top: bytes = b"") -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, what in tree.items():
        found |= {top + name: what} if isinstance(what, bytes) else flat(what, top + name + b"/")
    return found


def uploaded(stream: bytes, cuts: list[int], **options: bool) -> Upload:
    upload = Upload(**options)  # type: ignore[arg-type]
    for size in [*cuts, len(stream)]:
        upload.write(stream[:size])
        upload.pod_works()
        stream = stream[size:]
    upload.end()
    upload.pod_works()
    return upload


@given(trees, sizes, st.booleans(), st.booleans())
def test_any_split_writes_the_same(
    tree: Tree, cuts: list[int], packs: bool, preserve: bool
) -> None:
    stream = spelled(tree, times=preserve)
    upload = uploaded(stream, cuts, packs=packs, preserve=preserve)
    assert upload.talk.exit_code == 0
    assert not upload.client.strip(b"\0")
    assert upload.client == uploaded(stream, [], packs=packs, preserve=preserve).client
    assert upload.pod.files == flat(tree)


@given(st.dictionaries(names, contents, max_size=4), sizes, st.data())
def test_nothing_is_acknowledged_before_it_is_written(
    files: dict[bytes, bytes], cuts: list[int], data: st.DataObject
) -> None:
    """Of a file's two acknowledgements the second one says that it is there."""
    upload, stream = Upload(), spelled(dict(files), times=False)
    for size in [*cuts, len(stream)]:
        upload.write(stream[:size])
        stream = stream[size:]
        assert (len(upload.client) - 1) // 2 <= upload.pod.synced <= len(upload.pod.files)
        if data.draw(st.booleans()):
            upload.pod_works()
    upload.end()
    assert upload.talk.exit_code is None
    upload.pod_works()
    assert upload.talk.exit_code == 0
    assert upload.client == bytes(1 + 2 * len(files))


@given(trees, st.booleans())
def test_a_tree_is_acknowledged_when_the_pod_has_it(tree: Tree, packs: bool) -> None:
    upload = Upload(packs=packs)
    upload.write(b"D0755 0 tree\n")
    upload.pod_works()
    upload.write(spelled(tree, times=False))
    upload.pod_works()
    before = upload.client
    upload.write(b"E\n")
    assert upload.client == before
    upload.pod_works()
    assert upload.client == before + b"\0"
    assert upload.pod.files == flat(tree, b"tree/")


@given(trees.filter(flat), sizes, st.booleans())
def test_what_could_not_be_written_is_said(tree: Tree, cuts: list[int], packs: bool) -> None:
    upload = Upload(packs=packs, failure=b"No space left on device")
    stream = spelled({b"tree": tree}, times=False)
    for size in [*cuts, len(stream)]:
        upload.write(stream[:size])
        upload.pod_works()
        stream = stream[size:]
    upload.end()
    upload.pod_works()
    assert upload.talk.exit_code == 1
    assert b"\x01scp: " in upload.client


@given(trees.filter(flat), st.data(), st.booleans())
def test_a_client_that_ends_early_has_failed(tree: Tree, data: st.DataObject, packs: bool) -> None:
    stream = spelled({b"tree": tree}, times=False)
    stream = stream[: data.draw(st.integers(1, len(stream) - 1))]
    upload = uploaded(stream, [], packs=packs)
    assert upload.talk.exit_code == 1
    assert upload.client.endswith(b"\x01scp: protocol error: lost connection\n")


lines = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"C0644 5 x\n", b"D0755 0 d\n", b"E\n", b"T1 0 1 0\n", b"\0", b"\x01no\n", b"\x02\n"]
    ),
)


@given(st.lists(lines, max_size=20), sizes, st.booleans())
def test_garbage_from_the_client(said: list[bytes], cuts: list[int], packs: bool) -> None:
    stream = b"".join(said)
    upload = uploaded(stream, cuts, packs=packs)
    assert upload.talk.exit_code is not None
    whole = uploaded(stream, [], packs=packs)
    assert (upload.client, upload.talk.exit_code) == (whole.client, whole.talk.exit_code)


answers = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"=\n", b"+new\n", b"+old\n", b"=2\n", b"!x: y\n", b"tar: x: y\n", b"f1 x\0"]),
)


@given(st.lists(answers, max_size=20), trees, st.booleans(), st.booleans())
def test_garbage_from_the_pod(said: list[bytes], tree: Tree, packs: bool, late: bool) -> None:
    out = Outbox()
    talk = Receiving(ScpCommand("t", b"x", recursive=True), Place(b"t", b"folder", 0, packs), out)
    stream = spelled({b"tree": tree}, times=False)
    for answer in [] if late else said:
        talk.from_pod(answer)
    talk.from_client(stream)
    for answer in said:
        talk.from_pod(answer)
        talk.pod_complained(answer)
    talk.pod_ended(0)
    while talk.more:
        talk.go_on()
    assert talk.exit_code is not None


@pytest.mark.parametrize("name", [b"", b".", b"..", b"/", b"a/b", b"../x", b"x/", b"a\0b"])
@pytest.mark.parametrize("record", [b"C0644 1 ", b"D0755 0 "])
def test_a_name_that_leads_elsewhere(name: bytes, record: bytes) -> None:
    upload = Upload()
    upload.write(record + name + b"\nx\0")
    upload.pod_works()
    assert upload.talk.exit_code == 1
    assert upload.client.startswith(b"\0\x01scp: error: unexpected filename: " + name)
    assert not upload.pod.files
    assert not upload.pod.folders


@pytest.mark.parametrize(
    "line",
    [
        *(b"T-1 0 0 0", b"T0 0 -5 0", b"T1 0 1", b"C0644 -1 x", b"C0644 9223372036854775808 x"),
        *(b"C0644  1 x", b"C644 1 x", b"C0999 1 x", b"C0644 1x x", b"C-644 1 x"),
    ],
)
def test_a_record_that_is_none(line: bytes) -> None:
    upload = Upload()
    upload.write(b"T0 0 0 0\n" + line + b"\n")
    assert upload.talk.exit_code == 1
    assert upload.client.startswith(b"\0\0\x01scp: protocol error: ")


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("size", [2**33, 2**33 + 5, 2**40, 2**63 - 1])
def test_a_size_beyond_8_gib_that_never_comes(size: int, packs: bool) -> None:
    upload = Upload(packs=packs)
    upload.write(b"D0755 0 tree\n")
    upload.pod_works()
    upload.write(b"C0644 %d big\n" % size)
    told = upload.client
    upload.write(bytes(1_000_000))
    upload.end()
    assert upload.client == told + b"\x01scp: protocol error: lost connection\n"
    assert upload.talk.exit_code == 1


@given(st.binary(min_size=1, max_size=50), st.integers(1, 50))
def test_a_size_that_says_too_little(content: bytes, more: int) -> None:
    """What is over is no verdict that the file is good, unless it looks like one."""
    upload = Upload()
    upload.write(b"C0644 %d x\n" % len(content) + content + b"!" * more + b"\n\0")
    upload.pod_works()
    assert upload.talk.exit_code == 1
    assert upload.client == b"\0\0"
