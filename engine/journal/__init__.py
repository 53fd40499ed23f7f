"""Where decisions become durable: the journal of each event and what is read beside it."""
