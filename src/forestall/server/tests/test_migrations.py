"""The schema: what the models say is what the migrations make, and they only go forward."""

from __future__ import annotations

import importlib
import pkgutil
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import migrations

OWN = [
    config
    for config in apps.get_app_configs()
    # An application without models of its own has no migrations.
    if config.name.startswith("forestall.") and any(True for _ in config.get_models())
]


@pytest.mark.django_db
def test_models_and_migrations_agree():
    call_command("makemigrations", check=True, dry_run=True, stdout=StringIO())


@pytest.mark.parametrize("config", OWN, ids=lambda config: config.label)
def test_migrations_only_go_forward(config):
    """Nothing that drops what people have: a column or table leaves in two releases, the second of which says so."""
    package = importlib.import_module(f"{config.name}.migrations")
    for module in pkgutil.iter_modules(package.__path__):
        migration = importlib.import_module(f"{config.name}.migrations.{module.name}").Migration
        dropping = [
            one for one in migration.operations if isinstance(one, migrations.DeleteModel | migrations.RemoveField)
        ]
        assert dropping == [], f"{config.label}.{module.name}"
