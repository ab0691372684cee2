from django.apps import AppConfig


class CalendarConfig(AppConfig):
    name = "forestall.server.calendar"
    label = "calendar"
    default_auto_field = "django.db.models.BigAutoField"
