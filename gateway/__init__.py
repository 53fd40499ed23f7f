"""The HTTP face: parse, one call, map the outcome. No rule lives here."""
