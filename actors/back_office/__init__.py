"""What happens after a sale: tickets, messages, announcements."""
