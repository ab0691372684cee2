"""The desk: work with an owner, a priority, an SLA clock and a resolution."""
