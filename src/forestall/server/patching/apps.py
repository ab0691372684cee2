from django.apps import AppConfig


class PatchingConfig(AppConfig):
    name = "forestall.server.patching"
    label = "patching"
    default_auto_field = "django.db.models.BigAutoField"
