"""`lorelay adapters sync`: the registry kept in step with a ThemisDB's."""
