from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "forestall.server.webhooks"
    label = "webhooks"
    default_auto_field = "django.db.models.BigAutoField"
