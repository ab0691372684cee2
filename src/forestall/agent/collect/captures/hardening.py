"""How a system is set up: ``sshd -T``, ``sysctl -a``, Lynis' report, results of OpenSCAP."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from forestall.agent.collect.assessments import AssessmentError, newest, parse_lynis, parse_xccdf
from forestall.agent.collect.captures.capture import (
    Capture,
    CapturedFile,
    CaptureError,
    Parsed,
    Reading,
    Unread,
    read_each,
)
from forestall.agent.collect.hardening import KERNEL, parse_sysctl
from forestall.agent.collect.sshd import parse_sshd_t
from forestall.wire.facts import Assessment, Assessments, Hardening, HardeningSetting, Sshd


def _sshd(files: Sequence[CapturedFile]) -> Parsed:
    settings: dict[str, str] = {}
    unread: list[Unread] = []
    for file in files:
        reading = Reading(file)
        for line in reading:
            word = line.text.strip().split(" ")[0]
            if word.isalnum() and word[0].isalpha() and word == word.lower():
                reading.take(line)
        found = parse_sshd_t("\n".join(line.text for line in reading.lines))
        if not {"port", "permitrootlogin", "passwordauthentication"} <= found.keys():
            raise CaptureError(file.name, 0, "is no output of `sshd -T`: it names no port, permitrootlogin and so on")
        settings |= found
        unread += reading.unread("no keyword of sshd")
    return Parsed(Sshd(installed=True, settings=dict(sorted(settings.items())), effective=True), tuple(unread))


def _sysctl(files: Sequence[CapturedFile]) -> Parsed:
    settings: list[HardeningSetting] = []
    unread: list[Unread] = []
    for file in files:
        reading = Reading(file)
        for line in reading:
            text = line.text.strip()
            if text.startswith(("#", ";", "sysctl: ")) or "=" in text or (":" in text and "." in text.split(":")[0]):
                reading.take(line)
        # macOS and the BSDs write colons.
        text = "\n".join(line.text if "=" in line.text else line.text.replace(": ", " = ", 1) for line in reading)
        values = parse_sysctl(text)
        if not any("." in name for name in values):
            raise CaptureError(file.name, 0, "is no output of `sysctl -a`: it holds no line `name = value`")
        settings += [
            HardeningSetting(area="kernel", name=name, value=values[name], source=file.name)
            for name in (*KERNEL, *sorted(set(values) - set(KERNEL)))
            if name in values
        ]
        unread += reading.unread("no line `name = value`")
    return Parsed(Hardening(settings=tuple(settings)), tuple(unread))


def _assessment(read: Callable[[CapturedFile], Assessment]) -> Callable[[Sequence[CapturedFile]], Parsed]:
    def one(file: CapturedFile) -> tuple[Sequence[Assessment], Sequence[object]]:
        try:
            return [read(file)], ()
        except AssessmentError as error:
            raise CaptureError(file.name, error.line, error.why) from None

    def parse(files: Sequence[CapturedFile]) -> Parsed:
        return read_each(files, one, lambda found: Assessments(assessments=newest(found)))  # type: ignore[arg-type]

    return parse


CAPTURES: tuple[Capture, ...] = (
    Capture(
        name="sshd", title="SSH server", document=Sshd, files="output of `sshd -T`", read=_sshd
    ),
    Capture(
        name="sysctl", title="Kernel settings", document=Hardening, files="output of `sysctl -a`", read=_sysctl
    ),
    Capture(
        name="lynis", title="Report of Lynis", document=Assessments, files="`/var/log/lynis-report.dat`",
        read=_assessment(lambda file: parse_lynis(file.text())),
    ),
    Capture(
        name="openscap", title="Results of OpenSCAP", document=Assessments,
        files="XML of `oscap xccdf eval --results FILE` or `--results-arf FILE`",
        read=_assessment(lambda file: parse_xccdf(file.data)),
    ),
)  # fmt: skip
