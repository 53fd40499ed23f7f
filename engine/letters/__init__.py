"""Letters to buyers: what is said, in which language, as text and as HTML."""
