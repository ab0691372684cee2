"""What granian serves: console and API."""

import ctypes
import multiprocessing
import os
import signal

from django.core.wsgi import get_wsgi_application

PR_SET_PDEATHSIG = 1

# A worker of granian outlives a killed parent, keeps the port, and answers beside the one that is started instead,
# even after a stop. The kernel ends it with its parent; a request in the middle rolls back.
if (parent := multiprocessing.parent_process()) is not None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent.pid:
        os.kill(os.getpid(), signal.SIGKILL)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forestall.server.settings")
application = get_wsgi_application()

from forestall.server.api.declared import require_declared  # noqa: E402 - Django stands by now

require_declared()
