"""Devices, their identity and enrolment, and the facts known of them."""
