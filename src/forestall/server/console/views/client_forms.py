"""The forms of clients, sites, contacts, hours, SLA, windows and routes; and how a refusal finds its field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from django import forms

from forestall.server.alerts.routes import LONGEST_ADDRESS
from forestall.server.calendar.recurrence import (
    DAY_CODES,
    LAST_DAY_OF_EVERY_MONTH,
    MOST_DAYS_AFTER,
    MOST_INTERVAL,
    ORDINALS,
    Recurrence,
    Repeat,
)
from forestall.server.calendar.rules import WEEKDAYS, Week
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.result import Risk
from forestall.server.clients.rules import MOST, OPERATING_WORDS, countries, country_names
from forestall.server.people.models import Client, Contact, OperatingModel, Site
from forestall.server.tickets.routing import REQUEST_KIND
from forestall.server.tickets.rules import Priority, span
from forestall.server.tickets.sla_models import SlaTier

SAME = "As the client"


FIELD_OF = {"url": "address", "minutes": "length", "recurrence": "rule", "start": "starts_at"}
"""What a service calls a value → what the form calls it."""


class RefusalError(ValueError):
    """What was typed cannot be read; the message names it."""


class PlainForm(forms.Form):
    """A form of the console's parts. ``name`` keeps the ids of several on a page apart."""

    def __init__(self, data: Any = None, *, name: str = "", **more: Any) -> None:
        super().__init__(data, auto_id=f"{name}-%s" if name else "id_%s", **more)
        self.label_suffix = ""

    def refuse(self, error: Exception) -> None:
        """Put what a service refused (``field: why``) beside its field, else above the form."""
        said = str(error)
        where, found, why = said.partition(": ")
        named = [FIELD_OF.get(part, part) for part in re.split(r"[.\[]", where)]
        name = next((part for part in reversed(named) if part in self.fields), "")
        if found and name:
            self.add_error(name, why[:1].upper() + why[1:])
        else:
            self.add_error(None, said[:1].upper() + said[1:])


def timezone_field(*, required: bool, help_text: str = "") -> forms.CharField:
    # A list to search in, offered by the browser; what is typed is judged by the service.
    return forms.CharField(
        label="Time zone",
        max_length=64,
        required=required,
        help_text=help_text,
        widget=forms.TextInput(attrs={"list": "timezones", "autocomplete": "off", "placeholder": "Europe/Berlin"}),
    )


def country_choices(empty: str) -> list[tuple[str, str]]:
    names = country_names()
    return [("", empty), *sorted(((code, f"{names[code]} ({code})") for code in countries()), key=lambda one: one[1])]


def region_field(country: str) -> forms.CharField:
    regions = countries().get(country, ())
    known = f"Of {country}: {', '.join(regions)}." if regions else "Of countries with holidays of their own by region."
    return forms.CharField(label="Region", max_length=10, required=False, help_text=known)


class ClientForm(PlainForm):
    name = forms.CharField(label="Name", max_length=MOST["name"])
    reference = forms.CharField(
        label="Reference", max_length=MOST["reference"], required=False, help_text="Its number in your own accounts."
    )
    timezone = timezone_field(required=True, help_text="SLA clocks and windows count in it.")
    country = forms.ChoiceField(label="Country", required=False, help_text="Its public holidays stop the clocks.")
    region = forms.CharField(label="Region", required=False)
    operating_model = forms.ChoiceField(label="Who does the work", widget=forms.RadioSelect)
    sla_tier = forms.ChoiceField(label="SLA tier")
    notes = forms.CharField(
        label="Notes", max_length=MOST["notes"], required=False, widget=forms.Textarea(attrs={"rows": 4}),
        help_text="For your own people; the client never sees them.",
    )  # fmt: skip

    def __init__(self, data: Any = None, *, tiers: Iterable[SlaTier], client: Client | None = None) -> None:
        initial = {name: getattr(client, name) for name in self.base_fields} if client else {"sla_tier": "standard"}
        super().__init__(data, initial={"operating_model": OperatingModel.OUTSOURCED, **initial})
        country = str((data or {}).get("country", "")) if data is not None else str(initial.get("country", ""))
        self.fields["country"] = forms.ChoiceField(
            label="Country",
            required=False,
            choices=country_choices("No public holidays"),
            help_text="Its public holidays stop the clocks.",
        )
        self.fields["region"] = region_field(country)
        self.fields["operating_model"].choices = [  # type: ignore[attr-defined]
            (one.value, f"{one.label.capitalize()}. {OPERATING_WORDS[one]}") for one in OperatingModel
        ]
        known = [(tier.slug, tier.name) for tier in tiers]
        self.fields["sla_tier"].choices = known or [("standard", "Standard")]  # type: ignore[attr-defined]
        self.order_fields(list(self.base_fields))


