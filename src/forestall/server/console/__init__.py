"""The pages people look at all day."""
