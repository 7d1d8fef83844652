"""The registry's HTTP API in ThemisDB's shapes. Pure."""
