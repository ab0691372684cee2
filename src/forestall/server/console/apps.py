from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "forestall.server.console"
    label = "console"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from forestall.server.console import access  # noqa: F401 - registers the check of undeclared views
