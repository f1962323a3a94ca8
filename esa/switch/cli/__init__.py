"""Command files of simple_switch_CLI, carried out over P4Runtime: `esa-switch-cli`."""
