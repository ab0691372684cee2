"""The documents stay true: what they must name is named, what they link to is there, and no workplace shows through."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from forestall.cli.main import COMMANDS
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.people.roles import PERMISSION_WORDS, ROLE_PERMISSIONS, Role
from forestall.server.people.scope import Permission

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))
SETTING = re.compile(r"\bFORESTALL_[A-Z]+(?:_[A-Z]+)*\b")
LINK = re.compile(r"\]\(([^)\s]+)\)")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
# Where people work, not where the product runs: home folders, scratch folders, a checkout, a build machine's folder.
WORKPLACE = re.compile(r"(?<![\w~.])/(?:work|workspace|builds?|Users|home/\w+|root/\w+|tmp/[\w.-]+)/[\w./-]*")

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="installed without the docs")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def read(*names: str) -> str:
    return "\n".join((DOCS / name).read_text(encoding="utf-8") for name in names)


def anchors(text: str) -> set[str]:
    """What ``#…`` may name in a page: its headings as they are usually rendered, and anchors set by hand."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


def broken_links(page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if ELSEWHERE.match(link):
            continue
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        lost = not there.exists() or (there.suffix == ".md" and anchor and anchor not in anchors(there.read_text()))
        if lost:
            broken.append(link)
    return broken


def settings_of(folder: Path) -> set[str]:
    """Environment variables that the product reads; those of its tests are not for people."""
    files = [path for path in folder.rglob("*.py") if "tests" not in path.parts]
    return {name for path in files for name in SETTING.findall(path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("slug", CHECK_KINDS)
def test_every_check_kind_has_its_section(slug):
    title = CHECK_KINDS[slug].texts.title
    assert f'<a id="{slug}"></a>\n\n## {title}\n\n`{slug}`. ' in read("checks.md")


def test_the_table_of_roles_says_what_each_may_do():
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in read("using.md").splitlines() if "|" in line]
    heads = next(row for row in rows if row and row[0] == "permission and what it lets one do")
    assert heads[1:] == [role.words for role in Role]
    told = {row[0].split("`")[1]: row for row in rows if row and re.match(r"`[a-z]+\.[a-z]+` ", row[0])}
    assert set(told) == set(Permission)
    for permission, words in PERMISSION_WORDS.items():
        marks = ["●" if permission in ROLE_PERMISSIONS[role] else "" for role in Role]
        assert told[permission] == [f"`{permission}` {words}", *marks]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_explained_where_people_look(command):
    assert re.search(rf"\bforestall {command}\b", read("using.md", "operating.md"))


def test_every_setting_is_documented():
    settings = settings_of(ROOT / "src" / "forestall")
    assert {"FORESTALL_HOME", "FORESTALL_CONSOLE"} <= settings
    documented = set(re.findall(r"`(FORESTALL_\w+)`", read("operating.md", "agent.md")))
    assert settings - documented == set()


def test_no_setting_is_documented_that_nothing_reads():
    rows = [line for line in read("operating.md", "agent.md").splitlines() if line.startswith("| `FORESTALL_")]
    assert len(rows) > 4
    named = {name for row in rows for name in SETTING.findall(row.split("|")[1])}
    assert named - settings_of(ROOT / "src" / "forestall") == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page):
    assert broken_links(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    (tmp_path / "there.md").write_text("# What is there\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#what-is-there) [c](https://example.org/x) ![d](gone.png) [e](there.md#gone)\n"
        "```\n[f](in-an-example.md)\n```\n"
    )
    assert broken_links(page) == ["gone.png", "there.md#gone"]


@pytest.mark.parametrize("page", DECISIONS, ids=name_of)
def test_every_decision_says_when_what_and_against_what(page):
    text = page.read_text(encoding="utf-8")
    assert re.match(rf"# {page.name[:4]} \S", text), "its number, then what was decided"
    assert re.search(r"^\*20\d\d-\d\d-\d\d\*$", text, re.MULTILINE), "its date"
    for part in ("Question", "Decision"):
        assert f"\n**{part}.** " in text, part
    # A question with two answers says in its reasons why not the other one.
    assert "\n**Not taken.** " in text or "\n**Why.** " in text, "what was not taken, and why"


def test_decisions_are_numbered_without_a_hole():
    assert [page.name[:4] for page in DECISIONS] == [f"{number:04d}" for number in range(1, len(DECISIONS) + 1)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_workplace_shows_through(page):
    assert WORKPLACE.findall(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cd /builds/shop && make", True),
        ("see /home/ada/forestall/notes.md", True),
        ("below `/tmp/trial-1/src/x.py`", True),
        ("deleted below `/tmp`, `/var/tmp`", False),
        ("~/.local/share/forestall/first-run.json", False),
        ("folders below /srv, /home, /root, /opt", False),
        ("/var/tmp/forestall-drill/volume is full", False),
        ("https://example.org/builds/shop/x", False),
    ],
)
def test_a_workplace_is_told_from_a_path_of_the_product(text, found):
    assert bool(WORKPLACE.search(text)) is found