class SiteForm(PlainForm):
    name = forms.CharField(label="Name", max_length=MOST["name"])
    address = forms.CharField(
        label="Address", max_length=MOST["address"], required=False, widget=forms.Textarea(attrs={"rows": 3})
    )
    timezone = timezone_field(required=False, help_text="Empty: the client's.")
    country = forms.ChoiceField(label="Country", required=False)
    region = forms.CharField(label="Region", required=False)

    def __init__(self, data: Any = None, *, site: Site | None = None) -> None:
        initial = {name: getattr(site, name) for name in self.base_fields} if site else {}
        super().__init__(data, name="site", initial=initial)
        country = str(data.get("country", "")) if data is not None else str(initial.get("country", ""))
        self.fields["country"] = forms.ChoiceField(
            label="Country",
            required=False,
            choices=country_choices(SAME),
            help_text="Only for a site in another country than its client: its own public holidays stop the clocks.",
        )
        self.fields["region"] = region_field(country)


class ContactForm(PlainForm):
    name = forms.CharField(label="Name", max_length=MOST["contact"])
    duty = forms.CharField(
        label="Duty", max_length=MOST["duty"], required=False, help_text="“approves work”, “has the key” …"
    )
    phone = forms.CharField(label="Phone", max_length=MOST["phone"], required=False)
    email = forms.CharField(label="Mail", max_length=200, required=False)
    site = forms.ChoiceField(label="Site", required=False)
    person = forms.ChoiceField(label="Signs in as", required=False)
    is_primary = forms.BooleanField(label="The one to call first", required=False)

    def __init__(
        self, data: Any, *, sites: Iterable[Site], persons: Iterable[tuple[int, str]], contact: Contact | None = None
    ) -> None:
        initial = {}
        if contact is not None:
            initial = {name: getattr(contact, name) for name in ("name", "duty", "phone", "email", "is_primary")}
            initial |= {"site": str(contact.site_id or ""), "person": str(contact.person_id or "")}
        super().__init__(data, name="contact", initial=initial)
        self.fields["site"].choices = [  # type: ignore[attr-defined]
            ("", "The client as a whole"),
            *((str(site.pk), site.name) for site in sites),
        ]
        self.fields["person"].choices = [  # type: ignore[attr-defined]
            ("", "Does not sign in"),
            *((str(pk), name) for pk, name in persons),
        ]


# --- working hours --------------------------------------------------------------------------------------------

PRESETS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "office": ("Monday to Friday 09:00 to 17:30", dict.fromkeys(WEEKDAYS[:5], "09:00-17:30")),
    "early": ("Monday to Friday 07:00 to 16:00", dict.fromkeys(WEEKDAYS[:5], "07:00-16:00")),
    "shop": ("Monday to Saturday 08:00 to 20:00", dict.fromkeys(WEEKDAYS[:6], "08:00-20:00")),
    "always": ("Around the clock", dict.fromkeys(WEEKDAYS, "00:00-24:00")),
}
_TIME = re.compile(r"(\d{1,2})(?:[:.](\d{2}))?\Z")


class HoursForm(PlainForm):
    """Spans of each weekday as text: ``09:00-12:30, 13:00-17:30``."""

    def __init__(self, data: Any = None, *, week: Week | None = None, preset: str = "") -> None:
        if preset:
            data = PRESETS[preset][1]
        initial = {}
        if week is not None:
            initial = {name: ", ".join("-".join(pair) for pair in spans) for name, spans in week.plain().items()}
        super().__init__(data, name="hours", initial=initial)
        for name in WEEKDAYS:
            self.fields[name] = forms.CharField(
                label=name.capitalize(),
                required=False,
                max_length=120,
                widget=forms.TextInput(attrs={"placeholder": "closed", "autocomplete": "off", "inputmode": "text"}),
            )

    def week(self) -> Week | None:
        """What was typed; None when some of it cannot be read, and the fields say which."""
        hours: dict[str, list[list[str]]] = {}
        for name in WEEKDAYS:
            try:
                hours[name] = spans_of(self.cleaned_data.get(name, ""))
                Week.parse({name: hours[name]})
            except ValueError as error:
                self.add_error(name, re.sub(r"^hours\.\w+(\[\d+\])?: ", "", str(error)))
        return None if self.errors else Week.parse(hours)


