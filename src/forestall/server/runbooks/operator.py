"""The operator's folder: root, catalogue and operator keys, and what they signed. No Django, no database.

The server's own processes never read it. ``forestall up`` makes it once, so that one machine shows the whole loop;
``forestall sign`` and ``forestall order`` use it, wherever it lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from forestall.server.home import write_private
from forestall.server.runbooks.library import read_library
from forestall.trust.authorise import Refused, read_runbook
from forestall.trust.dsse import decode
from forestall.trust.keys import key_id, new_key, private_bytes, private_key, public_bytes
from forestall.trust.sign import new_root, role_of, sign_statement
from forestall.trust.statements import Root, Runbook, read_statement

ROOT_KEY, CATALOGUE_KEY, OPERATOR_KEY = "root.key", "catalogue.key", "operator.key"
ROOT_FILE = "root.json"
RUNBOOKS = "runbooks"

README = """\
The operator's keys of this Forestall installation
==================================================

root.key       says which keys hold which role; used only to change that
catalogue.key  signs runbooks: what may be done at all
operator.key   signs jobs and standing orders: what is done
root.json      the signed root statement that every device pins when it enrols
runbooks/      the signed runbooks

Whoever holds operator.key commands every device of this installation, within the signed runbooks. Whoever holds
root.key can replace all other keys. The server needs none of them: it only passes on what they signed.

`forestall up` made this folder beside the server so that you can try everything on one machine. In real life it
lives off the server: move it to the machine where operators sign (an encrypted laptop that nobody else uses), keep
root.key and catalogue.key on a medium in a safe, and sign with

    FORESTALL_OPERATOR=/path/to/this/folder forestall sign --all

Make a copy of root.key in a second place. If it is lost, the keys can never be changed again, and devices must be
enrolled anew when the root statement expires.
"""


class OperatorError(Exception):
    """The operator's folder is not what it should be; the message says what and where."""


@dataclass(frozen=True, slots=True)
class OperatorBundle:
    """What the operator's folder gives to the server: public things only."""

    root: bytes
    """Envelope of the root statement."""
    runbooks: tuple[bytes, ...]
    """Envelopes of the signed runbooks."""
    root_key_id: str
    """What enrolment tokens pin."""


@dataclass(frozen=True, slots=True)
class OperatorFolder:
    """The folder, opened for signing."""

    folder: Path
    root_envelope: bytes
    root: Root
    runbooks: dict[str, Runbook]
    """Digest → runbook that the catalogue signed under this root."""

    @classmethod
    def open(cls, folder: Path) -> OperatorFolder:
        """OperatorError when there is none, or when it does not hold together."""
        try:
            root_envelope = (folder / ROOT_FILE).read_bytes()
            root = read_statement(decode(root_envelope).body(), Root)
            signed = [read_runbook(root=root, envelope=file.read_bytes()) for file in _runbook_files(folder)]
        except FileNotFoundError:
            raise OperatorError(
                f"{folder} is not an operator's folder: it has no {ROOT_FILE}. "
                "Name the folder with FORESTALL_OPERATOR, or make one: forestall operator init"
            ) from None
        except PermissionError as error:
            raise OperatorError(f"{error.filename} belongs to another user: sign as that user") from None
        except (ValueError, Refused) as error:
            raise OperatorError(f"{folder}: {error}") from None
        return cls(
            folder=folder,
            root_envelope=root_envelope,
            root=root,
            runbooks={digest: runbook for runbook, digest in signed},
        )

    def operator_keys(self) -> list[bytes]:
        """Raw private keys of operators, one for each ``operator*.key``. OperatorError when there is none."""
        files = sorted(self.folder.glob("operator*.key"))
        if not files:
            raise OperatorError(f"{self.folder} holds no operator key (operator*.key)")
        return [_read_key(file) for file in files]

    def runbook_called(self, slug: str) -> Runbook:
        """The newest version of a runbook. OperatorError names the ones there are."""
        versions = [runbook for runbook in self.runbooks.values() if runbook.slug == slug]
        if not versions:
            known = ", ".join(sorted({runbook.slug for runbook in self.runbooks.values()}))
            raise OperatorError(f"no runbook is called {slug!r}; known: {known}")
        return max(versions, key=lambda runbook: runbook.version)


def operator_init(*, folder: Path, now: datetime) -> OperatorBundle:
    """Make the operator's folder if there is none: three keys, root version 1, the built-in runbooks signed.

    A folder that is there is left as it is, but for built-in runbooks that are new since: they are signed when the
    catalogue key is there.
    """
    if not (folder / ROOT_FILE).exists():
        _make(folder, now)
    opened = OperatorFolder.open(folder)
    catalogue = folder / CATALOGUE_KEY
    if catalogue.exists():
        runbooks_sign(folder=folder, runbooks=read_library())
    return OperatorBundle(
        root=opened.root_envelope,
        runbooks=tuple(file.read_bytes() for file in _runbook_files(folder)),
        root_key_id=sorted(opened.root.root.keys)[0],
    )


def _make(folder: Path, now: datetime) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    root, catalogue, operator = new_key(), new_key(), new_key()
    for name, key in ((ROOT_KEY, root), (CATALOGUE_KEY, catalogue), (OPERATOR_KEY, operator)):
        if (folder / name).exists():
            raise OperatorError(
                f"{folder / name} exists, but {ROOT_FILE} does not: move the keys away or bring it back"
            )
        write_private(folder / name, private_bytes(key).hex().encode() + b"\n")
    write_private(folder / "README.txt", README.encode())
    statement = new_root(root=role_of([root]), operator=role_of([operator]), catalogue=role_of([catalogue]), now=now)
    # Last of all: the folder counts as made once this is there.
    write_private(folder / ROOT_FILE, sign_statement(statement, [root]))


def runbooks_sign(*, folder: Path, runbooks: Sequence[Runbook]) -> list[Path]:
    """Sign runbooks with the folder's catalogue key; those that are there already stay. Returns the new files."""
    key = private_key(_read_key(folder / CATALOGUE_KEY))
    made: list[Path] = []
    for runbook in runbooks:
        path = folder / RUNBOOKS / f"{runbook.slug}-{runbook.version}.json"
        if not path.exists():
            write_private(path, sign_statement(runbook, [key]))
            made.append(path)
    return made


def fingerprints(folder: Path) -> dict[str, str]:
    """File name → key id of every private key in the folder."""
    return {file.name: key_id(public_bytes(private_key(_read_key(file)))) for file in sorted(folder.glob("*.key"))}


def _runbook_files(folder: Path) -> list[Path]:
    return sorted((folder / RUNBOOKS).glob("*.json"))


def _read_key(path: Path) -> bytes:
    try:
        raw = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise OperatorError(f"{path} cannot be read: {error}") from None
    if len(raw) != 32:
        raise OperatorError(f"{path} holds {len(raw)} bytes, a key has 32")
    return raw
