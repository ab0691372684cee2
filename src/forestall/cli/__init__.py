"""``forestall …``: thin. Talks to the server's REST API, or runs up, audit, agent, verify."""
