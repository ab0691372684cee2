from django.apps import AppConfig


class AlertsConfig(AppConfig):
    name = "forestall.server.alerts"
    label = "alerts"
    default_auto_field = "django.db.models.BigAutoField"
