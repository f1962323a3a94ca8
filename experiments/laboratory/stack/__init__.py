"""The whole stack, each layer switched off in turn: `esa laboratory`."""
