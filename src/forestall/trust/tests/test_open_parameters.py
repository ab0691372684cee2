"""Ada signs a standing order that leaves the server the choice of packages, and of nothing else."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forestall.trust.authorise import Refused, RefusedBecause, authorise_invocation, takes_any
from forestall.trust.sign import wrap_invocation
from forestall.trust.statements import Parameter, RiskClass, Runbook, Step, statement_digest
from forestall.trust.tests.conftest import DEVICE
from forestall.trust.words import describe

NAMES = r"[a-z0-9][a-z0-9.+=:~ -]{0,4095}|"
UPDATES = Runbook(
    slug="install-updates",
    version=1,
    title="Install updates",
    description="Installs what is offered.",
    risk=RiskClass.CHANGE,
    parameters=(
        Parameter(name="choose", kind="text", description="Which", default="security", pattern="security|all|chosen"),
        Parameter(name="packages", kind="text", description="Packages and versions", default="", pattern=NAMES),
        Parameter(name="note", kind="text", description="Anything", default=""),
        Parameter(name="reboot", kind="text", description="When", default="never", pattern="never|when_needed"),
        Parameter(name="least_free_mb", kind="integer", description="Space", default=500, minimum=0),
    ),
    steps=(Step(action="updates.install", arguments={"packages": "{packages}"}),),
    undo="Cannot be undone.",
)
ALLOWED = {"choose": ("chosen",), "packages": ("*",), "reboot": ("never",)}


def order_of(world, **changes):
    return world.order(runbook=statement_digest(UPDATES), trigger="patching", **{"allowed": ALLOWED, **changes})


def invoke(world, order, parameters):
    return authorise_invocation(
        root=world.root,
        runbooks={statement_digest(UPDATES): UPDATES},
        orders={statement_digest(order): world.signed(order, world.ada)},
        envelope=wrap_invocation(world.invocation(order, parameters=parameters)),
        situation=world.situation(),
    )


def test_any_packages_run_under_adas_order(world):
    order = order_of(world)
    for packages in ("openssl=3.0.18-1", "openssl=3.0.18-1 libc6:amd64=2.36-9+deb12u10", ""):
        authorised = invoke(world, order, {"choose": "chosen", "packages": packages})
        assert authorised.parameters["packages"] == packages
        assert authorised.parameters["reboot"] == "never"


@pytest.mark.parametrize(
    ("parameters", "because"),
    [
        ({"choose": "all", "packages": "openssl"}, RefusedBecause.PARAMETER_NOT_ALLOWED),
        ({"choose": "chosen", "packages": "openssl", "reboot": "when_needed"}, RefusedBecause.PARAMETER_NOT_ALLOWED),
        ({"choose": "chosen", "packages": "openssl", "least_free_mb": 0}, RefusedBecause.PARAMETER_NOT_ALLOWED),
        ({"choose": "chosen", "packages": "openssl", "note": "hello"}, RefusedBecause.PARAMETER_NOT_ALLOWED),
        ({"choose": "chosen", "packages": "--allow-unauthenticated"}, RefusedBecause.PARAMETER_OUT_OF_BOUNDS),
        ({"choose": "chosen", "packages": "*"}, RefusedBecause.PARAMETER_OUT_OF_BOUNDS),
        ({"choose": "chosen", "packages": "openssl;reboot"}, RefusedBecause.PARAMETER_OUT_OF_BOUNDS),
        ({"choose": "chosen", "packages": 7}, RefusedBecause.PARAMETER_WRONG_TYPE),
    ],
)
def test_nothing_else_is_left_open(world, parameters, because):
    with pytest.raises(Refused) as refusal:
        invoke(world, order_of(world), parameters)
    assert refusal.value.because is because


@pytest.mark.parametrize(
    ("allowed", "parameters"),
    [
        ({"note": ("*",)}, {"note": "hello"}),  # no pattern: the literal star, as it always was
        ({"least_free_mb": ("*",)}, {"least_free_mb": 1}),
        ({"packages": ("*", "openssl")}, {"packages": "nginx"}),
    ],
)
def test_a_star_opens_nothing_but_a_text_with_a_pattern_and_only_alone(world, allowed, parameters):
    with pytest.raises(Refused):
        invoke(world, order_of(world, allowed={"choose": ("chosen",), **allowed}), {"choose": "chosen", **parameters})


def test_an_older_orders_literal_star_says_no_more_than_before():
    free = Parameter(name="files", kind="text", description="Which", pattern=r"[a-z*.]+")
    assert not takes_any(free, ("*",))
    assert not takes_any(msgspec.structs.replace(free, pattern=""), ("*",))
    assert not takes_any(msgspec.structs.replace(free, pattern="[a-z]+", kind="path"), ("*",))
    assert takes_any(msgspec.structs.replace(free, pattern="[a-z]+"), ("*",))


def test_ada_reads_what_she_leaves_open(world):
    lines = describe(order_of(world), runbook=UPDATES, device_names={DEVICE: "web-01"})
    assert (
        "Whenever a patch policy has updates to install, as a rule in maintenance windows, without asking anyone"
    ) in lines
    assert "where packages is whatever the server chooses at that time: Packages and versions" in lines


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parameters=st.fixed_dictionaries(
        {"packages": st.one_of(st.text(max_size=30), st.from_regex(NAMES, fullmatch=True))},
        optional={
            "choose": st.sampled_from(["chosen", "all", "security", "*"]),
            "reboot": st.sampled_from(["never", "when_needed", "*", True]),
            "note": st.text(max_size=5),
            "least_free_mb": st.integers(-1, 600),
        },
    )
)
def test_v1_a_taken_over_server_chooses_packages_and_nothing_else(world, parameters):
    try:
        authorised = invoke(world, order_of(world), parameters)
    except Refused:
        return
    chosen = dict(authorised.parameters)
    packages = chosen.pop("packages")
    assert chosen == {"choose": "chosen", "note": "", "reboot": "never", "least_free_mb": 500}
    assert not packages.startswith("-")
    assert "*" not in packages


def test_v1_forged_choices_under_an_order_that_leaves_packages_open(world):
    """A sample of the drill: whatever a taken-over server invokes, only packages of the pattern's form get through."""
    chance, order = random.Random(7), order_of(world)
    values = [
        "",
        "chosen",
        "all",
        "--force",
        "*",
        "openssl=1",
        "a b",
        "when_needed",
        "never",
        0,
        500,
        True,
        "\n",
        "$(x)",
    ]
    through = 0
    for _ in range(400):
        parameters = {
            name: chance.choice(values)
            for name in ("choose", "packages", "note", "reboot", "least_free_mb", "shell")
            if chance.random() < 0.5
        }
        try:
            authorised = invoke(world, order, {"choose": "chosen", **parameters})
        except Refused:
            continue
        through += 1
        assert authorised.parameters["packages"] in {"", "chosen", "all", "openssl=1", "a b", "never"}
        assert authorised.parameters["reboot"] == "never"
    assert through > 5
