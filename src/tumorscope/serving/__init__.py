"""Floor 6: the HTTP server: API, page, limits."""
