"""SLA tiers, with the one that every client has until somebody makes another: today's defaults."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

PRIORITIES = [("urgent", "urgent"), ("standard", "standard"), ("low", "low")]
STANDARD = {"urgent": (240, 480), "standard": (480, 1440), "low": (960, 4800)}


def seed(apps, schema_editor):
    tier = apps.get_model("tickets", "SlaTier").objects.create(
        slug="standard",
        name="Standard",
        description="Urgent work is answered within four working hours, other work within eight.",
    )
    target = apps.get_model("tickets", "SlaTarget").objects
    for priority, (response, resolution) in STANDARD.items():
        target.create(tier=tier, priority=priority, response_minutes=response, resolution_minutes=resolution)


class Migration(migrations.Migration):
    dependencies = [("tickets", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="SlaTier",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=40, unique=True)),
                ("name", models.CharField(max_length=60, unique=True)),
                ("description", models.CharField(blank=True, max_length=300)),
            ],
            options={"ordering": ["name"]},
        ),
        migrations.CreateModel(
            name="SlaTarget",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("priority", models.CharField(choices=PRIORITIES, max_length=10)),
                ("response_minutes", models.PositiveIntegerField()),
                ("resolution_minutes", models.PositiveIntegerField()),
                (
                    "tier",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="targets", to="tickets.slatier"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("tier", "priority"), name="sla_target_once_a_priority"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("response_minutes__gt", 0), ("resolution_minutes__gte", models.F("response_minutes"))
                        ),
                        name="sla_target_in_order",
                    ),
                ],
            },
        ),
        migrations.RunPython(seed, migrations.RunPython.noop, elidable=False),
    ]
