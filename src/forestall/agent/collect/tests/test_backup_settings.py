"""What the owner of a device may say of its backups, and what is refused."""

from __future__ import annotations

import pytest

from forestall.agent.collect.backup_settings import Retention, SettingsError, parse_retention, parse_settings

DECLARED = """\
[[backup]]
name = "tape"
tool = "declared"
databases = ["shop"]
retention = "7 daily, 4 weekly, 30 days"
immutable = true
[backup.log]
file = "/var/log/tape/*.log"
ok = "ended well"
size = '(\\d+) (MB)'
"""


def test_all_that_an_owner_may_say_is_understood():
    (told,) = parse_settings(DECLARED, "/agent/backups.toml")
    assert (told.tool, told.repository, told.databases, told.immutable) == ("declared", "", ("shop",), True)
    assert told.log is not None
    assert told.log.good_exit_codes == (0,)
    assert parse_retention(told.retention) == Retention(daily=7, weekly=4, days=30)
    assert parse_retention("") == Retention()
    assert parse_retention("1 day") == Retention(days=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('retention = "7 daily, 4 weekly, 30 days"', 'retention = "a few"'), "'a few' is not like '7 daily'"),
        (('file = "/var/log/tape/*.log"', ""), "file or exit_code_file must be named"),
        (('ok = "ended well"', 'ok = "(ended"'), r"ok: '\(ended' is no regular expression"),
        (("(\\d+) (MB)", "MB"), "size: 'MB' has no group"),
        (('[backup.log]\nfile = "/var/log/tape/*.log"\nok = "ended well"\nsize = \'(\\d+) (MB)\'\n', ""), "needs its"),
        (('tool = "declared"', 'tool = "restic"'), "repository must not be empty"),
    ],
)
def test_what_cannot_be_is_refused_by_the_bad_value(change, words):
    with pytest.raises(SettingsError, match=words):
        parse_settings(DECLARED.replace(*change), "/agent/backups.toml")
