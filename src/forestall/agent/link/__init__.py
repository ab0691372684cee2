"""The way to the server: enrolment, session, spool, check-in, checkpoints."""
