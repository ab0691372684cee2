"""Working hours, holidays and maintenance windows, in each site's own time zone."""
