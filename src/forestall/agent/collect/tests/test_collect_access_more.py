"""What opens accounts and folders: keys, ages, sudo's permissions, password policy, shares, open paths."""

# ruff: noqa: E501 - recorded outputs and tables of cases keep their lines
from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from forestall.agent.collect import access
from forestall.agent.collect.access import keys, paths, policy, shares, sudo
from forestall.agent.collect.access.accounts import password_hash
from forestall.agent.collect.host import CommandResult, LocalHost, TimedOut
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.tests.recorded_host import RecordedHost

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash
ada:x:1000:1000:Ada Lovelace,Room 1,,:/home/ada:/bin/bash
deploy:x:1001:1001::/srv/deploy:/bin/bash
robot:x:1002:1002::/home/robot:/usr/sbin/nologin
leaver:x:1003:1003::/home/leaver:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
SHADOW = """\
root:*:20000:0:99999:7:::
postgres:!:20000:0:99999:7:::
ada:$y$j9T$abc$def:20400:0:90:7:::
deploy:$1$abc$def:15000:0:99999:7:::
robot:!:20000:0:99999:7:::
leaver:$6$abc$def:20000:0:99999:7::20453:
nobody:*:20000:0:99999:7:::
"""


def home(**more):
    files = {"/etc/passwd": PASSWD, "/etc/shadow": SHADOW, "/etc/group": "", **more.pop("files", {})}
    return RecordedHost(files=files, **more)


def accounts(**more):
    return {each.name: each for each in access.collect(home(**more)).accounts}


def test_an_account_is_told_with_its_kind_and_the_ages_of_its_password():
    found = accounts()
    assert {name: each.kind for name, each in found.items()} == {
        "root": "system", "postgres": "system", "ada": "person", "deploy": "service", "robot": "service",
        "leaver": "person", "nobody": "system",
    }  # fmt: skip
    ada = found["ada"]
    assert (ada.full_name, ada.home) == ("Ada Lovelace", "/home/ada")
    assert ada.password_changed_at == datetime(2025, 11, 8, tzinfo=UTC)
    assert (ada.password_expires, ada.password_max_days, ada.password_hash) == (True, 90, "yescrypt")
    assert (found["deploy"].password_expires, found["deploy"].password_hash) == (False, "md5crypt")
    assert found["root"].password_expires is None, "a password that does not exist does not expire"


def test_an_account_past_its_end_is_disabled():
    leaver = accounts()["leaver"]
    assert (leaver.expires_at, leaver.disabled) == (datetime(2025, 12, 31, tzinfo=UTC), True)
    assert accounts()["ada"].disabled is False


def test_where_shadow_is_closed_nothing_is_said_of_passwords():
    ada = accounts(denied=["/etc/shadow"], is_root=False)["ada"]
    assert (ada.password, ada.password_expires, ada.password_hash, ada.disabled) == ("unknown", None, "", None)


def test_a_system_account_with_a_key_is_a_service():
    key = openssh(ed25519.Ed25519PrivateKey.generate())
    assert accounts(files={"/var/lib/postgresql/.ssh/authorized_keys": key})["postgres"].kind == "service"


def test_accounts_of_a_directory_are_a_gap():
    document = access.collect(home(files={"/etc/nsswitch.conf": "passwd: files sss # AD\ngroup: files\n"}))
    assert "accounts of the directory (sss)" in {gap.what for gap in document.gaps}


@pytest.mark.parametrize(
    ("field", "algorithm"),
    [
        ("$y$j9T$x$y", "yescrypt"), ("$6$rounds=5000$x$y", "sha512crypt"), ("$5$x$y", "sha256crypt"), ("$1$x$y", "md5crypt"),
        ("$2b$12$xyz", "bcrypt"), ("!$6$x$y", "sha512crypt"), ("abJnggxhB/yWI", "des"), ("*", ""), ("!!", ""), ("", ""),
        (None, ""), ("$99$x", ""),
    ],
)  # fmt: skip
def test_the_algorithm_of_a_hash_is_told_by_its_prefix(field, algorithm):
    assert password_hash(field) == algorithm


