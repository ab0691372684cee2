"""Shared folders: Samba's and NFS's."""

from __future__ import annotations

import re
from collections.abc import Mapping

from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.wire.facts import Share

_YES = frozenset({"yes", "true", "1", "on"})
_MOST_WHO = 50


def parse_smb_conf(text: str) -> dict[str, dict[str, str]]:
    """Sections of smb.conf(5) and their settings: names in small letters with single blanks, synonyms made one."""
    found: dict[str, dict[str, str]] = {}
    section = "global"
    for line in re.sub(r"\\\n", " ", text).splitlines():
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
            found.setdefault(section.lower() if section.lower() == "global" else section, {})
            section = "global" if section.lower() == "global" else section
            continue
        name, equals, value = line.partition("=")
        if not equals:
            continue
        name, value = " ".join(name.lower().split()), value.strip()
        settings = found.setdefault(section, {})
        if name in ("writable", "writeable", "write ok"):
            settings["read only"] = "no" if value.lower() in _YES else "yes"
        else:
            settings[{"public": "guest ok", "directory": "path"}.get(name, name)] = value
    return found


def smb_shares(sections: Mapping[str, Mapping[str, str]]) -> list[Share]:
    """The folders among the sections; printers are none."""
    common = sections.get("global", {})
    found = []
    for name, own in sections.items():
        settings = {**common, **own}
        if name == "global" or settings.get("available", "yes").lower() not in _YES:
            continue
        if settings.get("printable", "no").lower() in _YES or name.lower() in ("printers", "print$"):
            continue
        who = _names(settings.get("valid users", ""))
        guest = settings.get("guest ok", "no").lower() in _YES
        writers = _names(settings.get("write list", ""))
        found.append(
            Share(
                name=name,
                path=own.get("path", "" if name.lower() != "homes" else "%H"),
                kind="smb",
                guest=guest,
                writable=settings.get("read only", "yes").lower() not in _YES or bool(writers),
                who=who[:_MOST_WHO],
                detail=", ".join(
                    f"{key} {settings[key]}" for key in ("map to guest", "hosts allow", "write list") if key in settings
                )[:300],
            )
        )
    return found


def parse_usershare(text: str) -> Share | None:
    """A file of ``net usershare``; None when it is none."""
    settings = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            settings[name.strip()] = value.strip()
    if "path" not in settings:
        return None
    rights = [each for each in settings.get("usershare_acl", "").split(",") if each]
    return Share(
        name=settings.get("sharename", ""),
        path=settings["path"],
        kind="smb",
        guest=settings.get("guest_ok", "n").lower().startswith("y"),
        writable=any(each.endswith((":F", ":f")) for each in rights),
        who=tuple(each.rpartition(":")[0] for each in rights)[:_MOST_WHO],
        detail="made by a user (net usershare)",
    )


def parse_exports(text: str) -> list[Share]:
    """Lines of exports(5): one share a path; ``guest`` where any machine may mount it."""
    found = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        match = re.match(r'("[^"]+"|\S+)\s*(.*)$', line)
        if not match or not line:
            continue
        path = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), match[1].strip('"'))
        clients, defaults = [], ""
        for word in match[2].split():
            if word.startswith("-"):
                defaults = word[1:]
                continue
            # "client (rw)" with a blank between opens it to everybody with these options (exports(5)).
            client, _, options = word.partition("(")
            clients.append((client or "*", f"{defaults},{options.rstrip(')')}".strip(",")))
        if not clients:
            clients = [("*", defaults)]
        found.append(
            Share(
                name=path,
                path=path,
                kind="nfs",
                guest=any(client in ("*", "0.0.0.0/0", "::/0") for client, _ in clients),
                writable=any("rw" in options.split(",") for _, options in clients),
                who=tuple(client for client, _ in clients if client != "*")[:_MOST_WHO],
                detail=", ".join(
                    f"{client}({options})" for client, options in clients if "no_root_squash" in options.split(",")
                )[:300],
            )
        )
    return found


def collect_shares(notes: Notes) -> tuple[Share, ...]:
    """The folders that this machine's settings share, whether the server that shares them runs or not."""
    found: list[Share] = []
    if _is_there(notes, "/etc/samba/smb.conf"):
        text = _effective_smb(notes)
        found += smb_shares(parse_smb_conf(text)) if text is not None else []
        for path in notes.host.glob("/var/lib/samba/usershares/*"):
            share = parse_usershare(notes.read(path, what=f"the shared folder in {path}") or "")
            found += [share] if share else []
    for path in ("/etc/exports", *notes.host.glob("/etc/exports.d/*.exports")):
        if _is_there(notes, path):
            found += parse_exports(notes.read(path, what="folders shared by NFS") or "")
    return tuple(sorted(found, key=lambda share: (share.kind, share.name)))


def _effective_smb(notes: Notes) -> str | None:
    """What testparm makes of smb.conf (it follows includes), else the file."""
    if notes.host.find_program("testparm"):
        result = notes.run(["testparm", "-s", "/etc/samba/smb.conf"])
        if result is not None and result.exit_code == 0 and result.stdout.strip():
            return result.stdout
        if result is not None:
            notes.gap("folders that Samba shares, as it reads its settings", complaint(result))
    text = notes.read("/etc/samba/smb.conf", what="folders that Samba shares")
    for line in (text or "").splitlines():
        if re.match(r"\s*(include\s*=|config backend\s*=\s*registry)", line, re.IGNORECASE):
            notes.gap("folders that Samba shares by other files", f"testparm is not installed: {line.strip()[:100]}")
    return text


def _is_there(notes: Notes, path: str) -> bool:
    try:
        notes.host.status(path)
    except HostError:
        return False
    return True


def _names(text: str) -> tuple[str, ...]:
    return tuple(each for each in re.split(r"[,\s]+", text) if each)
