"""Every migration there ever was; what was released is never changed."""
