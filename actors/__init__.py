"""Plain classes that do the work; one file turns them into Ray actors."""
