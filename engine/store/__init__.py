"""The back office: what people look up later, and what is still to be sent."""