def spans_of(typed: str) -> list[list[str]]:
    """``9-12:30, 13 to 17`` → ``[["09:00", "12:30"], ["13:00", "17:00"]]``; RefusalError names what is no span."""
    spans = []
    for part in re.split(r"[,;]", typed):
        if not part.strip():
            continue
        ends = re.split(r"\s*(?:-|–|—|\bto\b)\s*", part.strip())
        if len(ends) != 2:
            raise RefusalError(f"{part.strip()!r} is not a span like 09:00-17:30")
        spans.append([_clock(end, part.strip()) for end in ends])
    return spans


def _clock(typed: str, part: str) -> str:
    found = _TIME.match(typed.strip())
    if found is None:
        raise RefusalError(f"{typed.strip()!r} in {part!r} is not a time like 09:00")
    return f"{int(found[1]):02}:{found[2] or '00'}"


class ClosedDayForm(PlainForm):
    day = forms.DateField(label="Day", widget=forms.DateInput(attrs={"type": "date"}))
    why = forms.CharField(label="Why", max_length=100)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, name="closed")


# --- SLA ------------------------------------------------------------------------------------------------------

_DURATION = re.compile(r"(?:(\d{1,4})\s*h(?:ours?)?)?\s*(?:(\d{1,6})\s*(?:min(?:utes)?|m)?)?\Z")


def minutes_of(typed: str) -> int:
    """``4 h 30 min``, ``45 min``, ``2h``, ``90`` (minutes); RefusalError for anything else."""
    found = _DURATION.match(typed.strip().lower())
    if not typed.strip() or found is None or not (found[1] or found[2]):
        raise RefusalError(f"{typed.strip()!r} is not a time like 4 h or 30 min")
    return int(found[1] or 0) * 60 + int(found[2] or 0)


class TargetsForm(PlainForm):
    """Times of each priority as text. Empty pairs are left out where ``optional``."""

    def __init__(
        self, data: Any = None, *, targets: Mapping[Priority, tuple[int, int]], optional: bool, name: str = "targets"
    ) -> None:
        initial: dict[str, str] = {}
        for priority, times in targets.items():
            initial |= {f"{priority}_{kind}": span(value * 60) for kind, value in zip(KINDS, times, strict=True)}
        super().__init__(data, name=name, initial=initial)
        self.optional = optional
        for priority in Priority:
            for kind in KINDS:
                self.fields[f"{priority}_{kind}"] = forms.CharField(
                    label=f"{priority.capitalize()}: {kind}", max_length=20, required=not optional,
                    widget=forms.TextInput(attrs={"placeholder": "as its tier" if optional else ""}),
                )  # fmt: skip

    def rows(self) -> list[tuple[str, list[Any]]]:
        """Priority → its two fields."""
        return [(str(priority), [self[f"{priority}_{kind}"] for kind in KINDS]) for priority in Priority]

    def targets(self) -> dict[Priority, tuple[int, int]] | None:
        """What was typed; None when some of it cannot be read, and the fields say which."""
        found: dict[Priority, tuple[int, int]] = {}
        for priority in Priority:
            typed = {kind: self.cleaned_data.get(f"{priority}_{kind}", "") for kind in KINDS}
            if self.optional and not any(typed.values()):
                continue
            times = []
            for kind in KINDS:
                try:
                    times.append(minutes_of(typed[kind]))
                except RefusalError as error:
                    self.add_error(f"{priority}_{kind}", str(error))
            if len(times) == len(KINDS):
                found[priority] = (times[0], times[1])
                if not 0 < times[0] <= times[1]:
                    self.add_error(
                        f"{priority}_resolution",
                        f"{typed['resolution']} is less than the response time {typed['response']}",
                    )
        return None if self.errors else found


KINDS = ("response", "resolution")


