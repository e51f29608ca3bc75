"""Training rules: how one batch becomes an update. One file each, registered with `register_rule`."""
