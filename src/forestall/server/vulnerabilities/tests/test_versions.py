"""Versions compare as the package managers themselves compare them."""

from __future__ import annotations

import random
import shutil
import subprocess
from itertools import pairwise

import packaging.version
import pytest
import semver as semver_org
import univers.versions
from hypothesis import given
from hypothesis import strategies as st
from univers.debian import Version as DebianVersion

from forestall.server.vulnerabilities.versions import ECOSYSTEMS, SCHEMES, compare, key_of, scheme_of


def sign(scheme, one, other):
    a, b = SCHEMES[scheme](one), SCHEMES[scheme](other)
    return (a > b) - (a < b)


ASCENDING = {
    "deb": "0~~ 0~ 0 0+b1 1.0~rc1-1 1.0-1~bpo12+1 1.0-1 1.0-1+b1 1.0-1+deb12u1 1.0-10 1.0a-1 1.0+dfsg-1 1.1-1 1:0.1-1",
    "rpm": "1.0~rc1-1.el9 1.0-1.el9 1.0^20240101-1.el9 1.0.1-1.el9 1.0.1-1.el9_2 1.0.1-10.el9 2-1 1:0.1-1",
    "apk": "1.0_alpha1-r0 1.0_rc1-r0 1.0-r0 1.0-r1 1.0_p1-r0 1.0a-r0 1.0.01-r0 1.0.1-r0 1.0.10-r0 1.1-r0 2-r0",
    "semver": "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 v1.0.1 1.10.0",
    "pep440": "1.dev0 1.0a1 1.0a2.dev1 1.0a2 1.0b1 1.0rc1 1.0 1.0+local 1.0.post1 1.1 1!0.1",
    "maven": "1-alpha-1 1-beta 1-milestone-1 1-rc 1-SNAPSHOT 1 1-sp 1-xyz 1-1 1.0.1 1.1 2",
    "gem": "1.0.a 1.0.b1 1.0.rc1 1.0 1.0.1 1.10 2",
    "composer": "dev-main 1.0-dev 1.0-alpha1 1.0-beta2 1.0-RC1 1.0 1.0-p1 1.1",
    "nuget": "1.0.0-Alpha 1.0.0-beta 1.0.0 1.0.0.1 1.0.1",
    "generic": "1.0-rc1 1.0 1.0.1 1.0.2 1.0.2k 1.10 20348.4648 20348.4893 20348.10000",
}


@pytest.mark.parametrize("scheme", ASCENDING)
def test_each_is_newer_than_the_one_before(scheme):
    for one, other in pairwise(ASCENDING[scheme].split()):
        assert sign(scheme, one, other) == -1, (one, other)
        assert sign(scheme, other, one) == 1, (other, one)


@pytest.mark.parametrize(
    ("scheme", "one", "other"),
    [
        ("deb", "0:1.0-1", "1.0-1"),
        ("deb", "1.0", "1.0-0"),
        ("deb", "1.00-1", "1.0-1"),
        ("deb", "1.0a-1", "1.0a0-1"),
        ("rpm", "1.0.0-1", "1_0_0-1"),
        ("rpm", "(none):1.0-1", "0:1.0-1"),
        ("semver", "v1.2.3", "1.2.3+build.7"),
        ("pep440", "1.0", "v1.0.0"),
        ("pep440", "1.0-alpha.1", "1.0a1"),
        ("maven", "1.0-ga", "1"),
        ("maven", "1-a1", "1-alpha-1"),
        ("gem", "1.0.0", "1"),
        ("composer", "v1.2", "1.2.0.0"),
        ("nuget", "1.0-RC1", "1.0.0-rc1"),
    ],
)
def test_written_differently_they_are_the_same(scheme, one, other):
    assert sign(scheme, one, other) == 0


def draw(letters, count, seed=20261124):
    chance = random.Random(seed)
    while count:
        count -= 1
        yield "1" + "".join(chance.choice(letters) for _ in range(chance.randint(0, 8)))


@pytest.mark.skipif(not shutil.which("dpkg"), reason="dpkg is not here")
def test_debian_versions_compare_as_dpkg_compares_them():
    versions = list(draw("0129ab.~+", 160))
    pairs = [(f"{a}-{b}", f"{c}-{d}") for a, b, c, d in zip(*[iter(versions)] * 4, strict=True)]
    pairs += [(a, b) for a, b in pairwise(versions)]
    older, same = "dpkg --compare-versions $a lt $b", "dpkg --compare-versions $a eq $b"
    script = f"while read a b; do {older} && echo -1 || {{ {same} && echo 0 || echo 1; }}; done"
    text = "".join(f"{a} {b}\n" for a, b in pairs)
    said = subprocess.run(["sh", "-c", script], input=text, capture_output=True, text=True, check=True).stdout.split()
    assert len(said) == len(pairs)
    for (one, other), expected in zip(pairs, said, strict=True):
        assert sign("deb", one, other) == int(expected), (one, other)