class TierForm(PlainForm):
    slug = forms.CharField(
        label="Short name",
        max_length=40,
        help_text="Small letters, digits, hyphens: gold, night-shift. Stays for good.",
    )
    name = forms.CharField(label="Name", max_length=60)
    description = forms.CharField(label="In a sentence", max_length=300, required=False)

    def __init__(self, data: Any = None, *, tier: SlaTier | None = None) -> None:
        initial = {"name": tier.name, "description": tier.description} if tier else {}
        super().__init__(data, name="tier", initial=initial)
        if tier is not None:
            del self.fields["slug"]


# --- windows --------------------------------------------------------------------------------------------------


class WindowForm(PlainForm):
    site = forms.ChoiceField(label="Site")
    device = forms.ChoiceField(label="Device", required=False)
    name = forms.CharField(label="Name", max_length=100)
    purpose = forms.CharField(
        label="What is done in it", max_length=300, required=False, help_text="The client reads it too."
    )
    starts_on = forms.DateField(label="First on", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))
    starts_at = forms.CharField(
        label="Starts at",
        max_length=5,
        widget=forms.TextInput(attrs={"type": "time"}),
        help_text="On the wall clock of the site.",
    )
    length = forms.CharField(label="Lasts", max_length=20, help_text="2 h, 90 min …")
    repeat = forms.ChoiceField(label="Repeats", choices=[(one.value, one.words) for one in Repeat])
    days = forms.MultipleChoiceField(
        label="On",
        required=False,
        choices=[(code, day.capitalize()) for code, day in zip(DAY_CODES, WEEKDAYS, strict=True)],
        widget=forms.CheckboxSelectMultiple,
        help_text="For “every week” any, for “every month” one.",
    )
    nth = forms.TypedChoiceField(
        label="Of a month the",
        required=False,
        coerce=int,
        choices=[(number, word) for number, word in ORDINALS.items()],
    )
    after = forms.IntegerField(
        label="Days after Patch Tuesday", required=False, min_value=0, max_value=MOST_DAYS_AFTER,
        help_text="Patch Tuesday is the second one of a month: 0 is that day, 3 the Friday after it.",
    )  # fmt: skip
    day = forms.IntegerField(
        label="Day of the month", required=False, min_value=1, max_value=LAST_DAY_OF_EVERY_MONTH,
        help_text="For “on a day of the month”: 1 to 28.",
    )  # fmt: skip
    every = forms.IntegerField(
        label="Every so many", required=False, min_value=1, max_value=MOST_INTERVAL,
        help_text="Days, weeks or months: 2 with “every week” is every second one, 3 with a month once a quarter.",
    )  # fmt: skip
    until = forms.DateField(
        label="Until", required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="Last day; empty: without end.",
    )  # fmt: skip
    rule = forms.CharField(
        label="Rule", max_length=200, required=False, help_text="RFC 5545, as FREQ=WEEKLY;INTERVAL=2;BYDAY=SU"
    )
    notice_hours = forms.IntegerField(
        label="Notice, in hours",
        min_value=0,
        initial=48,
        help_text="So long before each time the client's people get a mail, and again when it moves. 0: none.",
    )
    notice_first_only = forms.BooleanField(
        label="Notice of the first time alone", required=False, help_text="Of one that repeats."
    )
    catch_up_hours = forms.IntegerField(
        label="Make up for it within, in hours", min_value=0, initial=0, required=False,
        help_text="A device that was away then may still be worked on so long after. 0: it waits for the next time.",
    )  # fmt: skip
    needs_approval = forms.BooleanField(
        label="The client approves it first",
        required=False,
        help_text="Until its own people have said yes in the portal it is a proposal: nothing waits for it. "
        "A change asks them anew.",
    )

    def __init__(
        self,
        data: Any = None,
        *,
        sites: Iterable[Site],
        devices: Iterable[tuple[str, str]] = (),
        initial: Mapping[str, Any] | None = None,
        fixed: bool = False,
    ) -> None:
        super().__init__(data, name="window", initial=dict(initial or {}))
        self.fields["site"].choices = [  # type: ignore[attr-defined]
            (str(site.pk), f"{site.client.name} · {site.name} ({site.zone})") for site in sites
        ]
        self.fields["device"].choices = [("", "Every device of the site"), *devices]  # type: ignore[attr-defined]
        if fixed:
            del self.fields["site"], self.fields["device"]

    def recurrence(self) -> Recurrence:
        asked = self.cleaned_data
        return Recurrence(
            repeat=Repeat(asked["repeat"]),
            days=tuple(asked["days"]),
            nth=asked["nth"] or 1,
            until=asked["until"],
            rule=asked["rule"],
            every=asked["every"] or 1,
            after=asked["after"] or 0,
            day=asked["day"] or 1,
        )

    def more(self) -> dict[str, Any]:
        """What is said of notice, of what was missed, and of approval."""
        asked = self.cleaned_data
        return {
            "notice_hours": asked["notice_hours"],
            "notice_first_only": asked["notice_first_only"],
            "catch_up_hours": asked["catch_up_hours"] or 0,
            "needs_approval": asked["needs_approval"],
        }


