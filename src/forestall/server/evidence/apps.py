from django.apps import AppConfig


class EvidenceConfig(AppConfig):
    name = "forestall.server.evidence"
    label = "evidence"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from forestall.server.evidence.services import person_act_append
        from forestall.server.people.record import act_done

        # People stand below evidence and cannot call it: it listens to what is done to them.
        act_done.connect(person_act_append, dispatch_uid="forestall.evidence")
