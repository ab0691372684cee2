"""Services and what is scheduled: systemd's words, and init scripts read without running them blindly."""

# ruff: noqa: E501 - recorded outputs and tables of cases keep their lines
from __future__ import annotations

from datetime import UTC, datetime

import pytest

from forestall.agent.collect import scheduled, services, triggers
from forestall.agent.collect.host import CommandResult
from forestall.agent.collect.tests.recorded_host import RecordedHost, process

# After systemctl(1), "show": one block of properties for each unit.
SYSTEMCTL_SHOW = """\
Type=notify
ExecMainExitTimestamp=
ExecMainCode=0
ExecMainStatus=0
MainPID=701
Result=success
Id=ssh.service
Description=OpenBSD Secure Shell server
LoadState=loaded
ActiveState=active
SubState=running
StateChangeTimestamp=Mon 2026-11-23 07:00:12 UTC
UnitFileState=enabled

Type=simple
ExecMainExitTimestamp=Mon 2026-11-23 09:00:00 UTC
ExecMainCode=1
ExecMainStatus=1
MainPID=0
Result=exit-code
Id=shop.service
Description=Web shop
LoadState=loaded
ActiveState=failed
SubState=failed
StateChangeTimestamp=Mon 2026-11-23 09:00:00 UTC
UnitFileState=enabled

Type=oneshot
ExecMainExitTimestamp=Mon 2026-11-23 00:00:01 UTC
ExecMainStatus=0
MainPID=0
Result=success
Id=logrotate.service
Description=Rotate log files
LoadState=loaded
ActiveState=inactive
SubState=dead
StateChangeTimestamp=Mon 2026-11-23 00:00:01 UTC
UnitFileState=static

Type=simple
ExecMainExitTimestamp=
MainPID=0
Result=success
Id=cups.service
Description=CUPS Scheduler
LoadState=loaded
ActiveState=inactive
SubState=dead
StateChangeTimestamp=
UnitFileState=disabled

Type=exec
ExecMainStatus=2
MainPID=0
Result=exit-code
Id=flapping.service
Description=Restarts
LoadState=loaded
ActiveState=activating
SubState=auto-restart
StateChangeTimestamp=Mon 2026-11-23 09:00:00 UTC
UnitFileState=enabled

Type=oneshot
ExecMainExitTimestamp=Mon 2026-11-23 07:00:00 UTC
Result=success
Id=apparmor.service
Description=Load AppArmor profiles
LoadState=loaded
ActiveState=active
SubState=exited
UnitFileState=enabled

Id=syslog.service
Description=syslog.service
LoadState=not-found
ActiveState=inactive
SubState=dead

Id=run-u123.service
Description=/usr/bin/true
LoadState=loaded
ActiveState=active
SubState=running
"""


def test_systemd_units_have_our_states():
    host = RecordedHost(files={"/run/systemd/system/x": ""}, outputs={"systemctl show *.service": SYSTEMCTL_SHOW})
    document = services.collect(host)
    assert document.manager == "systemd"
    found = {each.name: (each.state, each.enabled, each.pid, each.detail) for each in document.services}
    assert found == {
        "apparmor": ("exited", True, 0, ""),
        "cups": ("stopped", False, 0, ""),
        "flapping": ("starting", True, 0, "restarting over and over, exit-code, status=2"),
        "logrotate": ("exited", None, 0, ""),
        "shop": ("failed", True, 0, "exit-code, status=1"),
        "ssh": ("running", True, 701, ""),
    }
    since = {each.name: each.since for each in document.services}
    assert since["ssh"] == datetime(2026, 11, 23, 7, 0, 12, tzinfo=UTC)
    assert since["logrotate"] is None, "a timer's job must not change the document at every run"


def test_systemd_that_does_not_answer_is_a_gap():
    answer = CommandResult("", "Failed to connect to bus: Host is down\n", 1)
    host = RecordedHost(files={"/run/systemd/system/x": ""}, outputs={"systemctl show": answer})
    document = services.collect(host)
    assert document.services == ()
    assert [gap.why for gap in document.gaps] == ["Failed to connect to bus: Host is down"]


def script(*, starts="2 3 4 5", body="", status=True):
    case = 'case "$1" in\n  start)\n    ;;\n' + ("  status)\n    ;;\n" if status else "") + "esac\n"
    return f"#!/bin/sh\n### BEGIN INIT INFO\n# Provides: x\n# Default-Start: {starts}\n# Short-Description: A thing\n### END INIT INFO\n{body}\n{case}"


def machine(*, files, outputs=None, init="init"):
    base = {"/proc/1/comm": f"{init}\n", "/proc/stat": "btime 1795456878\n", "/proc/2/comm": "kthreadd\n"}
    return RecordedHost(files={**base, **files}, outputs=outputs or {})


def only(document):
    (service,) = document.services
    return service


def test_a_service_lives_when_the_process_of_its_pid_file_does():
    files = {
        "/etc/init.d/shop": script(body="NAME=shop\nPIDDIR=/var/run/$NAME\nPIDFILE=$PIDDIR/main.pid"),
        "/etc/rc2.d/S01shop": "",
        "/run/shop/main.pid": "812\n",
        **process(812, "/usr/bin/shop", started_ticks=360_000),
    }
    service = only(services.collect(machine(files=files)))
    assert (service.state, service.enabled, service.pid) == ("running", True, 812)
    assert service.since == datetime.fromtimestamp(1795456878 + 3600, UTC)


