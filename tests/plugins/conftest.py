"""The plugins' own tests run where the plugin is installed, not here."""

collect_ignore = ["backend_plugin"]
