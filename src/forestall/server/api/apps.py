from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "forestall.server.api"
    label = "api"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from forestall.server.api import declared  # noqa: F401 - registers the check of undeclared addresses
