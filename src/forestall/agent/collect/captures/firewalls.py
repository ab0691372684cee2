"""Firewalls: nftables, iptables, ufw, firewalld, Windows and macOS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from forestall.agent.collect.captures.capture import Capture, CapturedFile, CaptureError, Parsed, Unread
from forestall.agent.collect.firewall import document_of, firewalld, iptables, macos, nft, ufw, windows
from forestall.agent.collect.firewall.ruleset import Rules
from forestall.wire.facts import Firewall


def _capture(name: str, tool: str, title: str, files: str, read: Callable[[CapturedFile], Rules]) -> Capture:
    def parse(given: Sequence[CapturedFile]) -> Parsed:
        together = Rules()
        unread: list[Unread] = []
        good = False
        for file in given:
            try:
                rules = read(file)
            except CaptureError as error:
                unread.append(Unread(error.file, error.line, "", error.why))
                continue
            if not rules.rules and not rules.policies and rules.active is None:
                unread.append(Unread(file.name, 0, "", f"holds nothing of {title.lower()}"))
                continue
            good = True
            unread += [Unread(file.name, line.line, line.text[:200], line.why) for line in rules.odd]
            together = replace(
                together,
                rules=(*together.rules, *rules.rules),
                policies=(*together.policies, *rules.policies),
                active=rules.active if together.active is None else together.active or bool(rules.active),
            )
        return Parsed(document_of(tool, together) if good else None, tuple(unread))

    return Capture(name=name, title=title, document=Firewall, files=files, read=parse)


def _nft(file: CapturedFile) -> Rules:
    text = file.text()
    if text.lstrip().startswith("{"):
        document = file.json_object()
        if "nftables" not in document:
            raise CaptureError(file.name, 1, 'is JSON, yet not of nft: it has no "nftables"')
        return nft.parse_json(text)
    return nft.parse_text(text)


def _iptables(file: CapturedFile) -> Rules:
    text = file.text()
    family = "ip6" if "ip6" in file.name.lower() else ""
    listed = text.lstrip().startswith("Chain ")
    return iptables.parse_list(text) if listed else iptables.parse_save(text, family=family)


def _windows(file: CapturedFile) -> Rules:
    text = file.text()
    if text.lstrip().startswith(("{", "[{", "[\n", "[\r")):
        file.json()  # says where it stops being JSON
        return windows.parse_powershell(text)
    if "Windows Registry Editor" in text[:100] or "\\FirewallPolicy\\" in text:
        return windows.parse_registry(text)
    return windows.parse_rules(text) if "Rule Name:" in text else windows.parse_profiles(text)


def _macos(file: CapturedFile) -> Rules:
    text = file.text()
    looks_pf = any(line.startswith(("pass ", "block ")) for line in text.splitlines())
    return macos.parse_pf(text) if looks_pf else macos.parse_application(text)


CAPTURES: tuple[Capture, ...] = (
    _capture("nftables", "nftables", "Firewall nftables", "output of `nft [-j] list ruleset`", _nft),
    _capture(
        "iptables", "iptables", "Firewall iptables",
        "output of `iptables-save -c` or `iptables -L -n -v`; of IPv6 too, with `ip6` in the file's name", _iptables,
    ),
    _capture("ufw", "ufw", "Firewall ufw", "output of `ufw status verbose`", lambda file: ufw.parse(file.text())),
    _capture(
        "firewalld", "firewalld", "Firewall firewalld", "output of `firewall-cmd --list-all-zones`",
        lambda file: firewalld.parse(file.text()),
    ),
    _capture(
        "windows-firewall", "windows", "Windows firewall",
        "outputs of `netsh advfirewall show allprofiles` and `netsh advfirewall firewall show rule name=all verbose`, "
        "JSON of PowerShell's Get-NetFirewallProfile and Get-NetFirewallRule, or exports of the registry", _windows,
    ),
    _capture(
        "macos-firewall", "macos", "macOS firewall",
        "output of `socketfilterfw --getglobalstate --getblockall --listapps`, or of `pfctl -sr`", _macos,
    ),
)  # fmt: skip
