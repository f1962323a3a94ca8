"""Scripts as users write them; each says in its first lines how it is started, and runs as a test."""