# --- keys ---------------------------------------------------------------------------------------------------


def openssh(key, comment=""):
    return f"{key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()} {comment}".strip() + "\n"


def test_keys_are_told_with_strength_fingerprint_and_age():
    weak = openssh(rsa.generate_private_key(65537, 1024), "old laptop")  # noqa: S505 - the weak one to find
    text = f'# mine\nfrom="192.0.2.0/24",command="/bin/a b" {weak}' + openssh(ec.generate_private_key(ec.SECP384R1()))
    changed = datetime(2019, 5, 1, tzinfo=UTC)
    path = "/home/ada/.ssh/authorized_keys"
    ada = accounts(files={path: text}, changed={path: changed})["ada"]
    assert [(key.type, key.bits, key.comment) for key in ada.keys] == [
        ("ssh-rsa", 1024, "old laptop"),
        ("ecdsa-sha2-nistp384", 384, ""),
    ]
    assert ada.keys[0].options == 'from="192.0.2.0/24",command="/bin/a b"'
    assert (ada.keys[0].file, ada.keys[0].changed_at, ada.ssh_keys) == (path, changed, 2)


def test_fingerprints_are_those_of_ssh_keygen(tmp_path):
    host = LocalHost()
    if host.find_program("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    file = tmp_path / "key.pub"
    file.write_text(openssh(ed25519.Ed25519PrivateKey.generate(), "ada@laptop"))
    said = host.run(["ssh-keygen", "-lf", str(file)]).stdout.split()
    (key,) = keys.parse_keys(file.read_text())
    assert (str(key.bits), key.fingerprint, key.comment) == (said[0], said[1], said[2])


@given(st.text(alphabet='ssh-rsa AB=",\\ #\n', max_size=80))
def test_no_authorized_keys_file_breaks_the_parser(text):
    assert len(keys.parse_keys(text)) <= keys.count_keys(text)


# --- sudo ---------------------------------------------------------------------------------------------------


def permissions(text):
    lines = [sudo.SudoLine(line, f"/etc/sudoers:{number}") for number, line in sudo.numbered_lines(text)]
    return [(one.who, one.run_as, one.no_password, one.commands) for one in sudo.permissions(lines)]


def test_permissions_are_told_one_by_one_with_aliases_resolved():
    assert permissions(
        "User_Alias OPS = dora, %wheel : DEV = eve\nCmnd_Alias WEB = /usr/bin/systemctl restart nginx, /usr/sbin/nginx -t\n"
        "Runas_Alias APP = www-data, postgres\nOPS ALL=(APP) NOPASSWD: WEB, PASSWD: /usr/bin/id\nDEV web1, web2 = /usr/bin/make\n"
    ) == [
        ("dora", "www-data, postgres", True, ("/usr/bin/systemctl restart nginx", "/usr/sbin/nginx -t")),
        ("dora", "www-data, postgres", False, ("/usr/bin/id",)),
        ("%wheel", "www-data, postgres", True, ("/usr/bin/systemctl restart nginx", "/usr/sbin/nginx -t")),
        ("%wheel", "www-data, postgres", False, ("/usr/bin/id",)),
        ("eve", "", False, ("/usr/bin/make",)),
    ]


def test_a_default_that_asks_for_no_password_counts():
    assert permissions("Defaults:ada !authenticate\nada ALL=(ALL) ALL\nbob ALL=(ALL) ALL\n") == [
        ("ada", "ALL", True, ("ALL",)),
        ("bob", "ALL", False, ("ALL",)),
    ]


def test_two_sets_of_hosts_on_one_line_and_options_before_commands():
    assert permissions("ada web1 = NOPASSWD: TIMEOUT=5m /bin/a : db1 = (root) /bin/b\n") == [
        ("ada", "", True, ("/bin/a",)),
        ("ada", "root", False, ("/bin/b",)),
    ]


def test_each_permission_names_its_file_and_line():
    files = {
        "/etc/sudoers": "# head\nroot ALL=(ALL) ALL\n@includedir /etc/sudoers.d\n",
        "/etc/sudoers.d/90-ada": "\nada ALL=(ALL) \\\n NOPASSWD: ALL\n",
    }
    assert [(one.who, one.source) for one in access.collect(home(files=files)).sudo] == [
        ("root", "/etc/sudoers:2"),
        ("ada", "/etc/sudoers.d/90-ada:2"),
    ]


def test_an_alias_that_names_itself_ends():
    assert permissions("User_Alias A = A, ada\nA ALL = ALL\n")


@given(st.text(alphabet="abALL=(),:%# \\\n\t!_NOPASSWDUser_Alias", max_size=120))
def test_no_sudoers_text_breaks_permissions(text):
    permissions(text)


# --- password policy ----------------------------------------------------------------------------------------

DEBIAN = "password [success=1 default=ignore] pam_unix.so obscure use_authtok try_first_pass yescrypt\n"


def test_the_policy_of_a_plain_debian_is_told():
    host = home(
        files={
            "/etc/login.defs": "PASS_MAX_DAYS\t99999\nPASS_MIN_DAYS 0\nPASS_WARN_AGE 7\nENCRYPT_METHOD YESCRYPT\n",
            "/etc/pam.d/common-password": DEBIAN,
        }
    )
    found = access.collect(host).password_policy
    assert (found.min_length, found.max_days, found.warn_days, found.hash) == (6, None, 7, "yescrypt")
    assert (found.complexity, found.lockout_after) == (None, None)


def test_pwquality_history_and_lockout_count_where_pam_asks_for_them():
    pam = policy.parse_pam(
        "auth required pam_faillock.so preauth deny=5\npassword requisite pam_pwquality.so retry=3 minlen=14\n"
        "password required pam_pwhistory.so remember=24 use_authtok\n" + DEBIAN
    )
    found = policy.policy({}, pam, {"minclass": "4", "minlen": "9"}, {"unlock_time": "900"})
    assert (found.min_length, found.complexity, found.history) == (14, True, 24)
    assert (found.lockout_after, found.lockout_minutes) == (5, 15.0)
    unused = policy.policy({}, policy.parse_pam(DEBIAN), {"minlen": "14"}, {"deny": "5"})
    assert (unused.min_length, unused.lockout_after) == (6, None), "files that no module reads ask for nothing"


# --- shares -------------------------------------------------------------------------------------------------

SMB = """\
[global]
   workgroup = OFFICE
   map to guest = bad user
[printers]
   printable = yes
[public]
   comment = for all
   path = /srv/public
   public = yes
   writeable = yes
; old
[books]
   path = /srv/books
   valid users = @books, ada
   read only = yes
   write list = ada
"""
EXPORTS = """\
# /etc/exports
/srv/data  192.0.2.0/24(rw,sync) backup(ro)
/srv/open  *(rw,no_root_squash)
/srv/trap  host (rw)
"/srv/with blank" -ro,sync client1
"""


def test_samba_and_nfs_shares_are_told_with_who_may():
    found = {
        one.name: one
        for one in access.collect(home(files={"/etc/samba/smb.conf": SMB, "/etc/exports": EXPORTS})).shares
    }
    assert {name: (one.kind, one.guest, one.writable) for name, one in found.items()} == {
        "public": ("smb", True, True),
        "books": ("smb", False, True),
        "/srv/data": ("nfs", False, True),
        "/srv/open": ("nfs", True, True),
        "/srv/trap": ("nfs", True, True),
        "/srv/with blank": ("nfs", False, False),
    }
    assert found["books"].who == ("@books", "ada")
    assert found["/srv/open"].detail == "*(rw,no_root_squash)"
    assert found["/srv/data"].who == ("192.0.2.0/24", "backup")


def test_sambas_own_reading_of_its_settings_is_preferred():
    host = home(
        files={"/etc/samba/smb.conf": "include = /etc/samba/more.conf\n"},
        outputs={"testparm -s": "[global]\n[late]\n\tpath = /srv/late\n\tread only = No\n"},
    )
    (share,) = access.collect(host).shares
    assert (share.name, share.writable) == ("late", True)


def test_an_include_that_nobody_follows_is_a_gap():
    document = access.collect(home(files={"/etc/samba/smb.conf": "[global]\ninclude = /etc/samba/more.conf\n"}))
    assert "folders that Samba shares by other files" in {gap.what for gap in document.gaps}


def test_a_share_that_a_user_made_is_told():
    share = shares.parse_usershare(
        "#VERSION 2\npath=/home/ada/drop\ncomment=\nusershare_acl=S-1-1-0:F\nguest_ok=y\nsharename=drop\n"
    )
    assert (share.name, share.guest, share.writable) == ("drop", True, True)


# --- open paths ---------------------------------------------------------------------------------------------


def test_what_find_names_is_told_by_its_kind():
    answer = "f 4755 0 root /usr/bin/sudo\0f 666 1000 ada /srv/a\nb\0d 777 0 root /srv/drop\0f 2755 0 root /usr/bin/wall\0f 644 1234  /srv/left\0junk"
    found = paths.parse_found(answer)
    assert [(one.kind, one.path, one.mode, one.owner) for one in found] == [
        ("setuid", "/usr/bin/sudo", "4755", "root"),
        ("world_writable", "/srv/a?b", "0666", "ada"),
        ("world_writable", "/srv/drop", "0777", "root"),
        ("setgid", "/usr/bin/wall", "2755", "root"),
        ("unowned", "/srv/left", "0644", "1234"),
    ]


def test_only_real_file_systems_are_walked():
    mounts = "overlay / overlay rw 0 0\nproc /proc proc rw 0 0\n/dev/sda1 /home ext4 rw 0 0\nnas:/x /mnt/nas nfs rw 0 0\noverlay /var/lib/docker/overlay2/x/merged overlay rw 0 0\n/dev/sdb1 /srv/my\\040disk xfs rw 0 0\n"
    assert paths.roots(mounts) == ["/", "/home", "/srv/my disk"]


def test_a_walk_that_takes_too_long_or_sees_too_little_is_a_gap():
    late = Notes(RecordedHost(programs=["find"], outputs={"nice": TimedOut("find", 60)}))
    assert paths.collect_open_paths(late) == ()
    assert [gap.why for gap in late.gaps] == ["no answer within 60 s"], "said once"
    user = Notes(
        RecordedHost(
            programs=["find"], outputs={"nice": CommandResult("d 777 0 root /srv/drop\0", "denied", 1)}, is_root=False
        )
    )
    assert len(paths.collect_open_paths(user)) == 1
    assert [gap.what for gap in user.gaps] == ["world-writable and setuid paths in other people's folders"]


def test_the_real_find_understands_what_it_is_asked(tmp_path):
    drop, sticky, program, link = tmp_path / "drop", tmp_path / "sticky", tmp_path / "program", tmp_path / "link"
    drop.mkdir()
    drop.chmod(0o777)
    sticky.mkdir()
    sticky.chmod(0o1777)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o4755)
    link.symlink_to(program)
    host = LocalHost()
    if host.find_program("find") is None:
        pytest.skip("find is not installed")
    # The test's folder lies below one that is not walked.
    below = str(tmp_path)
    found = set()
    for command in (paths.find_folders([below]), paths.find_files([below])):
        words = [f"{word}-none" if word in ("/tmp", "/var/tmp") else word for word in command]
        result = host.run(words)
        assert result.stderr == ""
        found |= {(one.kind, one.path, one.mode) for one in paths.parse_found(result.stdout)}
    assert found == {("world_writable", str(drop), "0777"), ("setuid", str(program), "4755")}
