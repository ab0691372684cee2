"""The kind ``plugin`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Monitoring plugins",
    question="What do the monitoring plugins that the device's owner named answer?",
    why="They know what no general check can: an application's own health, a queue, a sensor, a licence.",
    remedy=(
        "Read the plugin's text, and run its command by hand on the device. A plugin that is no longer wanted is "
        "taken out of `plugins.toml` there."
    ),
)
