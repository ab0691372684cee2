"""The operator's folder: root, catalogue and operator keys, and what they signed. No Django, no database.

The server's own processes never read it. ``forestall up`` makes it once, so that one machine shows the whole loop;
``forestall sign`` and ``forestall order`` use it, wherever it lives.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from forestall.server.home import write_private
from forestall.server.runbooks.library import read_library
from forestall.trust.authorise import Refused, accept_root, accept_roots, read_runbook
from forestall.trust.dsse import decode
from forestall.trust.keyfile import KeyFileError, is_sealed, public_of, seal, unseal
from forestall.trust.keys import key_id, new_key, private_bytes, private_key, public_bytes
from forestall.trust.sign import new_root, role_of, sign_statement
from forestall.trust.statements import Root, Runbook, read_statement
from forestall.trust.succession import ROLES, RoleName

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

Put the keys under a passphrase: forestall operator key protect FILE. Let a second person have a key of their own:
forestall operator key new NAME, then forestall operator root propose --add NAME.pub. docs/operating.md tells both, for
one person and for three.

Make a copy of root.key in a second place. If it is lost, the keys can never be changed again, and devices must be
enrolled anew when the root statement expires.
"""


PASSPHRASE_VARIABLE = "FORESTALL_KEY_PASSPHRASE"  # noqa: S105 - a name, no passphrase
Ask = Callable[[Path], str]
"""Asks a person for the passphrase of a key file."""


class OperatorError(Exception):
    """The operator's folder is not what it should be; the message says what and where."""


class PublicKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``.pub`` file: what one person hands to another. The name is for people; the key is what counts."""

    role: RoleName
    name: str
    key: str
    """Raw public key in hex."""

    @property
    def raw(self) -> bytes:
        return bytes.fromhex(self.key)


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

    def operator_keys(self, ask: Ask | None = None) -> list[bytes]:
        """Raw private keys of operators, one for each ``operator*.key``. OperatorError when there is none.

        ``ask`` is called for each that is under a passphrase.
        """
        return self._keys("operator", ask)

    def root_keys(self, ask: Ask | None = None) -> list[bytes]:
        """Raw private keys of the root role, one for each ``root*.key``. OperatorError when there is none."""
        return self._keys("root", ask)

    def _keys(self, role: RoleName, ask: Ask | None) -> list[bytes]:
        files = sorted(self.folder.glob(f"{role}*.key"))
        if not files:
            raise OperatorError(f"{self.folder} holds no {role} key ({role}*.key)")
        return [_read_key(file, ask) for file in files]

    def names(self) -> dict[str, str]:
        """Key id → the name this folder has for it: of its own key files, and of the ``.pub`` files put into it."""
        return key_names(self.folder)

    def take_root(self, envelope: bytes, *, now: datetime) -> OperatorFolder:
        """The folder with the next version of the root in it. OperatorError when it is no proper successor."""
        try:
            accept_root(current=self.root, pinned_key_id="", envelope=envelope, now=now)
        except Refused as refusal:
            raise OperatorError(f"not a root that follows version {self.root.version}: {refusal.sentence}") from None
        write_private(self.folder / ROOT_FILE, envelope)
        return OperatorFolder.open(self.folder)

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
    if catalogue.exists() and not is_sealed(catalogue.read_bytes()):
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


def runbooks_sign(*, folder: Path, runbooks: Sequence[Runbook], ask: Ask | None = None) -> list[Path]:
    """Sign runbooks with the folder's catalogue key; those that are there already stay. Returns the new files."""
    key = private_key(_read_key(folder / CATALOGUE_KEY, ask))
    made: list[Path] = []
    for runbook in runbooks:
        path = folder / RUNBOOKS / f"{runbook.slug}-{runbook.version}.json"
        if not path.exists():
            write_private(path, sign_statement(runbook, [key]))
            made.append(path)
    return made


