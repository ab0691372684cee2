from django.apps import AppConfig


class PeopleConfig(AppConfig):
    name = "forestall.server.people"
    label = "people"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from allauth.account.signals import password_changed, password_set, user_logged_in
        from allauth.usersessions import signals

        from forestall.server.people import signin_events

        # allauth would keep sessions by their key; signin_sessions keeps them by its digest.
        user_logged_in.disconnect(signals.on_user_logged_in)
        password_changed.disconnect(signals.on_password_changed)
        password_set.disconnect(signals.on_password_changed)
        signin_events.connect()
