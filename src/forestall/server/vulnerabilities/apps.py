from django.apps import AppConfig


class VulnerabilitiesConfig(AppConfig):
    name = "forestall.server.vulnerabilities"
    label = "vulnerabilities"
    default_auto_field = "django.db.models.BigAutoField"
