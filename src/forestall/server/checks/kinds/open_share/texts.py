"""The kind ``open_share`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Shared folders",
    question="Are shared folders open only to those who should reach them?",
    why=("A folder that anybody may write to is where ransomware begins, and one that anybody may read is a leak."),
    remedy=(
        "Name who may reach it: `valid users` and `guest ok = no` in smb.conf, hosts and root_squash in /etc/exports."
    ),
)
