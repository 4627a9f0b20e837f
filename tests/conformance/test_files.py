from __future__ import annotations

from pathlib import Path

from bunter.files.local import LocalFiles
from bunter.testing import FilesTests


class TestLocalFiles(FilesTests):
    def files(self, folder: Path) -> LocalFiles:
        return LocalFiles(folder)

    def again(self, files: LocalFiles) -> LocalFiles:
        return LocalFiles(files.root)

    def everything(self, files: LocalFiles) -> set[str]:
        root = Path(files.root)
        return {path.relative_to(root).as_posix() for path in root.rglob("*")}

    def spoil(self, files: LocalFiles, path: str, content: bytes | None) -> None:
        place = Path(files.root) / path
        if content is None:
            place.unlink()
        else:
            place.write_bytes(content)


class TestLocalFilesInAHurry(TestLocalFiles):
    def files(self, folder: Path) -> LocalFiles:
        return LocalFiles(folder, durable=False)

    def again(self, files: LocalFiles) -> LocalFiles:
        return LocalFiles(files.root, durable=False)
