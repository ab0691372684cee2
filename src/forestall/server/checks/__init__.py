"""Judgement: one folder a kind in kinds/, pure rules; results and their history in the database."""
