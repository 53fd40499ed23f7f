"""Pure decisions about one event's inventory: no clock, no randomness, no I/O."""
