"""What the folder store's folder looks like, and blocking work on it (OSError where that fails).

Where an object, or an upload, is not there, it is looked for its folder: on a disk that was taken
away nothing is there, and nothing is lost.

- `files/KEY` is a whole object. Nothing is ever written in place there, only renamed into it.
- `incoming/KEY.x` is an object on its way, locked by whoever writes it.
- `parts/KEY/UPLOAD/data` has every part of an upload at its own offset, so finishing is one rename;
  the empty file `NUMBER-SIZE-x` beside it says that this part is whole.
"""

import contextlib
import fcntl
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from kgpud.objects.stores import Part, Slot, Stored, Upload, UploadGone

_KEY = re.compile(r"obj_[0-9a-f]{24}")
_MARK = re.compile(r"([0-9]{1,5})-([0-9]{1,15})-[0-9a-f]{16}")


@dataclass(frozen=True)
class Layout:
    """One folder store's folder."""

    root: Path

    def make(self) -> None:
        """Make what is missing."""
        for folder in (self.files, self.incoming, self.uploads_root):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def files(self) -> Path:
        """Where whole objects lie."""
        return self.root / "files"

    @property
    def incoming(self) -> Path:
        """Where objects lie that come in one piece, until they are whole."""
        return self.root / "incoming"

    @property
    def uploads_root(self) -> Path:
        """Where objects lie that come in parts, until they are finished."""
        return self.root / "parts"

    def upload(self, key: str, upload_id: str) -> Path:
        """Return the folder of an upload in parts."""
        return self.uploads_root / key / upload_id

    def draft(self, key: str) -> Path:
        """Return a name of its own for an object that begins to come in."""
        return self.incoming / f"{key}.{secrets.token_hex(8)}"

    def stored(self, key: str) -> Stored | None:
        """Return what is known of a whole object; None if it is not there."""
        try:
            found = (self.files / key).stat()
        except FileNotFoundError:
            self.files.stat()
            return None
        return Stored(key, found.st_size, etag(found))

    def open(self, key: str) -> FileIO | None:
        """Return a whole object to read from; None if it is not there."""
        try:
            return FileIO(self.files / key)
        except FileNotFoundError:
            self.files.stat()
            return None

    def all_stored(self) -> list[Stored]:
        """Return every whole object."""
        keys = [path.name for path in self.files.iterdir() if _KEY.fullmatch(path.name)]
        return [stored for key in keys if (stored := self.stored(key))]

    def keep(self, draft: Path, key: str) -> str:
        """Make an object whole, for good; return its ETag."""
        mark = etag(draft.stat())
        draft.rename(self.files / key)
        sync_folder(self.files)
        return mark

    def delete(self, key: str) -> None:
        """Delete a whole object."""
        (self.files / key).unlink(missing_ok=True)
        sync_folder(self.files)

    def begin(self, key: str, upload_id: str) -> None:
        """Make room for an upload in parts."""
        folder = self.upload(key, upload_id)
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700)
        (folder / "data").touch(mode=0o600)
        for changed in (folder, folder.parent, self.uploads_root):
            sync_folder(changed)

    def parts(self, key: str, upload_id: str) -> list[Part]:
        """Return the parts that are whole, by number. Raises UploadGone."""
        try:
            found = list(self.upload(key, upload_id).iterdir())
        except FileNotFoundError:
            self.uploads_root.stat()
            raise UploadGone from None
        marks = [_MARK.fullmatch(path.name) for path in found]
        parts = [Part(int(mark[1]), int(mark[2]), mark[0]) for mark in marks if mark]
        return sorted(parts, key=lambda part: part.number)

    def mark(self, key: str, upload_id: str, slot: Slot) -> str:
        """Note that a part is whole; return its ETag."""
        folder = self.upload(key, upload_id)
        name = f"{slot.number}-{slot.size}-{secrets.token_hex(8)}"
        (folder / name).touch(mode=0o600)
        sync_folder(folder)
        return name

    def unmark(self, key: str, upload_id: str, number: int) -> None:
        """Note that a part is about to be written over. Raises UploadGone."""
        folder = self.upload(key, upload_id)
        for part in self.parts(key, upload_id):
            if part.number == number:
                (folder / part.etag).unlink()
        sync_folder(folder)

    def finish(self, key: str, upload_id: str, size: int) -> None:
        """Turn an upload's file into the object. Raises UploadGone."""
        data = self.upload(key, upload_id) / "data"
        try:
            os.truncate(data, size)
        except FileNotFoundError:
            self.uploads_root.stat()
            raise UploadGone from None
        self.keep(data, key)
        self.abort(key, upload_id)

    def abort(self, key: str, upload_id: str) -> None:
        """Remove an upload and its parts, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.upload(key, upload_id))
            with contextlib.suppress(OSError):
                # Only once it is empty: the object may have another upload.
                (self.uploads_root / key).rmdir()

    def uploads(self) -> list[Upload]:
        """Return the uploads in parts that are open."""
        found: list[Upload] = []
        for key in self.uploads_root.iterdir():
            # One that ends meanwhile takes its folder along.
            with contextlib.suppress(FileNotFoundError):
                if _KEY.fullmatch(key.name):
                    found += [Upload(key.name, upload.name) for upload in key.iterdir()]
        return found

    def remove_halves(self) -> int:
        """Remove drafts that nobody writes any more; return how many."""
        removed = 0
        for path in self.incoming.iterdir():
            with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed += 1
        return removed


def etag(found: os.stat_result) -> str:
    """Return what changes with a whole file's content, which is only ever renamed into place."""
    return f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """Return what an unprivileged user may still write there."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
