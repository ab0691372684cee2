"""Act: the one place of the agent that changes the machine. Everything it does was authorised by operators' keys.

Flow: ``execute`` asks ``trust.authorise`` → the state notes the counter on stable storage → the runbook's steps run,
each a module of ``actions/`` → the state keeps the ``JobResult`` until the link has put it in the spool.

How the link uses it::

    # at enrolment; Refused when the root is not the pinned one
    ActState.create(folder, device_id=..., client_id=..., pinned_key_id=..., root=reply.root, now=now)
    # at every start; a run that a crash cut short becomes a failed result
    state = ActState.open(folder, now=now)

    for refused in state.accept_documents(reply.documents, now=now):  # before the jobs
        log.warning("document refused: %s", refused)
    for envelope in reply.jobs:                                       # in their order
        execute(envelope, state, host, now=host.now())                # JobResult; None: answered before
    for result in state.results_waiting():                            # also at start
        spool.add(sign(statement_bytes(replace(result, checkpoint=...)), JobResult.PAYLOAD_TYPE, [identity]))
        state.result_spooled(result)                                  # the result as it was waiting
        collect(collect_after(state, result))                         # facts documents to collect again at once

The server delivers a command again until it has the result, so a repeat is normal and does nothing. ``execute`` may
take as long as the runbook's timeouts allow: run it beside the check-in loop, never two at once. ``ActState`` may be
shared between threads. ``StateError`` on opening means that ``trust.json`` is damaged or missing: nothing runs until
a person has looked, for it holds the counter that keeps old commands from running again.
"""

from forestall.agent.act.execute import collect_after, execute
from forestall.agent.act.state import ActState, StateError

__all__ = ["ActState", "StateError", "collect_after", "execute"]
