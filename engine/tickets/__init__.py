"""What a ticket looks like: its seal, its code, its paper and its place in the calendar."""
