"""Training scripts as users write them; each says in its first lines how it is started."""