def folder_join(
    *, folder: Path, roots: Sequence[bytes], runbooks: Sequence[bytes], root_key_id: str, now: datetime
) -> OperatorFolder:
    """Bring a folder up to the root in force: a new one from the root key that its owner was told by a person, one
    that has a root by its proper successors. OperatorError when the chain does not lead there.

    ``roots``: envelopes, oldest first. Runbooks that the catalogue has not signed are left out.
    """
    try:
        kept = (folder / ROOT_FILE).read_bytes()
        current: Root | None = read_statement(decode(kept).body(), Root)
    except FileNotFoundError:
        current = None
    except ValueError as error:
        raise OperatorError(f"{folder / ROOT_FILE}: {error}") from None
    try:
        versions = [(read_statement(decode(envelope).body(), Root).version, envelope) for envelope in roots]
        later = [envelope for version, envelope in versions if current is None or version >= current.version]
        root = accept_roots(current=current, pinned_key_id=root_key_id, envelopes=later, now=now)
    except (Refused, ValueError) as error:
        raise OperatorError(f"the server's roots do not hold: {error}") from None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for envelope in runbooks:
        try:
            runbook, _ = read_runbook(root=root, envelope=envelope)
        except Refused:
            continue
        path = folder / RUNBOOKS / f"{runbook.slug}-{runbook.version}.json"
        if not path.exists():
            write_private(path, envelope)
    if later:
        write_private(folder / ROOT_FILE, later[-1])
    return OperatorFolder.open(folder)


# --- keys -------------------------------------------------------------------------------------------------------

_KEY_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def key_new(*, folder: Path, role: RoleName, name: str, passphrase: str | None) -> Path:
    """Make a key in ``folder``; the path of its ``.pub`` file, which is for giving away. OperatorError if it is there.

    Without a passphrase the private key lies plain in the file.
    """
    if _KEY_NAME.fullmatch(name) is None or role not in ROLES:
        raise OperatorError(f"{name!r} is not a name for a key: lower-case letters, digits and hyphens")
    private, public = folder / f"{role}-{name}.key", folder / f"{role}-{name}.pub"
    if private.exists() or public.exists():
        raise OperatorError(f"{private} exists already")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = new_key()
    write_private(private, _key_file(private_bytes(key), passphrase))
    given = PublicKey(role=role, name=name, key=public_bytes(key).hex())
    write_private(public, msgspec.json.format(msgspec.json.encode(given), indent=2) + b"\n")
    return public


def key_protect(*, path: Path, passphrase: str | None, ask: Ask | None = None) -> None:
    """Put a private key under a (new) passphrase; None: write it plain. OperatorError when it cannot be read."""
    write_private(path, _key_file(_read_key(path, ask), passphrase))


def _key_file(raw: bytes, passphrase: str | None) -> bytes:
    if passphrase is None:
        return raw.hex().encode() + b"\n"
    try:
        return seal(raw, passphrase, salt=secrets.token_bytes(16), nonce=secrets.token_bytes(12))
    except KeyFileError as error:
        raise OperatorError(str(error)) from None


def read_public(path: Path) -> PublicKey:
    """A ``.pub`` file that somebody gave. OperatorError when it is none."""
    try:
        given = msgspec.json.decode(path.read_bytes(), type=PublicKey)
        if len(given.raw) != 32:
            raise OperatorError(f"{path} holds {len(given.raw)} bytes, a key has 32")
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise OperatorError(f"{path} is no public key: {error}") from None
    return given


def key_names(folder: Path) -> dict[str, str]:
    """Key id → name, from the key files and ``.pub`` files of a folder. What cannot be read names nothing."""
    named = {identifier: name.removesuffix(".key") for name, identifier in fingerprints(folder).items()}
    for path in sorted(folder.glob("*.pub")):
        try:
            given = read_public(path)
        except OperatorError:
            continue
        named[key_id(given.raw)] = given.name
    return named


def fingerprints(folder: Path) -> dict[str, str]:
    """File name → key id of every private key in the folder; none needs its passphrase."""
    found: dict[str, str] = {}
    for file in sorted(folder.glob("*.key")):
        try:
            found[file.name] = key_id(public_of(file.read_bytes()))
        except (OSError, KeyFileError) as error:
            raise OperatorError(f"{file} cannot be read: {error}") from None
    return found


def is_protected(path: Path) -> bool:
    """Whether a key file is under a passphrase."""
    return is_sealed(path.read_bytes())


def _runbook_files(folder: Path) -> list[Path]:
    return sorted((folder / RUNBOOKS).glob("*.json"))


def _read_key(path: Path, ask: Ask | None = None, environment: Mapping[str, str] = os.environ) -> bytes:
    try:
        content = path.read_bytes()
        if not is_sealed(content):
            return unseal(content, "")
        passphrase = environment.get(PASSPHRASE_VARIABLE)
        if passphrase is None:
            if ask is None:
                raise OperatorError(f"{path} is under a passphrase: set {PASSPHRASE_VARIABLE}")
            passphrase = ask(path)
        return unseal(content, passphrase)
    except (OSError, KeyFileError) as error:
        raise OperatorError(f"{path} cannot be read: {error}") from None