def recurrence_initial(rule: str) -> dict[str, Any]:
    """What the form shows of a rule."""
    read = Recurrence.read(rule)
    return {
        "repeat": read.repeat.value,
        "days": list(read.days),
        "nth": read.nth,
        "until": read.until,
        "rule": read.rule,
        "every": read.every,
        "after": read.after if read.repeat is Repeat.PATCH_TUESDAY else None,
        "day": read.day if read.repeat is Repeat.MONTH_DAY else None,
    }


def next_sunday(today: date) -> date:
    """The day a new window is offered for."""
    return date.fromordinal(today.toordinal() + (6 - today.weekday()) % 7 or today.toordinal() + 7)


class BlackoutForm(PlainForm):
    place = forms.ChoiceField(label="Where", required=False)
    why = forms.CharField(label="Why", max_length=200, help_text="Shown wherever a window stays shut, to clients too.")
    starts_on = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))
    starts_at = forms.CharField(
        label="At", max_length=5, initial="00:00", widget=forms.TextInput(attrs={"type": "time"}),
        help_text="On the wall clock of each site.",
    )  # fmt: skip
    ends_on = forms.DateField(label="Until", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))
    ends_at = forms.CharField(
        label="At", max_length=5, initial="00:00", widget=forms.TextInput(attrs={"type": "time"}),
        help_text="From then on windows open again.",
    )  # fmt: skip
    yearly = forms.BooleanField(label="The same days every year", required=False)

    def __init__(self, data: Any = None, *, places: Iterable[tuple[str, str]]) -> None:
        super().__init__(data, name="blackout")
        self.fields["place"].choices = list(places)  # type: ignore[attr-defined]


# --- routes and rules -----------------------------------------------------------------------------------------

RISKS = [(risk.value, f"{risk.value} risk or worse") for risk in Risk]


class RouteForm(PlainForm):
    name = forms.CharField(label="Name", max_length=100, help_text="“Night pager”, “Acme's own IT” …")
    address = forms.CharField(
        label="Address",
        max_length=LONGEST_ADDRESS,
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "mailtos://…, msteams://…, ntfy://…"}),
        help_text="As apprise writes it. It is sealed, and never shown whole again.",
    )
    minimum_risk = forms.ChoiceField(label="Sends", choices=RISKS)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, name="route", initial={"minimum_risk": Risk.MEDIUM.value})


def kind_choices(empty: str) -> list[tuple[str, str]]:
    titles = sorted(((slug, kind.texts.title) for slug, kind in CHECK_KINDS.items()), key=lambda one: one[1])
    return [("", empty), *titles, (REQUEST_KIND, "A request of a person")]


class RuleForm(PlainForm):
    kind = forms.ChoiceField(label="Of", required=False)
    minimum_risk = forms.ChoiceField(label="With", required=False, choices=[("", "any risk"), *RISKS])
    site = forms.ChoiceField(label="At", required=False)
    owner = forms.ChoiceField(label="Goes to")
    order = forms.IntegerField(
        label="Order", initial=0, min_value=-1000, max_value=1000,
        help_text="Only among rules that are equally particular; lower first.",
    )  # fmt: skip

    def __init__(
        self, data: Any = None, *, sites: Iterable[Site], persons: Iterable[tuple[int, str]], everywhere: bool = False
    ) -> None:
        super().__init__(data, name="rule")
        self.fields["kind"].choices = kind_choices("everything")  # type: ignore[attr-defined]
        self.fields["owner"].choices = [(str(pk), name) for pk, name in persons]  # type: ignore[attr-defined]
        if everywhere:
            del self.fields["site"]
        else:
            self.fields["site"].choices = [("", "every site"), *((str(s.pk), s.name) for s in sites)]  # type: ignore[attr-defined]