def test_a_pid_file_without_its_process_means_the_service_failed():
    files = {"/etc/init.d/shop": script(), "/etc/rc2.d/S01shop": "", "/run/shop/15-main.pid": "812\n"}
    host = machine(files=files)
    service = only(services.collect(host))
    assert (service.state, service.detail) == ("failed", "/run/shop/15-main.pid names process 812, which does not run")
    assert host.ran == [], "its status action need not be asked"


@pytest.mark.parametrize(
    ("exit_code", "state"), [(0, "running"), (1, "failed"), (2, "failed"), (3, "stopped"), (4, "unknown")]
)
def test_without_pid_file_the_status_action_tells_by_its_exit_code(exit_code, state):
    answer = CommandResult("", "no clusters\n", exit_code)
    host = machine(files={"/etc/init.d/db": script()}, outputs={"/etc/init.d/db status": answer})
    assert only(services.collect(host)).state == state


@pytest.mark.parametrize("init", ["init", "tini"])
def test_a_boot_script_is_no_service_that_is_down_and_is_never_run(init):
    host = machine(files={"/etc/init.d/procps": script(starts="S"), "/etc/rcS.d/S01procps": ""}, init=init)
    service = only(services.collect(host))
    assert service.state == ("exited" if init == "init" else "unknown")
    assert host.ran == []


def test_a_script_that_knows_no_status_is_not_asked_for_one():
    host = machine(
        files={"/etc/init.d/old": script(status=False, body="DAEMON=/usr/sbin/oldd"), **process(9, "/usr/sbin/oldd")}
    )
    service = only(services.collect(host))
    assert (service.state, service.pid) == ("running", 9)
    assert host.ran == []


def test_a_service_that_nothing_tells_about_is_unknown():
    service = only(services.collect(machine(files={"/etc/init.d/old": script(status=False)})))
    assert (service.state, service.enabled) == ("unknown", False)


def test_under_a_foreign_process_1_the_links_are_told_with_a_gap():
    host = machine(files={"/etc/init.d/old": script(status=False), "/etc/rc3.d/S02old": ""}, init="tini")
    document = services.collect(host)
    assert only(document).enabled is True
    assert [gap.what for gap in document.gaps] == ["whether services start at boot"]


def test_a_killed_service_changes_the_fingerprint():
    files = {"/etc/init.d/shop": script(), "/run/shop.pid": "812\n"}
    assert triggers.services(machine(files={**files, **process(812, "shop")})) != triggers.services(
        machine(files=files)
    )


# --- scheduled ----------------------------------------------------------------------------------------------

TIMERS = """\
Id=apt-daily.timer
Unit=apt-daily.service
ActiveState=active
TimersCalendar={ OnCalendar=*-*-* 06,18:00:00 ; next_elapse=Tue 2026-11-24 06:00:00 UTC }

Id=fstrim.timer
Unit=fstrim.service
ActiveState=inactive
TimersCalendar={ OnCalendar=weekly ; next_elapse=n/a }

Id=clean.timer
Unit=clean.service
ActiveState=active
TimersMonotonic={ OnUnitActiveUSec=1d ; next_elapse=1d 15min }
TimersMonotonic={ OnBootUSec=15min ; next_elapse=15min }
"""


def test_jobs_of_cron_and_timers_are_listed_with_source_and_user():
    files = {
        "/etc/crontab": "SHELL=/bin/sh\n# comment\n17 * * * * root cd / && run-parts /etc/cron.hourly\n@reboot backup /usr/bin/b --password=hunter2\n",
        "/etc/cron.d/ok": "0 3 * * * www-data /usr/bin/php -f job.php\nbroken line\n",
        "/etc/cron.d/.placeholder": "0 0 * * * root never\n",
        "/var/spool/cron/crontabs/alice": "*/5 * * * * mysqldump -phunter2 shop > /backup/shop.sql\n",
        "/etc/cron.daily/logrotate": "#!/bin/sh\n",
        "/etc/cron.daily/old.dpkg-old": "#!/bin/sh\n",
        "/etc/anacrontab": "START_HOURS_RANGE=3-22\n1 5 cron.daily run-parts /etc/cron.daily\n",
        "/run/systemd/system/x": "",
    }
    document = scheduled.collect(RecordedHost(files=files, outputs={"systemctl show *.timer": TIMERS}))
    assert {(job.source, job.schedule, job.command, job.user) for job in document.jobs} == {
        ("/etc/crontab", "17 * * * *", "cd / && run-parts /etc/cron.hourly", "root"),
        ("/etc/crontab", "@reboot", "/usr/bin/b --password=[hidden]", "backup"),
        ("/etc/cron.d/ok", "0 3 * * *", "/usr/bin/php -f job.php", "www-data"),
        ("/var/spool/cron/crontabs/alice", "*/5 * * * *", "mysqldump -p[hidden] shop > /backup/shop.sql", "alice"),
        ("/etc/cron.daily", "daily", "/etc/cron.daily/logrotate", "root"),
        ("/etc/anacrontab", "every 1 days", "run-parts /etc/cron.daily", "root"),
        ("apt-daily.timer", "OnCalendar=*-*-* 06,18:00:00", "apt-daily.service", ""),
        ("clean.timer", "OnBoot=15min OnUnitActive=1d", "clean.service", ""),
    }


def test_crontabs_that_only_root_may_read_are_a_gap():
    host = RecordedHost(denied=["/var/spool/cron/crontabs"], is_root=False)
    assert [(gap.what, gap.why) for gap in scheduled.collect(host).gaps] == [("people's own crontabs", "needs root")]
