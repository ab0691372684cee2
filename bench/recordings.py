"""Which share of recorded outputs is parsed to its expected values: ``python -m bench.recordings [FOLDER]``.

The recordings are outputs of real machines, kept beside the project (smartctl, RAID tools, antivirus, firewalls,
accounts, backups); where their source has expected values (pySMART's device.json, jc's parsed JSON) these are compared,
elsewhere the values that a person reads in them, written down here. A recording counts when its values are right *and*
no line of it was left unread. Every other one is named with what is wrong.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.run import RESULTS
from forestall.agent.collect.captures import captures
from forestall.agent.collect.captures.capture import CapturedFile

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Case:
    family: str
    files: tuple[Path, ...]
    kind: str
    """Empty: no capture reads this; it counts as a failure."""
    expected: Callable[[Any], list[str]]
    """Document → what differs."""
    odd: str = ""
    """A known difference that is the recording's or its source's, in words. It counts as a failure all the same."""


def same(**pairs: tuple[Any, Any]) -> list[str]:
    """``name=(ours, theirs)`` → the differences in words."""
    return [f"{name}: {ours!r}, expected {theirs!r}" for name, (ours, theirs) in pairs.items() if ours != theirs]


def load(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())


# --- disks --------------------------------------------------------------------------------------------------


def smart_json(shared: Path) -> Iterator[Case]:
    for path in sorted((shared / "smart/smartctl-json").glob("*.json")):
        report = load(path)

        def check(document: Any, report: dict[str, Any] = report) -> list[str]:
            (disk,) = document.disks
            rows = report.get("ata_smart_attributes", {}).get("table", [])
            log = report.get("nvme_smart_health_information_log", {})
            found = {each.id: each for each in disk.attributes}
            wrong = [
                f"attribute {row['id']}"
                for row in rows
                if (one := found.get(row["id"])) is None
                or (one.name, one.value, one.worst, one.threshold, one.raw)
                != (row["name"], row["value"], row["worst"], row["thresh"], row["raw"]["value"])
            ]
            size = report.get("user_capacity", {}).get("bytes") or report.get("nvme_total_capacity")
            return wrong + same(
                passed=(disk.smart_passed, report["smart_status"]["passed"]),
                size=(disk.size_bytes, size),
                serial=(disk.serial, report["serial_number"]),
                temperature=(disk.temperature_celsius, float(report["temperature"]["current"])),
                hours=(disk.power_on_hours, report.get("power_on_time", {}).get("hours")),
                cycles=(disk.power_cycles, report.get("power_cycle_count")),
                attributes=(len(disk.attributes), len(rows)),
                spare=(disk.spare_percent, log.get("available_spare")),
                warning=(disk.critical_warning, log.get("critical_warning")),
                media=(disk.media_errors, log["media_errors"] if log else disk.media_errors),
                wear=(disk.wear_percent, log["percentage_used"] if log else disk.wear_percent),
                kind=(disk.kind == "nvme", report["device"]["protocol"] == "NVMe"),
            )

        yield Case("SMART, JSON", (path,), "smartctl", check)


def smart_text(shared: Path) -> Iterator[Case]:
    for golden in sorted((shared / "smart/pysmart/singletests").glob("*/device.json")):
        values = load(golden)["values"]

        def check(document: Any, values: dict[str, Any] = values) -> list[str]:
            (disk,) = document.disks
            rows = [each for each in values["attributes"] or [] if each]
            return same(
                passed=(disk.smart_passed, {"PASS": True, "FAIL": False, "WARN": True}.get(values["assessment"])),
                size=(disk.size_bytes, values["size"]),
                serial=(disk.serial, values["serial"]),
                firmware=(disk.firmware, values["firmware"]),
                model=(disk.model, values["model"]),
                temperature=(disk.temperature_celsius or 0, values["temperature"] or 0),
                rotation=(disk.rotation_rpm or 0, values["rotation_rate"] or 0),
                flash=(disk.kind in ("ssd", "nvme"), values["is_ssd"]),
                attributes=(
                    [(one.id, one.name, one.value, one.worst, one.threshold, one.raw) for one in disk.attributes],
                    [
                        (each["num"], each["name"], each["value_int"], each["worst"], each["thresh"], each["raw_int"])
                        for each in rows
                    ],
                ),
                tests=(
                    [(one.kind, one.hours) for one in disk.self_tests],
                    [(each["type"], int(each["hours"])) for each in values["tests"]],
                ),
            )

        odd = "pySMART calls it by its additional product id" if golden.parent.name == "sata_ssd_1_issue_72" else ""
        file = next(each for each in golden.parent.glob("_*") if "--all" in each.name)
        yield Case("SMART, text", (file,), "smartctl", check, odd)
    known = {
        "sample1": ("SAMSUNG SSD PM800 TM 128GB", "DFW1W11002SE002B3117", 128035676160),
        "sample3": ("IBM-ESXS ST3300655SS", "3LM0L0FJ00009733Y46W", 0),
        "sample4": ("IBM-ESXS VSC7160", "", 0),
        "sample6": ("EG0600FBDSR", "EA01PB107H5K1103", 600127266816),
        "sample7": ("HUH721212AL5200", "D5G7WG8L", 11756399230976),
        "sample9": ("DVD A  DS8A5LH", "", 0),
    }
    for path in sorted((shared / "smart/raid-tools/linux/smartctl").glob("*")):
        wanted = known.get(path.name)
        yield Case(
            "SMART, text", (path,), "smartctl",
            lambda document, wanted=wanted: same(
                disk=((document.disks[0].model, document.disks[0].serial, document.disks[0].size_bytes), wanted)
            ),
        )  # fmt: skip


# --- arrays -------------------------------------------------------------------------------------------------


def _arrays(*wanted: tuple[str, str, str]) -> Callable[[Any], list[str]]:
    return lambda document: same(arrays=([(one.name, one.level, one.state) for one in document.arrays], list(wanted)))


def _slots(*wanted: tuple[str, str]) -> Callable[[Any], list[str]]:
    """Serial (or device) and state of each disk."""
    return lambda document: same(
        disks=([(one.serial or one.device, one.state) for one in document.disks], list(wanted))
    )


def raid(shared: Path) -> Iterator[Case]:
    tools = shared / "smart/raid-tools"
    megacli, hp, three_ware = tools / "linux/megacli", tools / "generic/hpacucli", tools / "generic/tw_cli"
    commands = shared / "command-outputs"

    def case(path: Path, kind: str, expected: Callable[[Any], list[str]]) -> Case:
        return Case("RAID and pools", (path,), kind, expected)

    yield case(megacli / "set1_ShowSummary", "megacli", _arrays(("c0 vd0", "raid0", "ok")))
    yield case(megacli / "set2_ShowSummary", "megacli", _arrays(("c0 vd0", "raid10", "ok")))
    for name in ("set6_LDinfo", "set7_LDinfo"):
        text = (megacli / name).read_text()
        number = text.count("\nVirtual Drive: ")
        yield case(
            megacli / name, "megacli",
            lambda document, number=number: same(
                count=(len(document.arrays), number), well=({one.state for one in document.arrays}, {"ok"})
            ),
        )  # fmt: skip
    for name in ("set2_PDlist", "set3_PDlist", "set4_PDlist"):
        text = (megacli / name).read_text()
        number = text.count("Slot Number: ")
        yield case(
            megacli / name, "megacli-disks",
            lambda document, number=number: same(
                count=(len(document.disks), number),
                well=(
                    {(one.state, one.smart_passed, one.media_errors) for one in document.disks},
                    {("online", True, 0)},
                ),
                sizes=(all(one.size_bytes > 10**11 and one.serial and one.model for one in document.disks), True),
            ),
        )  # fmt: skip
    # Not counted: its lists of enclosures, of PCI places and of how many controllers there are hold no state.
    drives = ("1I:1:1", "1I:1:2", "1I:1:3", "1I:1:4", "2I:1:5", "2I:1:6", "2I:1:7", "2I:1:8")
    yield case(
        hp / "1-ctrl-all-show-config", "ssacli",
        lambda document: _arrays(("slot 0 logicaldrive 1", "raid10", "ok"))(document)
        + same(members=(tuple(one.name for one in document.arrays[0].members), drives)),
    )  # fmt: skip
    yield case(hp / "sample1-drives", "ssacli-disks",
               _slots(("slot 2 physicaldrive 2I:1:1", "ok"), ("slot 2 physicaldrive 2I:1:2", "ok")))  # fmt: skip
    yield case(hp / "sample2-drives", "ssacli-disks",
               _slots(("slot 0 physicaldrive 1I:1:1", "ok"), ("slot 0 physicaldrive 1I:1:2", "ok")))  # fmt: skip
    yield case(hp / "sample3-drives", "ssacli-disks", _slots(("slot 0 physicaldrive 1I:1:1", "ok")))
    serials = {"sample1-slots": ["PA6C90K9SUH1ZA"], "sample2-slots": ["PACCPID121417V4", "5001438021EF0380"],
               "sample3-slots": ["001438022006330"]}  # fmt: skip
    for name, wanted in serials.items():
        yield case(
            hp / name, "ssacli",
            lambda document, wanted=wanted: same(serials=([one.serial for one in document.controllers], wanted)),
        )  # fmt: skip
    yield case(three_ware / "cards", "tw-cli",
               lambda document: same(cards=([(one.name, one.model, one.ok) for one in document.controllers],
                                            [("c0", "9650SE-2LP", True)])))  # fmt: skip
    yield case(three_ware / "units", "tw-cli", _arrays(("c0 u0", "raid1", "ok")))
    yield case(
        three_ware / "ports", "tw-cli-disks", _slots(("WD-WMANS1648590", "online"), ("WD-WMANS1344790", "online"))
    )
    known = {
        "linux1": ("SAMSUNG SSD PM830 mSATA 256GB", "S0XPNYAD412339", "CXM13D1Q", 256060 * 10**6),
    }
    for path in sorted((tools / "generic/hdparm").glob("*")):
        wanted = known.get(path.name)
        yield case(
            path, "hdparm",
            lambda document, wanted=wanted: same(disk=(
                [(one.model, one.serial, one.firmware, one.size_bytes) for one in document.disks][: 1 if wanted else 0],
                [wanted] if wanted else [],
            )),
        )  # fmt: skip
    yield case(commands / "glpi-agent/linux/megasasctl/sample", "megacli",
               lambda document: _arrays(("a0d0", "raid10", "ok"))(document)
               + same(members=(len(document.arrays[0].members), 6)))  # fmt: skip
    lvm = commands / "glpi-agent/lvm/linux"
    yield case(lvm / "vgs/linux-2", "lvm", _arrays(("vg00", "volume group", "ok")))
    yield case(lvm / "vgs/linux-3", "lvm", _arrays(("vg0", "volume group", "ok"), ("vg1", "volume group", "ok")))
    for name in ("pvs/linux-2", "pvs/linux-3", "lvs/linux-1"):
        yield case(lvm / name, "lvm", _arrays())
    jc = commands / "jc/generic"
    for path in sorted(jc.glob("mdadm-examine*.out")):
        row = load(path.with_suffix(".json"))
        letters = row.get("array_state", "").split(" ")[0]

        def check(document: Any, row: dict[str, Any] = row, letters: str = letters) -> list[str]:
            if not row.get("raid_level"):  # a container: two arrays of its own, or a member without any
                return same(levels=({(one.level, one.state) for one in document.arrays} - {("raid1", "ok")}, set()))
            (array,) = document.arrays
            state = "degraded" if "." in letters else "ok"
            size = row.get("array_size_num")
            return same(
                level=(array.level, row["raid_level"]), state=(array.state, state),
                members=(len(array.members), len(letters)),
                size=(array.size_bytes, size * 1024 if size else None),
            )  # fmt: skip

        yield case(path, "mdadm", check)
    states = {"ONLINE": "ok", "DEGRADED": "degraded", "UNAVAIL": "failed", "FAULTED": "failed"}
    for path in sorted(jc.glob("zpool-status*.out")):
        pools = load(path.with_suffix(".json"))
        yield case(
            path, "zpool",
            lambda document, pools=pools: same(
                pools=([(one.name, one.state) for one in document.arrays],
                       [(each["pool"], states[each["state"]]) for each in pools])
            ),
        )  # fmt: skip
    wmi = commands / "glpi-agent/win32/wmi"
    for path in sorted(wmi.glob("*Win32_DiskDrive.wmi")):
        models = [line.partition("=")[2].strip() for line in path.read_text("utf-16").splitlines()
                  if line.startswith("Model=")]  # fmt: skip
        yield case(
            path, "windows-disks",
            lambda document, models=models: same(models=([one.model for one in document.disks], models)),
        )  # fmt: skip
    for path in sorted([*wmi.glob("*Win32_Volume.wmi"), *wmi.glob("*Win32_LogicalDisk.wmi")]):
        fixed = path.read_text("utf-16").splitlines().count("DriveType=3")
        yield case(path, "windows-volumes",
                   lambda document, fixed=fixed: same(fixed=(len(document.volumes), fixed)))  # fmt: skip


# --- antivirus ----------------------------------------------------------------------------------------------


def antivirus(shared: Path) -> Iterator[Case]:
    glpi = shared / "command-outputs/glpi-agent"
    linux, macos = glpi / "linux/antivirus", glpi / "macos/antivirus"

    def product(**wanted: Any) -> Callable[[Any], list[str]]:
        return lambda document: same(
            **{name: (getattr(document.products[0], name), value) for name, value in wanted.items()}
        )

    for path, kind, wanted in (
        (linux / "bduitool-7.0.3.2239", "bitdefender",
         {"version": "7.0.3.2239", "running": True, "real_time": True, "definitions_version": "7.95171"}),
        (linux / "sentinelone-30.1.1.10", "sentinelone",
         {"version": "30.1.1.10", "running": True, "tamper_protection": True, "managed": True}),
        (linux / "cortex-xdr-8.2.1.120305-runtime-query", "cortex", {"running": True, "real_time": True}),
        (linux / "cortex-xdr-8.2.1.120305-info-query", "cortex", {"definitions_version": "1270-120305"}),
        (macos / "cortex-xdr-8.2.1.47908-runtime-query", "cortex", {"running": True, "real_time": True}),
        (macos / "cortex-xdr-8.2.1.47908-info-query", "cortex", {"definitions_version": "1270-79108"}),
        (macos / "sentinelone-epp-24.1.2.7444-status", "sentinelone",
         {"version": "24.1.2.7444", "running": True, "real_time": True, "managed": True}),
        (macos / "sentinelone-epp-24.1.2.7444-version", "sentinelone", {"version": "24.1.2.7444"}),
    ):  # fmt: skip
        yield Case("Antivirus", (path,), kind, product(**wanted))
    for path in sorted([*linux.glob("*efender*"), *macos.glob("*efender*")]):
        yield Case("Antivirus", (path,), "defender", product(name="Microsoft Defender", running=True))


# --- firewalls, sshd, accounts, backups ---------------------------------------------------------------------


def firewall(shared: Path) -> Iterator[Case]:
    for path in sorted((shared / "command-outputs/jc").glob("*/iptables*.out")):
        chains = load(path.with_suffix(".json"))
        rules = sum(len(chain.get("rules", [])) for chain in chains)
        yield Case("Firewall", (path,), "iptables",
                   lambda document, rules=rules: same(rules=(len(document.ruleset), rules)))  # fmt: skip
    for path in sorted((shared / "command-outputs/jc").glob("*/ufw*.out")):
        if "appinfo" in path.name:
            continue  # lists of applications, not of rules
        row = load(path.with_suffix(".json"))
        yield Case(
            "Firewall", (path,), "ufw",
            lambda document, row=row: same(
                active=(document.active, row["status"] == "active"),
                rules=(len(document.ruleset), len(row.get("rules", []))),
            ),
        )  # fmt: skip


def sshd(shared: Path) -> Iterator[Case]:
    for path in sorted((shared / "command-outputs/jc/generic").glob("sshd-T*.out")):
        # jc makes several names of one; the words that begin the lines are sshd's own.
        row = {line.split(" ")[0] for line in path.read_text().splitlines() if line.strip()}

        def check(document: Any, row: set[str] = row) -> list[str]:
            settings = {name.lower(): value for name, value in document.settings.items()}
            missing = [name for name in row if name.lower() not in settings]
            return [f"missing {', '.join(missing[:6])}"] if missing else []

        yield Case("sshd", (path,), "sshd", check)


def accounts(shared: Path) -> Iterator[Case]:
    for path in sorted((shared / "command-outputs/jc").glob("*/passwd.out")):
        rows = {(row["username"], row["uid"], row["shell"]) for row in load(path.with_suffix(".json"))}
        group, shadow = path.with_name("group.out"), path.with_name("shadow.out")
        locked = {row["username"] for row in load(shadow.with_suffix(".json")) if shadow.exists()
                  and (row["password"] or "x")[0] in "*!"} if shadow.exists() else set()  # fmt: skip
        files = tuple(each for each in (path, group, shadow) if each.exists())

        def check(document: Any, rows: Any = rows, locked: set[str] = locked) -> list[str]:
            ours = {(one.name, one.uid, one.shell) for one in document.accounts}
            usable = {
                one.name
                for one in document.accounts
                if one.name in locked and one.password not in ("locked", "unknown")
            }
            return same(accounts=(ours ^ rows, set()), locked=(usable, set()))

        yield Case("Accounts", files, "accounts", check)
    for path in sorted((shared / "command-outputs/jc").glob("*/last*F.out")):
        users = {
            row["user"] for row in load(path.with_suffix(".json.gz")) if row["user"] not in ("reboot", "boot_time")
        }
        yield Case(
            "Accounts", (path,), "accounts",
            lambda document, users=users: same(
                users=({one.name for one in document.accounts if one.last_login is not None} - users, set())
            ),
        )  # fmt: skip


def backups(shared: Path) -> Iterator[Case]:
    runs = shared / "backup/runs"
    codes = load(runs / "exit_codes.json") if runs.is_dir() else {}
    snapshots = {"restic_snapshots": 3, "borg_list": 3, "restic_forget": 1}
    healthy = {
        "restic_check": True,
        "restic_check_text": True,
        "borg_check": True,
        "restic_check_read_data_damaged": False,
    }
    for name, code in codes.items():
        files = tuple(sorted(runs.glob(f"{name}.*")))
        if name == "restic_ls":
            continue  # names of files: no state of a backup

        def check(document: Any, name: str = name, code: int = code) -> list[str]:
            (one,) = document.repositories
            wrong = []
            if name in snapshots:
                wrong += same(snapshots=(one.snapshots, snapshots[name]))
            if name in healthy:
                wrong += same(chain=(one.chain_ok, healthy[name]))
            if "wrong" in name or "no_repo" in name:
                wrong += same(unknown=(bool(one.unknown_why), True))
            if "backup" in name or "create" in name:
                ran = one.last_run_ok if code == 0 else one.last_run_detail
                wrong += same(ran=(bool(ran), True))
            return wrong

        yield Case("Backups", files, name.split("_")[0], check)


CASES: tuple[Callable[[Path], Iterator[Case]], ...] = (
    smart_json,
    smart_text,
    raid,
    antivirus,
    firewall,
    sshd,
    accounts,
    backups,
)


def judge(case: Case) -> str:
    """Why a recording does not count; empty: it does."""
    if not case.kind:
        return "no capture reads this"
    if case.kind not in captures():
        return f"there is no capture {case.kind}"
    parsed = captures()[case.kind].parse([CapturedFile(path.name, path.read_bytes()) for path in case.files])
    if parsed.document is None:
        return "; ".join(str(one) for one in parsed.unread)
    try:
        wrong = case.expected(parsed.document)
    except (AttributeError, ValueError, LookupError, TypeError) as error:
        wrong = [f"{type(error).__name__}: {error}"]
    wrong += [f"unread {one}" for one in parsed.unread[:3]]
    return "; ".join(wrong) + (f" ({case.odd})" if wrong and case.odd else "")


def measure(shared: Path) -> dict[str, Any]:
    families: dict[str, dict[str, Any]] = {}
    for cases in CASES:
        for case in cases(shared):
            family = families.setdefault(case.family, {"recordings": 0, "right": 0, "seconds": 0.0, "failures": {}})
            began = perf_counter()
            why = judge(case)
            family["seconds"] = round(family["seconds"] + perf_counter() - began, 3)
            family["recordings"] += 1
            if why:
                place = case.files[0] if case.files else Path("no file")
                family["failures"]["/".join(place.parts[-2:])] = why[:300]
            else:
                family["right"] += 1
    return families


def main(arguments: list[str]) -> int:
    shared = Path(arguments[0]) if arguments else SHARED
    if not (shared / "smart").is_dir():
        print(f"there are no recordings in {shared}", file=sys.stderr)
        return 1
    families = measure(shared)
    print(f"{'family':<16}{'recordings':>11}{'right':>8}{'share':>9}{'s':>8}")
    for name, row in families.items():
        share = row["right"] / row["recordings"]
        print(f"{name:<16}{row['recordings']:>11}{row['right']:>8}{share:>9.1%}{row['seconds']:>8.2f}")
    total, right = (sum(row[key] for row in families.values()) for key in ("recordings", "right"))
    print(f"{'all':<16}{total:>11}{right:>8}{right / total:>9.1%}\n")
    for row in families.values():
        for place, why in row["failures"].items():
            print(f"  {place}: {why}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "recordings.json").write_text(json.dumps(families, indent=2, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
