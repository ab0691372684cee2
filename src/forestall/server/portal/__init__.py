"""What the client's own people see: their devices' health, their tickets, reports and calendar. Reads only; the acts
are the tickets' and the calendar's own services."""