@pytest.mark.skipif(not shutil.which("rpm"), reason="rpm is not here")
def test_rpm_versions_compare_as_rpm_compares_them():
    versions = list(draw("0129ab.~^_", 3000))
    pairs = list(zip(versions[::2], versions[1::2], strict=True))
    said = []
    for begin in range(0, len(pairs), 250):
        table = ",".join(f'{{"{a}","{b}"}}' for a, b in pairs[begin : begin + 250])
        lua = f"%{{lua: for i,p in ipairs({{{table}}}) do print(rpm.vercmp(p[1],p[2])..' ') end}}"
        said += subprocess.run(["rpm", "--eval", lua], capture_output=True, text=True, check=True).stdout.split()
    assert len(said) == len(pairs)
    for (one, other), expected in zip(pairs, said, strict=True):
        assert sign("rpm", f"{one}-1", f"{other}-1") == int(expected), (one, other)


def agree(scheme, oracle, versions, allowed=0):
    """Ours against the oracle's, on neighbours of a list; returns where they differ."""
    different = []
    for one, other in pairwise(versions):
        try:
            a, b = oracle(one), oracle(other)
            expected = (a > b) - (a < b)
        except (ValueError, TypeError, univers.versions.InvalidVersion):
            continue  # the oracle does not take it
        if sign(scheme, one, other) != expected:
            different.append((one, other, expected))
    assert len(different) <= allowed, different[:10]


def numbers(chance, most=3):
    return ".".join(str(chance.choice([0, 0, 1, 1, 2, 3, 9, 10, 11, 20])) for _ in range(chance.randint(1, most)))


def made(tails, count=3000, most=3):
    chance = random.Random(7)
    return [numbers(chance, most) + "".join(chance.choice(tail) for tail in tails) for _ in range(count)]


def test_others_compare_as_univers_and_the_reference_libraries_do():
    agree("deb", DebianVersion.from_string, list(draw("0129ab.~+", 4000)))
    agree(
        "pep440",
        packaging.version.Version,
        made((("", "", "a1", "b", "rc2", ".alpha0"), ("", "", ".post1", "-1"), ("", "", ".dev1"), ("", "+a.1"))),
    )
    pre = ("", "", "-alpha", "-alpha.1", "-1", "-1.2", "-x-y.10", "-rc1", "+b1")
    agree("semver", semver_org.Version.parse, made((pre,), most=3))
    agree("gem", univers.versions.RubygemsVersion, made((("", "", ".a", "-b", ".pre", ".rc1", ".rc.1"),), most=4))
    agree("nuget", univers.versions.NugetVersion, made((("", "", "-Alpha", "-beta.1", "-rc1"),), most=4))
    qualifiers = ("", "", "-alpha-1", "-b2", "-rc1", "-SNAPSHOT", ".sp", "-1", ".jre8", "-final", "-xyz")
    agree("maven", univers.versions.MavenVersion, made((qualifiers, qualifiers)), allowed=3)


def test_where_univers_is_not_right_we_do_not_follow():
    # Composer: a patch release is newer, dev is the oldest; univers reads them as semantic versions.
    assert sign("composer", "9-p1", "9") == 1
    assert sign("composer", "3-dev", "3.0-beta1") == -1
    # apk: the first number is a number, whatever zeros it begins with, and a release without -r is before -r0.
    assert sign("apk", "002-r0", "1.1-r0") == 1
    assert sign("apk", "2", "2-r0") == -1


@pytest.mark.parametrize("scheme", SCHEMES)
@given(st.lists(st.text(max_size=20), min_size=3, max_size=3))
def test_any_text_has_a_place_and_the_order_has_no_circle(scheme, texts):
    one, two, three = sorted(SCHEMES[scheme](text) for text in texts)
    assert one <= two <= three
    assert one <= three


@given(st.from_regex(r"([0-9]:)?[0-9][0-9a-z.+~]{0,12}(-[0-9a-z.+~]{1,8})?", fullmatch=True))
def test_a_debian_revision_more_is_newer_and_a_tilde_is_older(version):
    assert sign("deb", version, version) == 0
    assert sign("deb", version + "~1", version) == -1
    assert sign("deb", version + "+z9", version) == 1


def test_numbers_of_any_length_keep_their_order():
    for scheme in ("deb", "rpm", "semver", "generic", "pep440", "apk"):
        assert sign(scheme, "1." + "9" * 300, "1." + "1" + "0" * 300) == -1
        assert sign(scheme, "1." + "9" * 253, "1." + "1" + "0" * 253) == -1


def test_every_ecosystem_knows_how_it_counts():
    assert set(ECOSYSTEMS.values()) <= set(SCHEMES)
    assert scheme_of("Debian:12") == "deb"
    assert scheme_of("openSUSE:Leap:15.3") == "rpm"
    assert scheme_of("Windows") == "generic"
    assert compare("AlmaLinux:9", "5.14.0-70.13.1.el9_0", "5.14.0-611.9.1.el9_7") == -1
    assert key_of("Alpine:v3.19")("1.2-r0") < key_of("Alpine:v3.19")("1.2-r1")
